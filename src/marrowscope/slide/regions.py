"""The parts of a slide worth counting: where cells lie apart, sharp and well stained.

Low power finds the tissue and orders its places by how much they promise; the promising ones are judged at high power;
and as many of the readable ones are taken as the differential needs, from all over the slide.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from marrowscope.slide.density import density, purple
from marrowscope.slide.quality import READ_UM_PER_PX, USUAL_RED_CELL, Quality, judge, measure
from marrowscope.slide.slide import WholeSlide
from marrowscope.slide.tissue import Tissue, find_tissue
from marrowscope.slide.view import view

USABLE = 0.5
"""Quality from which a region is worth a person's time."""

# Places judged at once, before asking whether there are enough.
_ROUND = 320
# Places from which the density of one red cell is learnt.
_SAMPLES = 24
# A part of a place must be tissue, or the rest of it is glass or ink.
_LEAST_TISSUE = 0.9
# Mean density of a place where cells lie side by side, in red cells: they cover about half of it, nuclei count double.
_MONOLAYER = 0.75

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rectangle:
    """A part of a slide: its top left corner and its size, in pixels of level 0."""

    x: int
    y: int
    width: int
    height: int


Place = TypeVar("Place", bound=Rectangle)


@dataclass(frozen=True)
class Region(Rectangle):
    """A part of a slide that was judged. quality: 0..1, the lowest of focus, thickness and stain.

    nuclei: about how many nucleated cells are in it. why: what holds it back, in a few words, or "readable".
    """

    quality: float
    focus: float
    thickness: float
    stain: float
    nuclei: float
    why: str

    @classmethod
    def of(cls, place: Rectangle, judged: Quality) -> "Region":
        """The place as it was judged."""
        parts = judged.quality, judged.focus, judged.thickness, judged.stain, judged.nuclei, judged.why
        return cls(place.x, place.y, place.width, place.height, *parts)


