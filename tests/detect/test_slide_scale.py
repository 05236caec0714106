"""A slide is looked at in one scale: the one given, or the one that its cells ask for."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.slide_world import Discs
from marrowscope.cells.boxes import area
from marrowscope.cells.field import FieldImage
from marrowscope.detect.field_detector import OFF_SCALE, FieldDetector
from marrowscope.detect.runtime import Found
from marrowscope.detect.slide_scale import Look, WorkingScale, find_look, nearest_scale, tile_field, tile_grid
from marrowscope.detect.tiling import STRIDE
from marrowscope.errors import BadInput
from marrowscope.model.config import InputScale
from marrowscope.model.traits import Traits
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.regions import Rectangle
from oracles.blob_detector import SHADES

CELL = 24.0
TRAITS = Traits(SHADES, (240, 180), InputScale(factor=1, cell_px=CELL), cell_px=CELL)


class Discerning:
    """Finds discs, but is sure only of those that look about as large as in its training."""

    name = "discerning"

    def find(self, picture: NDArray[np.uint8]) -> Found:
        (found,) = Discs().detect([FieldImage(picture, "picture")])
        off = np.sqrt(area(found.boxes)) / CELL
        sure = (off > 0.4) & (off < 2.5)
        return Found(found.boxes[sure], found.labels[sure], found.scores[sure])

    def read(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise AssertionError("there is no reader")


DETECTOR = FieldDetector(Discerning(), TRAITS)


def slide_of(diameter: int, *, um_per_px: float | None = None) -> ArraySlide:
    side = min(diameter * 40, 1400)
    pixels = np.full((side, side, 3), 235, np.uint8)
    for x in range(diameter, side - diameter, 2 * diameter):
        for y in range(diameter, side - diameter, 2 * diameter):
            cv2.circle(pixels, (x, y), diameter // 2, (40, 40, 40), cv2.FILLED)
    return ArraySlide(pixels, "smear", um_per_px=um_per_px)


def look(slide: ArraySlide, **known: float) -> Look:
    level = slide.levels[0]
    return find_look(slide, DETECTOR, [Rectangle(0, 0, level.width, level.height)], **known)


@pytest.mark.parametrize(("diameter", "reduction"), [(24, 1), (48, 2), (72, 3), (100, 4)])
def test_cells_tell_the_scale_of_a_slide_that_does_not(diameter: int, reduction: int) -> None:
    assert look(slide_of(diameter)).scale == WorkingScale(reduction, 1, reduction)


@pytest.mark.parametrize("um_per_px", [0.27, 0.18, 0.35])
def test_micrometres_are_believed_while_cells_do_not_look_far_off(um_per_px: float) -> None:
    # 48 pixels at .27 um are 13 um: the guess is two pixels in one, and at the others within what classes differ by.
    expected = nearest_scale(CELL * um_per_px / 13)
    assert look(slide_of(48, um_per_px=um_per_px)).scale == expected


def test_micrometres_that_err_are_overruled_by_the_cells() -> None:
    assert look(slide_of(72, um_per_px=0.5)).scale.reduction == 3


def test_what_the_user_says_counts() -> None:
    assert look(slide_of(48, um_per_px=0.27), network_px=0.25).scale.reduction == 4
    assert look(slide_of(48, um_per_px=5.0), um_per_px=0.27).scale.reduction == 2


def test_a_slide_that_says_nothing_and_shows_no_cell_is_refused_with_the_remedy() -> None:
    glass = ArraySlide(np.full((300, 300, 3), 240, np.uint8), "glass")
    with pytest.raises(BadInput, match=r"glass: .*--um-per-px, or --scale"):
        look(glass)


@given(st.floats(0.02, 1.9), st.floats(1, 3))
def test_the_working_scale_is_near_to_what_was_asked_for(network_px: float, finer: float) -> None:
    scale = nearest_scale(network_px, finer=finer)
    assert 1 / OFF_SCALE < scale.network_px / network_px < OFF_SCALE
    assert scale.reduction % scale.reading == 0
    # The reader has the pixels that it wants, as far as the slide has them.
    assert scale.reading == 1 or scale.reduction / scale.reading >= finer


@given(
    st.integers(100, 3000),
    st.integers(100, 3000),
    st.floats(10, 150),
    st.sampled_from([(1, 2), (1, 1), (3, 1), (8, 1)]),
)
def test_tiles_lie_on_strides_of_the_network_and_hold_the_largest_cell(
    width: int, height: int, cell: float, scale: tuple[int, int]
) -> None:
    working = WorkingScale(*scale)
    grid = tile_grid(Traits(SHADES, (width, height), cell_px=cell), working)
    for length in (grid.core, grid.margin):
        assert (length * working.network_px) % STRIDE == 0
    largest = 2 * cell / working.network_px
    assert grid.band >= math.floor(min(largest / 6, grid.core / 2))
    assert grid.margin >= largest / 2 + grid.band


def test_a_detector_at_a_scale_gives_every_tile_that_scale() -> None:
    slide = slide_of(72)
    field = tile_field(slide, WorkingScale(3, 1, 3), 0, 0, 576)
    assert field.pixels.shape == (192, 192, 3)
    assert (field.width, field.height) == (576, 576)
    (found,) = DETECTOR.at(1 / 3).detect([field])
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert len(found) == 16
    assert np.abs(sides - 72).max() <= 3
