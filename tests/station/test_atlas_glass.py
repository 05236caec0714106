"""Tracking and atlas together on a simulated microscope, frame by frame, against the truth of every frame."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from helpers.clock import HandClock
from helpers.watching import HEIGHT, UM_PER_PX, WIDTH
from marrowscope.cells.detections import Detections
from marrowscope.cells.specimen import FoundCell
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.instrument.camera import Frame
from marrowscope.instrument.simulated import FrameTruth, SimulatedMicroscope
from marrowscope.instrument.simulated_stage import HandPath
from marrowscope.smear.slide import SmearSlide
from marrowscope.station.atlas_glass import Glass
from marrowscope.station.desk import found_cells
from marrowscope.station.live_view import Sight

SCHEME = load_taxonomy("clinical")


@pytest.fixture(scope="module")
def slide() -> Iterator[SmearSlide]:
    with SmearSlide(11, um_per_px=UM_PER_PX) as drawn:
        yield drawn


def watch(slide: SmearSlide, hand: HandPath, fps: float = 20.0) -> Iterator[tuple[Frame, FrameTruth]]:
    microscope = SimulatedMicroscope(
        slide, width=WIDTH, height=HEIGHT, um_per_px=UM_PER_PX, fps=fps, hand=hand, sharp=True, clock=HandClock()
    )
    with microscope.camera as camera:
        first = None
        for frame in camera.frames():
            first = frame.captured_at if first is None else first
            yield frame, microscope.truth(frame.number)
            if frame.captured_at - first > hand.lasts_s:
                return


def all_of(truth: FrameTruth, least: float = 0.4) -> list[FoundCell]:
    seen = truth.seen >= least
    sure = np.ones(int(seen.sum()), np.float32)
    return found_cells(Detections(truth.boxes[seen], truth.labels[seen], sure, truth.taxonomy), SCHEME, WIDTH, HEIGHT)


def hand(*stops: tuple[float, float], um_per_s: float = 150.0, rest_s: float = 0.3) -> HandPath:
    seconds, xs, ys = [0.0], [stops[0][0]], [stops[0][1]]
    for x, y in stops:
        seconds.append(seconds[-1] + np.hypot(x - xs[-1], y - ys[-1]) / um_per_s)
        xs.append(x)
        ys.append(y)
        seconds.append(seconds[-1] + rest_s)
        xs.append(x)
        ys.append(y)
    return HandPath(np.asarray(seconds), np.asarray(xs), np.asarray(ys))


def test_boxes_stay_on_their_cells_while_detection_lags_and_the_slide_moves(slide: SmearSlide) -> None:
    """Detection answers half a second late; the boxes drawn lie on the true cells of the very frame all the while."""
    glass, wrong, drawn = Glass(SCHEME), [], 0
    pending: tuple[float, Sight, list[FoundCell]] | None = None
    moving = hand((3000, 3000), (3120, 3060), (3000, 3050))
    for frame, truth in watch(slide, moving):
        sight = glass.see(frame)
        if pending is not None and frame.captured_at >= pending[0]:
            glass.add(pending[1], pending[2])
            pending = None
        if pending is None:
            pending = (frame.captured_at + 0.5, sight, all_of(truth))
        inner = (truth.seen > 0.999).nonzero()[0]
        for cell in glass.overlay(sight):
            if not cell.counted or len(inner) == 0:
                continue
            away = np.abs(truth.boxes[inner] - np.asarray(cell.box)).max(axis=1)
            x1, y1, x2, y2 = cell.box
            if x1 > 1 and y1 > 1 and x2 < WIDTH - 1 and y2 < HEIGHT - 1:
                wrong.append(away.min())
                drawn += 1
    assert drawn > 200
    # A frame's motion here is 37 px: a box one frame late would be off by that much.
    assert max(wrong) < 2.0


def test_unique_cells_are_those_that_were_seen_whole(slide: SmearSlide) -> None:
    glass, whole, sure = Glass(SCHEME), set(), set()
    for n, (frame, truth) in enumerate(watch(slide, hand((5000, 5000), (5150, 5000), (5150, 5060), (5000, 5040)))):
        sight = glass.see(frame)
        if n % 4 == 0:
            glass.add(sight, all_of(truth))
            deep = (truth.boxes[:, :2] > 8).all(axis=1) & (truth.boxes[:, 2:] < (WIDTH - 8, HEIGHT - 8)).all(axis=1)
            sure |= set(truth.ids[deep].tolist())
        whole |= set(truth.ids[truth.seen > 0.999].tolist())
    assert len(sure) <= sum(glass.counts().values()) <= len(whole)
    assert len(sure) > 20


def test_an_answer_that_comes_after_two_visits_became_one_lies_at_its_place(slide: SmearSlide) -> None:
    jump = HandPath(
        np.asarray([0, 1, 1.0001, 2, 5.0]),
        np.asarray([7000, 7000, 7300, 7300, 7000.0]),
        np.asarray([7000, 7000, 7000, 7000, 7000.0]),
    )
    glass = Glass(SCHEME)
    late: list[tuple[Sight, list[FoundCell]]] = []
    last: tuple[Sight, FrameTruth] | None = None
    for n, (frame, truth) in enumerate(watch(slide, jump)):
        sight = glass.see(frame)
        if n % 5 == 0:
            glass.claim()
            late.append((sight, all_of(truth)))
        last = sight, truth
    assert last is not None
    assert len({sight.visit for sight, _ in late}) == 2
    for sight, found in late:
        glass.add(sight, found)
    sight, truth = last
    inner = truth.seen > 0.999
    boxes = np.asarray([cell.box for cell in glass.overlay(sight)])
    for box in truth.boxes[inner]:
        assert np.abs(boxes - box).max(axis=1).min() < 2.0
    assert len(boxes) <= len(truth)


def test_the_map_shows_what_was_visited_kept_and_found(slide: SmearSlide) -> None:
    glass = Glass(SCHEME, origin=lambda: (9000.0, 9000.0))
    assert glass.map().here is None
    sights = []
    for frame, truth in watch(slide, hand((9000, 9000), (9200, 9000))):
        sights.append(glass.see(frame))
        glass.add(sights[-1], all_of(truth))
    glass.keep(sights[0])
    found = glass.map()
    assert found.here == sights[-1].view
    assert found.visit == sights[-1].visit
    assert found.kept == (sights[0].view,)
    assert len(found.visited) >= 3
    assert min(r.x1 for r in found.visited) == pytest.approx(9000 - WIDTH * UM_PER_PX / 2, abs=1)
    truth_of_all = slide.cells_in(9100, 9000, 200 + WIDTH * UM_PER_PX, HEIGHT * UM_PER_PX)
    middles = (truth_of_all.boxes_um[:, :2] + truth_of_all.boxes_um[:, 2:]) / 2
    for cell in found.cells:
        if cell.counted:
            assert np.hypot(*(middles - (cell.x_um, cell.y_um)).T).min() < 0.5
    assert sum(cell.counted for cell in found.cells) == sum(glass.counts().values())


def test_another_slide_begins_from_nothing(slide: SmearSlide) -> None:
    glass = Glass(SCHEME)
    frames = watch(slide, hand((3000, 3000), (3100, 3000)))
    frame, truth = next(frames)
    before = glass.see(frame)
    glass.add(before, all_of(truth))
    ids = {cell.track_id for cell in glass.overlay(before)}
    glass.forget()
    assert glass.counts() == {}
    frame, truth = next(frames)
    after = glass.see(frame)
    assert after.visit != before.visit
    assert glass.map().visited == (after.view,)
    glass.add(after, all_of(truth))
    assert ids.isdisjoint(cell.track_id for cell in glass.overlay(after))


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "unique_count.py"
    spec = importlib.util.spec_from_file_location("unique_count", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fields", [6, pytest.param(200, marks=pytest.mark.slow)])
def test_a_hand_moved_path_counts_each_cell_once(benchmark: ModuleType, fields: int) -> None:
    out = benchmark.walk(benchmark.true_cells(SCHEME), SCHEME, fields, seed=7, fps=10)
    assert out.visits == 1
    assert out.worst_px < 4
    assert abs(out.unique - out.truth) <= max(1, 0.01 * out.truth)
    assert out.per_field > 1.5 * out.truth