def choose_regions(
    slide: WholeSlide,
    cells_wanted: int = 500,
    *,
    count: int | None = None,
    size_um: float = 200.0,
    um_per_px: float | None = None,
    progress: Progress | None = None,
) -> list[Region]:
    """The best regions of a slide for a differential of `cells_wanted` cells, best first; none overlap.

    count: so many regions instead, whatever is in them. size_um: their side. um_per_px: of level 0, where the file does
    not say (else 0.25 is assumed). progress: told how many places were judged, and of how many at most.
    Fewer than asked, down to none, where the slide has no more that are readable. BadSlide: the slide is too coarse.
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    tissue = find_tissue(slide, um_per_px=um_per_px)
    judged: list[Region] = []
    for region in judge_places(slide, tissue, size_um=size_um, progress=progress):
        judged.append(region)
        if len(judged) % _ROUND == 0 and _are_enough(_taken(judged, tissue, cells_wanted, count), cells_wanted, count):
            break
    return sorted(_taken(judged, tissue, cells_wanted, count), key=_best_first)


def judge_places(
    slide: WholeSlide, tissue: Tissue, *, size_um: float = 200.0, progress: Progress | None = None
) -> Iterator[Region]:
    """Every place of the tissue as it is at high power, the promising first, and from all over it."""
    places = _places(slide, tissue, size_um)
    if not places:
        return
    red_cell = _red_cell(slide, tissue, places)
    promises = [_promise(place, tissue, red_cell) for place in places]
    for done, place in enumerate(_spread(places, promises, tissue), 1):
        pixels, scale = _high_power(slide, place, tissue.um_per_px)
        yield Region.of(place, judge(pixels, scale, tissue.white, red_cell))
        if progress:
            progress(done, len(places))


def everything(slide: WholeSlide, *, um_per_px: float | None = None) -> list[Rectangle]:
    """The rectangles that hold all tissue of a slide, largest first; none overlap. Nothing is judged."""
    return [Rectangle(*box) for box in find_tissue(slide, um_per_px=um_per_px).rectangles]


def _places(slide: WholeSlide, tissue: Tissue, size_um: float) -> list[Rectangle]:
    """Squares side by side over the slide, in rows, as far as they lie on tissue."""
    whole = slide.levels[0]
    side = max(round(size_um / tissue.um_per_px), 1)
    width, height = min(side, whole.width), min(side, whole.height)
    columns, rows = whole.width // width, whole.height // height
    left, top = (whole.width - columns * width) // 2, (whole.height - rows * height) // 2
    squares = (
        Rectangle(left + c * width, top + r * height, width, height) for r in range(rows) for c in range(columns)
    )
    return [square for square in squares if tissue.mask[_at_low_power(square, tissue)].mean() >= _LEAST_TISSUE]


def _at_low_power(place: Rectangle, tissue: Tissue) -> tuple[slice, slice]:
    rows, columns = tissue.mask.shape
    top, left = min(int(place.y / tissue.downsample), rows - 1), min(int(place.x / tissue.downsample), columns - 1)
    bottom, right = (
        round((place.y + place.height) / tissue.downsample),
        round((place.x + place.width) / tissue.downsample),
    )
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


def _high_power(slide: WholeSlide, place: Rectangle, um_per_px: float) -> tuple[NDArray[np.uint8], float]:
    zoom = max(READ_UM_PER_PX / um_per_px, 1.0)
    out = max(round(place.width / zoom), 1), max(round(place.height / zoom), 1)
    return view(slide, place.x, place.y, place.width, place.height, out), um_per_px * place.width / out[0]


def _red_cell(slide: WholeSlide, tissue: Tissue, places: Sequence[Rectangle]) -> float:
    """Density of green of one red cell on this slide: of the lowest fifth of places, where none overlap."""
    found = []
    for n in np.unique(np.linspace(0, len(places) - 1, _SAMPLES).round().astype(int)).tolist():
        seen = measure(*_high_power(slide, places[n], tissue.um_per_px), tissue.white, USUAL_RED_CELL)
        if seen.red_cell[1] > 0 and seen.least_gaps < 0.95:
            found.append(seen.red_cell[1])
    # A slide that is thick all over must not pass its heaps for single cells.
    return (
        float(np.clip(np.percentile(found, 20), 0.5 * USUAL_RED_CELL, 1.8 * USUAL_RED_CELL))
        if found
        else USUAL_RED_CELL
    )


def _promise(place: Rectangle, tissue: Tissue, red_cell: float) -> float:
    """0..1: whether its mean density is that of cells side by side, and whether nuclei tinge it."""
    od = density(tissue.pixels[_at_low_power(place, tissue)], tissue.white)
    layers = max(float(od[..., 1].mean()) / red_cell, 0.01)
    fit = math.exp(-((math.log(layers / _MONOLAYER) / 0.7) ** 2))
    return fit * (0.2 + 0.8 * min(float(purple(od).mean()) / 0.1, 1.0))


def _taken(judged: Sequence[Region], tissue: Tissue, cells_wanted: int, count: int | None) -> list[Region]:
    """Usable regions until they are enough: good ones with many cells, far from one another."""
    taken: list[Region] = []
    usable = [region for region in judged if region.quality >= USABLE]
    for region in _spread(usable, [region.quality * max(region.nuclei, 1) for region in usable], tissue):
        if _are_enough(taken, cells_wanted, count):
            break
        taken.append(region)
    return taken


def _are_enough(regions: Sequence[Region], cells_wanted: int, count: int | None) -> bool:
    if count is not None:
        return len(regions) >= count
    return sum(region.nuclei for region in regions) >= cells_wanted


def _best_first(region: Region) -> tuple[float, float, int, int]:
    # A tenth of quality is not seen; more cells are.
    return -round(region.quality, 1), -region.nuclei, region.y, region.x


def _spread(places: Sequence[Place], values: Sequence[float], tissue: Tissue) -> Iterator[Place]:
    """All places once, each time the one of most value far from those before.

    A value counts in full at a quarter of the tissue's diagonal from the nearest place before, nearer in proportion.
    """
    worth = np.asarray(values, np.float64)
    middles = np.asarray([(place.x + place.width / 2, place.y + place.height / 2) for place in places]).reshape(-1, 2)
    rows, columns = np.nonzero(tissue.mask)
    reach = math.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1) * tissue.downsample / 4 if rows.size else 0.0
    apart = np.full(len(places), reach)
    for _ in places:
        best = int(np.argmax(worth * apart))
        yield places[best]
        apart = np.minimum(apart, np.hypot(*(middles - middles[best]).T))
        apart[best] = -1
