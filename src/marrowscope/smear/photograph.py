"""The microscope's share of a picture: an uneven lamp, a lens slightly off focus, a camera with its noise."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.smear.brush import Light
from marrowscope.smear.plan import FieldPlan

# A prime, so that the noise repeats in step with nothing.
_NOISE_SIDE_PX = 509


def photograph(light: Light, plan: FieldPlan, rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Turn transmitted light on the plan's canvas into the field's pixels, (height, width, 3) uint8 RGB."""
    defocus_px = float(rng.uniform(0.03, 0.16)) / plan.um_per_px
    if defocus_px > 0.3:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), defocus_px), np.float32)
    seen = light * _lamp(plan, rng)
    pixels = np.asarray(cv2.convertScaleAbs(seen, alpha=255.0), np.uint8)
    if plan.enlarge > 1:
        size = (plan.canvas[1] * plan.enlarge, plan.canvas[0] * plan.enlarge)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)[:height, :width]
    return _with_noise(pixels, float(rng.uniform(1.0, 2.2)), rng)


def _lamp(plan: FieldPlan, rng: np.random.Generator) -> Light:
    """Colour of an empty field at every pixel: vignetting, a lamp off the axis, a slope of colour."""
    y, x = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 32), indexing="ij")
    off_x, off_y = rng.normal(0, 0.15, 2)
    gain = 1 - rng.uniform(0.0, 0.09) * ((x - off_x) ** 2 + (y - off_y) ** 2) / 2
    slope = rng.normal(0, 0.008, (2, 3))
    knots = plan.stain.white * (gain[..., None] + x[..., None] * slope[0] + y[..., None] * slope[1])
    lamp = cv2.resize(knots.astype(np.float32), plan.canvas[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(lamp, np.float32)


@cache
def _unit_noise() -> NDArray[np.float32]:
    side = _NOISE_SIDE_PX
    return np.random.default_rng(99).standard_normal((side, side, 3), dtype=np.float32)


def _with_noise(pixels: NDArray[np.uint8], sigma: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add sensor noise of `sigma` grey levels: one tile of noise from a random offset on, repeated."""
    side = _NOISE_SIDE_PX
    offset = tuple(rng.integers(side, size=2).tolist())
    noise = np.rint(np.roll(_unit_noise(), offset, axis=(0, 1)) * np.float32(sigma)).astype(np.int16)
    noisy = np.empty_like(pixels)
    for top in range(0, pixels.shape[0], side):
        for left in range(0, pixels.shape[1], side):
            there = (slice(top, top + side), slice(left, left + side))
            part = pixels[there]
            noisy[there] = cv2.add(part, noise[: part.shape[0], : part.shape[1]], dtype=cv2.CV_8U)
    return noisy
