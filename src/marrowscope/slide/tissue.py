"""Where on a slide there is anything to look at: stained cells, but neither bare glass nor pen marks."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.slide.density import density, ink, white_of
from marrowscope.slide.slide import WholeSlide
from marrowscope.slide.view import overview, scale_of, view

LOW_POWER_UM = 10.0
"""Micrometres a pixel at low power: about one red cell, so that a pixel's density tells how many cells share it."""

# Low power is coarser on slides that would have more pixels than this.
_MOST_PX = 6_000_000
# Mean density of green over a few cells above which glass is not bare. Red cells that cover half of it have 0.07.
_BARE = 0.015
_AROUND_UM = 40.0
# Ink runs, and its edge is pale.
_INK_REACH_UM = 100.0
# Places to find white at: so many across and down, each so large.
_PLACES, _PLACE_UM, _PLACE_UM_PER_PX = 6, 100.0, 0.5


@dataclass(frozen=True, eq=False)
class Tissue:
    """A slide at low power. pixels: (h, w, 3) uint8 RGB. mask, ink: (h, w) bool, tissue without ink; ink with a rim.

    downsample: pixels of level 0 that one of these spans. white: (3,) the colour of bare glass. um_per_px: of level 0.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    ink: NDArray[np.bool_]
    downsample: float
    white: NDArray[np.float32]
    um_per_px: float

    @property
    def rectangles(self) -> list[tuple[int, int, int, int]]:
        """(x, y, width, height) of each connected piece of tissue in pixels of level 0, largest first.

        Specks below 0.1 mm across are left out; rectangles that overlap are joined.
        """
        least = max(1, round(100.0 / (self.downsample * self.um_per_px)))
        _, _, stats, _ = cv2.connectedComponentsWithStats(self.mask.astype(np.uint8), connectivity=8)
        boxes = [tuple(int(v) for v in row[:4]) for row in stats[1:] if min(row[2], row[3]) >= least]
        scaled = [tuple(round(v * self.downsample) for v in box) for box in _joined(boxes)]
        return sorted(((x, y, w, h) for x, y, w, h in scaled), key=lambda r: (-r[2] * r[3], r[1], r[0]))


def find_tissue(slide: WholeSlide, *, um_per_px: float | None = None) -> Tissue:
    """Look over a slide at low power. um_per_px: of level 0, where the file does not say. BadSlide: too coarse."""
    scale = scale_of(slide, um_per_px)
    whole = slide.levels[0]
    # A slide of one field is still some pixels across.
    downsample = min(LOW_POWER_UM / scale, max(min(whole.width, whole.height) / 4, 1))
    downsample = max(downsample, math.sqrt(whole.width * whole.height / _MOST_PX))
    pixels = overview(slide, downsample)
    white = white_of([pixels, *_places(slide, scale)])
    low_um = downsample * scale
    od = density(pixels, white)
    marked = _without_specks(ink(od), low_um)
    reach = 2 * round(_INK_REACH_UM / low_um) + 1
    marked = cv2.dilate(marked.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
    around = cv2.GaussianBlur(od[..., 1], (0, 0), max(_AROUND_UM / low_um, 0.5), borderType=cv2.BORDER_REPLICATE)
    return Tissue(pixels, (around > _BARE) & ~marked, marked, downsample, white, scale)


def _places(slide: WholeSlide, scale: float) -> list[NDArray[np.uint8]]:
    """Finer pictures of places spread over the slide: between cells there is glass, also where none is bare."""
    whole = slide.levels[0]
    side = _PLACE_UM / scale
    width, height = min(side, whole.width), min(side, whole.height)
    zoom = max(_PLACE_UM_PER_PX / scale, 1)
    out = max(round(width / zoom), 1), max(round(height / zoom), 1)
    return [
        view(slide, (whole.width - width) * column, (whole.height - height) * row, width, height, out)
        for row in np.linspace(0, 1, _PLACES)
        for column in np.linspace(0, 1, _PLACES)
    ]


def _without_specks(mask: NDArray[np.bool_], low_um: float) -> NDArray[np.bool_]:
    """Without what is thinner than three pixels of 10 um: dirt, and clumps of stain, are no pen marks."""
    side = max(round(30.0 / low_um), 1)
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8)) > 0)


def _joined(boxes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Boxes (x, y, w, h) of which no two overlap, covering all that were given."""
    apart: list[tuple[int, ...]] = []
    for box in boxes:
        x, y, w, h = box
        while hit := next(
            (b for b in apart if x < b[0] + b[2] and b[0] < x + w and y < b[1] + b[3] and b[1] < y + h), None
        ):
            apart.remove(hit)
            right, bottom = max(x + w, hit[0] + hit[2]), max(y + h, hit[1] + hit[3])
            x, y = min(x, hit[0]), min(y, hit[1])
            w, h = right - x, bottom - y
        apart.append((x, y, w, h))
    return apart
