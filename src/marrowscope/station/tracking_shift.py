"""How far two pictures of one glass lie apart: normalised correlation finds the place, least squares the pixel.

A picture is first reduced to a *glance*: a small map of what the glass absorbs, free of exposure (logarithm), of
vignetting and shading (high-pass), and of the sensor's noise (averaged over many pixels). Then two steps:

1. Correlation over every possible shift at once, by FFT, normalised by what overlaps, so that a shift of three
   quarters of the picture is found as surely as none at all. Its peak says how much the two agree: -1..1.
2. Least squares on the overlap at the glance's own scale, to a few hundredths of its pixels.

Shifts say where the second picture lies relative to the first, (dx, dy) in pixels of the original: the glass at
(x, y) of the second is at (x + dx, y + dy) of the first.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Floats = NDArray[np.float32]

GLANCE_WIDTH = 320
"""Pixels to which the width of a picture is reduced; 0.4 um each at 1000x, where a red cell is 17 of them wide."""

SMALLEST_OVERLAP = 0.12
"""Share of the picture that must overlap for a shift to be believed."""

_HALVED = 2
_RIM = 8
_CLIP = np.float32(1.5)
_EFFECTIVE_PX = 30.0
"""Pixels of a halved glance that make one independent observation (about a quarter of a red cell)."""
_ENERGY_FLOOR = 1e-4


class Shift(NamedTuple):
    """Where the second picture lies relative to the first. agreement: correlation of what overlaps, -1..1.

    certainty: how many standard deviations that is above what unrelated glass gives. overlap: share of the picture.
    """

    dx: float
    dy: float
    agreement: float
    certainty: float
    overlap: float


@dataclass(frozen=True, eq=False)
class Glance:
    """A picture, reduced to what registration needs. pixels: (h, w) float32, zero mean. scale: original px a pixel."""

    pixels: Floats
    scale: float

    @property
    def contrast(self) -> float:
        """Standard deviation of optical density: near nothing on empty glass or far out of focus."""
        return float(self.pixels.std())


def glance_of(pixels: NDArray[np.uint8]) -> Glance:
    """The glance of an RGB picture (h, w, 3)."""
    height, width = pixels.shape[:2]
    scale = width / GLANCE_WIDTH
    size = (GLANCE_WIDTH, max(3 * _RIM, round(height / scale)))
    # Green is where eosin and haemoglobin absorb; one channel costs a fraction of a weighted grey.
    grey = cv2.extractChannel(pixels, 1)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    density = np.log(small + np.float32(8))
    # Finer than a nucleated cell: the edges of the many red cells tell one place from another, the bulk of a few dark
    # nuclei does not. Twice a box is nearly a Gaussian, at a tenth of its cost.
    side = GLANCE_WIDTH // 24 | 1
    shading = cv2.blur(cv2.blur(density, (side, side)), (side, side))
    density -= shading
    spread = np.float32(density.std())
    if spread > 0:
        # Dust and saturated granules must not outvote the rest.
        np.clip(density, -_CLIP * spread, _CLIP * spread, out=density)
    # Near the border the high-pass sees less than it should, the same in every picture: that would draw shifts to zero.
    return Glance(np.ascontiguousarray(density[_RIM:-_RIM, _RIM:-_RIM]), scale)


class Prepared:
    """A glance with its half-size transform and running sums, so that many others can be compared with it cheaply."""

    def __init__(self, glance: Glance) -> None:
        self.glance = glance
        height, width = glance.pixels.shape
        small = cv2.resize(glance.pixels, (width // _HALVED, height // _HALVED), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        small -= small.mean()
        self.shape = (small.shape[0], small.shape[1])
        rows, columns = self.shape
        self.padded = (fft.next_fast_len(2 * rows - 1, real=True), fft.next_fast_len(2 * columns - 1, real=True))
        self.spectrum = fft.rfft2(small, self.padded)
        # Running sums of values and of squares: what a shift lets overlap is always a rectangle in a corner.
        values, squares = cv2.integral2(small, sdepth=cv2.CV_32F, sqdepth=cv2.CV_32F)
        self.sums = (np.asarray(values, np.float32), np.asarray(squares, np.float32))


def _corner_sums(table: Floats, flipped: bool) -> Floats:
    """For every shift (dy, dx) in -(n-1)..n-1, the sum over the part of a picture that overlaps the other one.

    table: (h+1, w+1) integral image. Not flipped: the picture that stays, whose overlap starts at max(0, shift).
    """
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    dy = np.arange(-(rows - 1), rows)
    dx = np.arange(-(columns - 1), columns)
    if flipped:
        dy, dx = -dy, -dx
    top, bottom = np.maximum(dy, 0), np.minimum(rows + dy, rows)
    left, right = np.maximum(dx, 0), np.minimum(columns + dx, columns)
    by_row = table[bottom] - table[top]
    return np.asarray(by_row[:, right] - by_row[:, left], np.float32)


def find_shift(first: Prepared, second: Prepared, *, smallest_overlap: float = SMALLEST_OVERLAP) -> Shift:
    """Where `second` lies relative to `first`: the best of all shifts, to the pixel of a halved glance."""
    rows, columns = first.shape
    if second.shape != first.shape:
        raise ValueError(f"pictures must have one shape to be compared, got {first.shape} and {second.shape}")
    product = first.spectrum * np.conj(second.spectrum)
    wrapped = fft.irfft2(product, first.padded)
    dy = np.arange(-(rows - 1), rows)
    dx = np.arange(-(columns - 1), columns)
    cross = wrapped[np.ix_(dy, dx)]
    count = np.outer(rows - np.abs(dy), columns - np.abs(dx)).astype(np.float32)
    sum_a, sum_b = _corner_sums(first.sums[0], False), _corner_sums(second.sums[0], True)
    energy_a = _corner_sums(first.sums[1], False) - sum_a * sum_a / count
    energy_b = _corner_sums(second.sums[1], True) - sum_b * sum_b / count
    floor = _ENERGY_FLOOR * count
    agreement = (cross - sum_a * sum_b / count) / np.sqrt(np.maximum(energy_a, floor) * np.maximum(energy_b, floor))
    certainty = agreement * np.sqrt(count / _EFFECTIVE_PX)
    certainty[count < smallest_overlap * rows * columns] = -np.inf
    best = np.unravel_index(int(np.argmax(certainty)), certainty.shape)
    step = _HALVED * first.glance.scale
    return Shift(
        float(dx[best[1]]) * step,
        float(dy[best[0]]) * step,
        float(agreement[best]),
        float(certainty[best]),
        float(count[best]) / (rows * columns),
    )


def refine_shift(first: Glance, second: Glance, shift: Shift, *, steps: int = 4) -> Shift:
    """The same shift to a few hundredths of a glance's pixel, by least squares on what overlaps (Lucas and Kanade).

    `shift` must be right to about two of them. The result tells the agreement at the glance's own scale.
    """
    scale = first.scale
    sx, sy = shift.dx / scale, shift.dy / scale
    for _ in range(steps):
        a, b = _overlap(first.pixels, second.pixels, sx, sy)
        if min(a.shape) < 8:
            break
        a = a - a.mean()
        b = b - b.mean()
        # The mean of both slopes halves the bias that interpolating the second one brings.
        slope = cv2.sepFilter2D(a + b, cv2.CV_32F, _SLOPE, _SMOOTH), cv2.sepFilter2D(a + b, cv2.CV_32F, _SMOOTH, _SLOPE)
        gx, gy = (s[1:-1, 1:-1].ravel() / 2 for s in slope)
        wrong = (a * _gain(b, a) - b)[1:-1, 1:-1].ravel()
        xx, xy, yy = float(gx @ gx), float(gx @ gy), float(gy @ gy)
        det = xx * yy - xy * xy
        if det <= 1e-6 * (xx + yy) ** 2:
            break
        rx, ry = float(gx @ wrong), float(gy @ wrong)
        mx, my = -(yy * rx - xy * ry) / det, -(xx * ry - xy * rx) / det
        limit = 2.0
        sx, sy = sx + min(max(mx, -limit), limit), sy + min(max(my, -limit), limit)
        if abs(mx) + abs(my) < 0.01:
            break
    a, b = _overlap(first.pixels, second.pixels, sx, sy)
    agreement = _agreement(a, b)
    share = a.size / first.pixels.size
    certainty = agreement * float(np.sqrt(a.size / (_HALVED**2 * _EFFECTIVE_PX)))
    return Shift(sx * scale, sy * scale, agreement, certainty, share)


_SLOPE = np.asarray([-0.5, 0, 0.5], np.float32)
_SMOOTH = np.asarray([0, 1, 0], np.float32)


def _overlap(first: Floats, second: Floats, sx: float, sy: float) -> tuple[Floats, Floats]:
    """The part of `first` under `second` when that lies (sx, sy) away, and `second` sampled at the same points."""
    height, width = first.shape
    left, right = max(0, int(np.ceil(sx))), min(width, int(np.floor(width - 1 + sx)) + 1)
    top, bottom = max(0, int(np.ceil(sy))), min(height, int(np.floor(height - 1 + sy)) + 1)
    if right <= left or bottom <= top:
        nothing = np.zeros((0, 0), np.float32)
        return nothing, nothing
    move = np.asarray([[1, 0, left - sx], [0, 1, top - sy]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(second, move, (right - left, bottom - top), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return first[top:bottom, left:right], np.asarray(moved, np.float32)


def _gain(wanted: Floats, given: Floats) -> float:
    """The factor on `given` that comes nearest to `wanted`: one of the two may be out of focus."""
    return float(np.vdot(wanted, given)) / max(float(np.vdot(given, given)), 1e-12)


def _agreement(a: Floats, b: Floats) -> float:
    if not a.size:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    energy = float(np.vdot(a, a)) * float(np.vdot(b, b))
    return float(np.vdot(a, b)) / float(np.sqrt(energy)) if energy > 0 else 0.0
