"""Boxes: laws, and a slow judge that paints every box into a mask and counts pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, area, as_boxes, centres, clip, iou_matrix, scale, shift

SIDE = 12


@st.composite
def box_lists(draw: st.DrawFn, *, low: int = 0, high: int = SIDE) -> Boxes:
    """Boxes with whole-number edges, in which crossed and empty ones occur now and then."""
    edge = st.integers(low, high)
    boxes = draw(st.lists(st.tuples(edge, edge, edge, edge), max_size=6))
    ordered = draw(st.booleans())
    return as_boxes([(min(a, c), min(b, d), max(a, c), max(b, d)) if ordered else (a, b, c, d) for a, b, c, d in boxes])


def painted(box: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels whose square lies in the box: half-open, so x2 and y2 are not painted."""
    x1, y1, x2, y2 = (int(v) for v in box)
    mask = np.zeros((SIDE, SIDE), np.bool_)
    for y in range(y1, y2):
        for x in range(x1, x2):
            mask[y, x] = True
    return mask


@given(box_lists(), box_lists())
def test_iou_is_that_of_painted_pixels(a: Boxes, b: Boxes) -> None:
    slow = np.zeros((len(a), len(b)))
    for i, one in enumerate(a):
        for j, two in enumerate(b):
            union = (painted(one) | painted(two)).sum()
            slow[i, j] = (painted(one) & painted(two)).sum() / union if union else 0
    assert_array_equal(iou_matrix(a, b), slow)


@given(box_lists())
def test_area_is_the_number_of_painted_pixels(boxes: Boxes) -> None:
    assert area(boxes).tolist() == [painted(box).sum() for box in boxes]


@given(box_lists(), box_lists())
def test_iou_is_symmetric_and_between_0_and_1(a: Boxes, b: Boxes) -> None:
    iou = iou_matrix(a, b)
    assert_array_equal(iou, iou_matrix(b, a).T)
    assert ((iou >= 0) & (iou <= 1)).all()


@given(box_lists())
def test_a_box_covers_itself_and_an_empty_one_nothing(boxes: Boxes) -> None:
    assert_array_equal(np.diag(iou_matrix(boxes, boxes)), (area(boxes) > 0).astype(float))


@given(box_lists(), box_lists(), st.integers(-50, 50), st.integers(-50, 50))
def test_iou_does_not_change_when_both_are_moved(a: Boxes, b: Boxes, dx: int, dy: int) -> None:
    assert_array_equal(iou_matrix(shift(a, dx, dy), shift(b, dx, dy)), iou_matrix(a, b))


@given(box_lists(), box_lists(), st.floats(0.1, 9), st.floats(0.1, 9))
def test_iou_does_not_change_when_the_field_is_resized(a: Boxes, b: Boxes, sx: float, sy: float) -> None:
    assert_allclose(iou_matrix(scale(a, sx, sy), scale(b, sx, sy)), iou_matrix(a, b), atol=1e-5)


@given(box_lists())
def test_iou_does_not_change_when_the_field_is_flipped(boxes: Boxes) -> None:
    flipped = (SIDE - boxes)[:, [2, 1, 0, 3]] * [1, 0, 1, 0] + boxes * [0, 1, 0, 1]
    assert_array_equal(iou_matrix(as_boxes(flipped), as_boxes(flipped)), iou_matrix(boxes, boxes))


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert iou_matrix(as_boxes([[0, 0, 2, 2]]), as_boxes([[2, 0, 4, 2], [0, 2, 2, 4], [2, 2, 4, 4]])).max() == 0


def test_iou_of_large_boxes_is_not_rounded_to_float32() -> None:
    big = as_boxes([[0, 0, 100_001, 100_001]])
    less = as_boxes([[0, 0, 100_001, 100_000]])
    assert iou_matrix(big, less)[0, 0] == pytest.approx(100_000 / 100_001, abs=1e-15)


