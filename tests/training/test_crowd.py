"""Pasted cells touch those of the field, are whole, and are labelled where they lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.boxes import iou_matrix
from marrowscope.training.crowd import MOST_OVERLAP, crowd

GROUND = 230


def field_of(*discs, shade, width=240, height=180):
    """Discs (x, y, radius) of one shade on light ground, with their boxes."""
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.full((height, width, 3), GROUND, np.uint8)
    for cx, cy, r in discs:
        image[np.hypot(x - cx, y - cy) <= r] = shade
    return image, np.array([[x - r, y - r, x + r, y + r] for x, y, r in discs], np.float32).reshape(-1, 4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), most=st.integers(1, 8))
def test_every_pasted_cell_is_seen_where_its_box_says_and_beside_another(seed, most):
    image, boxes = field_of((60, 60, 20), (150, 110, 25), shade=120)
    donor, theirs = field_of((50, 50, 18), (120, 90, 24), shade=10)
    crowded, everything, taken = crowd(image, boxes, donor, theirs, most=most, rng=np.random.default_rng(seed))

    assert len(taken) <= most
    assert len(everything) == len(boxes) + len(taken)
    np.testing.assert_array_equal(everything[: len(boxes)], boxes)
    overlaps = iou_matrix(everything, everything) - np.eye(len(everything))
    assert overlaps.max() <= MOST_OVERLAP + 1e-6
    for box, index in zip(everything[len(boxes) :], taken, strict=True):
        np.testing.assert_allclose(box[2:] - box[:2], theirs[index, 2:] - theirs[index, :2])
        assert box.min() >= 0
        assert box[2] <= 240
        assert box[3] <= 180
        near = [np.hypot(*((a[:2] + a[2:]) / 2 - (box[:2] + box[2:]) / 2)) for a in boxes]
        reach = [(a[2] - a[0] + box[2] - box[0]) / 2 for a in boxes]
        assert any(0.75 <= d / r <= 1.15 for d, r in zip(near, reach, strict=True))
    # Only pasted cells are darker than the field's own.
    dark = np.argwhere(crowded[..., 0] < 60)
    assert bool(len(dark)) == bool(len(taken))
    for row, column in dark:
        assert any(x1 <= column + 0.5 <= x2 and y1 <= row + 0.5 <= y2 for x1, y1, x2, y2 in everything[len(boxes) :])


def test_the_field_given_is_not_changed():
    image, boxes = field_of((60, 60, 20), shade=120)
    before = image.copy()
    crowd(image, boxes, *field_of((50, 50, 18), shade=10), most=4, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("whose", ["host", "donor"])
def test_without_cells_on_either_side_nothing_is_pasted(whose):
    full, boxes = field_of((60, 60, 20), shade=120)
    empty, none = field_of(shade=0)
    ours, theirs = ((empty, none), (full, boxes)) if whose == "host" else ((full, boxes), (empty, none))
    crowded, everything, taken = crowd(*ours, *theirs, most=4, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(crowded, ours[0])
    assert len(everything) == len(ours[1])
    assert not len(taken)
