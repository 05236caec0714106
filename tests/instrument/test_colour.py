"""White balance by either measure, in the camera or in software."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.clock import HandClock
from helpers.plain_camera import PlainCamera
from marrowscope.errors import BadInput, NotOffered
from marrowscope.instrument.camera import Control
from marrowscope.instrument.colour import Gains, SoftwareColour, background_white, balance, grey_world
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.smear.slide import SmearSlide

PX = 0.138
cast = st.tuples(st.floats(0.7, 1.25), st.just(1.0), st.floats(0.5, 1.2))


@pytest.fixture(scope="module")
def slide() -> Iterator[SmearSlide]:
    with SmearSlide(6, width_um=6000, height_um=6000, um_per_px=PX) as made:
        yield made


def microscope(slide: SmearSlide, cast: tuple[float, float, float] = (1.1, 1.0, 0.7)) -> SimulatedMicroscope:
    return SimulatedMicroscope(slide, width=640, height=480, um_per_px=PX, cast=cast, clock=HandClock(), sharp=True)


def whitest(pixels: np.ndarray) -> np.ndarray:
    """Mean colour of what is plainly background, with green as 1."""
    flat = pixels.reshape(-1, 3).astype(float)
    colour = flat[flat[:, 1] >= np.percentile(flat[:, 1], 85)].mean(axis=0)
    return colour / colour[1]


@settings(max_examples=15)
@given(cast)
def test_grey_world_makes_the_background_grey_whatever_the_lamp(slide: SmearSlide, cast: tuple[float, float, float]):
    with microscope(slide, cast).camera as camera:
        camera.set(Control.EXPOSURE_MS, 3)
        balance(camera, grey_world(camera.snap().pixels))
        np.testing.assert_allclose(whitest(camera.snap().pixels), 1, atol=0.03)


def test_balancing_twice_changes_nothing(slide: SmearSlide):
    with microscope(slide).camera as camera:
        first = balance(camera, grey_world(camera.snap().pixels))
        second = balance(camera, grey_world(camera.snap().pixels))
    np.testing.assert_allclose(second, first, rtol=0.01)


def test_a_click_on_background_makes_that_place_grey(slide: SmearSlide):
    with microscope(slide).camera as camera:
        pixels = camera.snap().pixels
        y, x = np.unravel_index(int(np.argmax(_smooth(pixels[..., 1]))), pixels.shape[:2])
        balance(camera, background_white(pixels, x, y))
        after = camera.snap().pixels[y - 5 : y + 6, x - 5 : x + 6].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(after / after[1], 1, atol=0.02)


def _smooth(plane: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.blur(plane.astype(np.float32), (31, 31), borderType=cv2.BORDER_CONSTANT)


def test_a_click_on_a_nucleus_is_refused(slide: SmearSlide):
    source = microscope(slide)
    with source.camera as camera:
        frame = camera.snap()
    truth = source.truth(frame.number)
    whole = truth.boxes[truth.seen > 0.99].astype(int)
    assert len(whole)
    for x1, y1, x2, y2 in whole.tolist():
        inside = _smooth(frame.pixels[..., 1])[y1:y2, x1:x2]
        y, x = np.unravel_index(int(np.argmin(inside)), inside.shape)
        with pytest.raises(BadInput, match="no empty background"):
            background_white(frame.pixels, x1 + x, y1 + y)


@pytest.mark.parametrize(("x", "y"), [(-1, 5), (5, -0.1), (100, 5), (5, 80)])
def test_a_click_outside_is_refused(x: float, y: float):
    with pytest.raises(BadInput, match="not in the picture"):
        background_white(np.full((80, 100, 3), 200, np.uint8), x, y)


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(0, 79))
def test_a_click_anywhere_on_bare_glass_works_also_at_its_border(x: int, y: int):
    pixels = np.full((80, 100, 3), (210, 200, 160), np.uint8)
    assert background_white(pixels, x, y) == pytest.approx((200 / 210, 200 / 160))


def test_of_a_clipped_or_black_picture_no_colour_can_be_told():
    for level, word in ((255, "Lower the exposure"), (0, "Raise the exposure")):
        pixels = np.full((80, 100, 3), level, np.uint8)
        with pytest.raises(BadInput, match=word):
            grey_world(pixels)
        with pytest.raises(BadInput, match=word):
            background_white(pixels, 50, 40)


def test_software_balances_where_the_camera_cannot(slide: SmearSlide):
    software = SoftwareColour()
    with microscope(slide).camera as inner:
        camera = PlainCamera(inner)
        with pytest.raises(NotOffered):
            balance(camera, Gains(0.9, 1.2))
        in_force = balance(camera, grey_world(software.apply(camera.snap().pixels)), software)
        assert in_force == (software.get(Control.RED), software.get(Control.BLUE))
        corrected = software.apply(camera.snap().pixels)
        np.testing.assert_allclose(whitest(corrected), 1, atol=0.03)
        again = balance(camera, grey_world(corrected), software)
    np.testing.assert_allclose(again, in_force, rtol=0.02)


def test_the_camera_balances_where_it_can_though_software_is_at_hand(slide: SmearSlide):
    software = SoftwareColour()
    with microscope(slide).camera as camera:
        balance(camera, Gains(0.8, 1.5), software)
        assert (camera.get(Control.RED), camera.get(Control.BLUE)) == (0.8, 1.5)
    assert software.get(Control.RED) == software.get(Control.BLUE) == 1


def test_software_that_corrects_nothing_hands_the_picture_back():
    pixels = np.zeros((4, 4, 3), np.uint8)
    software = SoftwareColour()
    assert software.apply(pixels) is pixels
    software.set(Control.RED, 2)
    software.set(Control.RED, 1)
    assert software.apply(pixels) is pixels


@settings(max_examples=40)
@given(st.floats(0.3, 3.5), st.floats(0.3, 3.5), st.floats(0.2, 8))
def test_software_multiplies_rounds_and_saturates(red: float, blue: float, gain: float):
    software = SoftwareColour()
    for control, value in ((Control.RED, red), (Control.BLUE, blue), (Control.GAIN, gain)):
        assert software.set(control, value) == value == software.get(control)
    pixels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    expected = np.clip(pixels * np.asarray([red * gain, gain, blue * gain]), 0, 255)
    np.testing.assert_allclose(software.apply(pixels), expected, atol=0.501)
    for channel in range(3):
        assert all(a <= b for a, b in pairwise(software.apply(pixels)[0, :, channel].tolist()))


def test_software_clamps_and_has_no_exposure():
    software = SoftwareColour()
    assert software.set(Control.RED, 99) == software.controls[Control.RED].high
    assert Control.EXPOSURE_MS not in software.controls
    with pytest.raises(KeyError):
        software.set(Control.EXPOSURE_MS, 3)
