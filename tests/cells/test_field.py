"""A field knows its pixels and the size of the image they were decoded from."""

from pathlib import Path

import numpy as np
import pytest

from marrowscope.cells.field import FieldImage, Origin


def pixels(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype)


def test_the_size_is_that_of_the_pixels_unless_said() -> None:
    field = FieldImage(pixels(30, 40, 3), "f1")
    assert (field.width, field.height) == (40, 30)
    assert field.um_per_px is None
    assert field.origin == Origin()


def test_a_reduced_decode_keeps_the_width_and_height_of_the_original() -> None:
    field = FieldImage(pixels(30, 40, 3), "f1", width=4000, height=3000)
    assert (field.width, field.height) == (4000, 3000)
    assert field.pixels.shape == (30, 40, 3)


@pytest.mark.parametrize("wrong", [pixels(30, 40), pixels(30, 40, 4), pixels(3, 30, 40), pixels(1, 30, 40, 3)])
def test_another_shape_is_refused_and_named(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(h, w, 3\) uint8 RGB, got \(.*\) uint8"):
        FieldImage(wrong, "f1")


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64])
def test_another_type_of_number_is_refused_and_named(dtype: type) -> None:
    with pytest.raises(ValueError, match=rf"got \(30, 40, 3\) {np.dtype(dtype)}"):
        FieldImage(pixels(30, 40, 3, dtype=dtype), "f1")


@pytest.mark.parametrize("shape", [(0, 40, 3), (30, 0, 3)])
def test_a_field_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pixels must not be empty"):
        FieldImage(pixels(*shape), "f1")


@pytest.mark.parametrize(("width", "height"), [(4000, 0), (0, 3000), (-4000, -3000), (4000, -3000)])
def test_half_a_size_is_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"width and height go together, got {width} x {height}"):
        FieldImage(pixels(30, 40, 3), "f1", width=width, height=height)


def test_a_region_of_a_slide_says_where_it_lies() -> None:
    field = FieldImage(pixels(3, 4, 3), "s1", um_per_px=0.25, origin=Origin(Path("s1.svs"), 1024, 2048))
    assert (field.origin.path, field.origin.x, field.origin.y, field.origin.unit) == (Path("s1.svs"), 1024, 2048, "px")
