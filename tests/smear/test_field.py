"""Laws of a drawn field: reproducible, and its truth is true."""

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy, load_taxonomy
from marrowscope.errors import BadTaxonomy
from marrowscope.smear.brush import overlap
from marrowscope.smear.field import draw_field
from marrowscope.smear.plan import LEAST_VISIBLE, FieldPlan, plan_field
from marrowscope.smear.sampler import Frequencies
from marrowscope.smear.stain import Stain

SMALL = {"width": 640, "height": 480}


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def plan(seed: int, *, width: int = 640, height: int = 480, cells: int | None = None) -> FieldPlan:
    return plan_field(
        seed,
        Stain.of_specimen(np.random.default_rng([seed, 1])),
        width=width,
        height=height,
        um_per_px=132 / width,
        taxonomy=load_taxonomy("liu2022-21"),
        frequencies=Frequencies.PAPER,
        cells=cells,
    )


def test_the_same_seed_gives_the_same_pixels_and_truth_whatever_ran_before():
    first, truth = draw_field(41, **SMALL)
    np.random.seed(1)
    draw_field(42, **SMALL)
    second, truth_again = draw_field(41, **SMALL)
    assert digest(first.pixels) == digest(second.pixels)
    np.testing.assert_array_equal(truth.boxes, truth_again.boxes)
    np.testing.assert_array_equal(truth.labels, truth_again.labels)


def test_threads_of_opencv_do_not_change_a_pixel():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = digest(draw_field(5, width=1000, height=750)[0].pixels)
        cv2.setNumThreads(4)
        assert digest(draw_field(5, width=1000, height=750)[0].pixels) == alone
    finally:
        cv2.setNumThreads(before)


def test_different_seeds_give_different_fields():
    assert len({digest(draw_field(seed, width=200, height=150)[0].pixels) for seed in range(6)}) == 6


