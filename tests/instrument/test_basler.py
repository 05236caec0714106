"""Basler cameras, on the emulator inside pypylon."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.errors import CameraLost
from marrowscope.instrument.basler import BaslerCamera, decibels, factor
from marrowscope.instrument.camera import Control

pytest.importorskip("pypylon", reason="the extra `basler` is not installed")


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "2")


@given(st.floats(1, 250))
def test_a_gain_survives_the_way_through_decibels(gain: float) -> None:
    assert factor(decibels(gain)) == pytest.approx(gain)


def test_doubling_the_light_is_about_six_decibels() -> None:
    assert decibels(2) == pytest.approx(6.02, abs=0.01)


def test_a_serial_number_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(CameraLost, match=r"4711.*0815-0000.*0815-0001"), BaslerCamera("4711"):
        pass


def test_the_camera_with_that_serial_number_is_opened() -> None:
    with BaslerCamera("0815-0001") as camera:
        assert camera.info.serial == "0815-0001"


def test_size_is_that_asked_for() -> None:
    with BaslerCamera("0815-0000", width=800, height=600) as camera:
        assert next(camera.frames()).pixels.shape == (600, 800, 3)


def test_exposure_is_in_milliseconds() -> None:
    with BaslerCamera("0815-0000") as camera:
        assert camera.set(Control.EXPOSURE_MS, 12.5) == pytest.approx(12.5)
        assert camera._node("ExposureTime", "ExposureTimeAbs").Value == pytest.approx(12500)


class PlaysAFolder(BaslerCamera):
    """The emulator shows the pictures of a folder when told so before it starts."""

    folder = Path()

    def _set_up(self) -> None:
        super()._set_up()
        self._camera.ImageFilename.Value = str(self.folder)
        self._camera.ImageFileMode.Value = "On"
        self._camera.TestImageSelector.Value = "Off"


def test_a_picture_comes_through_with_its_colours(tmp_path: Path) -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:, :160], picture[:, 160:] = (200, 30, 60), (10, 180, 90)
    cv2.imwrite(str(tmp_path / "field.png"), picture[..., ::-1])
    camera = PlaysAFolder("0815-0000", width=320, height=240)
    camera.folder = tmp_path
    with camera:
        frame = camera.snap()
    assert (frame.pixels[:, 10] == (200, 30, 60)).all()
    assert (frame.pixels[:, 300] == (10, 180, 90)).all()


def test_a_picture_that_did_not_arrive_whole_is_never_handed_out() -> None:
    with BaslerCamera("0815-0000", fps=200) as camera:
        before = camera.snap().number
        camera._camera.ForceFailedBufferCount.Value = 20
        camera._camera.ForceFailedBuffer.Execute()
        after = camera.snap()
        while after.number <= before + 20:
            after = camera.snap()
    # The camera counts the failed ones: that they are missing can be seen.
    assert after.pixels.std() > 0
