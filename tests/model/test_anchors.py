import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.errors import BadInput
from marrowscope.model.anchors import fit_anchor_sizes


def squares(sides):
    return np.asarray([[0, 0, s, s] for s in sides], np.float32)


def test_three_sizes_of_cells_give_those_three_anchors():
    sides = np.concatenate([np.full(50, 30.0), np.full(50, 60.0), np.full(50, 120.0)])
    assert fit_anchor_sizes(squares(sides), 3) == ((30.0,), (60.0,), (120.0,))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(2, 1000), min_size=1, max_size=60), st.integers(1, 5))
def test_anchors_rise_and_stay_within_the_sizes_of_the_cells(sides, levels):
    anchors = [a for (a,) in fit_anchor_sizes(squares(sides), levels)]
    assert len(anchors) == levels
    assert anchors == sorted(anchors)
    assert min(sides) - 0.1 <= anchors[0]
    assert anchors[-1] <= max(sides) + 0.1


def test_no_box_is_a_clear_error():
    with pytest.raises(BadInput, match="No training box"):
        fit_anchor_sizes(np.zeros((0, 4), np.float32), 3)
