"""The inside of a nucleus: chromatin, membrane, folds and nucleoli."""

import cv2
import numpy as np

from marrowscope.smear import texture
from marrowscope.smear.brush import Light, between, how_many, mix_toward, shaded, soft_inside
from marrowscope.smear.morphology import Chromatin, Morphology
from marrowscope.smear.shape import Grid, NuclearShape, wavy_circle
from marrowscope.smear.stain import Stain
from marrowscope.smear.texture import Grain, Plane

# How much of each grain makes up a chromatin, then contrast and offset of the darkness (0 light, 1 dark).
_CHROMATIN: dict[Chromatin, tuple[tuple[tuple[Grain, float], ...], float, float]] = {
    Chromatin.FINE: ((("dust", 0.7), ("fine", 0.6), ("cloud", 0.4)), 0.34, 0.52),
    Chromatin.STRANDED: ((("strand", 0.5), ("fine", 0.5), ("medium", 0.4), ("cloud", 0.4)), 0.44, 0.50),
    Chromatin.LACY: ((("fine", 0.7), ("medium", 0.7)), 0.70, 0.45),
    Chromatin.GRANULAR: ((("fine", 0.85), ("dust", 0.3), ("cloud", 0.4)), 0.48, 0.62),
    Chromatin.CLUMPED: ((("fine", 0.6), ("medium", 0.6), ("coarse", 0.3)), 0.62, 0.68),
    Chromatin.BLOCKED: ((("fine", 0.65), ("medium", 0.5), ("coarse", 0.35)), 0.55, 0.90),
    Chromatin.PYKNOTIC: ((("coarse", 0.6), ("fine", 0.3)), 0.20, 0.86),
}
_CREASES = {NuclearShape.FOLDED: 1, NuclearShape.CLEFT: 1, NuclearShape.CONVOLUTED: 4}
_NUCLEOLUS = (150, 126, 198)


def nucleus_light(
    kind: Morphology,
    rng: np.random.Generator,
    grid: Grid,
    distance: Plane,
    centre: tuple[float, float],
    stain: Stain,
) -> Light:
    """Light through the nucleus, (n, n, 3); only the part where `distance` is negative is meant to be seen."""
    grains, contrast, offset = _CHROMATIN[kind.chromatin]
    texture_rng, fold_rng, nucleolus_rng = rng.spawn(3)
    noise = np.zeros_like(distance)
    for grain, weight in grains:
        noise += np.float32(weight) * texture.window(grain, grid.side_px, grid.um_per_px, texture_rng)
    if kind.chromatin is Chromatin.LACY:
        # An open network is where the noise crosses zero.
        noise = np.float32(1.1) - np.float32(2.1) * np.abs(noise)
    dark = np.float32(offset) + np.float32(contrast) * np.tanh(noise)
    dark += np.float32(0.38) * np.exp(-np.square((distance + np.float32(0.2)) / np.float32(0.2)))  # membrane
    if kind.shape in _CREASES:
        dark += _creases(_CREASES[kind.shape], fold_rng, grid, distance, centre)
    light = shaded(stain.colour(kind.nucleus_light), stain.colour(kind.nucleus_dark), np.clip(dark, 0, 1.15))
    _add_nucleoli(kind, nucleolus_rng, grid, light, distance, centre, stain)
    return light


def _creases(count: int, rng: np.random.Generator, grid: Grid, distance: Plane, centre: tuple[float, float]) -> Plane:
    """Folds of the nuclear membrane seen from above: curved dark lines, (n, n) darkness to add."""
    lines = np.zeros((grid.side_px, grid.side_px), np.float32)
    depth_um = float(max(-distance.min(), 0.5))
    for _ in range(count):
        turn, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        along = np.linspace(-1.2, 1.2, 12) * rng.uniform(0.4, 0.9)
        across = bend * along**2 + rng.uniform(-0.7, 0.7)
        cos, sin = np.cos(turn), np.sin(turn)
        turned = np.stack([along, across], axis=1) * depth_um @ np.asarray([[cos, sin], [-sin, cos]])
        width_px = max(1, round(0.22 / grid.um_per_px))
        cv2.polylines(lines, [grid.sixteenths(turned + centre)], False, 1.0, width_px, cv2.LINE_8, 4)
    sigma_px = max(0.16 / grid.um_per_px, 0.4)
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), sigma_px) * np.float32(0.55), np.float32)


def _add_nucleoli(
    kind: Morphology,
    rng: np.random.Generator,
    grid: Grid,
    light: Light,
    distance: Plane,
    centre: tuple[float, float],
    stain: Stain,
) -> None:
    """Pale blue-violet rounds with a rim of dark chromatin; drawn on `light` in place."""
    for _ in range(how_many(rng, kind.nucleoli)):
        size_um, cover, elongation = between(rng, kind.nucleolus_um), rng.uniform(0.5, 0.8), rng.uniform(0, 0.5)
        # Twenty places to try; where none has room, the deepest of them: a small nucleus still gets its nucleolus.
        reach = np.sqrt(rng.random(20)) * 0.8 * float(max(-distance.min(), 0.0))
        angle = rng.uniform(0, 2 * np.pi, 20)
        places = np.stack([centre[0] + reach * np.cos(angle), centre[1] + reach * np.sin(angle)], axis=1)
        depths = grid.at(distance, places)
        fits = np.flatnonzero(depths < -(size_um + 0.4))
        place = places[fits[0]] if len(fits) else places[int(np.argmin(depths))]
        outline = wavy_circle(rng, np.pi * size_um**2, waviness=0.06, elongation=elongation)
        away = outline.distance(grid.seen_from(float(place[0]), float(place[1])))
        ring = np.float32(0.55) * np.exp(-np.square((away - np.float32(0.15)) / np.float32(0.28)))
        mix_toward(light, stain.colour(kind.nucleus_dark), np.asarray(ring, np.float32))
        mix_toward(light, stain.colour(_NUCLEOLUS), np.float32(cover) * soft_inside(away, grid.um_per_px, 0.7))
