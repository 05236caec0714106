"""Paint one tile of a slide: a square of glass, at one of several scales, seamless with its neighbours.

Everything is laid at whole pixels counted from the corner of the slide, in one order, and a tile paints whatever
reaches into it: what lies across a border is the same thing on both sides, continued.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.smear.brush import Light, lay, overlap
from marrowscope.smear.cell import PaintedCell, morphology_of, paint_cell
from marrowscope.smear.red_cells import paint_platelet, paint_smudge, red_cell_sprites
from marrowscope.smear.slide_plan import REACH_UM, Extra, GlassCell, Lru, SlidePlan
from marrowscope.smear.stain import Stain
from marrowscope.smear.texture import Plane

TILE_PX = 512
# From knot to knot of the plasma's haze at the finest level: about 4.4 um.
_KNOT_PX = 64
# A draft is painted this many levels coarser.
_DRAFT = 2
_LENS_SIGMA_UM = 0.08
_BARE_LAMP = 255

# Nothing that is painted reaches farther than this beyond the box of a cell, or from the middle of an extra.
_SPARE_UM = 1.0
_EXTRA_REACH_UM = 16.0

TileKey = tuple[int, int, int]
"""(level, column, row): a pixel of level n is 2**n times as wide as one of level 0."""


class _Stamp:
    """A painted cell, packed to a sixth of its size: it is wanted for up to four tiles."""

    def __init__(self, painted: PaintedCell) -> None:
        self._light = np.asarray(cv2.convertScaleAbs(painted.light, alpha=255.0), np.uint8)
        self._cover = np.asarray(cv2.convertScaleAbs(painted.cover, alpha=255.0), np.uint8)

    def press(self, light: Light, x_px: float, y_px: float) -> None:
        """Lay it on `light` with its middle at (x, y), as far as it meets it."""
        shape = (light.shape[0], light.shape[1])
        there, here = overlap(shape, len(self._cover), x_px, y_px)
        if there[0].stop > there[0].start and there[1].stop > there[1].start:
            part, cover = (a[here].astype(np.float32) * np.float32(1 / 255) for a in (self._light, self._cover))
            lay(light[there], part, cover)


def _meets(thing: Extra | GlassCell, here_um: tuple[float, float, float, float]) -> bool:
    """Whether any of it may be seen in a rectangle."""
    if isinstance(thing, GlassCell):
        (x1, y1, x2, y2), spare = thing.box_um, _SPARE_UM
    else:
        (x1, y1, x2, y2), spare = (thing.x_um, thing.y_um) * 2, _EXTRA_REACH_UM if thing.smudge else 4.0
    left, top, right, bottom = here_um
    return x1 - spare < right and x2 + spare > left and y1 - spare < bottom and y2 + spare > top


class TilePainter:
    """Paints tiles of one slide. Threads may share it."""

    def __init__(self, plan: SlidePlan, stain: Stain, um_per_px: float) -> None:
        self._plan, self._stain, self._um_per_px = plan, stain, um_per_px
        self._stamps: Lru[_Stamp] = Lru(160)

    def scale(self, level: int) -> float:
        """Micrometres a pixel at a level."""
        return self._um_per_px * 2.0**level

    def paint(self, key: TileKey) -> NDArray[np.uint8]:
        """The tile's transmitted light, (TILE_PX, TILE_PX, 3) uint8; 255 is the bare lamp."""
        return self.paint_square(key[0], key[1] * TILE_PX, key[2] * TILE_PX, TILE_PX)

    def draft(self, key: TileKey) -> NDArray[np.uint8]:
        """The same tile painted four times as coarse and enlarged: the same cells, blurred, in a tenth of the time."""
        side = TILE_PX >> _DRAFT
        rough = self.paint_square(key[0] + _DRAFT, key[1] * side, key[2] * side, side)
        return np.asarray(cv2.resize(rough, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC), np.uint8)

    def paint_square(self, level: int, left: int, top: int, side: int) -> NDArray[np.uint8]:
        """Any square of the slide, its corner and side in pixels of a level: (side, side, 3) uint8."""
        scale = self.scale(level)
        if self._is_off_glass(left, top, side, scale):
            return np.full((side, side, 3), _BARE_LAMP, np.uint8)
        blur_px = _LENS_SIGMA_UM / scale
        # Painted a little beyond its border, so that the blur finds there what its neighbour has.
        margin = int(np.ceil(4 * blur_px)) if blur_px > 0.3 else 0
        light = self._lay_down(level, left - margin, top - margin, side + 2 * margin)
        if margin:
            light = np.asarray(cv2.GaussianBlur(light, (0, 0), blur_px), np.float32)[margin:-margin, margin:-margin]
        return np.asarray(cv2.convertScaleAbs(light, alpha=_BARE_LAMP), np.uint8)

    def _is_off_glass(self, left: int, top: int, side: int, scale: float) -> bool:
        right, bottom = (left + side) * scale, (top + side) * scale
        return right < 0 or bottom < 0 or left * scale > self._plan.width_um or top * scale > self._plan.height_um

    def _lay_down(self, level: int, left: int, top: int, side: int) -> Light:
        plan, scale = self._plan, self.scale(level)
        far = REACH_UM
        blocks = plan.blocks_in(
            left * scale - far, top * scale - far, (left + side) * scale + far, (top + side) * scale + far
        )
        red: Plane = np.zeros((side, side), np.float32)
        sprites = red_cell_sprites(scale)
        for block in blocks:
            for x, y, which, turn in plan.red_cells(block).tolist():
                sprite = sprites[int(which * len(sprites))]
                there, here = overlap(red.shape, len(sprite), x / scale - left, y / scale - top)
                if there[0].stop > there[0].start and there[1].stop > there[1].start:
                    turned = np.rot90(sprite, int(turn) % 4)
                    red[there] += (turned.T if turn >= 4 else turned)[here]
        # As in `red_cells`: cells that overlap flatten each other.
        red = np.asarray(np.float32(2.43) * (1 - np.exp(red * np.float32(-1 / 1.9))), np.float32)
        plasma = self._plasma(level, left, top, side)
        densities = zip(self._stain.red_density, (0.7, 1.2, 0.5), strict=True)
        light = np.asarray(
            cv2.merge([cv2.exp(red * -np.float32(r) + plasma * -np.float32(p)) for r, p in densities]), np.float32
        )
        here_um = (left * scale, top * scale, (left + side) * scale, (top + side) * scale)
        for thing in [e for b in blocks for e in plan.extras(b)] + [c for b in blocks for c in plan.cells(b)]:
            if _meets(thing, here_um):
                stamp = self._stamps.get((thing.seed, level), lambda t=thing: self._make_stamp(t, scale))  # type: ignore[misc]
                stamp.press(light, thing.x_um / scale - left, thing.y_um / scale - top)
        return light

    def _make_stamp(self, thing: Extra | GlassCell, scale: float) -> "_Stamp":
        rng = np.random.default_rng(thing.seed)
        if isinstance(thing, GlassCell):
            return _Stamp(paint_cell(morphology_of(self._plan.taxonomy[thing.label].code), rng, scale, self._stain))
        return _Stamp((paint_smudge if thing.smudge else paint_platelet)(rng, scale, self._stain))

    def _plasma(self, level: int, left: int, top: int, side: int) -> Plane:
        """Optical density of dried plasma: haze from knots that every tile shares, none where the glass is open."""
        step = _KNOT_PX >> level
        # One knot more on every side, which is as far as the interpolation looks.
        first_column, first_row = left // step - 1, top // step - 1
        columns = np.arange(first_column, (left + side - 1) // step + 2)
        rows = np.arange(first_row, (top + side - 1) // step + 2)
        table = _haze_knots()
        at_um = self.scale(level) * step
        x, y = np.meshgrid((columns + 0.5) * at_um, (rows + 0.5) * at_um)
        knots = table[np.ix_(rows % len(table), columns % len(table))] * np.float32(0.006) + np.float32(0.025)
        knots *= np.clip(4 * self._plan.thickness(x, y), 0, 1)
        haze = cv2.resize(knots, (len(columns) * step, len(rows) * step), interpolation=cv2.INTER_LINEAR)
        x1, y1 = left - first_column * step, top - first_row * step
        return np.asarray(haze[y1 : y1 + side, x1 : x1 + side], np.float32)


@lru_cache(1)
def _haze_knots() -> Plane:
    """(256, 256) of unit variance; opposite edges fit together."""
    white = np.random.default_rng(4077).standard_normal((256, 256)).astype(np.float32)
    smooth = cv2.GaussianBlur(np.tile(white, (3, 3)), (0, 0), 1.2)[256:512, 256:512]
    return np.asarray(smooth / smooth.std(), np.float32)
