"""A slide of known zones: good ones, and ones that nobody should count in.

One small block of the synthetic smear is drawn once; mirrored copies of it fill every zone, and what is wrong with a
zone is done to its light: layers multiply (Beer-Lambert), a lens blurs, a pen absorbs.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.slide.array_slide import ArraySlide
from marrowscope.smear.slide import SmearSlide

UM_PER_PX = 0.25
BLOCK_UM = 100.0
ZONE_UM = 200.0
"""Side of a zone: two regions of 100 um."""

Light = NDArray[np.float32]
Pixels = NDArray[np.uint8]

GOOD = ("good", "turned")
INKED = ("blue pen", "green pen", "red pen", "black pen")
PLAN = (
    ("good", "thick", "thin", "blurred", "turned"),
    ("empty", "thick", "turned", "pale", "empty"),
    ("turned", "turned", "empty", "blue", "good"),
    ("empty", "blue pen", "empty", "good", "good"),
)


@cache
def block() -> tuple[Pixels, int]:
    """A square of smear that is a monolayer all over, and how many cells have their middle in it."""
    side = round(BLOCK_UM / UM_PER_PX)
    with SmearSlide(3, width_um=1000, height_um=1000, um_per_px=UM_PER_PX) as slide:
        pixels = slide.view(500, 500, side, side, UM_PER_PX)
        boxes = slide.cells_in(500, 500, BLOCK_UM, BLOCK_UM).boxes_um
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return pixels, int((np.abs(middles - 500) < BLOCK_UM / 2).all(axis=1).sum())


@cache
def white() -> Light:
    """Colour of bare glass on that slide."""
    return np.percentile(block()[0].reshape(-1, 3), 98, axis=0).astype(np.float32)


@cache
def good_light() -> Light:
    """Light through a zone of monolayer, 1 where nothing absorbs."""
    pixels = block()[0]
    tile = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    return np.concatenate([tile, tile[::-1]], axis=0).astype(np.float32) / white()


def layers(light: Light, count: int) -> Light:
    """So many of it on one another, each shifted, by no multiple of the block."""
    return np.prod([np.roll(light, (137 * n, 59 * n), (0, 1)) for n in range(count)], axis=0, dtype=np.float32)


def blurred(light: Light, sigma_um: float) -> Light:
    """Out of focus by so much."""
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma_um / UM_PER_PX), np.float32) if sigma_um else light


def exposed(light: Light) -> Pixels:
    """What a camera makes of it."""
    return np.asarray(np.clip(light * white(), 0, 255) + 0.5, np.uint8)


@cache
def zone(kind: str) -> Pixels:
    """A zone of this kind, (side, side, 3) uint8 RGB."""
    light = good_light()
    pens = {"blue": (0.1, 0.25, 0.8), "green": (0.1, 0.7, 0.2), "red": (0.97, 0.15, 0.2), "black": (0.05, 0.05, 0.05)}
    match kind.split():
        case ["good"]:
            seen = light
        case ["turned"]:
            seen = light[:, ::-1].swapaxes(0, 1)
        case ["thick"]:
            seen = layers(light, 4)
        case ["thin"]:  # as at the feathered edge: a few cells here and there
            rows, columns = np.indices(light.shape[:2]) // 50
            seen = np.where(((rows * 3 + columns) % 7 == 0)[..., None], light, np.float32(1))
        case ["empty"]:
            seen = np.ones_like(light)
        case ["blurred"]:
            seen = blurred(light, 1.5)
        case ["pale"]:
            seen = light ** np.float32(0.3)
        case ["blue"]:
            seen = light[..., [1, 0, 2]]
        case [colour, "pen"]:
            seen = light * np.asarray(pens[colour], np.float32)
        case _:
            raise ValueError(kind)
    return exposed(seen)


def slide_of(plan: tuple[tuple[str, ...], ...], *, levels: int = 5, brightness: float = 1.0) -> ArraySlide:
    """A slide with such zones side by side."""
    rows = [np.concatenate([zone(kind) for kind in row], axis=1) for row in plan]
    pixels = np.concatenate(rows, axis=0)
    if brightness != 1:
        pixels = cv2.convertScaleAbs(pixels, alpha=brightness)
    return ArraySlide(pixels, "zones", um_per_px=UM_PER_PX, levels=levels)


def kinds_in(x: float, y: float, width: float, height: float) -> set[str]:
    """Kinds of the zones of `PLAN` into which a rectangle of level-0 pixels reaches."""
    side = round(ZONE_UM / UM_PER_PX)
    rows = range(int(y) // side, -(-int(y + height) // side))
    return {PLAN[r][c] for r in rows for c in range(int(x) // side, -(-int(x + width) // side))}
