"""Paint one tile of a slide: a square of glass, at one of several scales, seamless with its neighbours.

Everything is laid at whole pixels counted from the corner of the slide, in one order, and a tile paints whatever
reaches into it: what lies across a border is the same thing on both sides, continued.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.smear.brush import Light, overlap
from marrowscope.smear.cell import PaintedCell, morphology_of, paint_cell
from marrowscope.smear.field import paste
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

TileKey = tuple[int, int, int]
"""(level, column, row): a pixel of level n is 2**n times as wide as one of level 0."""


class TilePainter:
    """Paints tiles of one slide. Threads may share it."""

    def __init__(self, plan: SlidePlan, stain: Stain, um_per_px: float) -> None:
        self._plan, self._stain, self._um_per_px = plan, stain, um_per_px
        self._painted: Lru[PaintedCell] = Lru(40)

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
        for thing in [e for b in blocks for e in plan.extras(b)] + [c for b in blocks for c in plan.cells(b)]:
            x, y = thing.x_um / scale - left, thing.y_um / scale - top
            reach = REACH_UM / scale
            if -reach < x < side + reach and -reach < y < side + reach:
                painted = self._painted.get((thing.seed, level), lambda t=thing: self._paint_thing(t, scale))  # type: ignore[misc]
                there, here = overlap((side, side), len(painted.cover), x, y)
                if there[0].stop > there[0].start and there[1].stop > there[1].start:
                    paste(light, painted, (there, here))
        return light

    def _paint_thing(self, thing: Extra | GlassCell, scale: float) -> PaintedCell:
        rng = np.random.default_rng(thing.seed)
        if isinstance(thing, GlassCell):
            return paint_cell(morphology_of(self._plan.taxonomy[thing.label].code), rng, scale, self._stain)
        return (paint_smudge if thing.smudge else paint_platelet)(rng, scale, self._stain)

    def _plasma(self, level: int, left: int, top: int, side: int) -> Plane:
        """Optical density of dried plasma: haze from knots that every tile shares, none where the glass is open."""
        step = _KNOT_PX >> level
        # Two knots more on every side: a cubic looks as far.
        first_column, first_row = left // step - 2, top // step - 2
        columns = np.arange(first_column, (left + side) // step + 4)
        rows = np.arange(first_row, (top + side) // step + 4)
        table = _haze_knots()
        at_um = self.scale(level) * step
        x, y = np.meshgrid((columns + 0.5) * at_um, (rows + 0.5) * at_um)
        knots = table[np.ix_(rows % len(table), columns % len(table))] * np.float32(0.006) + np.float32(0.025)
        knots *= np.clip(4 * self._plan.thickness(x, y), 0, 1)
        haze = cv2.resize(knots, (len(columns) * step, len(rows) * step), interpolation=cv2.INTER_CUBIC)
        x1, y1 = left - first_column * step, top - first_row * step
        return np.asarray(haze[y1 : y1 + side, x1 : x1 + side], np.float32)


@lru_cache(1)
def _haze_knots() -> Plane:
    """(256, 256) of unit variance; opposite edges fit together."""
    white = np.random.default_rng(4077).standard_normal((256, 256)).astype(np.float32)
    smooth = cv2.GaussianBlur(np.tile(white, (3, 3)), (0, 0), 1.2)[256:512, 256:512]
    return np.asarray(smooth / smooth.std(), np.float32)
