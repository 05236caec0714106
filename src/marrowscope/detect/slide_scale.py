"""How a slide is looked at, decided once for all of it: at which scale, and in which tiles.

Fields are fitted one by one (`FieldDetector`), and a field whose cells look too large is fitted anew. On a slide a tile
must not decide that for itself: two tiles would see one cell in two scales. So a few tiles are tried, and what their
cells say holds for the slide.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.cells.boxes import area
from marrowscope.cells.field import FieldImage
from marrowscope.detect.detector import one_name_per_cell
from marrowscope.detect.field_detector import OFF_SCALE, SURE, FieldDetector
from marrowscope.detect.tiling import STRIDE, TileGrid
from marrowscope.errors import BadInput
from marrowscope.model.traits import Traits
from marrowscope.slide.reduced import read_reduced
from marrowscope.slide.regions import Rectangle
from marrowscope.slide.slide import WholeSlide

CELL_UM = 13.0
"""The middle size of a nucleated cell on a smear: what a first guess goes by where the slide knows its micrometres."""
GUESSES = (1, 2, 4, 8)
"""Reductions that are tried where it does not, or where nothing looks like a cell at the first guess."""
LARGEST_CELL = 2.0
"""Side of the largest cell over that of the middle one."""
FIELDS_IN_TILE = 2
"""Area of a tile over that of a training field."""
TRIALS = 4
"""Tiles tried at each scale."""
PLACES_SEEN = 36
"""Places from which those are chosen."""


@dataclass(frozen=True)
class WorkingScale:
    """The scale of a slide: a network pixel spans `reduction` pixels of level 0, or one of them `zoom` network pixels.

    Whole numbers, so that the network's pixels lie on one grid over the whole slide. reading: the reduction at which
    tiles are read, a divisor of `reduction`; finer where a reader wants to see the cells it names.
    """

    reduction: int = 1
    zoom: int = 1
    reading: int = 1

    @property
    def network_px(self) -> float:
        """Network pixels per pixel of level 0."""
        return self.zoom / self.reduction


@dataclass(frozen=True)
class Look:
    """How a slide is looked at."""

    scale: WorkingScale
    grid: TileGrid


def nearest_scale(network_px: float, *, finer: float = 1.0) -> WorkingScale:
    """The working scale nearest to `network_px` network pixels a pixel of level 0; a reader wants `finer` times more.

    A slide is enlarged twice at most: nothing is to be seen in more.
    """
    if not 0 < network_px < math.inf:
        raise BadInput(f"a scale of {network_px} network pixels a slide pixel cannot be. Give one such as 0.5.")
    if network_px >= math.sqrt(2):
        return WorkingScale(zoom=2)
    wanted = 1 / network_px
    reduction = min((max(math.floor(wanted), 1), math.ceil(wanted)), key=lambda r: abs(math.log(r / wanted)))
    reading = max((r for r in range(1, reduction + 1) if reduction % r == 0 and reduction / r >= finer), default=1)
    return WorkingScale(reduction, 1, reading)


def tile_grid(traits: Traits, scale: WorkingScale) -> TileGrid:
    """Tiles for a detector at a scale.

    A tile has about the area of `FIELDS_IN_TILE` training fields: smaller ones would be margin for the most part, and a
    detector says only so much of one picture (`ModelRecipe.for_fields`). Its margin holds half of the largest cell and
    the band (`tiling`), with a third of a cell of surroundings. Core and margin are multiples of the coarsest stride.
    """
    width, height = traits.input_size
    cell = cell_px(traits)
    margin = _strides(cell * (LARGEST_CELL / 2 + LARGEST_CELL / 6 + 1 / 3))
    core = max(int(math.sqrt(FIELDS_IN_TILE * width * height) - 2 * margin) // STRIDE * STRIDE, STRIDE)
    band = min(math.ceil(cell * LARGEST_CELL / 6), core // 2)
    return TileGrid(*(length * scale.reduction // scale.zoom for length in (core, margin, band)))


def cell_px(traits: Traits) -> float:
    """The middle size of a cell before the network; where nothing is known of it, an eighth of a training field."""
    return traits.cell_px or math.sqrt(traits.input_size[0] * traits.input_size[1]) / 8


def find_look(
    slide: WholeSlide,
    detector: FieldDetector,
    places: Sequence[Rectangle],
    *,
    um_per_px: float | None = None,
    network_px: float | None = None,
) -> Look:
    """How the detector looks at a slide. um_per_px, network_px: what the user knows better than the file or the trial.

    Without `network_px` a first guess is made from the micrometres, or several where those are not known, and tried on
    a few tiles. The guess stands unless the cells found there look off as much as a field must (`OFF_SCALE`).
    BadInput where neither micrometres nor cells say anything.
    """
    traits = detector.traits
    finer = detector.input_size[0] / traits.input_size[0]
    if network_px is None:
        network_px = _network_px(slide, detector, places, um_per_px or slide.um_per_px, finer)
    scale = nearest_scale(network_px, finer=finer)
    return Look(scale, tile_grid(traits, scale))


def _network_px(
    slide: WholeSlide, detector: FieldDetector, places: Sequence[Rectangle], um_per_px: float | None, finer: float
) -> float:
    cell = cell_px(detector.traits)
    first = [cell * um_per_px / CELL_UM] if um_per_px else []
    tried = [_try(slide, detector, places, nearest_scale(guess, finer=finer)) for guess in first]
    if not any(right for right, _, _ in tried):
        tried += [_try(slide, detector, places, nearest_scale(1 / reduction, finer=finer)) for reduction in GUESSES]
    # The scale at which most cells look as large as they should; then their size says it exactly.
    _, looks, scale = max(tried, key=lambda trial: trial[0])
    if looks is None:
        if first:
            return first[0]
        raise BadInput(
            f"{slide.name}: it does not say its scale, and no cell was found by which to tell it. "
            "Give --um-per-px, or --scale."
        )
    off = looks / cell
    if len(tried) == 1 and 1 / OFF_SCALE <= off <= OFF_SCALE:
        return first[0]
    return scale.network_px / off


def _try(
    slide: WholeSlide, detector: FieldDetector, places: Sequence[Rectangle], scale: WorkingScale
) -> tuple[int, float | None, WorkingScale]:
    """Of sure finds on some tiles: how many look right, and how large the middle one looks in network pixels."""
    grid = tile_grid(detector.traits, scale)
    fields = [
        tile_field(slide, scale, x - grid.side // 2, y - grid.side // 2, grid.side)
        for x, y in _promising(slide, places, grid.side)
    ]
    found = [one_name_per_cell(claims.above(SURE)) for claims in detector.at(scale.network_px).detect(fields)]
    sides = np.concatenate([np.sqrt(area(claims.boxes)) for claims in found]) * scale.network_px
    if not len(sides):
        return 0, None, scale
    off = sides / cell_px(detector.traits)
    return int(((off >= 1 / OFF_SCALE) & (off <= OFF_SCALE)).sum()), float(np.median(sides)), scale


def _promising(slide: WholeSlide, places: Sequence[Rectangle], side: int) -> list[tuple[int, int]]:
    """Middles (x, y) of the tiles with the most to see, among places spread evenly."""
    spots = list(_spread(places, side))
    # Seen so coarsely that a cell is a few pixels: enough to tell it from glass.
    reduction = max(side // 64, 1)
    count = -(-side // reduction)
    contrast = []
    for x, y in spots:
        left, top = (x - side // 2) // reduction, (y - side // 2) // reduction
        contrast.append(float(read_reduced(slide, reduction, left, top, count, count)[..., 1].std()))
    return [spots[i] for i in sorted(np.argsort(contrast, kind="stable")[-TRIALS:].tolist())]


def _spread(places: Sequence[Rectangle], side: int) -> Iterator[tuple[int, int]]:
    each = math.ceil(PLACES_SEEN / len(places))
    for place in list(places)[:PLACES_SEEN]:
        across = max(min(round(math.sqrt(each * place.width / place.height)), -(-place.width // side)), 1)
        down = max(min(math.ceil(each / across), -(-place.height // side)), 1)
        for row in range(down):
            for column in range(across):
                yield (
                    place.x + int((column + 0.5) * place.width / across),
                    place.y + int((row + 0.5) * place.height / down),
                )


def tile_field(slide: WholeSlide, scale: WorkingScale, x: int, y: int, side: int) -> FieldImage:
    """A square of the slide as a field of `side` pixels of level 0, read at `scale.reading`."""
    step = scale.reading
    x, y, count = x // step, y // step, side // step
    pixels = read_reduced(slide, step, x, y, count, count)
    return FieldImage(pixels, f"{slide.name} {x * step},{y * step}", side, side, slide.um_per_px)


def _strides(length: float) -> int:
    return math.ceil(length / STRIDE) * STRIDE
