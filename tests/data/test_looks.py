"""How a picture looks, in numbers that mean what they are called."""

import cv2
import numpy as np
import pytest

from helpers.tiny import paint
from marrowscope.cells.field import FieldImage
from marrowscope.cells.fields_seen import MOST_PIXELS
from marrowscope.data.looks import LOOKS, SIDE, fields_seen, looks_of, pictures, swatch_of


def named(pixels):
    return dict(zip(LOOKS, looks_of(FieldImage(np.asarray(pixels, np.uint8), "field")), strict=True))


def test_colours_are_those_of_cie_lab():
    red = named(np.full((20, 30, 3), (255, 0, 0)))
    assert [red[k] for k in LOOKS[:3]] == pytest.approx([53.2, 80.1, 67.2], abs=1)
    grey = named(np.full((20, 30, 3), 119))
    assert [grey[k] for k in LOOKS[:3]] == pytest.approx([50, 0, 0], abs=1)
    assert [grey[k] for k in LOOKS[3:6]] == pytest.approx([0, 0, 0], abs=0.1)
    assert np.isfinite(grey["sharpness"])


def test_blur_lowers_the_sharpness_and_light_does_not():
    field, _ = paint(1, width=400, height=300, cells=6)
    sharp = named(field.pixels)["sharpness"]
    assert named(cv2.GaussianBlur(field.pixels, (0, 0), 2))["sharpness"] < sharp - 1
    assert named(field.pixels // 2 + 40)["sharpness"] == pytest.approx(sharp, abs=0.35)


def test_a_reduced_picture_looks_like_the_whole_one():
    small, _ = paint(2, width=SIDE, height=768, cells=6)
    large = cv2.resize(small.pixels, (2 * SIDE, 1536), interpolation=cv2.INTER_NEAREST)
    assert looks_of(FieldImage(large, "large")) == pytest.approx(looks_of(small), rel=0.02, abs=0.1)


def test_every_field_has_the_same_part_in_a_swatch():
    white, black = (FieldImage(np.full((200, 300, 3), grey, np.uint8), "f") for grey in (255, 0))
    swatch = swatch_of([white, black])
    assert swatch.shape == (MOST_PIXELS, 3)
    assert (swatch == 255).mean() == pytest.approx(0.5)
    assert swatch_of([]).shape == (0, 3)
    assert swatch_of([FieldImage(np.zeros((1, 1, 3), np.uint8), "dot")]).shape == (1, 3)


def test_what_cannot_be_read_is_passed_over(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths[::2]:
        cv2.imwrite(str(path), paint(0)[0].pixels)
    paths[1].write_bytes(b"no picture")
    seen = fields_seen(pictures(paths))
    assert [len(values) for values in seen.looks.values()] == [2] * len(LOOKS)
