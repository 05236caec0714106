"""The simulated microscope: time, light, focus, movement and faults, by a clock that runs at our word."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.clock import HandClock
from marrowscope.errors import CameraLost, FrameDropped, InstrumentError
from marrowscope.instrument.camera import Control, Frame
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.instrument.simulated_stage import HandPath
from marrowscope.smear.slide import SmearSlide

PX = 0.138
FPS = 20.0
Make = Callable[..., SimulatedMicroscope]


@pytest.fixture(scope="module")
def slide() -> Iterator[SmearSlide]:
    with SmearSlide(6, width_um=6000, height_um=6000, um_per_px=PX) as made:
        yield made


@pytest.fixture
def make(slide: SmearSlide) -> Make:
    def made(**options: Any) -> SimulatedMicroscope:
        plain = {"width": 320, "height": 240, "um_per_px": PX, "fps": FPS, "clock": HandClock(), "sharp": True}
        return SimulatedMicroscope(slide, **{**plain, **options})

    return made


def take(microscope: SimulatedMicroscope, count: int) -> list[Frame]:
    return list(islice(microscope.camera.frames(), count))


def hand_clock(microscope: SimulatedMicroscope) -> HandClock:
    clock = microscope._clock
    assert isinstance(clock, HandClock)
    return clock


# Time.


def test_a_quick_reader_gets_every_exposure_at_the_rate_of_the_camera(make: Make):
    microscope = make()
    with microscope.camera:
        frames = take(microscope, 12)
    assert np.diff([f.number for f in frames]).tolist() == [1] * 11
    np.testing.assert_allclose(np.diff([f.captured_at for f in frames]), 1 / FPS)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1.2), min_size=1, max_size=6))
def test_a_slow_reader_gets_the_newest_and_the_numbers_count_what_it_missed(slide: SmearSlide, pauses: list[float]):
    clock = HandClock()
    microscope = SimulatedMicroscope(slide, width=16, height=16, um_per_px=PX, fps=FPS, clock=clock, latency_ms=10)
    with microscope.camera as camera:
        frames = camera.frames()
        last = next(frames)
        for pause in pauses:
            clock.advance(pause)
            asked = clock.now()
            frame = next(frames)
            assert frame.number > last.number
            assert frame.captured_at - last.captured_at == pytest.approx((frame.number - last.number) / FPS)
            # Either it was the newest when asked for, or it was waited for.
            assert frame.captured_at + 1 / FPS + 0.010 >= asked
            last = frame


def test_a_frame_arrives_after_its_latency(make: Make):
    microscope = make(latency_ms=70)
    with microscope.camera:
        for frame in islice(microscope.camera.frames(), 5):
            assert hand_clock(microscope).now() >= frame.captured_at + 0.070 - 1e-9


def test_an_exposure_longer_than_the_beat_slows_the_camera_down(make: Make):
    microscope = make()
    with microscope.camera as camera:
        before = take(microscope, 2)[-1]
        camera.set(Control.EXPOSURE_MS, 150)
        frames = take(microscope, 4)
        np.testing.assert_allclose(np.diff([f.captured_at for f in frames])[1:], 0.150)
        camera.set(Control.EXPOSURE_MS, 2)
        after = take(microscope, 4)
    np.testing.assert_allclose(np.diff([f.captured_at for f in after])[1:], 1 / FPS)
    numbers = [f.number for f in (before, *frames, *after)]
    assert numbers == sorted(numbers)
    times = [f.captured_at for f in (before, *frames, *after)]
    assert times == sorted(times)


@settings(max_examples=30)
@given(st.floats(0, 0.3), st.floats(0.05, 150))
def test_a_snap_begins_after_the_call(slide: SmearSlide, pause: float, exposure_ms: float):
    clock = HandClock()
    microscope = SimulatedMicroscope(slide, width=16, height=16, um_per_px=PX, fps=FPS, clock=clock)
    with microscope.camera as camera:
        camera.set(Control.EXPOSURE_MS, exposure_ms)
        clock.advance(pause)
        called = clock.now()
        frame = camera.snap()
    assert frame.captured_at - exposure_ms / 1000 >= called - 1e-6


def test_numbers_go_on_when_the_camera_is_closed_and_opened(make: Make):
    microscope = make()
    with microscope.camera:
        first = take(microscope, 3)[-1].number
    with microscope.camera:
        assert take(microscope, 1)[0].number >= first


# Light.


def test_the_same_frame_of_the_same_microscope_has_the_same_pixels_and_the_next_has_other_noise(make: Make):
    one, other = make(seed=3), make(seed=3)
    with one.camera, other.camera:
        for a, b in zip(take(one, 3), take(other, 3), strict=True):
            np.testing.assert_array_equal(a.pixels, b.pixels)
        a, b = take(one, 2)
    assert not np.array_equal(a.pixels, b.pixels)
    assert np.abs(a.pixels.astype(int) - b.pixels).mean() < 4


def test_light_is_linear_in_exposure_and_gain_until_it_clips(make: Make):
    microscope = make(noise=0)
    with microscope.camera as camera:
        mean = {}
        for exposure, gain in ((1, 1), (2, 1), (1, 2), (2, 2), (40, 16)):
            camera.set(Control.EXPOSURE_MS, exposure)
            camera.set(Control.GAIN, gain)
            mean[exposure, gain] = float(camera.snap().pixels.mean())
    assert mean[2, 1] == pytest.approx(2 * mean[1, 1], rel=0.03)
    assert mean[1, 2] == pytest.approx(mean[2, 1], rel=1e-3)
    assert mean[2, 2] == pytest.approx(4 * mean[1, 1], rel=0.03)
    assert mean[40, 16] == 255


def test_the_lamp_casts_a_colour_that_red_and_blue_undo(make: Make):
    microscope = make(cast=(1.2, 1.0, 0.6), noise=0, vignetting=0)
    with microscope.camera as camera:
        camera.set(Control.EXPOSURE_MS, 3)
        microscope.stage.move_to_um(50, 50)  # open glass
        cast = camera.snap().pixels.reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(cast / cast[1], (1.2, 1.0, 0.6), atol=0.02)
        camera.set(Control.RED, 1 / 1.2)
        camera.set(Control.BLUE, 1 / 0.6)
        plain = camera.snap().pixels.reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(plain / plain[1], 1, atol=0.02)


def test_corners_are_darker_by_the_vignetting(make: Make):
    microscope = make(vignetting=0.3, noise=0)
    with microscope.camera as camera:
        microscope.stage.move_to_um(50, 50)
        green = camera.snap().pixels[..., 1].astype(float)
    corners = np.mean([green[0, 0], green[0, -1], green[-1, 0], green[-1, -1]])
    assert corners / green.max() == pytest.approx(0.7, abs=0.06)


def test_gain_costs_noise_and_dark_places_have_less_of_it(make: Make):
    microscope = make()
    with microscope.camera as camera:
        microscope.stage.move_to_um(50, 50)

        def noise(exposure: float, gain: float) -> float:
            camera.set(Control.EXPOSURE_MS, exposure)
            camera.set(Control.GAIN, gain)
            a, b = (camera.snap().pixels.astype(float)[..., 1] for _ in range(2))
            return float((a - b).std() / np.sqrt(2))

        bright, dim, amplified = noise(4, 1), noise(1, 1), noise(1, 4)
    assert 1.2 < bright < 2.2
    assert dim < 0.75 * bright
    assert amplified > 1.7 * bright


# Focus and movement.


def test_the_farther_from_the_plane_the_less_detail(make: Make):
    microscope = make(width=480, height=360, noise=0)
    place = microscope.stage.position_um
    with microscope.camera as camera:
        detail = []
        for away in (0, 0.5, 1, 2, 4, 8, 16, 30):
            for sign in (-1, 1):
                microscope.stage.move_to_um(z=place.z_um + sign * away)
                detail.append(float(camera.snap().pixels[..., 1].std()))
    up, down = detail[1::2], detail[::2]
    assert up == sorted(up, reverse=True)
    np.testing.assert_allclose(up, down, rtol=0.01)


def test_the_plane_of_sharpness_is_tilted_gently(make: Make):
    microscope = make(tilt_um_per_mm=0.25)
    corners = [microscope.plane_um(x, y) for x in (0, 6000) for y in (0, 6000)]
    assert 0.25 * 6 * 0.99 <= max(corners) - min(corners) <= 0.25 * 6 * 1.42
    assert microscope.stage.position_um.z_um == microscope.plane_um(3000, 3000)


def test_pictures_taken_on_the_way_show_the_way(make: Make, slide: SmearSlide):
    clock = HandClock()
    microscope = make(clock=clock, stage_um_per_s=200)
    with microscope.camera as camera:
        seen: list[float] = []
        frames = camera.frames()

        stage = microscope.stage
        assert stage is not None
        wait = clock.wait

        # While the stage waits to arrive, somebody reads frames.
        def look_meanwhile(condition: threading.Condition, seconds: float) -> None:
            clock.wait = wait  # type: ignore[method-assign]
            while clock.now() < started + 0.45:
                seen.append(microscope.where(next(frames).number).x_um)

        started = clock.now()
        clock.wait = look_meanwhile  # type: ignore[method-assign]
        arrived = stage.move_to_um(x=3100)
    assert arrived.x_um == 3100
    assert len(seen) >= 8
    np.testing.assert_allclose(np.diff(seen)[1:], 200 / FPS, atol=PX)


def test_truth_travels_with_the_picture(make: Make, slide: SmearSlide):
    microscope = make(width=800, height=600, cast=(1, 1, 1))
    with microscope.camera as camera:
        before = camera.snap()
        microscope.stage.move_to_um(3000 + 100 * PX, 3000 - 60 * PX)
        after = camera.snap()
    first, second = microscope.truth(before.number), microscope.truth(after.number)
    both = set(first.ids.tolist()) & set(second.ids.tolist())
    assert len(both) >= 5
    for cell in both:
        a, b = first.ids.tolist().index(cell), second.ids.tolist().index(cell)
        assert first.labels[a] == second.labels[b]
        if first.seen[a] == second.seen[b] == 1:
            np.testing.assert_allclose(first.boxes[a] - second.boxes[b], [100, -60, 100, -60], atol=0.01)
    # The picture moved as the truth did.
    moved = before.pixels[:540, 100:].astype(int) - after.pixels[60:, :-100]
    assert np.abs(moved).mean() < 8
    # And boxes surround something darker than what is around them.
    for box in first.boxes[first.seen > 0.99].astype(int).tolist():
        inside = before.pixels[box[1] : box[3], box[0] : box[2], 1]
        assert np.percentile(inside, 25) < np.percentile(before.pixels[..., 1], 60) - 25


def test_truth_is_cut_at_the_border_and_says_how_much_is_seen(make: Make):
    microscope = make(width=400, height=300)
    with microscope.camera as camera:
        truth = microscope.truth(camera.snap().number)
    assert (truth.boxes >= 0).all()
    assert (truth.boxes <= [400, 300, 400, 300]).all()
    assert (truth.seen > 0).all()
    assert (truth.seen <= 1.0001).all()
    assert (truth.seen < 0.99).any()


def test_there_is_no_truth_of_a_frame_that_nobody_got(make: Make):
    microscope = make()
    with microscope.camera, pytest.raises(KeyError):
        microscope.truth(77)


def test_the_faster_it_moves_while_exposed_the_more_the_picture_is_smeared_along_its_way(make: Make):
    def detail(pixels: np.ndarray, axis: int) -> float:
        return float(np.abs(np.diff(pixels[..., 1].astype(float), axis=axis)).mean())

    left = []
    for speed in (100.0, 400.0, 1600.0):
        path = HandPath(np.asarray([0.0, 1.0]), np.asarray([2900.0, 2900 + speed]), np.asarray([3000.0, 3000.0]))
        moved, at_rest = make(hand=path, noise=0), make(noise=0)
        with moved.camera as camera:
            frame = camera.snap()
        place = moved.where(frame.number)
        assert at_rest.stage is not None
        at_rest.stage.move_to_um(*place)
        with at_rest.camera as camera:
            still = camera.snap()
        left.append(detail(frame.pixels, 1) / detail(still.pixels, 1))
        assert detail(frame.pixels, 0) > 0.6 * detail(still.pixels, 0)
    assert 1 > left[0] > 1.1 * left[1] > 1.2 * left[2]


def test_a_slide_moved_by_hand_follows_its_script_and_has_no_stage(make: Make):
    path = HandPath(np.asarray([0.0, 1.0, 2.0]), np.asarray([2000.0, 2100, 2100]), np.asarray([2500.0, 2500, 2550]))
    microscope = make(hand=path, sharp=False)
    assert microscope.stage is None
    clock = hand_clock(microscope)
    with microscope.camera:
        opened = clock.now()
        for frame in take(microscope, 50):
            # What is shown is where the slide was in the middle of the exposure.
            since = frame.captured_at - 0.002 - opened
            place = microscope.where(frame.number)
            x = np.interp(since, path.seconds, path.x_um)
            y = np.interp(since, path.seconds, path.y_um)
            assert (place.x_um, place.y_um) == pytest.approx((x, y), abs=PX)
    assert place.y_um == pytest.approx(2550, abs=PX)


def test_a_meander_visits_every_place_and_rests_there():
    path = HandPath.meander(1000, 2000, columns=4, rows=3, step_x_um=60, step_y_um=40, um_per_s=100, rest_s=0.5)
    resting = {(x, y) for x, y in zip(path.x_um.tolist(), path.y_um.tolist(), strict=True)}
    assert resting == {(1000 + 60 * c, 2000 + 40 * r) for c in range(4) for r in range(3)}
    assert path.lasts_s == pytest.approx(12 * 0.5 + (9 * 60 + 2 * 40) / 100)
    halfway = path.at(path.lasts_s / 2)
    assert 1000 <= halfway[0] <= 1180
    assert halfway[2] == 0


def test_a_script_that_runs_backwards_is_refused():
    with pytest.raises(ValueError, match="backwards"):
        HandPath(np.asarray([1.0, 0.0]), np.zeros(2), np.zeros(2))


# Faults.


def test_dropped_frames_leave_a_gap_in_the_numbers(make: Make):
    microscope = make()
    with microscope.camera as camera:
        frames = camera.frames()
        before = next(frames).number
        microscope.faults.drop_frames(4)
        after = next(frames).number
        assert after - before == 5
        assert next(frames).number == after + 1


def test_a_snap_that_is_dropped_says_so_and_the_next_works(make: Make):
    microscope = make()
    with microscope.camera as camera:
        microscope.faults.drop_frames(3)
        with pytest.raises(FrameDropped):
            camera.snap()
        hand_clock(microscope).advance(4 / FPS)
        assert camera.snap().pixels.any()


def test_a_short_freeze_is_a_pause_and_a_long_one_loses_the_camera(make: Make):
    microscope = make()
    clock = hand_clock(microscope)
    with microscope.camera as camera:
        frames = camera.frames()
        before = next(frames)
        microscope.faults.freeze(1.0)
        began = clock.now()
        after = next(frames)
        assert 1.0 <= clock.now() - began < 1.2
        assert after.number - before.number > 15
        microscope.faults.freeze(5)
        began = clock.now()
        with pytest.raises(CameraLost, match="no frame"):
            next(frames)
        assert clock.now() - began == pytest.approx(2, abs=0.1)
        with pytest.raises(CameraLost):
            camera.snap()


def test_late_frames_are_older_when_they_come(make: Make):
    microscope = make(latency_ms=5)
    clock = hand_clock(microscope)
    with microscope.camera as camera:
        frames = camera.frames()
        ages = []
        for late in (0, 300, 0):
            microscope.faults.late(late)
            for _ in range(3):
                frame = next(frames)
            ages.append(clock.now() - frame.captured_at)
    assert ages[1] == pytest.approx(0.305, abs=1 / FPS + 0.01)
    assert ages[0] < 0.06
    assert ages[2] < 0.06


def test_frames_so_late_that_none_comes_in_time_lose_the_camera(make: Make):
    microscope = make()
    with microscope.camera as camera:
        microscope.faults.late(5000)
        with pytest.raises(CameraLost):
            camera.snap()


def test_unplugged_it_is_lost_until_it_is_plugged_in_and_opened_again(make: Make):
    microscope = make()
    with microscope.camera as camera:
        frames = camera.frames()
        next(frames)
        microscope.faults.unplug()
        with pytest.raises(CameraLost, match="unplugged"):
            next(frames)
        microscope.faults.replug()
        with pytest.raises(CameraLost, match="unplugged"):
            camera.snap()
    with microscope.camera:
        assert take(microscope, 1)
    microscope.faults.unplug()
    with pytest.raises(CameraLost, match="cable"), microscope.camera:
        pass


def test_unplugging_wakes_whoever_waits_for_a_frame(slide: SmearSlide):
    microscope = SimulatedMicroscope(slide, width=32, height=32, um_per_px=PX, fps=0.3)
    ended = threading.Event()

    def read() -> None:
        with microscope.camera as camera, pytest.raises(CameraLost):
            for _ in camera.frames():
                pass
        ended.set()

    reader = threading.Thread(target=read)
    began = time.monotonic()
    reader.start()
    while microscope.camera._opened is None and time.monotonic() < began + 10:
        time.sleep(0.005)
    microscope.faults.unplug()
    assert ended.wait(10)
    reader.join()


@pytest.mark.parametrize("wrong", ["drop_frames", "late"])
def test_a_negative_fault_is_refused(make: Make, wrong: str):
    with pytest.raises(ValueError, match="negative"):
        getattr(make().faults, wrong)(-1)


# Misuse.


def test_it_has_to_be_open_and_only_once(make: Make):
    microscope = make()
    with pytest.raises(CameraLost, match="not open"):
        microscope.camera.snap()
    with microscope.camera, pytest.raises(CameraLost, match="open already"), microscope.camera:
        pass


def test_the_stage_stays_within_the_slide(make: Make):
    stage = make().stage
    assert stage is not None
    before = stage.position_um
    with pytest.raises(InstrumentError, match="x = 9000"):
        stage.move_to_um(x=9000, z=1)
    assert stage.position_um == before


@pytest.mark.parametrize("bad", [{"width": 4}, {"fps": 0}])
def test_an_impossible_camera_is_refused(slide: SmearSlide, bad: dict[str, Any]):
    with pytest.raises(ValueError, match="camera needs"):
        SimulatedMicroscope(slide, **bad)


def test_many_threads_may_read_set_and_move_at_once(slide: SmearSlide):
    microscope = SimulatedMicroscope(slide, width=64, height=48, um_per_px=PX, fps=200, stage_um_per_s=20_000)
    stage, problems = microscope.stage, []
    assert stage is not None

    def guarded(work: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:
                problems.append(error)

        return threading.Thread(target=run)

    with microscope.camera as camera:

        def read() -> None:
            numbers = [f.number for f in islice(camera.frames(), 40)]
            assert numbers == sorted(set(numbers))
            for number in numbers:
                microscope.truth(number)

        def turn() -> None:
            for n in range(40):
                assert camera.set(Control.GAIN, 1 + n % 3) == 1 + n % 3
                camera.set(Control.EXPOSURE_MS, 1 + n % 5)

        def move() -> None:
            for n in range(20):
                x = 3000.0 + 10 * n
                assert stage.move_to_um(x=x).x_um == x

        threads = [guarded(w) for w in (read, read, turn, move)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not problems
