"""Tiles in, cells out: what a worker does, wherever it runs. Writes nothing and keeps nothing."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.field import FieldImage
from marrowscope.detect.detector import Detector, one_name_per_cell
from marrowscope.detect.slide_scale import Look, tile_field
from marrowscope.detect.tiling import Floats, Ints, Tile, inside, middles
from marrowscope.slide.reduced import read_reduced, stored_reduction
from marrowscope.slide.regions import Rectangle
from marrowscope.slide.slide import WholeSlide

AT_ONCE = 4
"""Tiles handed to the detector together."""
PLAIN = 16
"""Grey levels of green by which a picture of glass may differ in itself; a pale cell differs by 40 and more."""


@dataclass(frozen=True, eq=False)
class CellRows:
    """Cells of a slide, one a row: boxes (n, 4) float64 in pixels of level 0, labels (n,) int64, scores (n,) float32,
    and tiles (n, 2) int64, row and column of the tile that found each.
    """

    boxes: Floats
    labels: Ints
    scores: NDArray[np.float32]
    tiles: Ints

    def __len__(self) -> int:
        return len(self.boxes)

    def only(self, rows: NDArray[np.bool_]) -> "CellRows":
        """The rows (n,) that are True."""
        return CellRows(self.boxes[rows], self.labels[rows], self.scores[rows], self.tiles[rows])

    @classmethod
    def joined(cls, parts: Sequence["CellRows"]) -> "CellRows":
        """All rows in one."""
        nothing = cls(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, 2), np.int64))
        whole = [nothing, *parts]
        return cls(
            np.concatenate([p.boxes for p in whole]),
            np.concatenate([p.labels for p in whole]),
            np.concatenate([p.scores for p in whole]),
            np.concatenate([p.tiles for p in whole]),
        )


@dataclass(frozen=True, eq=False)
class Looked:
    """What tiles gave: the candidates of each (`tiling`), and how many tiles were empty, so that nobody looked."""

    cells: CellRows
    empty: int


def look_at(
    slide: WholeSlide,
    detector: Detector,
    look: Look,
    tiles: Sequence[Tile],
    *,
    places: Sequence[Rectangle],
    score: float,
    cells_px: float,
    ahead: bool = True,
) -> Looked:
    """Find the cells of some tiles.

    detector: at the scale of `look` (`FieldDetector.at`). places: where cells count. score: the least that counts.
    cells_px: the middle size of a cell in pixels of level 0. ahead: read the next tiles in a thread meanwhile.
    What is found in a tile does not depend on the other tiles. BadSlide where the slide cannot be read.
    """
    found: list[CellRows] = []
    empty = 0
    groups = [tiles[at : at + AT_ONCE] for at in range(0, len(tiles), AT_ONCE)]
    for group, fields in _reading(slide, look, groups, cells_px, ahead):
        shown = [(tile, field) for tile, field in zip(group, fields, strict=True) if field is not None]
        empty += len(group) - len(shown)
        answers = detector.detect([field for _, field in shown])
        for (tile, _), claims in zip(shown, answers, strict=True):
            named = one_name_per_cell(claims.above(score))
            cells = CellRows(
                named.boxes.astype(np.float64),
                named.labels,
                named.scores,
                np.tile(np.asarray(tile, np.int64), (len(named), 1)),
            )
            found.append(_kept(slide, look, tile, cells, places))
    return Looked(CellRows.joined(found), empty)


def _kept(slide: WholeSlide, look: Look, tile: Tile, cells: CellRows, places: Sequence[Rectangle]) -> CellRows:
    """A tile's candidates, moved onto the slide and cut at its edge."""
    width, height = slide.levels[0].width, slide.levels[0].height
    boxes = cells.boxes + np.tile(look.grid.corner(tile), 2)
    boxes = boxes.clip(0, [width, height, width, height])
    moved = CellRows(boxes, cells.labels, cells.scores, cells.tiles)
    whole = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return moved.only(whole & look.grid.candidates(tile, boxes) & inside(places, middles(boxes)))


def _reading(
    slide: WholeSlide, look: Look, groups: Sequence[Sequence[Tile]], cells_px: float, ahead: bool
) -> Iterator[tuple[Sequence[Tile], list[FieldImage | None]]]:
    def read(group: Sequence[Tile]) -> list[FieldImage | None]:
        return [_read(slide, look, tile, cells_px) for tile in group]

    if not ahead:
        yield from ((group, read(group)) for group in groups)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="read tiles") as thread:
        coming = [(group, thread.submit(read, group)) for group in groups[:1]]
        for number in range(len(groups)):
            coming += [(group, thread.submit(read, group)) for group in groups[number + 1 : number + 2]]
            group, fields = coming.pop(0)
            yield group, fields.result()


def _read(slide: WholeSlide, look: Look, tile: Tile, cells_px: float) -> FieldImage | None:
    """The tile as a field; None if nothing is to be seen there."""
    x, y = look.grid.corner(tile)
    side, reading = look.grid.side, look.scale.reading
    # A stored level so coarse that a cell is a few pixels tells cheaply whether there is anything.
    coarse = reading * 2 ** max(int(np.log2(cells_px / 8 / reading)), 0)
    if stored_reduction(slide.levels, coarse)[0] > stored_reduction(slide.levels, reading)[0]:
        count = -(-side // coarse) + 1
        glance = read_reduced(slide, coarse, x // coarse, y // coarse, count, count)
        if is_empty(glance, cells_px=cells_px / coarse):
            return None
        return tile_field(slide, look.scale, x, y, side)
    field = tile_field(slide, look.scale, x, y, side)
    return None if is_empty(field.pixels, cells_px=cells_px / reading) else field


def is_empty(pixels: NDArray[np.uint8], *, cells_px: float) -> bool:
    """Whether a picture (h, w, 3) is all of one colour, glass or what a scanner left out, so that no cell can be there.

    cells_px: the middle size of a cell in its pixels. The picture is averaged over squares so small that a cell fills
    several.
    """
    square = max(int(cells_px / 4), 1)
    size = max(pixels.shape[1] // square, 1), max(pixels.shape[0] // square, 1)
    coarse = cv2.resize(pixels[..., 1], size, interpolation=cv2.INTER_AREA)
    return int(coarse.max()) - int(coarse.min()) < PLAIN
