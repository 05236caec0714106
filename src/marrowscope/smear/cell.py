"""Draw one cell of a class: nucleus, chromatin, cytoplasm and granules, with its true outline.

Everything is laid out in um by the cell's own generator, so a cell is the same cell at every resolution.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BadTaxonomy
from marrowscope.smear import texture
from marrowscope.smear.brush import Light, between, how_many, mix_toward, soft_inside
from marrowscope.smear.cytoplasm import add_auer_rods, cytoplasm_light, granule_cover
from marrowscope.smear.morphology import Morphology, morphologies
from marrowscope.smear.nucleus import nucleus_light
from marrowscope.smear.shape import CHAINS, Grid, Outline, chained, notched, wavy_circle
from marrowscope.smear.stain import Stain
from marrowscope.smear.texture import Plane

_LENS_SIGMA_UM = 0.10


@dataclass(frozen=True, eq=False)
class PaintedCell:
    """A cell ready to be laid on a field.

    light: (n, n, 3) float32 transmitted light 0..1. cover: (n, n) float32, 1 inside the cell, soft at its edge.
    nucleus: (n, n) float32, 1 inside the nucleus. outline: the cell's edge about the middle of the picture, in um.
    """

    light: Light
    cover: Plane
    nucleus: Plane
    outline: Outline

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels that belong to the cell."""
        return np.asarray(self.cover >= 0.5)


def morphology_of(code: str) -> Morphology:
    """The row of `morphology` with this class code. BadTaxonomy if the smear cannot draw it."""
    kind = morphologies().get(code)
    if kind is None:
        raise BadTaxonomy(f"class '{code}' cannot be drawn. The smear draws: {', '.join(morphologies())}.")
    return kind


def draw_cell(
    code: str, seed: int, *, um_per_px: float = 0.066, stain: Stain | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One cell of a class on an empty background: (n, n, 3) uint8 RGB, and its mask (n, n). BadTaxonomy as above."""
    stain = stain or Stain.reference()
    painted = paint_cell(morphology_of(code), np.random.default_rng(seed), um_per_px, stain)
    cover = painted.cover[..., None]
    light = (1 - cover + cover * painted.light) * stain.white
    return np.asarray(np.rint(light * 255), np.uint8), painted.mask


def paint_cell(kind: Morphology, rng: np.random.Generator, um_per_px: float, stain: Stain) -> PaintedCell:
    """Paint one cell of this kind; every choice comes from `rng`."""
    # A generator for each part, so that one granule more does not move the nucleus.
    outline_rng, edge_rng, place_rng, body_rng, granule_rng, nucleus_rng = rng.spawn(6)
    outline = _outline(kind, outline_rng)
    grid = Grid.around(outline.reach + 0.6, um_per_px)
    cell_distance = _frayed(outline.distance(grid), grid, edge_rng)
    nuclear_distance, centre = _place_nucleus(kind, place_rng, outline, grid, cell_distance)
    nucleus = soft_inside(nuclear_distance, um_per_px)

    light = cytoplasm_light(kind, body_rng, grid, outline, cell_distance, nuclear_distance, centre, stain)
    granules = [(g, *granule_cover(g, granule_rng, outline, grid)) for g in kind.granules]
    for grain, cover, shade in granules:
        mix_toward(light, stain.colour(grain.colour) * shade[..., None], cover * (cell_distance < -0.25))
    add_auer_rods(kind, granule_rng, grid, light, nuclear_distance, stain)
    mix_toward(light, nucleus_light(kind, nucleus_rng, grid, nuclear_distance, centre, stain), nucleus)
    for grain, cover, _ in granules:
        if grain.over_nucleus:
            mix_toward(light, stain.colour(grain.colour) * np.float32(0.8), np.float32(0.45) * cover * nucleus)

    sigma_px = _LENS_SIGMA_UM / um_per_px
    if sigma_px > 0.3:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma_px), np.float32)
    return PaintedCell(np.clip(light, 0, 1), soft_inside(cell_distance, um_per_px), nucleus, outline)


def outline_of(kind: Morphology, rng: np.random.Generator) -> Outline:
    """The outline that `paint_cell` gives with an equal generator, without the painting."""
    return _outline(kind, rng.spawn(1)[0])


def _outline(kind: Morphology, rng: np.random.Generator) -> Outline:
    return wavy_circle(
        rng,
        np.pi / 4 * between(rng, kind.diameter_um) ** 2,
        waviness=kind.waviness,
        elongation=between(rng, kind.elongation),
        dents=how_many(rng, kind.dents),
    )


def _frayed(distance: Plane, grid: Grid, rng: np.random.Generator) -> Plane:
    """Roughen an edge by less than the lens resolves, unevenly along its way."""
    rough = texture.window("coarse", grid.side_px, grid.um_per_px, rng)
    where = texture.window("cloud", grid.side_px, grid.um_per_px, rng)
    return np.asarray(distance + np.float32(0.06) * rough * np.clip(where + np.float32(0.6), 0, 2), np.float32)


def _place_nucleus(
    kind: Morphology, rng: np.random.Generator, outline: Outline, grid: Grid, cell_distance: Plane
) -> tuple[Plane, tuple[float, float]]:
    """Signed distance of the nucleus, kept inside the cell, and its centre in um."""
    area = outline.area * between(rng, kind.nuclear_share)
    turn, where, off_centre = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), between(rng, kind.off_centre)
    nucleus = chained(rng, kind.shape, area) if kind.shape in CHAINS else notched(rng, kind.shape, area)
    away = off_centre * max(float(np.sqrt(outline.area / np.pi)) - nucleus.reach - 0.15, 0.0)
    centre = (away * float(np.cos(where)), away * float(np.sin(where)))
    distance = _frayed(nucleus.distance(grid.seen_from(*centre, turn)), grid, rng)
    # A nucleus presses against the membrane but never through it; the smooth maximum rounds the corners.
    edge, blend_um = cell_distance + np.float32(0.3), np.float32(0.7)
    close = np.maximum(blend_um - np.abs(distance - edge), 0)
    return np.asarray(np.maximum(distance, edge) + np.square(close) / (4 * blend_um), np.float32), centre
