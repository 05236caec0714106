"""How well the cells of a place can be read: focus, thickness and stain, each measured, each a score.

A place is as good as its worst part, and says which that is. Measures are comparable between places of a slide and
between unlike the focus score of a microscope, which compares pictures of the same place. Scores are 0 (useless) to 1
(as good as any); the limits are those of real fields (decision 0029).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.slide.density import Density, density, purple

READ_UM_PER_PX = 0.25
"""The scale at which places are judged; a coarser slide is judged as it is."""

# Densities, gaps and nuclei need no more.
_COARSE_UM_PER_PX = 0.5
# Smaller places have no quarters.
_WHOLE_UM = 80.0
# An edge of a nucleus or red cell lies whole within such a window.
_WINDOW_UM = 3.0
# Share of the light by which the strongest edges of a place must differ, or there is nothing to be sharp.
_LEAST_CONTRAST = 0.10
# Below this share of a red cell's density lies a gap, above that share two cells on one another.
_GAP, _TWO = 0.4, 1.6
# Area of a large precursor, whose cytoplasm is purple, too; what is larger is several cells. Less is a platelet.
_LARGE_UM2, _LEAST_UM2 = 200.0, 14.0
USUAL_RED_CELL = 0.14
"""Density of green of an ordinary red cell; 0.12 to 0.17 in the fields looked at."""


@dataclass(frozen=True)
class Readings:
    """What was measured at a place. Where its quarters differ, what is told is that of the worst.

    edge_um: standard deviation of the blur of its strongest edges. background: density of the lightest tenth, in red
    cells. least_gaps, most_gaps: share that no cell covers. overlapped: share of what red cells cover where they lie on
    one another. nucleus, red_cell: median density of R, G, B, zeros where there is none. nuclei: estimated number.
    """

    edge_um: float
    background: float
    least_gaps: float
    most_gaps: float
    overlapped: float
    nucleus: tuple[float, float, float]
    red_cell: tuple[float, float, float]
    nuclei: float


@dataclass(frozen=True)
class Quality:
    """Scores 0..1 of a place, its estimated nucleated cells, and in a few words what is wrong with it."""

    focus: float
    thickness: float
    stain: float
    nuclei: float
    why: str

    @property
    def quality(self) -> float:
        """As good as the worst part."""
        return min(self.focus, self.thickness, self.stain)


def judge(pixels: NDArray[np.uint8], um_per_px: float, white: NDArray[np.float32], red_cell: float) -> Quality:
    """Judge the pixels (h, w, 3) of a place. white: (3,) of the slide. red_cell: density of green of one layer."""
    return appraise(measure(pixels, um_per_px, white, red_cell))


def measure(pixels: NDArray[np.uint8], um_per_px: float, white: NDArray[np.float32], red_cell: float) -> Readings:
    """Take the readings of a place; see `judge`."""
    zoom = min(um_per_px / _COARSE_UM_PER_PX, 1.0)
    coarse = cv2.resize(pixels, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    od = density(np.asarray(coarse, np.uint8), white)
    nuclear = purple(od)
    reds = (od[..., 1] > _GAP * red_cell) & ~nuclear
    quarters = _quarters(od.shape[:2], um_per_px / zoom)
    gaps = [float((od[q][..., 1] <= _GAP * red_cell).mean()) for q in quarters]
    return Readings(
        edge_um=max(_edge_um(pixels[q], um_per_px, white) for q in _quarters(pixels.shape[:2], um_per_px)),
        background=max(float(np.percentile(od[q][..., 1], 10)) for q in quarters) / red_cell,
        least_gaps=min(gaps),
        most_gaps=max(gaps),
        overlapped=max(_share(od[q][..., 1] > _TWO * red_cell, reds[q]) for q in quarters),
        nucleus=_median(od, nuclear),
        red_cell=_median(od, reds),
        nuclei=_count(nuclear, um_per_px / zoom),
    )


def appraise(seen: Readings) -> Quality:
    """Readings -> scores, and the words for the lowest of them."""
    crowded, thin = _rises(seen.least_gaps, 0.05, 0.25), _falls(seen.most_gaps, 0.80, 0.95)
    thick = min(crowded, _falls(seen.background, 0.3, 0.9), _falls(seen.overlapped, 0.2, 0.5))
    focus = _falls(seen.edge_um, 0.35, 0.9)
    stain, stain_words = _stain(seen)
    parts = [
        (thick, "cells lie on one another"),
        (thin, "few cells, or pale ones"),
        (stain, stain_words),
        (focus, "out of focus"),
    ]
    worst, words = min(parts, key=lambda part: part[0])
    return Quality(focus, min(thick, thin), stain, seen.nuclei, words if worst < 0.75 else "readable")


def _stain(seen: Readings) -> tuple[float, str]:
    """Nuclei are dark and purple, red cells paler and pink: the lowest of these scores, with its words."""
    red, green, blue = seen.red_cell
    nucleus = seen.nucleus[1]
    parts = [
        (_rises(green, 0.04, 0.08), "red cells are pale" if green else "no pink red cells"),
        (_falls(green, 0.35, 0.6), "stained too dark"),
        (_falls(red / max(green, 0.02), 0.8, 1.1), "red cells are blue"),
        (min(_rises(blue / max(green, 0.02), 0.3, 0.5), _falls(blue / max(green, 0.02), 1.3, 1.8)), "odd colours"),
        (_rises(nucleus, 0.12, 0.22), "nuclei are pale" if nucleus else "no stained nuclei"),
        (_falls(nucleus, 0.9, 1.4), "stained too dark"),
    ]
    return min(parts, key=lambda part: part[0])


def _rises(value: float, none: float, full: float) -> float:
    return float(np.clip((value - none) / (full - none), 0, 1))


def _falls(value: float, full: float, none: float) -> float:
    return 1 - _rises(value, full, none)


def _edge_um(pixels: NDArray[np.uint8], um_per_px: float, white: NDArray[np.float32]) -> float:
    """Blur of the strongest edges in red light, in which nuclei stand out; infinite where there are none.

    A step of height c, blurred by a Gaussian of standard deviation s, rises by c / (s sqrt(2 pi)) at its steepest. Both
    are looked for within a window about each pixel, and the median of the strongest steps is the blur. Neither
    brightness nor the number of cells enters, and noise hardly, as steps are many times as high.
    """
    light = np.asarray(pixels[..., 0], np.float32) / float(white[0])
    side = 2 * max(round(_WINDOW_UM / 2 / um_per_px), 1) + 1
    window = np.ones((side, side), np.uint8)
    smooth = cv2.GaussianBlur(light, (3, 3), 0)
    step = cv2.dilate(smooth, window) - cv2.erode(smooth, window)
    strongest = float(np.percentile(step, 99.5))
    if strongest < _LEAST_CONTRAST:
        return float("inf")
    slope = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(light, cv2.CV_32F, 0, 1, scale=1 / 8))
    steepest = cv2.dilate(np.asarray(slope, np.float32), window)
    strong = step > strongest / 2
    return float(np.median(step[strong] / steepest[strong])) / float(np.sqrt(2 * np.pi)) * um_per_px


def _quarters(shape: tuple[int, ...], um_per_px: float) -> list[tuple[slice, slice]]:
    """The four quarters of a picture, or all of it where they would hold but a cell or two."""
    height, width = shape
    if min(height, width) * um_per_px < _WHOLE_UM:
        return [(slice(0, height), slice(0, width))]
    halves = [(slice(0, side // 2), slice(side // 2, side)) for side in (height, width)]
    return [(rows, columns) for rows in halves[0] for columns in halves[1]]


def _share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(of[among].mean()) if among.any() else 0.0


def _median(od: Density, where: NDArray[np.bool_]) -> tuple[float, float, float]:
    if where.mean() < 5e-4:
        return 0.0, 0.0, 0.0
    red, green, blue = np.median(od[where], axis=0).tolist()
    return red, green, blue


def _count(nuclear: NDArray[np.bool_], um_per_px: float) -> float:
    """About how many nucleated cells: lobes are joined, clumps divided by area, those at the edge count half."""
    side = 2 * max(round(1.0 / um_per_px), 1) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    mask = cv2.morphologyEx(nuclear.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    left, top, width, height, area = stats[1:].T
    um2 = area * um_per_px**2
    cells = np.maximum(np.rint(um2 / _LARGE_UM2), 1) * (um2 >= _LEAST_UM2)
    cut = (left == 0) | (top == 0) | (left + width == mask.shape[1]) | (top + height == mask.shape[0])
    return float(np.where(cut, cells / 2, cells).sum())
