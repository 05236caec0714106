"""Whole microscopes through Micro-Manager, on its demonstration devices."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marrowscope.errors import CameraLost, InstrumentError
from marrowscope.instrument.camera import Control
from marrowscope.instrument.micromanager import MicromanagerCamera, MicromanagerStage

adapters = pytest.importorskip("mm_test_adapters", reason="Micro-Manager's demonstration devices are not installed")
pytest.importorskip("pymmcore_plus", reason="the extra `micromanager` is not installed")
FOLDER = Path(str(adapters.device_adapter_path()))
CONFIG = FOLDER / "MMConfig_demo.cfg"


@pytest.fixture
def camera() -> Iterator[MicromanagerCamera]:
    properties = {"Mode": "Color Test Pattern", "OnCameraCCDXSize": "640", "OnCameraCCDYSize": "480"}
    with MicromanagerCamera(CONFIG, adapters=FOLDER, properties=properties) as opened:
        yield opened


def test_a_frame_is_in_colour_and_of_the_size_asked_for(camera: MicromanagerCamera) -> None:
    frame = next(camera.frames())
    assert frame.pixels.shape == (480, 640, 3)
    assert (frame.pixels.max(axis=2).astype(int) - frame.pixels.min(axis=2)).max() > 50


def test_the_size_of_a_pixel_is_that_of_the_objective(camera: MicromanagerCamera) -> None:
    assert camera.info.um_per_px == camera.core.getPixelSizeUm()


def test_exposure_reaches_the_device(camera: MicromanagerCamera) -> None:
    assert camera.set(Control.EXPOSURE_MS, 7) == pytest.approx(camera.core.getExposure())


def test_the_stage_arrives_and_stays_on_the_axes_left_out(camera: MicromanagerCamera) -> None:
    stage = MicromanagerStage(camera)
    stage.move_to_um(x=120, y=-80, z=5)
    there = stage.move_to_um(z=9)
    # The demonstration stage goes in steps of 0.015 um.
    assert there == pytest.approx((120, -80, 9), abs=0.02)


def test_a_target_beyond_the_stage_is_refused_and_nothing_moves(camera: MicromanagerCamera) -> None:
    stage = MicromanagerStage(camera)
    before = stage.position_um
    with pytest.raises(InstrumentError, match="x = 99999"):
        stage.move_to_um(x=99999, y=10)
    assert stage.position_um == before


def test_a_stage_without_its_camera_says_so() -> None:
    with pytest.raises(CameraLost, match="Open its camera"):
        _ = MicromanagerStage(MicromanagerCamera(CONFIG)).position_um


def test_a_configuration_that_is_not_there_is_named() -> None:
    with pytest.raises(CameraLost, match=r"nowhere\.cfg"), MicromanagerCamera(Path("nowhere.cfg")):
        pass


def test_devices_that_do_not_load_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.cfg").write_text("Device,Camera,NoSuchAdapter,DCam\n", encoding="utf-8")
    with pytest.raises(CameraLost, match="NoSuchAdapter"), MicromanagerCamera(tmp_path / "bad.cfg", adapters=FOLDER):
        pass


def test_a_process_that_used_it_ends_quietly() -> None:
    code = (
        "import sys; from pathlib import Path; from marrowscope.instrument.micromanager import MicromanagerCamera\n"
        "with MicromanagerCamera(Path(sys.argv[1]), adapters=Path(sys.argv[2])) as c: next(c.frames())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(CONFIG), str(FOLDER)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert (done.returncode, "FATAL" in done.stderr) == (0, False)
