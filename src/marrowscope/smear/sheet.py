"""A contact sheet: one row a class with its name, several cells of each, for people to look at."""

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.smear.cell import paint_cell
from marrowscope.smear.morphology import morphologies
from marrowscope.smear.stain import Stain

_TILE_UM = 23.0


def contact_sheet(
    taxonomy: Taxonomy, seed: int, *, columns: int = 8, tile_px: int = 176, stain: Stain | None = None
) -> NDArray[np.uint8]:
    """Every class of a scheme that can be drawn, at one scale: (classes * tile_px, (2 + columns) * tile_px, 3) RGB."""
    stain = stain or Stain.reference()
    um_per_px = _TILE_UM / tile_px
    rows = []
    for n, kind in enumerate(morphologies()[c.code] for c in taxonomy if c.code in morphologies()):
        name = next(c.name for c in taxonomy if c.code == kind.code)
        row = [_name_plate(name, tile_px, stain)]
        for column in range(columns):
            painted = paint_cell(kind, np.random.default_rng([seed, n, column]), um_per_px, stain)
            tile = np.ones((tile_px, tile_px, 3), np.float32)
            side = min(len(painted.cover), tile_px)
            cut, pad = (len(painted.cover) - side) // 2, (tile_px - side) // 2
            inner = slice(cut, cut + side)
            cover = painted.cover[inner, inner, None]
            tile[pad : pad + side, pad : pad + side] = 1 - cover + cover * painted.light[inner, inner]
            row.append(np.rint(tile * stain.white * 255).astype(np.uint8))
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows, axis=0)


def _name_plate(name: str, height_px: int, stain: Stain) -> NDArray[np.uint8]:
    plate = np.full((height_px, 2 * height_px, 3), np.rint(stain.white * 255), np.uint8)
    lines, line = [], ""
    for word in name.split():
        if line and len(line) + len(word) > 15:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    for n, text in enumerate([*lines, line]):
        place = (8, int(height_px * 0.42) + n * int(height_px * 0.17))
        cv2.putText(plate, text, place, cv2.FONT_HERSHEY_SIMPLEX, height_px / 290, (40, 30, 60), 1, cv2.LINE_AA)
    return plate
