"""What every slide promises, whatever it is stored in.

To add a format: a function that makes a slide of a picture, and a line in SLIDES.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.slides import UM_PER_PX, aperio, picture, written
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.dicom_slide import DicomSlide
from marrowscope.slide.drawn_slide import DrawnSlide
from marrowscope.slide.openslide_slide import OpenslideSlide
from marrowscope.slide.slide import BACKGROUND, WholeSlide
from marrowscope.slide.tiff_slide import TiffSlide
from marrowscope.slide.zarr_slide import ZarrSlide
from marrowscope.smear.slide import SmearSlide

# Levels of 255, in the mean.
JPEG_ERROR = 6.0
# Odd, and halved to odd again; OpenSlide's own arithmetic needs a picture that divides.
ODD, EVEN = picture(171, 99), picture(192, 128)


@dataclass(frozen=True)
class Made:
    """A slide, and what it holds: pixels of level 0, how far it may be off in the mean, micrometres a pixel."""

    slide: WholeSlide
    pixels: NDArray[np.uint8]
    tolerance: float = 0
    um_per_px: float | None = UM_PER_PX


def array(folder: Path) -> Made:
    return Made(ArraySlide(ODD, um_per_px=UM_PER_PX), ODD)


def ome_tiff(folder: Path) -> Made:
    return Made(TiffSlide(written(folder / "s.ome.tiff", ODD)), ODD)


def ome_tiff_jpeg(folder: Path) -> Made:
    return Made(TiffSlide(written(folder / "s.ome.tiff", ODD, quality=95)), ODD, JPEG_ERROR)


def tiff(folder: Path) -> Made:
    return Made(TiffSlide(written(folder / "s.tiff", ODD)), ODD)


def dicom(folder: Path) -> Made:
    return Made(DicomSlide(written(folder / "s.dicom", ODD)), ODD)


def dicom_jpeg(folder: Path) -> Made:
    return Made(DicomSlide(written(folder / "s.dicom", ODD, quality=95)), ODD, JPEG_ERROR)


def ome_zarr(folder: Path) -> Made:
    return Made(ZarrSlide(written(folder / "s.zarr", ODD)), ODD)


def plain_zarr(folder: Path) -> Made:
    made = zarr.create_array(folder / "s.zarr", shape=ODD.shape, chunks=(40, 50, 3), dtype=np.uint8)
    made[:] = ODD
    return Made(ZarrSlide(folder / "s.zarr"), ODD, um_per_px=None)


def openslide_tiff(folder: Path) -> Made:
    return Made(OpenslideSlide(written(folder / "s.tiff", EVEN)), EVEN)


def openslide_odd(folder: Path) -> Made:
    # OpenSlide blends neighbours where its idea of a downsample falls between pixels.
    return Made(OpenslideSlide(written(folder / "s.tiff", ODD)), ODD, 2.0)


def openslide_aperio(folder: Path) -> Made:
    return Made(OpenslideSlide(aperio(folder / "s.svs", ODD)), ODD)


def openslide_dicom(folder: Path) -> Made:
    return Made(OpenslideSlide(written(folder / "s.dicom", EVEN) / "level_0.dcm"), EVEN)


def drawn(folder: Path) -> Made:
    smear = SmearSlide(2, width_um=101, height_um=100, um_per_px=0.5)
    # Coarser levels are drawn anew, the coarsest at 8 um a pixel: the same cells in the same places.
    return Made(DrawnSlide(smear), smear.view(50.5, 50, 202, 200, 0.5), 14.0, um_per_px=0.5)


SLIDES: dict[str, Callable[[Path], Made]] = {
    f.__name__: f
    for f in (array, ome_tiff, ome_tiff_jpeg, tiff, dicom, dicom_jpeg, ome_zarr, plain_zarr)
    + (openslide_tiff, openslide_odd, openslide_aperio, openslide_dicom, drawn)
}


@pytest.fixture(scope="module", params=SLIDES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    opened = SLIDES[request.param](tmp_path_factory.mktemp(request.param))
    with opened.slide:
        yield opened


def whole(slide: WholeSlide, level: int) -> NDArray[np.uint8]:
    return slide.read(level, 0, 0, slide.levels[level].width, slide.levels[level].height)


def test_it_keeps_the_protocol_and_tells_its_name_and_scale(made: Made) -> None:
    assert isinstance(made.slide, WholeSlide)
    assert made.slide.name
    assert "/" not in made.slide.name
    assert made.slide.um_per_px == (made.um_per_px and pytest.approx(made.um_per_px))


def test_levels_are_finest_first_and_halved_ones_say_so_exactly(made: Made) -> None:
    levels = made.slide.levels
    assert levels[0].downsample == 1
    for n, level in enumerate(levels):
        assert level.downsample == 2**n
        # The odd row or column is dropped.
        assert (level.width, level.height) == (levels[0].width >> n, levels[0].height >> n)


def test_each_level_holds_the_picture_or_the_mean_of_the_one_before(made: Made) -> None:
    expected = ArraySlide(made.pixels, levels=len(made.slide.levels))
    assert made.slide.levels == expected.levels
    for n in range(len(expected.levels)):
        there = whole(made.slide, n)
        assert there.dtype == np.uint8
        assert np.abs(there.astype(int) - whole(expected, n)).mean() <= made.tolerance


@settings(max_examples=25)
@given(data=st.data())
def test_a_rectangle_anywhere_is_cut_from_the_whole_and_background_lies_around_it(
    made: Made, data: st.DataObject
) -> None:
    slide = made.slide
    n = data.draw(st.integers(0, len(slide.levels) - 1))
    level, edge = slide.levels[n], 40
    x, y = data.draw(st.integers(-edge, level.width + 5)), data.draw(st.integers(-edge, level.height + 5))
    width, height = data.draw(st.integers(1, edge * 2)), data.draw(st.integers(1, edge * 2))
    padded = np.full((level.height + 4 * edge, level.width + 4 * edge, 3), BACKGROUND, np.uint8)
    padded[edge : edge + level.height, edge : edge + level.width] = whole(slide, n)
    got = slide.read(n, x, y, width, height)
    assert got.shape == (height, width, 3)
    assert (got == padded[edge + y : edge + y + height, edge + x : edge + x + width]).all()


def test_far_outside_there_is_nothing_but_background(made: Made) -> None:
    assert (made.slide.read(0, -5000, 9000, 7, 5) == BACKGROUND).all()


def test_threads_may_share_it(made: Made) -> None:
    rng = np.random.default_rng(1)
    pages = [whole(made.slide, n) for n in range(len(made.slide.levels))]

    def right(_: int, places: tuple[int, ...]) -> bool:
        n = places[0] % len(pages)
        x, y = places[1] % pages[n].shape[1], places[2] % pages[n].shape[0]
        expected = pages[n][y : y + 30, x : x + 30]
        return bool((made.slide.read(n, x, y, expected.shape[1], expected.shape[0]) == expected).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(60), [tuple(p) for p in rng.integers(0, 10**6, (60, 3)).tolist()]))


@pytest.mark.parametrize("name", [n for n in SLIDES if n != "drawn"])
def test_it_can_be_closed_twice_and_opened_by_many(name: str, tmp_path: Path) -> None:
    first = SLIDES[name](tmp_path)
    first.slide.close()
    first.slide.close()
    assert math.isfinite(first.slide.levels[0].downsample)
