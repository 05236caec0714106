"""An address becomes a microscope, or a sentence that says why not."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from marrowscope.assemble.cameras import open_microscope
from marrowscope.errors import BadSetting
from marrowscope.instrument.camera import Camera
from marrowscope.instrument.stage import Stage


def test_the_simulated_microscope_has_camera_stage_and_faults():
    with open_microscope("simulated?width=64&height=48&fps=50") as microscope, microscope.camera as camera:
        assert isinstance(camera, Camera)
        assert isinstance(microscope.stage, Stage)
        assert microscope.faults is not None
        frame = camera.snap()
        assert frame.pixels.shape == (48, 64, 3)
        assert len(microscope.simulator.truth(frame.number).boxes) >= 0


def test_the_same_address_shows_the_same_slide_and_another_seed_another():
    def look(address: str, **options: object) -> bytes:
        with open_microscope(address, noise=0, width=64, height=48, **options) as made, made.camera as camera:
            return camera.snap().pixels.tobytes()

    assert look("simulated?seed=2") == look("simulated", seed=2) == look("simulated?seed=9", seed=2)
    assert look("simulated?seed=2") != look("simulated?seed=3")


def test_options_of_slide_and_scheme_are_passed_on():
    with open_microscope("simulated?scheme=clinical&width_um=3000&height_um=2000&um_per_px=0.2") as microscope:
        assert microscope.simulator.slide.taxonomy.name == "clinical"
        assert microscope.stage is not None
        assert microscope.stage.limits_um.high[:2] == (3000, 2000)


def test_a_folder_is_replayed(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 40, 3), 90, np.uint8))
    with open_microscope(f"replay:{tmp_path}?fps=50&loop=no&um_per_px=0.07") as microscope:
        assert microscope.stage is None
        assert microscope.faults is None
        with microscope.camera as camera:
            assert camera.info.um_per_px == 0.07
            assert next(camera.frames()).pixels.mean() == 90


@pytest.mark.parametrize("address", ["uvc:", "genicam:", "micromanager:"])
def test_a_real_camera_has_to_be_named(address: str):
    with pytest.raises(BadSetting, match="say which one"):
        open_microscope(address)


def test_closing_it_ends_the_drawing_and_may_be_done_twice():
    microscope = open_microscope("simulated?width=64&height=48")
    with microscope.camera as camera:
        next(camera.frames())
    microscope.close()
    microscope.close()
    assert "smear-slide" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("", "Known: simulated"),
        ("nikon:3", "Known: simulated"),
        ("simulated:3", "nothing may stand"),
        ("simulated?sed=3", "no option 'sed'"),
        ("simulated?seed=three", "'three' is no value for seed"),
        ("simulated?seed=-3", "must not be negative"),
        ("simulated?width=2", "16 x 16"),
        ("simulated?um_per_px=40", "um_per_px"),
        ("replay:", "say what to replay"),
        ("replay:x?loop=perhaps", "yes or no"),
        ("replay:x?fps=0", "above 0"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_what_can(address: str, word: str):
    with pytest.raises(BadSetting, match=word):
        open_microscope(address)
