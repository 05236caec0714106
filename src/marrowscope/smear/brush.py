"""Small strokes that every part of the smear is painted with: soft edges, mixing, laying a picture on a canvas."""

import numpy as np
from numpy.typing import NDArray

from marrowscope.smear.texture import Plane

Light = NDArray[np.float32]
# The lens resolves about 0.25 um: no edge is sharper than that, and none is drawn sharper than a pixel.
EDGE_UM = 0.26


def soft_inside(distance: Plane, um_per_px: float, edge_um: float = EDGE_UM) -> Plane:
    """1 inside, 0 outside, a straight ramp between that is at least a pixel wide."""
    return np.asarray(np.clip(0.5 - distance / np.float32(max(edge_um, 1.2 * um_per_px)), 0, 1), np.float32)


def mix_toward(light: Light, colour: Light, share: Plane) -> None:
    """Mix `light` (h, w, 3) toward `colour`, (3,) or (h, w, 3), by `share` (h, w) 0..1, in place."""
    # One channel at a time: numpy is three times slower over a last axis of three.
    for channel in range(3):
        plane = light[..., channel]
        plane += share * (colour[..., channel] - plane)


def lay(below: Light, picture: Light, cover: Plane) -> None:
    """Lay a picture (h, w, 3) on `below`, in place, where `cover` (h, w) is 1; a little shines through."""
    seen = picture * (1 - np.float32(0.22) * (1 - below))
    mix_toward(below, seen, cover)


def dim(light: Light, factor: Plane) -> None:
    """Multiply `light` (h, w, 3) by `factor` (h, w), in place."""
    for channel in range(3):
        light[..., channel] *= factor


def shaded(pale: Light, deep: Light, depth: Plane) -> Light:
    """(h, w, 3) light between two colours (3,): `pale` where depth is 0, `deep` where it is 1."""
    light = np.empty((*depth.shape, 3), np.float32)
    for channel in range(3):
        light[..., channel] = pale[channel] + depth * (deep[channel] - pale[channel])
    return light


def between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """A uniform number within limits."""
    return float(rng.uniform(*limits))


def how_many(rng: np.random.Generator, limits: tuple[int, int]) -> int:
    """A uniform whole number within limits, both included."""
    return int(rng.integers(limits[0], limits[1] + 1))


def overlap(
    shape: tuple[int, int], side_px: int, x_px: float, y_px: float
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a square picture centred at (x, y) meets a canvas: rows and columns there, and in the picture.

    Both are empty if it lies outside.
    """
    left, top = round(x_px - side_px / 2), round(y_px - side_px / 2)
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = max(min(left + side_px, shape[1]), x1), max(min(top + side_px, shape[0]), y1)
    return (slice(y1, y2), slice(x1, x2)), (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
