"""A recording plays by the clock, in order, round and round or once."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.clock import HandClock
from marrowscope.errors import BadImage, BadSetting, CameraLost
from marrowscope.instrument.replay_camera import ReplayCamera

COUNT, FPS = 7, 10.0


def shade(number: int) -> int:
    return 20 + 30 * number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Fläche 3 %"
    made.mkdir()
    for n in range(COUNT):
        picture = np.full((30, 40, 3), shade(n), np.uint8)
        picture[..., 0] = 250  # blue, as OpenCV writes
        (made / f"{n:02d}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (made / "notes.txt").write_text("no picture")
    return made


@pytest.fixture
def film(tmp_path: Path) -> Path:
    file = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (64, 48))
    for n in range(COUNT):
        writer.write(np.full((48, 64, 3), shade(n), np.uint8))
    writer.release()
    return file


@pytest.fixture(params=["folder", "film"])
def recording(request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue(request.param)
    assert isinstance(path, Path)
    return path


def shown(pixels: np.ndarray) -> int:
    """Which picture of the recording this is."""
    return round((float(pixels[..., 1].mean()) - 20) / 30)


def test_pictures_come_in_order_at_their_rate_and_begin_again(recording: Path):
    with ReplayCamera(recording, fps=FPS, clock=HandClock()) as camera:
        frames = list(islice(camera.frames(), 2 * COUNT + 3))
    assert [f.number for f in frames] == list(range(2 * COUNT + 3))
    assert [shown(f.pixels) for f in frames] == [n % COUNT for n in range(2 * COUNT + 3)]
    np.testing.assert_allclose(np.diff([f.captured_at for f in frames]), 1 / FPS)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pauses=st.lists(st.floats(0, 2), min_size=1, max_size=5))
def test_a_slow_reader_sees_the_picture_whose_turn_it_is(recording: Path, pauses: list[float]):
    clock = HandClock()
    with ReplayCamera(recording, fps=FPS, clock=clock) as camera:
        frames = camera.frames()
        for pause in pauses:
            clock.advance(pause)
            asked = clock.now()
            frame = next(frames)
            assert shown(frame.pixels) == frame.number % COUNT
            assert frame.captured_at + 1 / FPS + 1e-6 >= asked


def test_played_once_it_ends_with_its_last_picture_and_says_that_it_is_over(recording: Path):
    with ReplayCamera(recording, fps=FPS, loop=False, clock=HandClock()) as camera:
        seen: list[int] = []
        with pytest.raises(CameraLost, match="over"):
            seen.extend(shown(frame.pixels) for frame in camera.frames())
        with pytest.raises(CameraLost, match="over"):
            camera.snap()
    assert seen == list(range(COUNT))


def test_a_slow_reader_of_one_round_still_gets_the_last_picture(recording: Path):
    clock = HandClock()
    with ReplayCamera(recording, fps=FPS, loop=False, clock=clock) as camera:
        frames = camera.frames()
        clock.advance(30)
        assert shown(next(frames).pixels) == COUNT - 1


def test_a_video_plays_at_its_own_rate_unless_told(film: Path):
    with ReplayCamera(film, clock=HandClock()) as camera:
        times = [f.captured_at for f in islice(camera.frames(), 3)]
    np.testing.assert_allclose(np.diff(times), 1 / FPS)


def test_colours_are_red_green_blue_and_a_scale_is_passed_on(folder: Path):
    with ReplayCamera(folder, um_per_px=0.07, clock=HandClock()) as camera:
        frame = next(camera.frames())
        assert (camera.info.width, camera.info.height, camera.info.um_per_px) == (40, 30, 0.07)
    assert frame.pixels[0, 0].tolist() == [20, 20, 250]
    assert frame.um_per_px == 0.07


def spoil_by_size(folder: Path) -> None:
    cv2.imwrite(str(folder.parent / "odd.png"), np.zeros((31, 40, 3), np.uint8))
    (folder.parent / "odd.png").rename(folder / "03.png")


def spoil_by_nonsense(folder: Path) -> None:
    (folder / "03.png").write_bytes(b"no picture at all")


@pytest.mark.parametrize("spoil", [spoil_by_size, spoil_by_nonsense])
def test_a_picture_that_does_not_fit_is_named_when_it_is_opened(folder: Path, spoil: Callable[[Path], None]):
    spoil(folder)
    with pytest.raises(BadImage, match=r"03\.png"), ReplayCamera(folder):
        pass


def test_a_picture_that_breaks_off_is_named_when_its_turn_comes(folder: Path):
    whole = (folder / "02.png").read_bytes()
    (folder / "02.png").write_bytes(whole[: len(whole) // 2])
    with ReplayCamera(folder, fps=FPS, clock=HandClock()) as camera:
        frames = camera.frames()
        next(frames), next(frames)
        with pytest.raises(BadImage, match=r"02\.png"):
            next(frames)


def test_what_cannot_be_played_is_refused(tmp_path: Path):
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "broken.avi").write_bytes(b"RIFF nonsense")
    (tmp_path / "empty").mkdir()
    for path, kind, word in (
        (tmp_path / "none", CameraLost, "nothing to replay"),
        (tmp_path / "text.txt", BadSetting, "not a video"),
        (tmp_path / "empty", BadSetting, "no pictures"),
        (tmp_path / "broken.avi", BadImage, "cannot be opened"),
    ):
        with pytest.raises(kind, match=word), ReplayCamera(path):
            pass
    with pytest.raises(BadSetting, match="fps"):
        ReplayCamera(tmp_path, fps=0)


def test_closed_it_says_so(folder: Path):
    camera = ReplayCamera(folder)
    with pytest.raises(CameraLost, match="not open"):
        camera.snap()
    with camera, pytest.raises(CameraLost, match="open already"), camera:
        pass
