"""What every camera promises, whoever made it.

To add a driver: a function that gives a `Rig` (a context manager), and a line in CAMERAS. A rig that can pull the cable
also goes into UNPLUGGABLE. Rigs run in real time, so waits are bounded, never exact.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from marrowscope.errors import CameraLost, FrameDropped, NotOffered
from marrowscope.instrument.basler import BaslerCamera
from marrowscope.instrument.camera import Camera, Control, Frame
from marrowscope.instrument.genicam import GenicamCamera
from marrowscope.instrument.micromanager import MicromanagerCamera
from marrowscope.instrument.opencv_camera import OpencvCamera
from marrowscope.instrument.replay_camera import ReplayCamera
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.smear.slide import SmearSlide

TIMEOUT_S = 2.0
# What a busy machine may add to any wait.
SLACK_S = 3.0


@dataclass
class Rig:
    """A camera that is not open yet, and how to pull its cable and put it back."""

    camera: Camera
    unplug: Callable[[], None] | None = None
    replug: Callable[[], None] | None = None


@contextmanager
def simulated(tmp_path: Path) -> Iterator[Rig]:
    with SmearSlide(1, width_um=2000, height_um=2000) as slide:
        microscope = SimulatedMicroscope(slide, width=96, height=64, fps=40)
        yield Rig(microscope.camera, microscope.faults.unplug, microscope.faults.replug)


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    blocks = rng.integers(30, 220, (count, 6, 8, 3), dtype=np.uint8)
    return [cv2.resize(b, (64, 48), interpolation=cv2.INTER_NEAREST) for b in blocks]


@contextmanager
def replayed_folder(tmp_path: Path) -> Iterator[Rig]:
    for n, picture in enumerate(pictures(5)):
        cv2.imwrite(str(tmp_path / f"{n:03d}.png"), picture)
    yield Rig(ReplayCamera(tmp_path, fps=40))


@contextmanager
def replayed_video(tmp_path: Path) -> Iterator[Rig]:
    file = tmp_path / "film.avi"
    film = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for picture in pictures(12):
        film.write(picture)
    film.release()
    yield Rig(ReplayCamera(file))


@contextmanager
def network_stream(tmp_path: Path) -> Iterator[Rig]:
    """OpenCV's road: no USB camera is on a test machine, so a long film stands for one."""
    file = tmp_path / "film.avi"
    film = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for picture in pictures(50) * 400:
        film.write(picture)
    film.release()
    yield Rig(OpencvCamera(str(file)))


@contextmanager
def genicam(tmp_path: Path) -> Iterator[Rig]:
    package = pytest.importorskip("genicam", reason="the extra `genicam` is not installed")
    yield Rig(GenicamCamera(Path(package.__file__).parent / "viky.cti"))


@contextmanager
def micromanager(tmp_path: Path) -> Iterator[Rig]:
    adapters = pytest.importorskip("mm_test_adapters", reason="Micro-Manager's demonstration devices are not there")
    folder = Path(str(adapters.device_adapter_path()))
    properties = {"Mode": "Color Test Pattern"}
    yield Rig(MicromanagerCamera(folder / "MMConfig_demo.cfg", adapters=folder, properties=properties))


@contextmanager
def basler(tmp_path: Path) -> Iterator[Rig]:
    pytest.importorskip("pypylon", reason="the extra `basler` is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYLON_CAMEMU", "1")
        yield Rig(BaslerCamera(width=320, height=240, fps=50))


Factory = Callable[[Path], AbstractContextManager[Rig]]
CAMERAS = [
    pytest.param(simulated, id="simulated"),
    pytest.param(network_stream, id="OpenCV"),
    pytest.param(genicam, id="GenICam"),
    pytest.param(micromanager, id="Micro-Manager"),
    pytest.param(basler, id="Basler"),
    pytest.param(replayed_folder, id="replayed folder"),
    pytest.param(replayed_video, id="replayed video"),
]
UNPLUGGABLE = [pytest.param(simulated, id="simulated")]


