import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.boxes import area, as_boxes, centres, clip, iou_matrix, scale, shift

whole_boxes = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=5
).map(lambda rows: np.asarray([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32))


def painted(box):
    mask = np.zeros((40, 40), bool)
    x1, y1, x2, y2 = box.astype(int)
    mask[y1:y2, x1:x2] = True
    return mask


@given(whole_boxes, whole_boxes)
def test_iou_is_that_of_the_painted_pixels(a, b):
    counted = [[(painted(p) & painted(q)).sum() / (painted(p) | painted(q)).sum() for q in b] for p in a]
    np.testing.assert_allclose(iou_matrix(a, b), counted, atol=1e-12)


@given(whole_boxes)
def test_area_is_the_number_of_painted_pixels(boxes):
    assert area(boxes).tolist() == [painted(b).sum() for b in boxes]


@given(whole_boxes, st.integers(-30, 30), st.integers(-30, 30))
def test_a_shift_moves_the_centre_and_keeps_the_area(boxes, dx, dy):
    moved = shift(boxes, dx, dy)
    np.testing.assert_allclose(centres(moved), centres(boxes) + (dx, dy), atol=1e-4)
    np.testing.assert_allclose(area(moved), area(boxes))


@given(whole_boxes)
def test_clipping_keeps_what_is_inside_and_is_the_same_twice(boxes):
    cut = clip(boxes, 15, 10)
    assert (cut >= 0).all()
    assert (cut[:, 2] <= 15).all()
    assert (cut[:, 3] <= 10).all()
    np.testing.assert_array_equal(clip(cut, 15, 10), cut)
    np.testing.assert_array_equal(clip(boxes, 100, 100), boxes)


@given(whole_boxes)
def test_scaling_there_and_back_changes_nothing(boxes):
    np.testing.assert_allclose(scale(scale(boxes, 4, 0.5), 0.25, 2), boxes)


def test_empty_input_of_any_shape_is_no_box():
    assert as_boxes([]).shape == (0, 4)
    assert iou_matrix(as_boxes([]), as_boxes([[0, 0, 1, 1]])).shape == (0, 1)


def test_two_boxes_without_area_do_not_overlap():
    flat = as_boxes([[5, 5, 5, 9]])
    assert iou_matrix(flat, flat).tolist() == [[0]]


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"must be \(n, 4\), got \(4,\)"):
        as_boxes([1, 2, 3, 4])
