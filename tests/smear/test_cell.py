"""Laws of one drawn cell: what tells the classes apart is really in the pixels."""

import cv2
import numpy as np
import pytest

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.errors import BadTaxonomy
from marrowscope.smear.cell import PaintedCell, draw_cell, morphology_of, paint_cell
from marrowscope.smear.morphology import morphologies
from marrowscope.smear.stain import Stain

UM_PER_PX = 0.1
SEVERAL = 4


def paint(code: str, seed: int, um_per_px: float = UM_PER_PX) -> PaintedCell:
    return paint_cell(morphology_of(code), np.random.default_rng(seed), um_per_px, Stain.reference())


def mean_over_cells(code: str, measure) -> float:
    return float(np.mean([measure(paint(code, seed)) for seed in range(SEVERAL)]))


def nuclear_share(cell: PaintedCell) -> float:
    return float((cell.nucleus > 0.5).sum() / cell.mask.sum())


def diameter_um(cell: PaintedCell) -> float:
    return float(2 * np.sqrt(cell.mask.sum() / np.pi) * UM_PER_PX)


def cytoplasm_colour(cell: PaintedCell) -> np.ndarray:
    only = cell.mask & (cell.nucleus < 0.02) & (cell.cover > 0.98)
    return cell.light[only].mean(axis=0)


def nuclear_spread(cell: PaintedCell) -> float:
    inside = cv2.erode((cell.nucleus > 0.95).astype(np.uint8), np.ones((5, 5))).astype(bool)
    return float(cell.light[inside].mean(axis=1).std())


@pytest.mark.parametrize("code", [c.code for c in load_taxonomy("liu2022-21")])
class TestEveryClass:
    def test_it_can_be_drawn(self, code):
        pixels, mask = draw_cell(code, 5)
        assert pixels.dtype == np.uint8
        assert pixels.shape[:2] == mask.shape
        assert mask.any()

    def test_the_whole_cell_lies_inside_its_picture(self, code):
        for seed in range(SEVERAL):
            cover = paint(code, seed).cover
            assert max(cover[0].max(), cover[-1].max(), cover[:, 0].max(), cover[:, -1].max()) == 0

    def test_the_cell_is_in_one_piece(self, code):
        for seed in range(SEVERAL):
            pieces, labelled = cv2.connectedComponents(paint(code, seed).mask.astype(np.uint8))
            assert pieces - 1 == 1 or np.sort(np.bincount(labelled.ravel()))[-3] < 4

    def test_the_nucleus_lies_within_the_cell(self, code):
        for seed in range(SEVERAL):
            cell = paint(code, seed)
            assert (cell.cover[cell.nucleus > 0.5] > 0.9).all()

    def test_the_nucleus_is_darker_than_the_cytoplasm(self, code):
        for seed in range(SEVERAL):
            cell = paint(code, seed)
            assert cell.light[cell.nucleus > 0.9].mean() < cytoplasm_colour(cell).mean() - 0.03

    def test_size_and_nuclear_share_stay_near_the_table(self, code):
        kind = morphology_of(code)
        for seed in range(SEVERAL):
            cell = paint(code, seed)
            assert kind.diameter_um[0] * 0.96 < diameter_um(cell) < kind.diameter_um[1] * 1.04
            # A nucleus pressed against the membrane loses a little.
            assert kind.nuclear_share[0] * 0.7 < nuclear_share(cell) < kind.nuclear_share[1] * 1.15

    def test_a_cell_is_the_same_cell_at_half_the_resolution(self, code):
        fine, coarse = paint(code, 3, 0.08), paint(code, 3, 0.16)
        assert abs(fine.mask.sum() * 0.08**2 / (coarse.mask.sum() * 0.16**2) - 1) < 0.03
        np.testing.assert_allclose(
            fine.light[fine.mask].mean(axis=0), coarse.light[coarse.mask].mean(axis=0), atol=0.03
        )


def test_a_class_that_nobody_described_is_refused_by_name():
    with pytest.raises(BadTaxonomy, match="'MEGAKARYO' cannot be drawn"):
        draw_cell("MEGAKARYO", 1)


def test_the_same_seed_draws_the_same_cell_whatever_ran_before():
    first, _ = draw_cell("MYELO", 7)
    np.random.seed(0)
    np.random.rand(10)
    draw_cell("BAND", 8)
    second, _ = draw_cell("MYELO", 7)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("LYMPHOBLAST", "LYM_ATYP"),
        ("LYMPHOBLAST", "PROLYM"),
        ("MYELOBLAST", "PROMYELO"),
        ("PROMYELO", "META"),
        ("META", "NEU_SEG"),
        ("MONOBLAST", "PROMONO"),
        ("PLASMABLAST", "PROPLASMA"),
        ("NORMO_BASO", "NORMO_POLY"),
        ("NORMO_POLY", "NORMO_ORTHO"),
        ("MEGALO_POLY", "MEGALO_ORTHO"),
    ],
)
def test_the_less_mature_cell_has_the_larger_share_of_nucleus(more, less):
    assert mean_over_cells(more, nuclear_share) > mean_over_cells(less, nuclear_share) + 0.04


