"""The crowd between the nucleated cells: red cells, platelets, specks of stain, smudged nuclei.

Nothing here is labelled, as in the paper's fields. Red cells are cut from a small set of thickness sprites, turned and
mirrored: light through two of them is dimmed by both, so where they overlap their thicknesses add.
"""

from functools import cache

import cv2
import numpy as np

from marrowscope.smear import texture
from marrowscope.smear.brush import overlap, shaded, soft_inside
from marrowscope.smear.cell import PaintedCell
from marrowscope.smear.plan import FieldPlan
from marrowscope.smear.shape import Grid, wavy_circle
from marrowscope.smear.stain import Stain
from marrowscope.smear.texture import Plane

RED_CELL_UM = 7.2
_SPRITES = 28


@cache
def red_cell_sprites(um_per_px: float) -> tuple[Plane, ...]:
    """Thickness maps of red cells, 1 where an ordinary cell is thickest, all of one size in pixels."""
    rng = np.random.default_rng(7202)
    grid = Grid.around(RED_CELL_UM * 0.72, um_per_px)
    sprites = []
    for n in range(_SPRITES):
        stretch = 0.0 if n % 3 else rng.uniform(0.1, 0.45)
        diameter = RED_CELL_UM * float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.14))
        outline = wavy_circle(
            rng,
            np.pi / 4 * diameter**2,
            waviness=rng.uniform(0.008, 0.03),
            elongation=stretch,
            dents=int(rng.random() < 0.3),
        )
        distance = outline.distance(grid)
        pallor_um, pale = diameter * rng.uniform(0.15, 0.26), rng.uniform(0.35, 0.95)
        off = rng.normal(0, 0.25, 2)
        middle = grid.seen_from(float(off[0]), float(off[1])).radius
        # Biconcave: a plateau that falls to a paler middle, and a rim that thins at the very edge.
        pallor = 1 / (1 + np.exp((middle - np.float32(pallor_um)) / np.float32(rng.uniform(0.22, 0.5))))
        rim = np.clip(-distance / np.float32(0.7), 0, 1)
        grain = texture.window("coarse", grid.side_px, um_per_px, rng)
        thickness = (0.80 + 0.20 * rim) * (1 - np.float32(pale) * pallor) * (1 + np.float32(0.03) * grain)
        thickness += 0.12 * np.exp(-np.square((distance + np.float32(0.3)) / np.float32(0.22)))
        thickness *= soft_inside(np.asarray(distance, np.float32), um_per_px, 0.35)
        sprites.append(np.asarray(thickness, np.float32))
    return tuple(sprites)


def red_cell_thickness(plan: FieldPlan, rng: np.random.Generator, *, crowding: float) -> Plane:
    """Lay red cells around the nucleated cells of a plan: (h, w) thickness, 1 for one ordinary cell.

    crowding: share of the field that they try to cover.
    """
    thickness: Plane = np.zeros(plan.canvas, np.float32)
    height_um, width_um = (side * plan.um_per_px for side in plan.canvas)
    half_um = RED_CELL_UM / 2
    wanted = int(crowding * width_um * height_um / (np.pi * half_um**2))
    tries = wanted * 4
    sprites = red_cell_sprites(plan.um_per_px)
    spots = rng.uniform((-half_um, -half_um), (width_um + half_um, height_um + half_um), (tries, 2))
    which, turns, boldness = rng.integers(len(sprites), size=tries), rng.integers(8, size=tries), rng.random(tries)
    discs, laid = plan.discs_um, np.full((wanted, 2), np.inf)
    count = 0
    for (x, y), sprite, turn, bold in zip(
        spots.tolist(), which.tolist(), turns.tolist(), boldness.tolist(), strict=True
    ):
        if count == wanted:
            break
        # Most keep to themselves or touch; some lie on others, and some reach a little under a nucleated cell.
        apart_um = RED_CELL_UM * min(1.0, 0.45 + 1.2 * bold)
        if (np.hypot(laid[:count, 0] - x, laid[:count, 1] - y) < apart_um).any():
            continue
        if (np.hypot(discs[:, 0] - x, discs[:, 1] - y) - discs[:, 2] < half_um * (0.55 + 0.35 * bold)).any():
            continue
        laid[count] = x, y
        count += 1
        turned = np.rot90(sprites[sprite], turn % 4)
        there, here = overlap(plan.canvas, len(turned), x / plan.um_per_px, y / plan.um_per_px)
        thickness[there] += (turned.T if turn >= 4 else turned)[here]
    # Cells that overlap flatten each other: two are less than twice as thick. One stays about 1.
    return np.asarray(np.float32(2.43) * (1 - np.exp(thickness * np.float32(-1 / 1.9))), np.float32)


def paint_platelet(rng: np.random.Generator, um_per_px: float, stain: Stain) -> PaintedCell:
    """A platelet: 1.5-3.5 um, pale grey-violet hyalomere with a purple granular middle."""
    diameter = float(np.clip(rng.lognormal(np.log(2.3), 0.25), 1.4, 4.2))
    outline = wavy_circle(rng, np.pi / 4 * diameter**2, waviness=0.09, elongation=rng.uniform(0, 0.5))
    grid = Grid.around(outline.reach + 0.5, um_per_px)
    distance = outline.distance(grid)
    grain = texture.window("fine", grid.side_px, um_per_px, rng)
    middle = np.clip(-distance / np.float32(diameter * 0.35) + 0.45 * grain, 0, 1)
    light = shaded(stain.colour((206, 186, 214)), stain.colour((112, 52, 138)), middle)
    light = np.asarray(cv2.GaussianBlur(np.asarray(light, np.float32), (0, 0), max(0.12 / um_per_px, 0.4)), np.float32)
    cover = soft_inside(distance, um_per_px, 0.45)
    return PaintedCell(light, cover, np.zeros_like(cover), outline)


def paint_smudge(rng: np.random.Generator, um_per_px: float, stain: Stain) -> PaintedCell:
    """A burst nucleus: a pale violet, streaky smear without a cell around it."""
    outline = wavy_circle(rng, rng.uniform(60, 170), waviness=0.10, elongation=rng.uniform(0.2, 0.7), dents=3)
    grid = Grid.around(outline.reach + 1.5, um_per_px)
    strand = 0.5 * texture.window("strand", grid.side_px, um_per_px, rng)
    strand = strand + 0.8 * texture.window("coarse", grid.side_px, um_per_px, rng)
    cloud = texture.window("cloud", grid.side_px, um_per_px, rng)
    distance = outline.distance(grid) + 0.7 * strand
    dark = np.clip(0.45 + 0.3 * strand + 0.15 * cloud, 0, 1)
    light = shaded(stain.colour((214, 186, 216)), stain.colour((150, 102, 172)), dark)
    cover = 0.85 * soft_inside(distance, um_per_px, 1.6)
    return PaintedCell(np.asarray(light, np.float32), np.asarray(cover, np.float32), np.zeros_like(cover), outline)
