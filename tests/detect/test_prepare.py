"""Sizes in the model, and the resize that happens before everything else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.field import FieldImage
from marrowscope.detect.prepare import fit, resize_to

sides = st.integers(1, 20_000)
boxes = st.tuples(st.integers(16, 3000), st.integers(16, 3000))


@given(sides, sides, boxes)
def test_a_fitted_field_lies_in_the_box_and_touches_it(width: int, height: int, box: tuple[int, int]) -> None:
    fitted = fit(width, height, box)
    assert 1 <= max(fitted[:2]) <= max(box)
    assert 1 <= min(fitted[:2]) <= min(box)
    assert max(fitted[:2]) == max(box) or min(fitted[:2]) == min(box)


@given(sides, sides, boxes)
def test_shape_is_kept_to_half_a_pixel(width: int, height: int, box: tuple[int, int]) -> None:
    w, h, scale = fit(width, height, box)
    assert w == 1 or abs(w - width * scale) <= 0.5001
    assert h == 1 or abs(h - height * scale) <= 0.5001


@given(sides, sides, boxes)
def test_a_field_on_its_side_has_cells_of_the_same_size(width: int, height: int, box: tuple[int, int]) -> None:
    if width != height:
        assert fit(width, height, box).scale == fit(height, width, box).scale


def test_the_papers_field() -> None:
    assert fit(4000, 3000, (1333, 1000)) == (1333, 1000, 1333 / 4000)
    assert fit(1404, 1056, (702, 528)) == (702, 528, 0.5)


@pytest.mark.parametrize("size", [(50, 40), (100, 80), (260, 190)])
def test_a_flat_field_stays_flat_at_any_size(size: tuple[int, int]) -> None:
    field = FieldImage(np.full((80, 100, 3), (200, 188, 217), np.uint8), "flat")
    pixels = resize_to(field, size)
    assert pixels.shape == (size[1], size[0], 3)
    assert pixels.dtype == np.uint8
    assert (pixels == (200, 188, 217)).all()


def test_going_down_averages_areas() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    small = resize_to(FieldImage(pixels, "noise"), (20, 15))
    expected = pixels.reshape(15, 4, 20, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - expected).max() <= 0.51
