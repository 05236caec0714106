"""One slide from plan to files, whoever looks at its tiles.

    plan      what is looked at, with what, at which scale             `SlidePlan`
    work      batches of tiles -> their cells, in any order             an engine: `in_turn`, or many processes
    table     what came in, safe from whatever happens                  `slide_table`
    finish    seams settled, one table, the differential, exports

A run that was stopped goes on with the batches that are not in its table.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from marrowscope.cells.adjusted import AdjustedDifferential, Confusion, adjust
from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.detections import Detections
from marrowscope.cells.differential import Differential, count_detections
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import Detector
from marrowscope.detect.slide_exports import SlideFormat, export_cells
from marrowscope.detect.slide_scale import Look
from marrowscope.detect.slide_table import CELLS, CellsFile, SlideHead, SlideTable
from marrowscope.detect.slide_tiles import Looked, look_at
from marrowscope.detect.summary import write_differential
from marrowscope.detect.tiling import Tile
from marrowscope.slide.regions import Rectangle
from marrowscope.slide.slide import WholeSlide

BATCH = 16
"""Tiles of a batch: what is lost at most for each worker that is stopped, and what one part of the table holds."""


class Batch(NamedTuple):
    """Some tiles of a slide; the same number always has the same tiles."""

    number: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, eq=False)
class SlidePlan:
    """All that decides what is found on a slide, told before the first tile is looked at.

    width, height: of level 0. um_per_px: None if not known. places: where cells count. cells_px: the middle size of a
    cell in pixels of level 0. model: what else identifies the detector, such as the hash of its weights. path: the
    slide's own file or folder.
    """

    name: str
    width: int
    height: int
    um_per_px: float | None
    look: Look
    places: tuple[Rectangle, ...]
    score: float
    cells_px: float
    taxonomy: Taxonomy
    model: Mapping[str, Any]
    confusion: Confusion | None = None
    path: Path | None = None

    def batches(self) -> list[Batch]:
        """All tiles, row by row, in batches."""
        tiles = self.look.grid.tiles(self.places)
        return [Batch(at // BATCH, tuple(tiles[at : at + BATCH])) for at in range(0, len(tiles), BATCH)]

    def settings(self) -> dict[str, Any]:
        """What must be the same for two runs to share a table."""
        return {
            "slide": [self.name, self.width, self.height],
            "model": dict(self.model),
            "score": self.score,
            "scale": asdict(self.look.scale),
            "tiles": {**asdict(self.look.grid), "batch": BATCH},
            "places": [[p.x, p.y, p.width, p.height] for p in self.places],
        }

    def head(self) -> SlideHead:
        """What the finished table says of itself."""
        return SlideHead(self.name, self.width, self.height, self.um_per_px, self.taxonomy, self.settings())


class SlideProgress(NamedTuple):
    """How far a slide is. done, total: tiles. cells: found so far, those at seams not yet settled. rate: tiles a second
    in this run.
    """

    done: int
    total: int
    cells: int
    rate: float


Work = Callable[[Iterable[Batch]], Iterator[tuple[Batch, Looked]]]
"""An engine: looks at batches and gives them back in any order. It takes them as it has room for them."""


@dataclass(frozen=True, eq=False)
class SlideSummary:
    """What a run did. tiles: of the slide; looked_at: in this run; empty: that had nothing to see.

    seconds: of this run. files: what was written, the table of cells first.
    """

    cells: int
    tiles: int
    looked_at: int
    empty: int
    seconds: float
    differential: Differential
    adjusted: AdjustedDifferential | None
    files: tuple[Path, ...]


def run_slide(
    plan: SlidePlan,
    work: Work,
    folder: Path,
    *,
    formats: Collection[SlideFormat] = (),
    anew: bool = False,
    progress: Callable[[SlideProgress], None] | None = None,
) -> SlideSummary:
    """Look at what is left of a slide and write its results into `folder`. See `slide_table` for what is there when.

    anew: forget what the folder holds. BadInput where it holds cells of other settings; BadSlide where the slide cannot
    be read: what was found until then stays.
    """
    started = time.monotonic()
    table = SlideTable(folder, plan.settings(), anew=anew)
    batches = plan.batches()
    finished = table.finished()
    total = sum(len(batch.tiles) for batch in batches)
    cells = empty = 0
    for number in finished:
        looked = table.part(number)[1]
        cells, empty = cells + len(looked.cells), empty + looked.empty
    left = [batch for batch in batches if batch.number not in finished]
    looked_at, already = 0, total - sum(len(batch.tiles) for batch in left)

    def tell() -> None:
        if progress:
            seconds = time.monotonic() - started
            progress(SlideProgress(already + looked_at, total, cells, looked_at / seconds if seconds > 0 else 0.0))

    tell()
    for batch, looked in work(left):
        table.add(batch.number, batch.tiles, looked)
        looked_at, cells, empty = looked_at + len(batch.tiles), cells + len(looked.cells), empty + looked.empty
        tell()
    differential, adjusted, files = _finish(plan, table, formats)
    with CellsFile(files[0]) as settled:
        cells = len(settled)
    return SlideSummary(cells, total, looked_at, empty, time.monotonic() - started, differential, adjusted, files)


def _finish(
    plan: SlidePlan, table: SlideTable, formats: Collection[SlideFormat]
) -> tuple[Differential, AdjustedDifferential | None, tuple[Path, ...]]:
    path = table.settle(plan.look.grid, plan.head())
    with CellsFile(path) as cells:
        found = (Detections(as_boxes(c.boxes), c.labels, c.scores, plan.taxonomy) for c in cells.batches())
        differential = count_detections(found, plan.taxonomy)
        adjusted = None if plan.confusion is None else adjust(differential, plan.confusion)
        write_differential(differential, table.folder, adjusted)
        exported = export_cells(cells, table.folder, formats, slide=plan.path)
    return differential, adjusted, (table.folder / CELLS, table.folder / "differential.md", *exported)


def in_turn(slide: WholeSlide, detector: Detector, plan: SlidePlan, *, ahead: bool = True) -> Work:
    """An engine in this process: one batch after the other. detector: at the plan's scale. ahead: see `look_at`."""

    def work(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Looked]]:
        for batch in batches:
            yield batch, look_batch(slide, detector, plan, batch, ahead=ahead)

    return work


def look_batch(slide: WholeSlide, detector: Detector, plan: SlidePlan, batch: Batch, *, ahead: bool = True) -> Looked:
    """What a batch gives."""
    return look_at(
        slide,
        detector,
        plan.look,
        batch.tiles,
        places=plan.places,
        score=plan.score,
        cells_px=plan.cells_px,
        ahead=ahead,
    )
