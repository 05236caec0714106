"""Everything of a cell that is not nucleus: cytoplasm, Golgi court, vacuoles, granules, Auer rods."""

import cv2
import numpy as np

from marrowscope.smear import texture
from marrowscope.smear.brush import Light, between, dim, how_many, mix_toward, shaded, soft_inside
from marrowscope.smear.morphology import Granules, Morphology
from marrowscope.smear.shape import Grid, Outline
from marrowscope.smear.stain import Stain
from marrowscope.smear.texture import Plane

_COURT = (226, 206, 232)
_VACUOLE = (242, 237, 245)
_AUER_ROD = (150, 28, 104)


def cytoplasm_light(
    kind: Morphology,
    rng: np.random.Generator,
    grid: Grid,
    outline: Outline,
    cell_distance: Plane,
    nuclear_distance: Plane,
    centre: tuple[float, float],
    stain: Stain,
) -> Light:
    """Light through the cell body without its granules, (n, n, 3)."""
    texture_rng, vacuole_rng = rng.spawn(2)
    side, um_per_px = grid.side_px, grid.um_per_px
    cloud = texture.window("cloud", side, um_per_px, texture_rng)
    coarse = texture.window("coarse", side, um_per_px, texture_rng)
    fine = texture.window("fine", side, um_per_px, texture_rng)
    dust = texture.window("dust", side, um_per_px, texture_rng)
    body, rim = stain.colour(kind.cytoplasm), stain.colour(kind.rim)
    mottle = np.float32(kind.mottle)
    toward_rim = np.exp(np.minimum(cell_distance, 0) / np.float32(1.3)) + mottle * (
        np.float32(0.35) * cloud + np.float32(0.3) * coarse
    )
    light = shaded(body, rim, np.clip(toward_rim, -0.6, 1.3))
    grain_depth = np.float32(0.035) + np.float32(0.05) * mottle
    # The membrane is a thin darker line, uneven where the cell is thin.
    line = np.exp(-np.square((cell_distance + np.float32(0.25)) / np.float32(0.24)))
    line *= np.clip(np.float32(0.07) + np.float32(0.05) * coarse, 0, 0.2)
    dim(light, (1 + grain_depth * (np.float32(0.6) * fine + np.float32(0.5) * dust)) * (1 - line))

    if kind.hof > 0:
        # The pale court of the Golgi zone lies beside the nucleus, toward the middle of the cell.
        away = float(np.hypot(*centre)) or 1.0
        beside = grid.seen_from(-1.2 * centre[0] / away, -1.2 * centre[1] / away)
        court = np.exp(-np.square(beside.radius / np.float32(2.3))) * np.float32(kind.hof)
        mix_toward(light, stain.colour(_COURT), court)
    # A thin pale seam parts nucleus from cytoplasm.
    seam = np.exp(-np.square((nuclear_distance - np.float32(0.25)) / np.float32(0.28))) * np.float32(0.22)
    mix_toward(light, np.ones(3, np.float32), seam)
    for _ in range(how_many(vacuole_rng, kind.vacuoles)):
        angle, share, size_um = vacuole_rng.uniform((0, 0.45, 0.3), (2 * np.pi, 0.88, 0.75))
        reach = share * float(outline.at(np.asarray(angle)))
        hole = grid.seen_from(reach * float(np.cos(angle)), reach * float(np.sin(angle))).radius - np.float32(size_um)
        mix_toward(light, stain.colour(_VACUOLE), np.float32(0.85) * soft_inside(hole, grid.um_per_px))
    return light


def granule_cover(granules: Granules, rng: np.random.Generator, outline: Outline, grid: Grid) -> tuple[Plane, Plane]:
    """How much granules cover each pixel, 0..1, and a factor on their colour: each is a little darker or paler."""
    count = int(outline.area / 100 * between(rng, granules.per_100_um2))
    angle, share = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * 0.97
    reach = share * outline.at(angle)
    radius_um = rng.uniform(*granules.radius_um, count)
    # Granules out of focus are fainter.
    shade, depth = rng.uniform(0.82, 1.12, count), rng.uniform(0.45, 1.0, count)
    places = grid.sixteenths(np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1))
    radii = np.maximum(np.rint(radius_um / grid.um_per_px * 16), 5).astype(int)
    cover = np.zeros((grid.side_px, grid.side_px), np.uint8)
    shades = np.full((grid.side_px, grid.side_px), 128, np.uint8)
    for (x, y), radius, one_depth, one_shade in zip(
        places.tolist(),
        radii.tolist(),
        (255 * depth).astype(int).tolist(),
        (128 * shade).astype(int).tolist(),
        strict=True,
    ):
        cv2.circle(cover, (x, y), radius, one_depth, -1, cv2.LINE_AA, 4)
        cv2.circle(shades, (x, y), radius, one_shade, -1, cv2.LINE_8, 4)
    # A disc smaller than a pixel would still fill one: thin it to what it covers.
    pixels_each = np.pi * (sum(granules.radius_um) / 2 / grid.um_per_px) ** 2
    strength = granules.cover * min(1.0, pixels_each / 1.2) / 255
    sigma_px = 0.07 / grid.um_per_px
    if sigma_px > 0.3:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), sigma_px), np.uint8)
    return cover * np.float32(strength), np.asarray(shades, np.float32) / np.float32(128)


def add_auer_rods(
    kind: Morphology, rng: np.random.Generator, grid: Grid, light: Light, nuclear_distance: Plane, stain: Stain
) -> None:
    """A bundle of needles in the cytoplasm, like a faggot; drawn on `light` in place."""
    reach = rng.uniform(0.25, 0.42, 24) * grid.side_px * grid.um_per_px
    angle, lean, count = rng.uniform(0, 2 * np.pi, 24), rng.uniform(0, np.pi), how_many(rng, kind.auer_rods)
    places = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    free = np.flatnonzero(grid.at(nuclear_distance, places) > 0.7)
    if not len(free) or not count:
        return
    rods = np.zeros((grid.side_px, grid.side_px), np.uint8)
    for _ in range(count):
        turn, length_um = lean + rng.normal(0, 0.28), rng.uniform(1.6, 3.0)
        middle = places[free[0]] + rng.normal(0, 0.45, 2)
        along = 0.5 * length_um * np.asarray([np.cos(turn), np.sin(turn)])
        start, end = grid.sixteenths(np.stack([middle - along, middle + along])).tolist()
        cv2.line(rods, start, end, 255, max(1, round(0.26 / grid.um_per_px)), cv2.LINE_AA, 4)
    mix_toward(light, stain.colour(_AUER_ROD), rods * np.float32(0.9 / 255))
