"""Compose a field of a Wright-stained marrow smear, reproducibly from a seed, with its true boxes.

A field is painted no finer than the lens resolves (0.066 um a pixel), then enlarged to the camera's pixels: at
4000 x 3000 the camera samples finer than the lens. Sizes are those of real fields: 132 um across, red cells of 7.2 um
or about 220 px, nucleated cells of 240-480 px (a few larger), about 14 of them. Red cells, platelets and smudged nuclei
are not labelled, as in the paper's fields.
"""

import cv2
import numpy as np

from marrowscope.cells.boxes import clip
from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.smear import texture
from marrowscope.smear.brush import Light, lay, overlap
from marrowscope.smear.cell import PaintedCell
from marrowscope.smear.photograph import photograph
from marrowscope.smear.plan import FIELD_AREA_UM2, FIELD_WIDTH_UM, FieldPlan, plan_field
from marrowscope.smear.red_cells import paint_platelet, paint_smudge, red_cell_thickness
from marrowscope.smear.sampler import Frequencies
from marrowscope.smear.stain import Stain


def draw_field(
    seed: int,
    *,
    width: int = 4000,
    height: int = 3000,
    taxonomy: Taxonomy | None = None,
    cells: int | None = None,
    frequencies: Frequencies = Frequencies.PAPER,
    um_per_px: float | None = None,
    specimen: int | None = None,
) -> tuple[FieldImage, GroundTruth]:
    """Draw one field and its truth. The same arguments give the same pixels, whatever ran before.

    taxonomy: `liu2022` if None; classes that the smear cannot draw do not occur (BadTaxonomy if that is all of them).
    cells: nucleated cells wanted, else Poisson around 14 in 132 x 99 um; a field too full for all holds fewer.
    um_per_px: if None, `width` pixels span 132 um, so a smaller field shows the same cells in fewer pixels.
    specimen: seed of the stain, so that fields can share a slide; if None, every seed is a slide of its own.
    A cell cut by the border is boxed as far as it is seen; one seen less than 40 % is never placed.
    """
    if width < 16 or height < 16:
        raise ValueError(f"a field must be at least 16 x 16 px, got {width} x {height}")
    if um_per_px is None:
        um_per_px = FIELD_WIDTH_UM / width
    if not 0.01 <= um_per_px <= 1.0:
        raise ValueError(f"um_per_px must lie in 0.01..1 for cells to be seen and fit, got {um_per_px:.3g}")
    taxonomy = taxonomy or load_taxonomy("liu2022")
    stain = Stain.of_specimen(np.random.default_rng([seed if specimen is None else specimen, 1]))
    plan = plan_field(
        seed,
        stain,
        width=width,
        height=height,
        um_per_px=um_per_px,
        taxonomy=taxonomy,
        frequencies=frequencies,
        cells=cells,
    )
    smear_rng, camera_rng = np.random.default_rng([seed, 2]).spawn(2)
    pixels = photograph(_lay_down(plan, smear_rng), plan, camera_rng, width, height)
    boxes = clip(plan.boxes() * np.float32(plan.enlarge), width, height)
    labels = np.asarray([c.label for c in plan.cells], np.int64)
    image = FieldImage(pixels, f"smear_{seed:06d}", um_per_px=um_per_px)
    return image, GroundTruth(boxes, labels, taxonomy)


def _lay_down(plan: FieldPlan, rng: np.random.Generator) -> Light:
    """Transmitted light of the smear on a perfectly white lamp, (h, w, 3) float32 0..1."""
    height, width = plan.canvas
    red_rng, plasma_rng, extras_rng = rng.spawn(3)
    red = red_cell_thickness(plan, red_rng, crowding=float(rng.uniform(0.2, 0.6)))
    plasma = np.float32(0.025) + np.float32(0.006) * texture.haze(height, width, plan.um_per_px, plasma_rng)
    densities = zip(plan.stain.red_density, (0.7, 1.2, 0.5), strict=True)
    light = np.asarray(
        cv2.merge([cv2.exp(red * -np.float32(r) + plasma * -np.float32(p)) for r, p in densities]), np.float32
    )

    share_of_field = height * width * plan.um_per_px**2 / FIELD_AREA_UM2
    extras = [paint_smudge] * int(extras_rng.poisson(0.35 * share_of_field))
    extras += [paint_platelet] * int(extras_rng.poisson(extras_rng.uniform(2, 14) * share_of_field))
    discs = plan.discs_um
    for paint, own_rng in zip(extras, extras_rng.spawn(len(extras)), strict=True):
        x_um, y_um = own_rng.uniform((0, 0), (width * plan.um_per_px, height * plan.um_per_px)).tolist()
        painted = paint(own_rng, plan.um_per_px, plan.stain)
        if (np.hypot(discs[:, 0] - x_um, discs[:, 1] - y_um) > discs[:, 2] + 0.7 * painted.outline.reach).all():
            side_px = len(painted.cover)
            _paste(light, painted, overlap(plan.canvas, side_px, x_um / plan.um_per_px, y_um / plan.um_per_px))
    for cell in plan.cells:
        _paste(light, cell.painted, plan.place_of(cell))
    return light


def _paste(light: Light, painted: PaintedCell, place: tuple[tuple[slice, slice], tuple[slice, slice]]) -> None:
    there, here = place
    lay(light[there], painted.light[here], painted.cover[here])
