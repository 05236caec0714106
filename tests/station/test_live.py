"""The live session on a small simulated microscope, in real time: newest frame, boxes, keeping, and what goes wrong."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from helpers.watching import (
    HEIGHT,
    UM_PER_PX,
    WIDTH,
    BandDetector,
    NucleusDetector,
    SlowNucleusDetector,
    microscope,
)
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.errors import BadCheckpoint, CameraLost, FrameDropped, InstrumentError, NotOffered
from marrowscope.instrument.camera import Control, Frame
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.instrument.simulated_stage import HandPath
from marrowscope.smear.slide import SmearSlide
from marrowscope.station.live import LiveSession
from marrowscope.station.live_view import LiveView

SCHEME = load_taxonomy("clinical")
SOON = 120.0
"""Seconds; reached on a stuck machine alone."""


@pytest.fixture(scope="module")
def slide() -> Iterator[SmearSlide]:
    with SmearSlide(21, um_per_px=UM_PER_PX) as drawn:
        yield drawn


@contextmanager
def running(
    simulated: SimulatedMicroscope, detector: Callable[[], NucleusDetector] = NucleusDetector, **how: float
) -> Iterator[LiveSession]:
    session = LiveSession(simulated.camera, simulated.stage, detector, scheme=SCHEME, **how)  # type: ignore[arg-type]
    with session:
        yield session


@pytest.fixture(scope="module")
def resting(slide: SmearSlide) -> Iterator[tuple[SimulatedMicroscope, LiveSession]]:
    """A session that looks at one place with a stage; shared by tests that leave it as they found it."""
    simulated = microscope(slide)
    with running(simulated) as session:
        until(lambda: view_of(session).overlay.frame_number is not None)
        yield simulated, session


def view_of(session: LiveSession, after: int = -1) -> LiveView:
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        view = session.newest(after, 1.0)
        if view is not None:
            return view
    raise AssertionError("no view came")


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not reached():
        assert time.monotonic() < deadline, "it was never reached"
        time.sleep(0.01)


def fresh(session: LiveSession, after: int) -> LiveView:
    """A view of a frame that came after this number."""
    while True:
        view = view_of(session, after)
        if view.number > after and not view.stale:
            return view


def taken_after(session: LiveSession, moment: float) -> LiveView:
    """A view of a frame that was exposed after this moment."""
    view = view_of(session)
    while view.captured_at <= moment or view.stale:
        view = fresh(session, view.number)
    return view


def test_each_view_is_newer_than_the_last_and_shows_its_own_frame(
    resting: tuple[SimulatedMicroscope, LiveSession],
) -> None:
    simulated, session = resting
    numbers = []
    for _ in range(5):
        view = fresh(session, numbers[-1] if numbers else -1)
        numbers.append(view.number)
        pixels = simplejpeg.decode_jpeg(view.jpeg)
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        assert (view.width, view.height) == (WIDTH, HEIGHT)
        assert len(simulated.truth(view.number)) > 0
        assert view.captured_at <= time.monotonic()
        assert abs(view.captured_unix_ms - 1000 * time.time()) < 60_000
        assert {"grab", "correct", "track", "encode", "detect"} <= set(view.timings_ms)
    assert numbers == sorted(set(numbers))


def test_many_readers_see_the_same_views(resting: tuple[SimulatedMicroscope, LiveSession]) -> None:
    _, session = resting
    seen: list[dict[int, bytes]] = [{}, {}, {}]

    def read(own: dict[int, bytes]) -> None:
        after = -1
        for _ in range(10):
            view = fresh(session, after)
            own[view.number], after = view.jpeg, view.number

    readers = [threading.Thread(target=read, args=(own,)) for own in seen]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(SOON)
    assert all(len(own) == 10 for own in seen)
    for one, other in itertools.combinations(seen, 2):
        assert all(one[n] == other[n] for n in set(one) & set(other))


def test_the_overlay_says_which_frame_was_looked_at_and_how_old_it_is(
    resting: tuple[SimulatedMicroscope, LiveSession],
) -> None:
    _, session = resting
    first = fresh(session, -1)
    assert first.overlay.frame_number is not None
    later = first
    while later.overlay.frame_number == first.overlay.frame_number:
        later = fresh(session, later.number)
    assert later.overlay.frame_number is not None
    assert first.overlay.frame_number < later.overlay.frame_number <= later.number
    assert later.overlay.age_ms >= 0
    assert later.overlay.cells
    for cell in later.overlay.cells:
        x1, y1, x2, y2 = cell.box
        assert 0 <= x1 < x2 <= WIDTH
        assert 0 <= y1 < y2 <= HEIGHT
        assert cell.code == "LYM"
    assert sum(later.unique_cells.values()) >= sum(cell.counted for cell in later.overlay.cells)


def test_a_kept_field_is_a_frame_of_after_the_wish_looked_at_itself(
    resting: tuple[SimulatedMicroscope, LiveSession],
) -> None:
    _, session = resting
    asked = time.monotonic()
    kept = session.keep()
    assert kept.frame.captured_at >= asked
    pixels = simplejpeg.decode_jpeg(kept.jpeg)
    assert np.abs(pixels.astype(int) - kept.frame.pixels).mean() < 2
    own = NucleusDetector().detect([_field(kept.frame)])[0]
    assert np.allclose(own.boxes, kept.detections.boxes, atol=0.01)
    assert len(kept.found) == len(kept.places_um) > 0
    assert kept.position is not None
    for cell, place in zip(kept.found, kept.places_um, strict=True):
        x = kept.position[0] + ((cell.box[0] + cell.box[2]) / 2 - WIDTH / 2) * UM_PER_PX
        y = kept.position[1] + ((cell.box[1] + cell.box[3]) / 2 - HEIGHT / 2) * UM_PER_PX
        assert place == (pytest.approx(x), pytest.approx(y))
    assert kept.visit == view_of(session).visit
    assert any(abs(r.x1 + r.x2 - 2 * kept.position[0]) < 0.01 for r in session.map().kept)


def _field(frame: Frame):  # type: ignore[no-untyped-def]
    from marrowscope.cells.field import FieldImage

    return FieldImage(frame.pixels, "kept", um_per_px=frame.um_per_px)


def test_a_dropped_frame_is_taken_again_and_a_camera_that_drops_all_is_told(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    with running(simulated) as session:
        view_of(session)
        simulated.faults.drop_frames(2)
        asked = time.monotonic()
        assert session.keep().frame.captured_at >= asked
        simulated.faults.drop_frames(500)
        # Which of the two depends on whether the view or the kept field notices first.
        with pytest.raises((FrameDropped, CameraLost)):
            session.keep()


def test_a_lighter_detector_may_see_the_moving_view_while_the_full_one_sees_what_is_kept(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    glancing = LiveSession(
        simulated.camera, simulated.stage, BandDetector, scheme=SCHEME, glance_source=NucleusDetector
    )
    with glancing as session:
        until(lambda: len(view_of(session).overlay.cells) > 2)
        assert {cell.code for cell in view_of(session).overlay.cells} == {"LYM"}
        kept = session.keep()
        assert {cell.code for cell in kept.found} == {"BAND"}
        assert session.state().problem is None


def test_boxes_follow_the_glass_while_the_slide_is_moved(slide: SmearSlide) -> None:
    """Between two views of one answer a box moves as the glass does: one that lagged would be off by its motion."""
    to_and_fro = np.asarray([0, 160] * 60, float)
    hand = HandPath(np.arange(120) * 2.0, 4000 + to_and_fro, 4000 + to_and_fro / 4)
    simulated = microscope(slide, hand)
    compared = 0
    with running(simulated, SlowNucleusDetector) as session:
        until(lambda: len(view_of(session).overlay.cells) > 2)
        before, deadline = view_of(session), time.monotonic() + SOON
        while compared < 40 and time.monotonic() < deadline:
            view = fresh(session, before.number)
            here, there = simulated.where(view.number), simulated.where(before.number)
            motion = np.asarray([there.x_um - here.x_um, there.y_um - here.y_um]) / UM_PER_PX
            same_answer = view.overlay.frame_number == before.overlay.frame_number and view.visit == before.visit
            if not same_answer:
                before = view
            elif np.hypot(*motion) > 8:
                was = {cell.track_id: np.asarray(cell.box) for cell in before.overlay.cells}
                for cell in view.overlay.cells:
                    box, old = np.asarray(cell.box), was.get(cell.track_id)
                    if old is not None and whole(box) and whole(old):
                        assert np.abs(box - old - np.tile(motion, 2)).max() < 2.5
                        compared += 1
    assert compared >= 40


def whole(box: NDArray[np.float64]) -> bool:
    return bool((box > 1).all() and (box[2:] < (WIDTH - 1, HEIGHT - 1)).all())


def test_unplugged_it_says_that_it_is_stale_and_replugged_it_goes_on_in_the_same_visit(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    with running(simulated) as session:
        before = view_of(session)
        simulated.faults.unplug()
        until(lambda: not session.state().connected)
        until(lambda: view_of(session).stale)
        stale = view_of(session)
        assert stale.stale_s > 0.4
        state = session.state()
        assert state.stale
        assert state.problem is not None
        assert "cable" in state.problem or "unplugged" in state.problem
        with pytest.raises(CameraLost):
            session.keep()
        with pytest.raises(CameraLost):
            session.set_control(Control.GAIN, 2)
        simulated.faults.replug()
        after = fresh(session, stale.number)
        assert after.number > before.number
        assert after.visit == before.visit
        assert session.state().problem is None
        assert not session.state().stale
        assert session.keep().found


def test_a_picture_that_never_changes_is_stale_and_is_not_kept(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    still = simulated.slide.view(3000, 3000, WIDTH, HEIGHT, UM_PER_PX)
    simulated._sensor.expose = lambda *_, **__: still.copy()  # type: ignore[method-assign]
    with running(simulated, frozen_after_s=0.3) as session:
        until(lambda: view_of(session).stale)
        with pytest.raises(FrameDropped, match="not changed"):
            session.keep()


def test_nobody_waits_for_a_closed_session(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    session = LiveSession(simulated.camera, simulated.stage, NucleusDetector, scheme=SCHEME)
    session.start()
    number = view_of(session).number
    waiting: list[object] = []
    reader = threading.Thread(target=lambda: waiting.append(session.newest(number + 10_000_000, SOON)))
    reader.start()
    session.close()
    reader.join(SOON)
    assert waiting == [None]
    assert not session.state().running
    with pytest.raises(CameraLost):
        session.keep()
    with simulated.camera:  # it was let go
        pass


def test_a_camera_that_is_not_there_is_waited_for(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    simulated.faults.unplug()
    with running(simulated) as session:
        assert session.newest(-1, 0.2) is None
        until(lambda: session.state().problem is not None)
        assert session.state().stale
        simulated.faults.replug()
        assert view_of(session).number >= 0


def no_model() -> NucleusDetector:
    raise BadCheckpoint("models/none: no such checkpoint. Give another.")


def test_without_a_model_the_view_runs_and_nothing_is_kept(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    with LiveSession(simulated.camera, None, no_model, scheme=SCHEME) as session:
        view = fresh(session, view_of(session).number)
        assert view.overlay.frame_number is None
        until(lambda: session.state().problem is not None)
        assert "no such checkpoint" in str(session.state().problem)
        with pytest.raises(InstrumentError, match="no such checkpoint"):
            session.keep()


def test_the_stage_moves_by_or_to_and_the_view_follows(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    with running(simulated) as session:
        start = view_of(session)
        assert start.position is not None
        to = session.move(40.0, -20.0, relative=True)
        until(lambda: math.dist(view_of(session).position or (0, 0), to[:2]) < 1.0)
        there = view_of(session)
        assert there.visit == start.visit
        assert there.position is not None
        assert there.position[0] - start.position[0] == pytest.approx(40, abs=0.5)
        assert there.position[1] - start.position[1] == pytest.approx(-20, abs=0.5)
        session.move(x_um=start.position[0])
        state = session.state().stage
        assert state is not None
        assert state[0].x_um == pytest.approx(start.position[0])


def test_a_manual_microscope_is_told_to_be_moved_by_hand(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    with LiveSession(simulated.camera, None, NucleusDetector, scheme=SCHEME) as session:
        view_of(session)
        with pytest.raises(NotOffered, match="by hand"):
            session.move(1, 1)
        with pytest.raises(NotOffered):
            session.autofocus()
        assert session.state().stage is None


def test_colour_exposure_and_focus_are_set_while_the_view_runs(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    with running(simulated) as session:
        view_of(session)
        session.set_control("exposure_ms", 1.0)
        dark = session.state().controls[Control.EXPOSURE_MS]
        assert dark[1] == 1.0
        exposed = session.auto_exposure()
        assert exposed.settled
        gains = session.white_balance_grey_world()
        assert simulated.camera.get(Control.BLUE) == pytest.approx(gains.blue)
        pixels = simplejpeg.decode_jpeg(taken_after(session, time.monotonic() + 0.1).jpeg)
        bright = pixels.reshape(-1, 3)[pixels.sum(axis=2).ravel() > np.percentile(pixels.sum(axis=2), 80)].mean(axis=0)
        assert np.ptp(bright) < 6
        simulated.stage.move_to_um(z=simulated.stage.position_um.z_um + 4)  # type: ignore[union-attr]
        swept = session.autofocus()
        sharp = simulated.plane_um(*simulated.stage.position_um[:2])  # type: ignore[union-attr]
        assert swept.best_z_um == pytest.approx(sharp, abs=1.5)


class Plain:
    """A camera without a single control."""

    def __init__(self, simulated: SimulatedMicroscope) -> None:
        self._camera = simulated.camera
        self.controls: dict[Control, object] = {}
        self.snap, self.frames = self._camera.snap, self._camera.frames

    @property
    def info(self) -> object:
        return self._camera.info

    def get(self, control: Control) -> float:
        raise NotOffered("none")

    def set(self, control: Control, value: float) -> float:
        raise NotOffered("none")

    def __enter__(self) -> "Plain":
        self._camera.__enter__()
        return self

    def __exit__(self, *how: object) -> None:
        self._camera.__exit__(None, None, None)


def test_what_the_camera_lacks_the_software_corrects(slide: SmearSlide) -> None:
    simulated = microscope(slide)
    session = LiveSession(Plain(simulated), None, NucleusDetector, scheme=SCHEME)  # type: ignore[arg-type]
    with session:
        before = view_of(session)
        assert session.set_control(Control.BLUE, 1.5) == 1.5
        after = simplejpeg.decode_jpeg(taken_after(session, time.monotonic() + 0.1).jpeg)
        changed = after.mean(axis=(0, 1)) / simplejpeg.decode_jpeg(before.jpeg).mean(axis=(0, 1))
        assert changed[0] == pytest.approx(1, abs=0.03)
        assert changed[2] > 1.2
        assert session.keep().frame.pixels[..., 2].mean() == pytest.approx(after[..., 2].mean(), rel=0.03)
        with pytest.raises(NotOffered):
            session.set_control(Control.EXPOSURE_MS, 5)


def test_another_slide_begins_a_new_map(resting: tuple[SimulatedMicroscope, LiveSession]) -> None:
    _, session = resting
    before = view_of(session)
    session.another_slide()
    until(lambda: view_of(session).visit != before.visit)
    assert session.map().visit != before.visit
    assert session.map().kept == ()
