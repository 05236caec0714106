from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.smear_zones import slide_of
from marrowscope.errors import BadInput
from marrowscope.slide.map import draw_map, quality_colour, write_map
from marrowscope.slide.regions import Rectangle, Region

SLIDE = slide_of((("good", "empty", "good"),))
GOOD = Region(0, 0, 400, 400, quality=1.0, focus=1.0, thickness=1.0, stain=1.0, nuclei=7.0, why="readable")
POOR = replace(GOOD, x=2000, quality=0.5, why="out of focus")


def _has(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.asarray((pixels == colour).all(axis=2))


def test_a_region_is_outlined_in_the_colour_of_its_quality_where_it_lies() -> None:
    pixels = draw_map(SLIDE, [GOOD, POOR], longest_px=600)
    middle = pixels.shape[1] // 2
    # The colours at the foot of the map have both.
    above = pixels[:160]
    assert _has(above[:, :middle], quality_colour(1.0)).any()
    assert not _has(above[:, middle:], quality_colour(1.0)).any()
    assert _has(above[:, middle:], quality_colour(0.5)).any()


def test_what_nobody_judged_is_outlined_in_no_colour_of_quality() -> None:
    pixels = draw_map(SLIDE, [Rectangle(0, 0, 800, 800)], longest_px=600)
    bright = pixels.astype(int)
    assert not any(_has(pixels, quality_colour(q / 10)).any() for q in range(11))
    assert (bright.max(axis=2) - bright.min(axis=2)).max() < 120


def test_the_map_is_no_larger_than_asked_and_a_frame() -> None:
    pixels = draw_map(SLIDE, [GOOD], longest_px=1200)
    assert pixels.dtype == np.uint8
    assert 1200 <= pixels.shape[1] < 1260


def test_qualities_have_different_colours_from_orange_to_blue() -> None:
    assert quality_colour(0) == (213, 94, 0)
    assert quality_colour(1) == (0, 114, 178)
    assert len({quality_colour(q / 20) for q in range(21)}) == 21


@pytest.mark.parametrize("name", ["map.png", "map.jpg"])
def test_a_map_is_written_and_read_back(tmp_path: Path, name: str) -> None:
    pixels = draw_map(SLIDE, [GOOD], longest_px=600)
    write_map(tmp_path / name, pixels)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    back = np.asarray(Image.open(tmp_path / name))
    assert back.shape == pixels.shape
    assert np.abs(back.astype(int) - pixels).mean() < 3


def test_a_map_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"Call it \.jpg or \.png"):
        write_map(tmp_path / "map.pdf", np.zeros((8, 8, 3), np.uint8))
