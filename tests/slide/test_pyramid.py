"""A pyramid is the exact 2 x 2 mean, level by level, from one pass over the slide."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.pyramid import halved, pyramid_sizes, pyramid_tiles


def plain_mean(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The obvious version."""
    p = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2].astype(np.uint16)
    return ((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2] + 2) // 4).astype(np.uint8)


def noise(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)


sides = st.integers(1, 70)


@settings(max_examples=50)
@given(width=sides, height=sides)
def test_half_a_picture_is_the_mean_of_every_two_by_two_pixels(width: int, height: int) -> None:
    assert (halved(noise(width, height)) == plain_mean(noise(width, height))).all()


@settings(max_examples=40)
@given(width=sides, height=sides, tile=st.sampled_from([2, 4, 16]))
def test_tiles_of_every_level_make_the_means_and_each_place_is_read_once(width: int, height: int, tile: int) -> None:
    pixels = noise(width, height)
    sizes = pyramid_sizes(width, height, tile)
    seen = np.zeros((height, width), int)

    def read(x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        seen[y : y + h, x : x + w] += 1
        return pixels[y : y + h, x : x + w]

    levels = [np.zeros((h, w, 3), np.uint8) for w, h in sizes]
    order: list[list[tuple[int, int]]] = [[] for _ in sizes]
    with ThreadPoolExecutor(1) as pool:
        for n, column, row, piece in pyramid_tiles(read, sizes, tile, pool):
            order[n].append((row, column))
            y, x = row * tile, column * tile
            levels[n][y : y + len(piece), x : x + piece.shape[1]] = piece
    assert (seen == 1).all()
    expected = pixels
    for n, (w, h) in enumerate(sizes):
        assert (levels[n] == expected).all()
        assert order[n] == [(r, c) for r in range(-(-h // tile)) for c in range(-(-w // tile))]
        expected = plain_mean(expected)


def test_the_coarsest_level_fits_a_tile() -> None:
    assert pyramid_sizes(1000, 300, 256) == [(1000, 300), (500, 150), (250, 75)]
    assert pyramid_sizes(10, 10, 256) == [(10, 10)]


def test_an_odd_tile_is_refused_as_its_half_is_no_whole_number() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="even"):
        next(pyramid_tiles(lambda *_: noise(4, 4), [(4, 4)], 3, pool))


def test_the_array_slide_is_halved_alike() -> None:
    slide = ArraySlide(noise(31, 18), levels=3)
    assert (slide.read(2, 0, 0, 7, 4) == plain_mean(plain_mean(noise(31, 18)))).all()