@given(box_lists(low=-SIDE, high=2 * SIDE))
def test_a_clipped_box_is_the_part_that_lies_in_the_field(boxes: Boxes) -> None:
    clipped = clip(boxes, SIDE, SIDE)
    assert clipped.dtype == np.float32
    assert ((clipped >= 0) & (clipped <= SIDE)).all()
    assert_array_equal(clip(clipped, SIDE, SIDE), clipped)
    field = as_boxes([[0, 0, SIDE, SIDE]])
    for box, cut in zip(boxes, clipped, strict=True):
        if area(box[None])[0]:
            inside = max(0, min(box[2], SIDE) - max(box[0], 0)) * max(0, min(box[3], SIDE) - max(box[1], 0))
            assert area(cut[None])[0] == inside
            assert iou_matrix(cut[None], field)[0, 0] == pytest.approx(float(inside) / SIDE**2)


def test_a_field_is_clipped_by_its_own_width_and_height() -> None:
    assert clip(as_boxes([[-1, -1, 99, 99]]), 40, 30).tolist() == [[0, 0, 40, 30]]


@given(box_lists(), st.integers(-99, 99), st.integers(-99, 99))
def test_a_shift_is_undone_by_its_opposite_and_keeps_the_size(boxes: Boxes, dx: int, dy: int) -> None:
    moved = shift(boxes, dx, dy)
    assert moved.dtype == np.float32
    assert_array_equal(shift(moved, -dx, -dy), boxes)
    assert_array_equal(area(moved), area(boxes))
    assert_array_equal(centres(moved), centres(boxes) + np.asarray([dx, dy], np.float32))


@given(box_lists(), st.sampled_from([0.25, 0.5, 2, 4]), st.sampled_from([0.25, 0.5, 2, 4]))
def test_a_scale_is_undone_by_its_inverse_and_multiplies_the_area(boxes: Boxes, sx: float, sy: float) -> None:
    resized = scale(boxes, sx, sy)
    assert resized.dtype == np.float32
    assert_array_equal(scale(resized, 1 / sx, 1 / sy), boxes)
    assert_array_equal(area(resized), area(boxes) * np.float32(sx * sy))
    assert_array_equal(centres(resized), centres(boxes) * np.asarray([sx, sy], np.float32))


def test_x_and_y_are_not_mixed_up() -> None:
    box = as_boxes([[1, 2, 5, 10]])
    assert shift(box, 100, 0).tolist() == [[101, 2, 105, 10]]
    assert scale(box, 2, 1).tolist() == [[2, 2, 10, 10]]
    assert centres(box).tolist() == [[3, 6]]


@given(box_lists(), st.integers(-9, 9))
def test_what_is_given_is_not_changed(boxes: Boxes, d: int) -> None:
    before = boxes.copy()
    clip(boxes, 5, 5), shift(boxes, d, d), scale(boxes, 2, 2), iou_matrix(boxes, boxes), area(boxes), centres(boxes)
    assert_array_equal(boxes, before)


@pytest.mark.parametrize("empty", [[], [[]], np.zeros((0, 4)), np.zeros((0, 7)), ()])
def test_no_boxes_are_0_by_4_whatever_their_shape_was(empty: object) -> None:
    boxes = as_boxes(empty)  # type: ignore[arg-type]
    assert (boxes.shape, boxes.dtype) == ((0, 4), np.float32)
    three = as_boxes([[0, 0, 1, 1]] * 3)
    assert iou_matrix(boxes, three).shape == (0, 3)
    assert iou_matrix(three, boxes).shape == (3, 0)
    assert area(boxes).shape == (0,)
    assert centres(boxes).shape == (0, 2)
    assert clip(boxes, 3, 3).shape == shift(boxes, 1, 1).shape == scale(boxes, 2, 2).shape == (0, 4)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4), (2, 5)])
def test_another_shape_is_refused_and_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"boxes must be \(n, 4\), got \({shape[0]},"):
        as_boxes(np.zeros(shape))
