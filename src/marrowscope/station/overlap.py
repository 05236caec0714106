"""Which cells of two overlapping fields are the same cell of the glass.

Fields of one visit know where they lie on the slide, to within a few micrometres: the stage has play, the tracking of a
hand-moved slide errs. That error is common to all cells of a field, so it is found first, as the small shift that
brings most cells onto each other (two at least must agree; a single pair proves no shift). Then cells are matched one
to one (`scipy.optimize.linear_sum_assignment`), by the distance of their centres as a fraction of their size.

A cell that is cut by the edge of one field is compared by what both fields see of it: boxes are clipped to the common
view first, else the cut one's middle would lie off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.specimen import Box, KeptField

DRIFT_UM = 10.0
"""The largest error of place that is looked for."""
NEAR = 0.45
"""Centres of one cell lie nearer than this fraction of its size; those of touching cells about one size apart."""
AGREE = 0.25
"""Pairs whose shifts differ by less than this fraction of a cell's size speak for the same shift."""
SIZES = 0.25
"""Areas of one cell, of what both see, differ by less than this factor."""
VISIBLE_UM = 1.0
"""Of a cell that is cut by the common view, at least this much must be seen."""
NOMINAL_UM_PER_PX = 0.07
"""What a pixel is taken for where nobody calibrated the camera: that of a 100x objective on a common camera."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """Where a field lies on the slide: its middle, its size in pixels, micrometres a pixel."""

    x_um: float
    y_um: float
    width: int
    height: int
    um_per_px: float

    @classmethod
    def at(cls, x: float, y: float, width: int, height: int, um_per_px: float | None) -> "View":
        """A view at a place in micrometres, or in pixels where nobody calibrated the camera."""
        if um_per_px is None:
            return cls(x * NOMINAL_UM_PER_PX, y * NOMINAL_UM_PER_PX, width, height, NOMINAL_UM_PER_PX)
        return cls(x, y, width, height, um_per_px)

    @classmethod
    def of(cls, field: KeptField) -> "View | None":
        """The view of a kept field; None for one whose place is not known, as an uploaded picture's."""
        if field.visit is None or field.x_um is None or field.y_um is None:
            return None
        return cls.at(field.x_um, field.y_um, field.width, field.height, field.um_per_px)

    @property
    def edges(self) -> Floats:
        """(x1, y1, x2, y2) on the slide."""
        half = np.asarray([self.width, self.height]) * self.um_per_px / 2
        return np.concatenate([(self.x_um, self.y_um) - half, (self.x_um, self.y_um) + half])

    def place(self, boxes: Sequence[Box]) -> Floats:
        """Boxes (n, 4) in pixels of the field -> micrometres on the slide."""
        return as_boxes(list(boxes)).astype(np.float64) * self.um_per_px + np.tile(self.edges[:2], 2)

    def overlaps(self, other: "View", margin_um: float = DRIFT_UM) -> bool:
        """Whether both may show one place, if each may err a little."""
        mine, theirs = self.edges, other.edges
        return bool((mine[:2] < theirs[2:] + margin_um).all() and (theirs[:2] < mine[2:] + margin_um).all())


@dataclass(frozen=True)
class Pair:
    """The same cell in both fields, by its number in each. apart: distance in units of what is allowed, 0..1."""

    first: int
    second: int
    apart: float


def same_cells(first: View, first_boxes: Sequence[Box], second: View, second_boxes: Sequence[Box]) -> list[Pair]:
    """The cells that both fields show, each in one pair at most. Boxes are in pixels of their own field."""
    if not first_boxes or not second_boxes or not first.overlaps(second):
        return []
    a, b = first.place(first_boxes), second.place(second_boxes)
    shift = _common_shift(a, b)
    a, edges = a + np.tile(shift, 2), first.edges + np.tile(shift, 2)
    both = np.concatenate([np.maximum(edges[:2], second.edges[:2]), np.minimum(edges[2:], second.edges[2:])])
    if (both[:2] >= both[2:]).any():
        return []
    apart = _apart(_clip(a, both), _clip(b, both), a, b)
    return assign(apart)


def assign(apart: Floats) -> list[Pair]:
    """One-to-one pairs of (n, m) distances, infinite where none may be, that leave least distance in all."""
    if not apart.size:
        return []
    allowed = np.isfinite(apart)
    # Dearer than any number of allowed pairs: as many pairs as can be, then the nearest.
    forbidden = 2.0 * (min(apart.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(allowed, apart, forbidden))
    return [Pair(int(i), int(j), float(apart[i, j])) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


def _common_shift(a: Floats, b: Floats) -> Floats:
    """The shift (2,) that, added to `a`, brings most boxes onto those of `b`; nothing where no two pairs agree."""
    apart = _middles(b)[None] - _middles(a)[:, None]
    size = (_sizes(a)[:, None] + _sizes(b)[None]) / 2
    near = np.hypot(apart[..., 0], apart[..., 1]) <= DRIFT_UM
    rows, columns = np.nonzero(near)
    if not len(rows):
        return np.zeros(2)
    shifts, allowed = apart[rows, columns], AGREE * size[rows, columns]
    agree = np.hypot(*(shifts[:, None] - shifts[None]).transpose(2, 0, 1)) <= allowed[None]
    # How many different cells of `a` speak for each shift: two candidates of one cell are one voice.
    voices = np.zeros((len(shifts), len(a)), np.bool_)
    pair, other = np.nonzero(agree)
    voices[pair, rows[other]] = True
    support = voices.sum(axis=1)
    # Of equal support the smaller shift: nothing drifts without need.
    best = int(np.lexsort((np.hypot(*shifts.T), -support))[0])
    if support[best] < 2:
        return np.zeros(2)
    return np.asarray(shifts[agree[best]].mean(axis=0))


def _apart(a: Floats, b: Floats, whole_a: Floats, whole_b: Floats) -> Floats:
    """Distances (n, m) of what both views see, in units of what is allowed; infinite beyond it."""
    between = _middles(b)[None] - _middles(a)[:, None]
    size = (_sizes(whole_a)[:, None] + _sizes(whole_b)[None]) / 2
    distance = np.hypot(between[..., 0], between[..., 1]) / (NEAR * np.maximum(size, 1e-9))
    area_a, area_b = _sizes(a)[:, None] ** 2, _sizes(b)[None] ** 2
    alike = np.minimum(area_a, area_b) >= SIZES * np.maximum(area_a, area_b)
    seen_a = (a[:, 2:] - a[:, :2]).min(axis=1) >= VISIBLE_UM
    seen_b = (b[:, 2:] - b[:, :2]).min(axis=1) >= VISIBLE_UM
    allowed = (distance <= 1) & alike & seen_a[:, None] & seen_b[None]
    return np.where(allowed, distance, np.inf)


def _clip(boxes: Floats, edges: Floats) -> Floats:
    low, high = np.tile(edges[:2], 2), np.tile(edges[2:], 2)
    return np.clip(boxes, low, high)


def _middles(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def _sizes(boxes: Floats) -> Floats:
    return np.asarray(np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)))