def test_a_field_says_its_name_size_and_scale():
    image, truth = draw_field(7, **SMALL)
    assert image.name == "smear_000007"
    assert image.pixels.shape == (480, 640, 3)
    assert image.um_per_px == pytest.approx(132 / 640)
    assert truth.taxonomy == load_taxonomy("liu2022")


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**31), width=st.integers(120, 420), height=st.integers(120, 420), um_per_px=st.floats(0.1, 0.3)
)
def test_every_box_lies_inside_a_field_of_any_size(seed, width, height, um_per_px):
    image, truth = draw_field(seed, width=width, height=height, um_per_px=um_per_px)
    assert image.pixels.shape == (height, width, 3)
    x1, y1, x2, y2 = truth.boxes.T
    assert (x1 >= 0).all()
    assert (y1 >= 0).all()
    assert (x2 <= width).all()
    assert (y2 <= height).all()
    assert (x1 < x2).all()
    assert (y1 < y2).all()


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The oracle: walk over the pixels of the field that belong to the cell."""
    seen = [(x, y) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
    xs, ys = [x for x, _ in seen], [y for _, y in seen]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def test_each_box_is_tight_on_the_pixels_of_its_cell():
    drawn = plan(11, width=320, height=240, cells=12)
    boxes = drawn.boxes()
    assert len(boxes) == len(drawn.cells) >= 10
    for cell, box in zip(drawn.cells, boxes, strict=True):
        whole_field = np.zeros((240, 320), bool)
        side = len(cell.painted.cover)
        left, top = round(cell.x_um / drawn.um_per_px - side / 2), round(cell.y_um / drawn.um_per_px - side / 2)
        for row in range(side):
            for column in range(side):
                if 0 <= top + row < 240 and 0 <= left + column < 320:
                    whole_field[top + row, left + column] = cell.painted.mask[row, column]
        assert tuple(box) == box_of_mask(whole_field)


def test_what_a_box_holds_is_not_empty_background():
    image, truth = draw_field(3, **SMALL, cells=10)
    for x1, y1, x2, y2 in truth.boxes.astype(int):
        inside = image.pixels[y1:y2, x1:x2].astype(float)
        # Every class has a purple nucleus: green falls well below blue there, and never in a red cell or plasma.
        assert ((inside[..., 2] - inside[..., 1]) > 35).mean() > 0.1


def test_a_cell_cut_by_the_border_shows_enough_of_itself():
    cut = 0
    for seed in range(8):
        drawn = plan(seed, width=160, height=120)
        for cell in drawn.cells:
            _, here = drawn.place_of(cell)
            share = cell.painted.mask[here].sum() / cell.painted.mask.sum()
            assert share > LEAST_VISIBLE - 0.05
            cut += share < 0.95
    assert cut > 6


def test_cells_touch_but_do_not_hide_each_other():
    for seed in range(3):
        discs = plan(seed, width=160, height=120, cells=40).discs_um
        apart = np.hypot(*(discs[:, None, :2] - discs[None, :, :2]).transpose(2, 0, 1))
        together = discs[:, None, 2] + discs[None, :, 2]
        others = ~np.eye(len(discs), dtype=bool)
        assert (apart[others] >= 0.88 * together[others] - 1e-9).all()


def test_a_field_of_half_the_pixels_holds_the_same_cells_at_half_the_size():
    large, large_truth = draw_field(19, width=1600, height=1200)
    small, small_truth = draw_field(19, width=800, height=600)
    np.testing.assert_array_equal(large_truth.labels, small_truth.labels)
    np.testing.assert_allclose(large_truth.boxes / 2, small_truth.boxes, atol=2.01)
    shrunk = cv2.resize(large.pixels, (100, 75), interpolation=cv2.INTER_AREA).astype(float)
    smaller = cv2.resize(small.pixels, (100, 75), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(shrunk - smaller).mean() < 6
    assert small.um_per_px == pytest.approx(2 * large.um_per_px)


def test_twice_the_pixels_of_the_painting_doubles_the_truth_exactly():
    _, large = draw_field(4, width=400, height=300, um_per_px=0.033)
    _, small = draw_field(4, width=200, height=150, um_per_px=0.066)
    np.testing.assert_array_equal(large.boxes, small.boxes * 2)


def test_a_field_holds_about_fourteen_cells_of_the_right_size():
    counts, sides = [], []
    for seed in range(24):
        drawn = plan(seed, width=160, height=120)
        counts.append(len(drawn.cells))
        sides += [2 * cell.radius_um / 0.033 for cell in drawn.cells]
    assert 12 < np.mean(counts) < 15.5
    assert np.mean([(220 < side < 650) for side in sides]) > 0.99
    assert np.mean([(230 < side < 500) for side in sides]) > 0.75


def test_as_many_cells_as_asked_for_are_drawn():
    assert len(draw_field(1, **SMALL, cells=9)[1]) == 9
    assert len(draw_field(1, **SMALL, cells=0)[1]) == 0


def test_a_field_too_full_holds_fewer_cells():
    assert 20 < len(draw_field(1, width=160, height=120, cells=130)[1]) < 110


def test_fields_of_one_specimen_share_their_stain():
    def background(seed: int, specimen: int | None) -> np.ndarray:
        pixels = draw_field(seed, width=320, height=240, specimen=specimen, cells=4)[0].pixels
        return np.percentile(pixels.reshape(-1, 3), 80, axis=0)

    same = np.std([background(seed, 3) for seed in range(6)], axis=0).mean()
    different = np.std([background(seed, None) for seed in range(6)], axis=0).mean()
    assert same < 0.6 * different


def test_balanced_fields_draw_every_class():
    seen = set()
    for seed in range(6):
        drawn = draw_field(
            seed,
            width=160,
            height=120,
            taxonomy=load_taxonomy("liu2022-21"),
            frequencies=Frequencies.BALANCED,
            cells=20,
        )[1]
        seen |= set(drawn.labels.tolist())
    assert seen == set(range(21))


def test_classes_that_cannot_be_drawn_do_not_occur():
    own = Taxonomy(
        "own", (CellClass("MEGAKARYO", "megakaryocyte", Lineage.MEGAKARYOCYTIC), load_taxonomy("liu2022")[3])
    )
    assert set(draw_field(2, **SMALL, taxonomy=own)[1].labels.tolist()) == {1}


def test_a_scheme_without_any_class_to_draw_is_refused():
    own = Taxonomy("own", (CellClass("MEGAKARYO", "megakaryocyte", Lineage.MEGAKARYOCYTIC),))
    with pytest.raises(BadTaxonomy, match="scheme 'own' has no class that the smear can draw"):
        draw_field(2, **SMALL, taxonomy=own)


@pytest.mark.parametrize("wrong", [{"width": 8}, {"um_per_px": 0.0001}, {"um_per_px": 3.0}])
def test_an_impossible_field_is_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        draw_field(1, **{**SMALL, **wrong})


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.floats(-80, 120), st.floats(-80, 120))
def test_a_picture_meets_the_canvas_where_both_have_pixels(height, width, side, x, y):
    there, here = overlap((height, width), side, x, y)
    canvas, picture = np.zeros((height, width)), np.ones((side, side))
    canvas[there] += picture[here]
    left, top = round(x - side / 2), round(y - side / 2)
    expected = np.zeros((height, width))
    for row in range(side):
        for column in range(side):
            if 0 <= top + row < height and 0 <= left + column < width:
                expected[top + row, left + column] = 1
    np.testing.assert_array_equal(canvas, expected)
