"""Auto-exposure settles in a few frames, whatever the light and whatever the camera offers."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.clock import HandClock
from helpers.plain_camera import PlainCamera
from marrowscope.errors import NotOffered
from marrowscope.instrument.camera import Control
from marrowscope.instrument.colour import SoftwareColour
from marrowscope.instrument.exposure import auto_exposure, brightness, clipped_share
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.smear.slide import SmearSlide

PX = 0.138


@pytest.fixture(scope="module")
def slide() -> Iterator[SmearSlide]:
    with SmearSlide(6, width_um=6000, height_um=6000, um_per_px=PX) as made:
        yield made


def microscope(slide: SmearSlide) -> SimulatedMicroscope:
    return SimulatedMicroscope(slide, width=320, height=240, um_per_px=PX, clock=HandClock(), sharp=True)


@settings(max_examples=30)
@given(st.floats(0.05, 200), st.floats(1, 16))
def test_it_settles_from_anywhere_and_clips_next_to_nothing(slide: SmearSlide, exposure: float, gain: float):
    with microscope(slide).camera as camera:
        camera.set(Control.EXPOSURE_MS, exposure)
        camera.set(Control.GAIN, gain)
        done = auto_exposure(camera)
        after = camera.snap().pixels
    assert done.settled
    assert done.frames <= 12
    assert 215 < brightness(after) < 235
    assert clipped_share(after) <= 0.005
    assert (done.exposure_ms, done.gain) == (camera.get(Control.EXPOSURE_MS), camera.get(Control.GAIN))
    # Light is had from the lamp before it is had from the amplifier.
    assert done.gain == 1


def test_once_settled_it_is_settled_at_the_first_look(slide: SmearSlide):
    with microscope(slide).camera as camera:
        auto_exposure(camera)
        assert auto_exposure(camera).frames == 1


def test_what_exposure_may_not_give_gain_gives(slide: SmearSlide):
    with microscope(slide).camera as camera:
        done = auto_exposure(camera, longest_ms=0.5)
        assert done.settled
        assert done.exposure_ms == 0.5
        assert done.gain is not None
        assert done.gain > 5


def test_what_no_control_can_give_is_said(slide: SmearSlide):
    with microscope(slide).camera as camera:
        done = auto_exposure(camera, longest_ms=0.05)
    assert not done.settled
    assert done.bright < 100
    assert done.frames < 12


@pytest.mark.parametrize("offers", [(Control.EXPOSURE_MS,), (Control.GAIN,)])
def test_one_control_is_enough(slide: SmearSlide, offers: tuple[Control, ...]):
    with microscope(slide).camera as inner:
        inner.set(Control.EXPOSURE_MS, 0.7)
        done = auto_exposure(PlainCamera(inner, offers=offers))
    assert done.settled
    assert (done.exposure_ms is None) == (Control.EXPOSURE_MS not in offers)
    assert (done.gain is None) == (Control.GAIN not in offers)


@pytest.mark.parametrize("exposure_ms", [0.6, 1.5, 4.4])
def test_software_brightens_or_dims_what_the_camera_cannot(slide: SmearSlide, exposure_ms: float):
    software = SoftwareColour()
    with microscope(slide).camera as inner:
        inner.set(Control.EXPOSURE_MS, exposure_ms)
        done = auto_exposure(PlainCamera(inner), software)
        shown = software.apply(inner.snap().pixels)
    assert done.settled
    assert done.gain == software.get(Control.GAIN)
    assert 215 < brightness(shown) < 235
    assert clipped_share(shown) <= 0.005


def test_without_any_control_it_says_what_to_do(slide: SmearSlide):
    with microscope(slide).camera as inner, pytest.raises(NotOffered, match="lamp"):
        auto_exposure(PlainCamera(inner))


def test_the_measures_count_the_brightest_channel():
    pixels = np.full((40, 40, 3), 100, np.uint8)
    pixels[:20, :, 0] = 255
    assert clipped_share(pixels) == 0.5
    assert brightness(pixels) == 255
    assert clipped_share(np.full((40, 40, 3), 254, np.uint8)) == 0
