"""OpenCV's cameras. There is no USB camera on a test machine: a video file takes the same road through OpenCV."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from marrowscope.errors import CameraLost, NotOffered
from marrowscope.instrument.camera import Control
from marrowscope.instrument.opencv_camera import OpencvCamera


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for _ in range(40):
        writer.write(np.full((240, 320, 3), (20, 120, 220), np.uint8))  # BGR
    writer.release()
    return path


def test_colours_are_those_of_the_film(film: Path) -> None:
    with OpencvCamera(str(film)) as camera:
        frame = next(camera.frames())
        assert (camera.info.width, camera.info.height) == (320, 240)
    assert np.abs(frame.pixels.reshape(-1, 3).mean(axis=0) - (220, 120, 20)).max() < 6


def test_the_end_of_the_pictures_is_a_camera_lost(film: Path) -> None:
    with OpencvCamera(str(film)) as camera, pytest.raises(CameraLost, match="no more pictures"):
        for _ in camera.frames():
            pass


def test_a_camera_that_is_not_there_says_what_to_check() -> None:
    with pytest.raises(CameraLost, match="doctor"), OpencvCamera("7"):
        pass


def test_what_a_film_cannot_do_is_not_offered(film: Path) -> None:
    with OpencvCamera(str(film)) as camera:
        assert camera.controls == {}
        with pytest.raises(NotOffered, match="exposure_ms"):
            camera.set(Control.EXPOSURE_MS, 5)
