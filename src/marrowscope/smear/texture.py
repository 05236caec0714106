"""Grain for the brush: periodic noise at a few wavelengths, made once and cut anew for every cell.

Drawing noise afresh for each cell would be most of the cost of a field. Each tile repeats after `PERIOD_UM` in both
directions, so any window of it is seamless, and a window costs one slice.
"""

from functools import cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Grain = Literal["dust", "fine", "medium", "coarse", "cloud", "strand"]

PERIOD_UM = 34.0
_FINEST_PX = 512
# Wavelength in um where the noise is strongest, and its spread in octaves.
_WAVELENGTHS: dict[Grain, tuple[float, float]] = {
    "dust": (0.45, 0.5),
    "fine": (0.85, 0.6),
    "medium": (1.5, 0.7),
    "coarse": (2.6, 0.7),
    "cloud": (6.5, 0.7),
    "strand": (1.0, 0.75),
}


@cache
def _finest(grain: Grain) -> Plane:
    wavelength_um, octaves = _WAVELENGTHS[grain]
    # A fixed seed of its own: the tile is a property of the brush, the seed of a field only chooses windows.
    white = np.random.default_rng([20220, len(grain), ord(grain[0])]).standard_normal((_FINEST_PX, _FINEST_PX))
    frequency_y = np.fft.fftfreq(_FINEST_PX, PERIOD_UM / _FINEST_PX)[:, None]
    frequency_x = np.fft.rfftfreq(_FINEST_PX, PERIOD_UM / _FINEST_PX)[None, :]
    # Strands are noise that is three times longer than wide.
    stretch = 3.0 if grain == "strand" else 1.0
    frequency = np.hypot(frequency_x, frequency_y * stretch)
    frequency[0, 0] = 1e-9
    band = np.exp(-0.5 * (np.log2(frequency * wavelength_um) / octaves) ** 2)
    noise = np.asarray(np.fft.irfft2(np.fft.rfft2(white) * band, s=white.shape), np.float32)
    if grain == "strand":
        noise = _swirled(noise)
    return np.asarray(noise / noise.std(), np.float32)


def _swirled(noise: Plane) -> Plane:
    """Bend straight strands into skeins: every pixel is fetched from a little way off."""
    px_per_um = _FINEST_PX / PERIOD_UM
    y, x = np.indices(noise.shape, dtype=np.float32)
    aside, along = _finest("cloud") * np.float32(1.6 * px_per_um), _finest("cloud").T * np.float32(1.6 * px_per_um)
    return np.asarray(cv2.remap(noise, x + aside, y + along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


@cache
def _doubled(grain: Grain, side_px: int) -> Plane:
    tile = _finest(grain)
    if side_px != _FINEST_PX:
        method = cv2.INTER_AREA if side_px < _FINEST_PX else cv2.INTER_CUBIC
        tile = np.asarray(cv2.resize(tile, (side_px, side_px), interpolation=method), np.float32)
    return np.tile(tile, (2, 2))


def window(grain: Grain, side_px: int, um_per_px: float, rng: np.random.Generator) -> Plane:
    """A random (side_px, side_px) cut of about unit variance. It is a view: do not write to it.

    The same generator gives the same place on the tile at every resolution. ValueError beyond one period.
    """
    across, down, way = rng.random(3)
    tile_px = round(PERIOD_UM / um_per_px)
    if side_px > tile_px:
        raise ValueError(f"a window of {side_px} px is wider than the tile of {tile_px} px ({PERIOD_UM} um)")
    left, top = int(across * tile_px), int(down * tile_px)
    cut = _doubled(grain, tile_px)[top : top + side_px, left : left + side_px]
    return cut.T if way < 0.5 else cut


def haze(height_px: int, width_px: int, um_per_px: float, rng: np.random.Generator) -> Plane:
    """Slow noise over a whole field, (height_px, width_px), about unit variance: unevenly dried plasma."""
    coarse_um = 4.0
    shape = (int(height_px * um_per_px / coarse_um) + 4, int(width_px * um_per_px / coarse_um) + 4)
    knots = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 1.2)
    knots = np.asarray(knots, np.float32) / np.float32(max(float(knots.std()), 1e-6))
    return np.asarray(cv2.resize(knots, (width_px, height_px), interpolation=cv2.INTER_CUBIC), np.float32)
