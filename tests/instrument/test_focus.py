"""The focus score tells sharp from less sharp and nothing else; autofocus finds the plane."""

from collections.abc import Iterator

import numpy as np
import pytest

from helpers.clock import HandClock
from marrowscope.errors import FrameDropped, InstrumentError, NotOffered
from marrowscope.instrument.camera import Control, Frame
from marrowscope.instrument.focus import autofocus, focus_score, sweep
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.instrument.simulated_stage import SimulatedStage
from marrowscope.instrument.stage import Limits, Position
from marrowscope.smear.slide import SmearSlide

PX = 0.069


@pytest.fixture(scope="module")
def slides() -> Iterator[list[SmearSlide]]:
    made = [SmearSlide(seed, width_um=6000, height_um=6000) for seed in (0, 1, 2)]
    yield made
    for slide in made:
        slide.close()


def microscope(slide: SmearSlide, **options: float) -> SimulatedMicroscope:
    plain = {"width": 1280, "height": 720, "seed": slide.seed}
    return SimulatedMicroscope(slide, um_per_px=PX, clock=HandClock(), **{**plain, **options})


PLACES = ((2900.0, 3100.0), (2500.0, 2600.0), (3900.0, 3300.0))


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("side", [-1, 1])
def test_the_score_falls_with_every_step_away_from_the_plane(
    slides: list[SmearSlide], number: int, place: tuple[float, float], side: int
):
    source = microscope(slides[number])
    assert source.stage is not None
    source.stage.move_to_um(*place)
    away = np.asarray([0, 0.2, 0.4, 0.7, 1, 1.5, 2, 3, 4.5, 6, 8, 11, 15, 20])
    with source.camera as camera:
        heights = source.plane_um(*place) + side * away
        found = sweep(camera, source.stage, heights.tolist())
    scores = np.asarray(found.scores)[:: 1 if side > 0 else -1]
    assert (np.diff(scores) < 0).all(), scores
    assert scores[0] > 5 * scores[-1]


@pytest.mark.parametrize("away", [0, 1, 5])
def test_the_score_does_not_depend_on_brightness_or_noise(slides: list[SmearSlide], away: float):
    source = microscope(slides[0])
    assert source.stage is not None
    source.stage.move_to_um(z=source.plane_um(3000, 3000) + away)
    scores = []
    with source.camera as camera:
        for exposure, gain in ((4, 1), (2, 1), (1, 1), (1, 4), (0.5, 8)):
            camera.set(Control.EXPOSURE_MS, exposure)
            camera.set(Control.GAIN, gain)
            scores.append(focus_score(camera.snap().pixels))
    np.testing.assert_allclose(scores, scores[0], rtol=0.04)


def test_a_plain_picture_scores_nothing_and_a_tiny_one_is_no_error():
    assert focus_score(np.full((200, 300, 3), 180, np.uint8)) == 0
    assert focus_score(np.zeros((200, 300, 3), np.uint8)) == 0
    assert focus_score(np.full((10, 10, 3), 180, np.uint8)) == 0


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("off", [-20.0, -3.3, 0.1, 20.0])
def test_autofocus_finds_the_plane_and_stays_there(
    slides: list[SmearSlide], number: int, place: tuple[float, float], off: float
):
    source = microscope(slides[number], width=640, height=480)
    plane = source.plane_um(*place)
    assert source.stage is not None
    source.stage.move_to_um(*place, plane + off)
    with source.camera as camera:
        found = autofocus(camera, source.stage)
    assert abs(found.best_z_um - plane) < 0.3
    assert source.stage.position_um == pytest.approx((*place, found.best_z_um), abs=1e-6)
    assert len(found.z_um) == len(found.scores) <= 60
    assert list(found.z_um) == sorted(found.z_um)


def test_autofocus_near_the_end_of_the_drive_does_not_run_into_it(slides: list[SmearSlide]):
    source = microscope(slides[0], width=640, height=480)
    assert source.stage is not None
    source.stage.move_to_um(z=100)
    with source.camera as camera:
        found = autofocus(camera, source.stage, reach_um=100, steps=41)
    assert max(found.z_um) <= 100
    assert abs(found.best_z_um - source.plane_um(3000, 3000)) < 0.3


def test_over_open_glass_autofocus_says_so_and_leaves_the_stage(slides: list[SmearSlide]):
    source = microscope(slides[0], width=640, height=480)
    assert source.stage is not None
    stood = source.stage.move_to_um(50, 50, 4)
    with source.camera as camera, pytest.raises(InstrumentError, match="nothing but glass"):
        autofocus(camera, source.stage)
    assert source.stage.position_um == stood


def test_a_frame_lost_on_the_way_leaves_the_stage_where_it_was(slides: list[SmearSlide]):
    source = microscope(slides[0], width=320, height=240)
    stood = source.stage.position_um
    with source.camera as camera:
        for work in (
            lambda: autofocus(camera, source.stage),
            lambda: sweep(camera, source.stage, [stood.z_um + 3, stood.z_um + 4]),
        ):
            source.faults.drop_frames(30)
            with pytest.raises(FrameDropped):
                work()
            assert source.stage.position_um == stood
            source._clock.advance(3)  # type: ignore[attr-defined]


def test_without_a_focus_drive_it_says_so(slides: list[SmearSlide]):
    source = microscope(slides[0], width=320, height=240)
    flat = Limits(Position(0, 0, 0), Position(100, 100, 0))
    no_drive = SimulatedStage(Position(50, 50, 0), flat, HandClock())
    with source.camera as camera:
        for stage in (None, no_drive):
            with pytest.raises(NotOffered, match="by hand"):
                autofocus(camera, stage)
            with pytest.raises(NotOffered, match="by hand"):
                sweep(camera, stage, [0.0])


def test_a_sweep_measures_what_it_is_told_and_goes_back(slides: list[SmearSlide]):
    source = microscope(slides[0], width=320, height=240)
    stood = source.stage.position_um
    heights = [stood.z_um + d for d in (1.0, -0.5, 0.5, -1.0, 0.0)]
    with source.camera as camera:
        found = sweep(camera, source.stage, heights)
        assert isinstance(camera.snap(), Frame)
    assert found.z_um == tuple(sorted(heights))
    assert found.best_z_um == pytest.approx(stood.z_um, abs=0.1)
    assert source.stage.position_um == stood


def test_a_height_beyond_the_drive_is_refused(slides: list[SmearSlide]):
    source = microscope(slides[0], width=320, height=240)
    with source.camera as camera, pytest.raises(InstrumentError, match="z = 500"):
        sweep(camera, source.stage, [500.0])
