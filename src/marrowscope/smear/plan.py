"""Decide what lies where in a field: which cells, each already painted, and a place for each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, as_boxes
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.smear.brush import overlap
from marrowscope.smear.cell import PaintedCell, morphology_of, paint_cell
from marrowscope.smear.sampler import Frequencies, sample_labels
from marrowscope.smear.stain import Stain

FIELD_WIDTH_UM = 132.0
FIELD_AREA_UM2 = FIELD_WIDTH_UM * FIELD_WIDTH_UM * 0.75
CELLS_PER_FIELD = 14.0
LEAST_VISIBLE = 0.4
# Painting finer than this would be wasted: it is a quarter of what the lens resolves.
LENS_UM_PER_PX = 0.066


@dataclass(frozen=True, eq=False)
class PlacedCell:
    """One nucleated cell: its label, the picture of it, and its middle in um from the field's top left corner."""

    label: int
    painted: PaintedCell
    x_um: float
    y_um: float

    @property
    def radius_um(self) -> float:
        """Of a circle of the cell's area."""
        return float(np.sqrt(self.painted.outline.area / np.pi))


@dataclass(frozen=True, eq=False)
class FieldPlan:
    """What lies where, before the lamp is lit. `cells` are in painting order, the last on top.

    canvas (height, width) and um_per_px are those of the painting; a pixel of it becomes `enlarge` x `enlarge` pixels
    of the field.
    """

    cells: tuple[PlacedCell, ...]
    stain: Stain
    canvas: tuple[int, int]
    um_per_px: float
    enlarge: int

    @property
    def discs_um(self) -> NDArray[np.float64]:
        """(n, 3) x, y, radius of the cells."""
        return np.asarray([(c.x_um, c.y_um, c.radius_um) for c in self.cells], np.float64).reshape(-1, 3)

    def place_of(self, cell: PlacedCell) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns where the cell's picture meets the canvas: on the canvas, and in the picture."""
        side_px = len(cell.painted.cover)
        return overlap(self.canvas, side_px, cell.x_um / self.um_per_px, cell.y_um / self.um_per_px)

    def boxes(self) -> Boxes:
        """Tight boxes on what the field holds of each cell, cytoplasm included: (n, 4) canvas pixels.

        A cell on which another lies keeps the box of all of it, as a person would draw it.
        """
        rows = []
        for cell in self.cells:
            (rows_there, columns_there), here = self.place_of(cell)
            mask = cell.painted.mask[here]
            ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            left, top = columns_there.start, rows_there.start
            rows.append((left + xs[0], top + ys[0], left + xs[-1] + 1, top + ys[-1] + 1))
        return as_boxes(rows)


def plan_field(
    seed: int,
    stain: Stain,
    *,
    width: int,
    height: int,
    um_per_px: float,
    taxonomy: Taxonomy,
    frequencies: Frequencies,
    cells: int | None,
) -> FieldPlan:
    """Choose the cells of a field of `width` x `height` pixels, paint each, and find it a place.

    Where there is no place left, a cell is left out. Everything else as `field.draw_field`.
    """
    enlarge = max(1, round(LENS_UM_PER_PX / um_per_px))
    width_um, height_um = width * um_per_px, height * um_per_px
    place_rng, cell_rng = np.random.default_rng([seed, 0]).spawn(2)
    wanted = place_rng.poisson(CELLS_PER_FIELD * width_um * height_um / FIELD_AREA_UM2) if cells is None else cells
    placed: list[PlacedCell] = []
    labels = sample_labels(place_rng, int(wanted), taxonomy, frequencies)
    for label, own_rng in zip(labels.tolist(), cell_rng.spawn(len(labels)), strict=True):
        painted = paint_cell(morphology_of(taxonomy[label].code), own_rng, um_per_px * enlarge, stain)
        if (place := _find_place(place_rng, painted, placed, width_um, height_um)) is not None:
            placed.append(PlacedCell(label, painted, *place))
    # The last row and column of an odd field are half a canvas pixel.
    canvas = (-(-height // enlarge), -(-width // enlarge))
    return FieldPlan(tuple(placed), stain, canvas, um_per_px * enlarge, enlarge)


def _find_place(
    rng: np.random.Generator, painted: PaintedCell, placed: list[PlacedCell], width_um: float, height_um: float
) -> tuple[float, float] | None:
    inside = painted.outline.points()
    others = np.asarray([(c.x_um, c.y_um, c.radius_um) for c in placed]).reshape(-1, 3)
    radius_um = float(np.sqrt(painted.outline.area / np.pi))
    for attempt in range(80):
        x_um, y_um = float(rng.uniform(0, width_um)), float(rng.uniform(0, height_um))
        seen_x, seen_y = inside[:, 0] + x_um, inside[:, 1] + y_um
        seen = (seen_x >= 0) & (seen_x <= width_um) & (seen_y >= 0) & (seen_y <= height_um)
        if seen.mean() < LEAST_VISIBLE:
            continue
        # Cells mostly lie free and some touch; the fuller the field, the closer they are let.
        closeness = 1.12 if attempt < 4 else 1.0 if attempt < 40 else 0.88
        apart = np.hypot(others[:, 0] - x_um, others[:, 1] - y_um)
        if (apart >= closeness * (others[:, 2] + radius_um)).all():
            return x_um, y_um
    return None