@pytest.mark.parametrize(
    ("larger", "smaller"),
    [
        ("MEGALO_POLY", "NORMO_POLY"),
        ("MEGALO_ORTHO", "NORMO_ORTHO"),
        ("LYM_ATYP", "LYM"),
        ("PROMYELO", "MYELOBLAST"),
        ("MONOBLAST", "LYMPHOBLAST"),
        ("NORMO_BASO", "NORMO_ORTHO"),
    ],
)
def test_the_larger_class_is_drawn_larger(larger, smaller):
    assert mean_over_cells(larger, diameter_um) > mean_over_cells(smaller, diameter_um) + 2


def lobes(cell: PaintedCell) -> int:
    """Pieces that remain when the nucleus is eroded until its threads are gone."""
    nucleus = (cell.nucleus > 0.5).astype(np.uint8)
    reach = 2 * round(0.55 / UM_PER_PX) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.erode(nucleus, kernel))
    return int((stats[1:, cv2.CC_STAT_AREA] >= 6).sum())


def test_a_segmented_neutrophil_has_three_to_five_lobes_on_threads():
    counts = [lobes(paint("NEU_SEG", seed)) for seed in range(40)]
    assert set(counts) == {3, 4, 5}


def test_the_lobes_of_a_segmented_neutrophil_hang_together():
    for seed in range(SEVERAL):
        pieces, _ = cv2.connectedComponents((paint("NEU_SEG", seed, 0.05).nucleus > 0.25).astype(np.uint8))
        assert pieces - 1 == 1


def test_a_segmented_eosinophil_mostly_has_two_lobes():
    counts = [lobes(paint("EOS_SEG", seed)) for seed in range(40)]
    assert set(counts) <= {2, 3}
    assert counts.count(2) > 25


def test_a_band_is_one_piece_and_hollower_than_a_metamyelocyte():
    def solidity(cell: PaintedCell) -> float:
        contours, _ = cv2.findContours((cell.nucleus > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outline = max(contours, key=cv2.contourArea)
        return cv2.contourArea(outline) / cv2.contourArea(cv2.convexHull(outline))

    assert all(lobes(paint("BAND", seed)) == 1 for seed in range(SEVERAL))
    order = [mean_over_cells(code, solidity) for code in ("BAND", "META", "MYELO")]
    assert order[0] < order[1] - 0.05
    assert order[1] < order[2] - 0.02
    assert order[2] > 0.95


def test_eosinophil_granules_are_redder_than_those_of_neutrophils():
    def redness(cell: PaintedCell) -> float:
        red, _, blue = cytoplasm_colour(cell)
        return float(red - blue)

    assert mean_over_cells("EOS_SEG", redness) > mean_over_cells("NEU_SEG", redness) + 0.2


def test_erythroid_cytoplasm_ripens_from_blue_to_pink():
    def blueness(cell: PaintedCell) -> float:
        red, _, blue = cytoplasm_colour(cell)
        return float(blue - red)

    order = [mean_over_cells(code, blueness) for code in ("NORMO_BASO", "NORMO_POLY", "NORMO_ORTHO")]
    assert order[0] > order[1] + 0.1
    assert order[1] > order[2] + 0.1
    assert order[2] < 0


def test_abnormal_promyelocytes_carry_the_most_granules():
    def covered(cell: PaintedCell) -> float:
        green = cell.light[..., 1][cell.mask & (cell.nucleus < 0.02) & (cell.cover > 0.98)]
        return float((green < 0.8 * np.percentile(green, 90)).mean())

    abnormal, ordinary, blast = (mean_over_cells(c, covered) for c in ("PROMYELO_ABN", "PROMYELO", "MYELOBLAST"))
    assert abnormal > ordinary + 0.15
    assert ordinary > blast + 0.05


def test_megaloblastic_chromatin_is_more_open_than_normoblastic():
    for megaloblast, normoblast in (("MEGALO_POLY", "NORMO_POLY"), ("MEGALO_ORTHO", "NORMO_ORTHO")):
        light = [
            mean_over_cells(c, lambda cell: cell.light[cell.nucleus > 0.9].mean()) for c in (megaloblast, normoblast)
        ]
        assert light[0] > light[1] + 0.05


def test_a_blast_has_smoother_chromatin_than_a_prolymphocyte():
    assert mean_over_cells("MYELOBLAST", nuclear_spread) < mean_over_cells("PROLYM", nuclear_spread)


def test_the_table_describes_each_class_of_the_scheme_once():
    assert set(morphologies()) == {c.code for c in load_taxonomy("liu2022-21")}
