import numpy as np
import pytest

from marrowscope.errors import BadSlide
from marrowscope.slide import view as views
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.view import overview, scale_of, view


def _slope(height: int, width: int) -> np.ndarray:
    """Red tells the column, green the row."""
    rows, columns = np.indices((height, width))
    return np.stack([columns * 255 // width, rows * 255 // height, np.full((height, width), 90)], axis=2).astype(
        np.uint8
    )


@pytest.mark.parametrize("levels", [1, 3, 6])
def test_a_place_looks_the_same_whatever_scales_are_stored(levels: int) -> None:
    slide = ArraySlide(_slope(512, 640), levels=levels)
    seen = view(slide, 64, 128, 320, 256, (40, 32))
    assert np.abs(seen[:, :, 0].mean(axis=0) - (np.arange(40) * 8 + 67.5) * 255 / 640).max() < 2
    assert np.abs(seen[:, :, 1].mean(axis=1) - (np.arange(32) * 8 + 131.5) * 255 / 512).max() < 2


@pytest.mark.parametrize("downsample", [4.0, 7.3])
def test_an_overview_is_the_same_in_whatever_blocks_it_is_read(
    downsample: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = ArraySlide(_slope(500, 700), levels=3)
    at_once = overview(slide, downsample)
    monkeypatch.setattr(views, "_BLOCK_PX", 64)
    assert overview(slide, downsample).shape == at_once.shape == (int(500 / downsample), int(700 / downsample), 3)
    assert np.abs(overview(slide, downsample).astype(int) - at_once).max() <= 3


def test_no_more_of_a_slide_is_read_at_once_than_a_block() -> None:
    class Watched(ArraySlide):
        largest = 0

        def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
            self.largest = max(self.largest, width, height)
            return super().read(level, x, y, width, height)

    slide = Watched(np.zeros((300, 9000, 3), np.uint8), levels=1)
    overview(slide, 40)
    assert slide.largest <= views._BLOCK_PX


def test_the_scale_given_comes_before_that_of_the_file_and_a_usual_one_is_assumed() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    assert scale_of(ArraySlide(pixels, um_per_px=0.5), 0.1) == 0.1
    assert scale_of(ArraySlide(pixels, um_per_px=0.5)) == 0.5
    assert scale_of(ArraySlide(pixels)) == 0.25


def test_a_slide_too_coarse_to_see_cells_apart_is_refused_by_name() -> None:
    with pytest.raises(BadSlide, match=r"liver: .* 4 um a pixel, too coarse"):
        scale_of(ArraySlide(np.zeros((8, 8, 3), np.uint8), "liver", um_per_px=4.0))