@pytest.fixture(params=CAMERAS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with request.param(tmp_path) as made:
        yield made


@pytest.fixture(params=UNPLUGGABLE)
def cable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with request.param(tmp_path) as made:
        yield made


def take(camera: Camera, count: int) -> list[Frame]:
    return list(islice(camera.frames(), count))


def test_it_is_a_camera(rig: Rig):
    with rig.camera as camera:
        assert isinstance(camera, Camera)


def test_it_says_what_it_is_and_its_frames_agree(rig: Rig):
    with rig.camera as camera:
        info = camera.info
        frame = take(camera, 1)[0]
        assert frame.pixels.shape == (info.height, info.width, 3)
        assert frame.um_per_px == info.um_per_px
        assert info.name
        assert info.driver


def test_numbers_count_up_and_times_with_them(rig: Rig):
    with rig.camera as camera:
        frames = take(camera, 8)
    assert (np.diff([f.number for f in frames]) >= 1).all()
    assert (np.diff([f.captured_at for f in frames]) > 0).all()


def test_a_frame_is_not_older_than_it_says_and_not_from_the_future(rig: Rig):
    with rig.camera as camera:
        for frame in take(camera, 4):
            assert frame.captured_at <= time.monotonic()
            assert frame.captured_at > time.monotonic() - TIMEOUT_S - SLACK_S


def test_frames_are_copies_that_nobody_else_writes_to(rig: Rig):
    with rig.camera as camera:
        frames = camera.frames()
        kept = next(frames)
        before = kept.pixels.copy()
        others = [next(frames), next(frames), camera.snap()]
        for other in others:
            assert not np.shares_memory(kept.pixels, other.pixels)
        np.testing.assert_array_equal(kept.pixels, before)
        kept.pixels[...] = 0
        assert next(frames).pixels.any()
        assert all(other.pixels.any() for other in others)


def test_a_slow_reader_misses_frames_and_gets_no_old_one(rig: Rig):
    with rig.camera as camera:
        frames = camera.frames()
        first = next(frames)
        began = time.monotonic()
        time.sleep(0.6)
        second = next(frames)
    # A queue would have given the one that followed the first.
    assert second.captured_at > began + 0.3
    assert second.number > first.number + 1


def test_a_snap_is_exposed_after_the_call(rig: Rig):
    with rig.camera as camera:
        last = take(camera, 1)[0]
        for _ in range(3):
            called = time.monotonic()
            frame = camera.snap()
            assert frame.captured_at >= called
            assert frame.number > last.number
            last = frame


def test_what_is_set_is_clamped_and_in_force(rig: Rig):
    with rig.camera as camera:
        for control, limits in camera.controls.items():
            assert limits.low < limits.high
            for wish in (limits.low, (limits.low + limits.high) / 2, limits.high, limits.low - 1, limits.high * 2 + 1):
                given = camera.set(control, wish)
                assert limits.low <= given <= limits.high
                assert camera.get(control) == pytest.approx(given, rel=1e-6)
                # A device may round to its steps.
                assert given == pytest.approx(limits.clamp(wish), rel=0.2, abs=0.05 * (limits.high - limits.low))
            camera.set(control, limits.clamp(1.0))


def test_what_it_does_not_offer_it_refuses(rig: Rig):
    with rig.camera as camera:
        for control in set(Control) - set(camera.controls):
            with pytest.raises(NotOffered):
                camera.get(control)
            with pytest.raises(NotOffered):
                camera.set(control, 1.0)


def test_controls_can_be_used_while_another_thread_reads(rig: Rig):
    problems: list[BaseException] = []
    with rig.camera as camera:
        done = threading.Event()

        def turn() -> None:
            try:
                while not done.wait(0.001):
                    for control, limits in camera.controls.items():
                        camera.set(control, limits.clamp(1.0))
                        camera.get(control)
            except BaseException as error:
                problems.append(error)

        thread = threading.Thread(target=turn)
        thread.start()
        try:
            frames = take(camera, 10)
        finally:
            done.set()
            thread.join(SLACK_S)
    assert not problems
    assert (np.diff([f.number for f in frames]) >= 1).all()


def test_closing_ends_the_frames_of_whoever_reads(rig: Rig):
    seen, ended = threading.Event(), threading.Event()
    problems: list[BaseException] = []
    with rig.camera as camera:

        def read() -> None:
            try:
                for _ in camera.frames():
                    seen.set()
            except CameraLost:
                # It was closed while a frame was on its way.
                pass
            except BaseException as error:
                problems.append(error)
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert seen.wait(TIMEOUT_S + SLACK_S)
    assert ended.wait(TIMEOUT_S + SLACK_S)
    reader.join()
    assert not problems


def test_it_can_be_opened_again(rig: Rig):
    for _ in range(3):
        with rig.camera as camera:
            assert len(take(camera, 2)) == 2
            assert camera.snap().pixels.any()


def test_an_error_inside_still_closes_it(rig: Rig):
    with pytest.raises(RuntimeError, match="mine"), rig.camera:
        raise RuntimeError("mine")
    with rig.camera as camera:
        assert take(camera, 1)


def test_pulling_the_cable_is_noticed_within_two_seconds(cable: Rig):
    assert cable.unplug is not None
    with cable.camera as camera:
        frames = camera.frames()
        next(frames)
        cable.unplug()
        began = time.monotonic()
        with pytest.raises(CameraLost):
            deque(frames, maxlen=0)
        assert time.monotonic() - began < TIMEOUT_S + SLACK_S
        # A snap under way may notice that the frame is not whole before it notices that the camera is gone.
        with pytest.raises((CameraLost, FrameDropped)):
            camera.snap()


def test_without_its_cable_it_cannot_be_opened_and_with_it_it_can(cable: Rig):
    assert cable.unplug is not None
    assert cable.replug is not None
    with cable.camera as camera:
        take(camera, 1)
        cable.unplug()
    with pytest.raises(CameraLost), cable.camera:
        pass
    cable.replug()
    with cable.camera as camera:
        assert take(camera, 2)


def test_a_camera_that_was_lost_stays_lost_until_it_is_reopened(cable: Rig):
    assert cable.unplug is not None
    assert cable.replug is not None
    with cable.camera as camera:
        take(camera, 1)
        cable.unplug()
        cable.replug()
        with pytest.raises(CameraLost):
            camera.snap()
    with cable.camera as camera:
        assert camera.snap().pixels.any()
