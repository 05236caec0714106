"""The same place has the same pixels, whatever rectangle asks, and whichever stored level it comes from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.reduced import read_reduced, stored_reduction, whole_reductions
from marrowscope.slide.slide import BACKGROUND, Level

PIXELS = np.random.default_rng(0).integers(0, 256, (150, 203, 3), np.uint8)
SLIDE = ArraySlide(PIXELS)


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(-9, 40), st.integers(-9, 40), st.integers(1, 30), st.integers(1, 30))
def test_a_rectangle_is_a_piece_of_the_whole(reduction: int, x: int, y: int, width: int, height: int) -> None:
    whole = read_reduced(SLIDE, reduction, -10, -10, 80, 80)
    assert_array_equal(
        read_reduced(SLIDE, reduction, x, y, width, height), whole[y + 10 : y + 10 + height, x + 10 : x + 10 + width]
    )


@pytest.mark.parametrize("reduction", [1, 2, 3, 4, 5, 6, 8])
def test_a_pixel_is_the_mean_of_those_it_spans(reduction: int) -> None:
    width, height = 203 // reduction - 1, 150 // reduction - 1
    spans = PIXELS[: height * reduction, : width * reduction].reshape(height, reduction, width, reduction, 3)
    # Levels are stored rounded, so each halving may add half a grey level.
    assert np.abs(read_reduced(SLIDE, reduction, 0, 0, width, height) - spans.mean(axis=(1, 3))).max() <= 1.6


def test_outside_of_the_slide_is_background() -> None:
    assert (read_reduced(SLIDE, 3, -20, 5, 10, 10) == BACKGROUND).all()
    assert (read_reduced(SLIDE, 3, 70, 5, 10, 10) == BACKGROUND).all()


def test_the_coarsest_level_that_divides_the_reduction_is_read() -> None:
    levels = (Level(4000, 3000, 1.0), Level(1000, 750, 4.0), Level(250, 187, 16.02))
    assert [stored_reduction(levels, r) for r in (1, 2, 4, 8, 12, 16, 32)] == [
        (0, 1),
        (0, 1),
        (1, 4),
        (1, 4),
        (1, 4),
        (2, 16),
        (2, 16),
    ]


def test_a_level_on_another_grid_is_left_alone() -> None:
    # Five pixels of 16 are missing at the far end: its pixels do not span 16 each.
    assert whole_reductions((Level(4000, 3000, 1.0), Level(245, 187, 16.2), Level(1333, 1000, 3.0005))) == [1, 0, 3]
