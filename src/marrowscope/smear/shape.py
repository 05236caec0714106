"""Outlines of cells and nuclei as signed distances: negative inside, in um, smooth at any resolution.

Round, indented and folded outlines are a radius for every angle; band and segmented nuclei are a chain of discs.
"""

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.smear.texture import Plane

_ANGLES = 1024


class NuclearShape(StrEnum):
    """What a nucleus looks like from above."""

    ROUND = "round"
    OVAL = "oval"
    KIDNEY = "kidney"
    FOLDED = "folded"
    CONVOLUTED = "convoluted"
    CLEFT = "cleft"  # two broad lobes that stay joined: the abnormal promyelocyte
    BAND = "band"
    SEGMENTED = "segmented"  # three to five lobes on threads
    SPECTACLES = "spectacles"  # two lobes on a thread: the eosinophil


CHAINS = (NuclearShape.BAND, NuclearShape.SEGMENTED, NuclearShape.SPECTACLES)


@dataclass(frozen=True, eq=False)
class Grid:
    """Square pixels around an origin in um: x, y (n, n), and their distance and angle (0..2 pi)."""

    x: Plane
    y: Plane
    radius: Plane
    angle: Plane
    um_per_px: float

    @classmethod
    def around(cls, half_um: float, um_per_px: float) -> "Grid":
        """A grid that reaches at least `half_um` to every side."""
        side = 2 * int(np.ceil(half_um / um_per_px))
        axis = ((np.arange(side) + 0.5 - side / 2) * um_per_px).astype(np.float32)
        x, y = np.meshgrid(axis, axis)
        return cls._of(x, y, um_per_px)

    @classmethod
    def _of(cls, x: Plane, y: Plane, um_per_px: float) -> "Grid":
        radius, angle = cv2.cartToPolar(x, y)
        return cls(x, y, np.asarray(radius, np.float32), np.asarray(angle, np.float32), um_per_px)

    def seen_from(self, x_um: float, y_um: float, turn: float = 0.0) -> "Grid":
        """The same pixels about another origin, turned by `turn` radians."""
        dx, dy = self.x - np.float32(x_um), self.y - np.float32(y_um)
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        return self._of(cos * dx + sin * dy, cos * dy - sin * dx, self.um_per_px)

    def at(self, plane: Plane, places_um: NDArray[np.float64]) -> Plane:
        """Values of a plane on this grid at places (m, 2) in um; beyond its edge, those of the edge."""
        column, row = np.clip((places_um / self.um_per_px + self.side_px / 2).astype(int), 0, self.side_px - 1).T
        return np.asarray(plane[row, column], np.float32)

    def sixteenths(self, places_um: NDArray[np.float64]) -> NDArray[np.int32]:
        """Places (m, 2) in um as OpenCV's fixed-point pixels (shift 4)."""
        return np.rint((places_um / self.um_per_px + self.side_px / 2 - 0.5) * 16).astype(np.int32)

    @property
    def side_px(self) -> int:
        """Pixels along one side."""
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed curve as its radius at evenly spaced angles (n,)."""

    radii: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Enclosed area."""
        return float(np.pi * np.mean(self.radii**2))

    @property
    def reach(self) -> float:
        """The largest radius."""
        return float(self.radii.max())

    def at(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radius at angles 0..2 pi."""
        return np.asarray(self.radii[(angle * len(self.radii) / (2 * np.pi)).astype(int) % len(self.radii)])

    def distance(self, grid: Grid) -> Plane:
        """Radial distance to the curve: (n, n), negative inside."""
        table = self.radii.astype(np.float32)
        place = (grid.angle * np.float32(len(table) / (2 * np.pi))).astype(np.int32) % len(table)
        return np.asarray(grid.radius - table[place], np.float32)

    def points(self, rings: int = 6, spokes: int = 36) -> NDArray[np.float64]:
        """Points (rings * spokes, 2) spread evenly by area over the inside."""
        angle = np.arange(spokes) * 2 * np.pi / spokes
        share = np.sqrt((np.arange(rings) + 0.5) / rings)
        radius = share[:, None] * self.at(angle)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1, 2)


def wavy_circle(
    rng: np.random.Generator, area: float, *, waviness: float, elongation: float = 0.0, dents: int = 0
) -> Outline:
    """A circle of this area pulled out of shape.

    waviness: relative amplitude of random waves (2 to 7 around). elongation: the long axis over the short, less one.
    dents: shallow bays, such as neighbouring red cells press into a soft cell.
    """
    angle = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    radius = np.ones(_ANGLES)
    for around in range(2, 8):
        amplitude = waviness * rng.standard_normal() * (2.0 / around) ** 1.1
        radius += np.clip(amplitude, -2 * waviness, 2 * waviness) * np.cos(around * angle + rng.uniform(0, 2 * np.pi))
    axis = rng.uniform(0, np.pi)
    radius *= 1 + 0.5 * elongation * np.cos(2 * (angle - axis))
    for where in rng.uniform(0, 2 * np.pi, dents):
        radius *= 1 - rng.uniform(0.10, 0.22) * _bump(angle, where, rng.uniform(0.30, 0.5))
    radius = np.maximum(radius, 0.45)
    return _of_area(radius, area)


def _of_area(radius: NDArray[np.float64], area: float) -> Outline:
    return Outline(radius * np.sqrt(area / (np.pi * np.mean(radius**2))))


def _bump(angle: NDArray[np.float64], where: float, width: float) -> NDArray[np.float64]:
    away = np.angle(np.exp(1j * (angle - where)))
    return np.asarray(np.exp(-0.5 * (away / width) ** 2))


def notched(rng: np.random.Generator, shape: NuclearShape, area: float) -> Outline:
    """The outline of a nucleus without threads: round, oval, kidney, folded, convoluted or cleft."""
    waviness, elongation = {
        NuclearShape.ROUND: (0.010, rng.uniform(0.0, 0.10)),
        NuclearShape.OVAL: (0.018, rng.uniform(0.08, 0.26)),
        NuclearShape.KIDNEY: (0.014, rng.uniform(0.25, 0.5)),
        NuclearShape.FOLDED: (0.028, rng.uniform(0.05, 0.25)),
        NuclearShape.CONVOLUTED: (0.035, rng.uniform(0.05, 0.3)),
        NuclearShape.CLEFT: (0.03, rng.uniform(0.15, 0.5)),
    }[shape]
    angle = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    radius = wavy_circle(rng, np.pi, waviness=waviness).radii * (1 + 0.5 * elongation * np.cos(2 * angle))
    # Notches sit on the long sides, at right angles to the elongation.
    match shape:
        case NuclearShape.KIDNEY:
            notches = [(np.pi / 2, rng.uniform(0.42, 0.58), rng.uniform(0.5, 0.7))]
        case NuclearShape.FOLDED:
            notches = [(np.pi / 2 + rng.uniform(-0.4, 0.4), rng.uniform(0.18, 0.42), rng.uniform(0.18, 0.30))]
        case NuclearShape.CONVOLUTED:
            count = int(rng.integers(2, 5))
            places = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count
            notches = [(p, rng.uniform(0.12, 0.48), rng.uniform(0.10, 0.24)) for p in places]
        case NuclearShape.CLEFT:
            notches = [
                (np.pi / 2 + rng.uniform(-0.3, 0.3), rng.uniform(0.32, 0.62), rng.uniform(0.16, 0.34)),
                (-np.pi / 2 + rng.uniform(-0.3, 0.3), rng.uniform(0.0, 0.35), rng.uniform(0.16, 0.34)),
            ]
        case _:
            notches = []
    for where, depth, width in notches:
        radius = radius * (1 - depth * _bump(angle, where, width))
    return _of_area(radius, area)


@dataclass(frozen=True, eq=False)
class Chain:
    """Discs joined by tapering necks: points (n, 2) and radii (n,), in um after `scaled`."""

    points: NDArray[np.float64]
    radii: NDArray[np.float64]

    @property
    def reach(self) -> float:
        """The largest distance from the origin."""
        return float((np.hypot(*self.points.T) + self.radii).max())

    def distance(self, grid: Grid) -> Plane:
        """Distance to the chain: (n, n), negative inside."""
        nearest = np.full(grid.x.shape, np.float32(1e6))
        for (ax, ay), (bx, by), ra, rb in zip(
            self.points[:-1], self.points[1:], self.radii[:-1], self.radii[1:], strict=True
        ):
            dx, dy = np.float32(bx - ax), np.float32(by - ay)
            along = ((grid.x - np.float32(ax)) * dx + (grid.y - np.float32(ay)) * dy) / (dx * dx + dy * dy)
            np.clip(along, 0, 1, out=along)
            away = cv2.magnitude(grid.x - np.float32(ax) - along * dx, grid.y - np.float32(ay) - along * dy)
            np.minimum(nearest, away - (np.float32(ra) + along * np.float32(rb - ra)), out=nearest)
        return nearest

    def scaled(self, factor: float) -> "Chain":
        """Larger or smaller by `factor`."""
        return Chain(self.points * factor, self.radii * factor)

    def of_area(self, area: float) -> "Chain":
        """The same form with this area, measured on a coarse grid."""
        half = self.reach * 1.02
        grid = Grid.around(half, half / 40)
        covered = float(np.count_nonzero(self.distance(grid) < 0)) * grid.um_per_px**2
        return self.scaled(float(np.sqrt(area / covered)))


def chained(rng: np.random.Generator, shape: NuclearShape, area: float) -> Chain:
    """The outline of a band, segmented or spectacled nucleus."""
    match shape:
        case NuclearShape.BAND:
            points, radii = _band(rng)
        case NuclearShape.SPECTACLES:
            lobes = 2 if rng.random() < 0.85 else 3
            points, radii = _lobes(rng, lobes, spread=1.5)
        case _:
            points, radii = _lobes(rng, int(rng.choice([3, 4, 5], p=[0.5, 0.36, 0.14])), spread=1.0)
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    return Chain(points, radii).of_area(area)


def _band(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    along = np.linspace(-1, 1, 9)
    if rng.random() < 0.7:  # U or C
        opening = rng.uniform(1.75, 2.35)
        points = np.stack([np.sin(along * opening), np.cos(along * opening)], axis=1)
    else:  # S
        bend = rng.uniform(1.9, 2.5)
        points = np.stack([1.5 * along, 0.62 * np.sin(bend * along)], axis=1)
    # Even width, a little fuller at the ends: never a thread.
    radii = rng.uniform(0.34, 0.42) * (0.88 + 0.20 * np.abs(along)) * rng.uniform(0.94, 1.06, len(along))
    return points, radii


def _lobes(rng: np.random.Generator, lobes: int, *, spread: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sizes = rng.uniform(0.40, 0.54, lobes)
    # Lobes stand on an arc, far enough apart for a thread to show between them.
    gap = rng.uniform(0.28, 0.42, lobes - 1)
    steps = sizes[:-1] + sizes[1:] + gap
    turn = rng.uniform(0.9, 1.35) / spread * rng.choice([-1, 1])
    heading, wobble = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.25, lobes - 1)
    while True:
        headings = heading + turn * np.concatenate([[0.0], np.cumsum(wobble[1:])])
        walk = steps[:, None] * np.stack([np.cos(headings), np.sin(headings)], axis=1)
        points = np.concatenate([np.zeros((1, 2)), np.cumsum(walk, axis=0)])
        apart = np.hypot(*(points[:, None] - points[None, :]).transpose(2, 0, 1))
        if (apart + 9 * np.eye(lobes) >= sizes[:, None] + sizes[None, :] + 0.12).all():
            break
        turn *= 0.9  # the ends of the arc touch: open it
    chain: list[NDArray[np.float64]] = []
    radii: list[float] = []
    for n, centre in enumerate(points):
        if n:
            before = points[n - 1]
            toward = (centre - before) / np.hypot(*(centre - before))
            # Two narrow beads close to the discs keep the neck a thread rather than a cone.
            chain += [before + toward * sizes[n - 1], centre - toward * sizes[n]]
            radii += [0.075, 0.075]
        # An oval lobe is two discs side by side.
        lean = rng.uniform(0, np.pi)
        stretch = 0.16 * np.asarray([np.cos(lean), np.sin(lean)])
        chain += [centre - stretch, centre + stretch]
        radii += [float(sizes[n]) * 0.9] * 2
    return np.asarray(chain), np.asarray(radii)
