"""A slide from tiles to files: what the whole shows, once, however often the run is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from helpers.slide_world import GRID, Discs, draw_discs, plan_for, world
from marrowscope.cells.field import FieldImage
from marrowscope.detect.slide_exports import SlideFormat
from marrowscope.detect.slide_run import SlideProgress, SlideSummary, in_turn, run_slide
from marrowscope.detect.slide_scale import WorkingScale
from marrowscope.detect.slide_table import CellsFile
from marrowscope.detect.slide_tiles import CellRows
from marrowscope.detect.tiling import TileGrid, inside, middles
from marrowscope.errors import BadInput
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.regions import Rectangle

WORLD = Path(__file__).parents[1] / "helpers" / "slide_world.py"


def cells_of(folder: Path) -> CellRows:
    with CellsFile(folder / "cells.parquet") as file:
        return CellRows.joined(list(file.batches()))


def in_order(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.lexsort(boxes.T)]


def in_one_piece(slide: ArraySlide) -> CellRows:
    level = slide.levels[0]
    (found,) = Discs().detect([FieldImage(slide.read(0, 0, 0, level.width, level.height), "whole")])
    return CellRows(found.boxes.astype(float), found.labels, found.scores, np.zeros((len(found), 2), np.int64))


@pytest.fixture(scope="module")
def whole() -> CellRows:
    return in_one_piece(world())


def look_at_all(folder: Path, **options: object) -> SlideSummary:
    slide = world()
    plan = plan_for(slide)
    return run_slide(plan, in_turn(slide, Discs(), plan), folder, **options)  # type: ignore[arg-type]


def test_of_ten_thousand_cells_none_is_lost_or_doubled_at_a_seam(tmp_path: Path) -> None:
    slide = ArraySlide(draw_discs(1, 2100, 1800), "discs")
    everything = in_one_piece(slide)
    assert len(everything) > 10_000
    plan = plan_for(slide)
    run = run_slide(plan, in_turn(slide, Discs(), plan), tmp_path)
    found = cells_of(tmp_path)
    assert run.cells == len(found) == len(everything)
    assert_array_equal(in_order(found.boxes), in_order(everything.boxes))
    at_seams = plan.look.grid.depth(found.tiles, middles(found.boxes)) <= 12
    assert at_seams.sum() > 1000


@settings(max_examples=10)
@given(st.integers(0, 9), st.integers(30, 420), st.integers(30, 330), st.integers(1, 12), st.integers(0, 30))
def test_whatever_the_tiles_the_cells_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, seed: int, width: int, height: int, core: int, more: int
) -> None:
    slide = ArraySlide(draw_discs(seed, width, height), "discs")
    plan = plan_for(slide, grid=TileGrid(core * 13, 13 + more, 4))
    folder = tmp_path_factory.mktemp("run")
    run_slide(plan, in_turn(slide, Discs(), plan), folder)
    assert_array_equal(in_order(cells_of(folder).boxes), in_order(in_one_piece(slide).boxes))


def test_names_and_scores_are_those_of_the_whole(tmp_path: Path, whole: CellRows) -> None:
    look_at_all(tmp_path)
    found = cells_of(tmp_path)
    ours, theirs = (np.lexsort(c.boxes.T) for c in (found, whole))
    assert_array_equal(found.labels[ours], whole.labels[theirs])
    assert_array_equal(found.scores[ours], whole.scores[theirs])


def test_cells_count_only_where_somebody_wants_to_look(tmp_path: Path, whole: CellRows) -> None:
    places = (Rectangle(300, 310, 260, 200), Rectangle(500, 400, 300, 333))
    slide = world()
    plan = plan_for(slide, places=places)
    run = run_slide(plan, in_turn(slide, Discs(), plan), tmp_path)
    wanted = whole.only(inside(places, middles(whole.boxes)))
    assert_array_equal(in_order(cells_of(tmp_path).boxes), in_order(wanted.boxes))
    assert run.tiles < len(plan_for(slide).look.grid.tiles(plan_for(slide).places)) / 2


def test_a_slide_is_looked_at_in_another_scale_than_its_own(tmp_path: Path, whole: CellRows) -> None:
    slide = world()
    grid = TileGrid(GRID.core * 2, GRID.margin * 2, GRID.band * 2)
    plan = plan_for(slide, grid=grid, scale=WorkingScale(2, 1, 2))
    run_slide(plan, in_turn(slide, Discs(), plan), tmp_path)
    found = cells_of(tmp_path)
    assert len(found) == len(whole)
    ours, theirs = (np.lexsort(np.round(middles(c.boxes) / 18).T) for c in (found, whole))
    assert np.abs(found.boxes[ours] - whole.boxes[theirs]).max() <= 2


def test_glass_is_not_shown_to_the_detector(tmp_path: Path) -> None:
    run = look_at_all(tmp_path)
    assert 0 < run.empty < run.tiles / 5


def test_the_next_tiles_are_read_in_a_thread_and_nothing_changes(tmp_path: Path) -> None:
    slide = world()
    plan = plan_for(slide)
    for name, ahead in (("ahead", True), ("plain", False)):
        run_slide(plan, in_turn(slide, Discs(), plan, ahead=ahead), tmp_path / name)
    assert_array_equal(cells_of(tmp_path / "ahead").boxes, cells_of(tmp_path / "plain").boxes)


def test_progress_counts_tiles_up_to_all_of_them(tmp_path: Path) -> None:
    told: list[SlideProgress] = []
    run = look_at_all(tmp_path, progress=told.append)
    assert told[0] == (0, run.tiles, 0, 0.0)
    assert [far.done for far in told] == sorted(far.done for far in told)
    assert told[-1].done == told[-1].total == run.tiles
    assert told[-1].cells >= run.cells


def test_a_finished_slide_is_not_looked_at_again_but_written_anew(tmp_path: Path) -> None:
    first = look_at_all(tmp_path)
    again = look_at_all(tmp_path, formats=[SlideFormat.CSV])
    assert (again.looked_at, again.cells, again.empty) == (0, first.cells, first.empty)
    assert (tmp_path / "cells.csv").is_file()


@pytest.mark.parametrize("change", [{"score": 0.4}, {"model": {"checkpoint": "others"}}, {"width": 1199}])
def test_cells_of_other_settings_are_never_mixed(tmp_path: Path, change: dict[str, object]) -> None:
    look_at_all(tmp_path)
    slide = world()
    other = plan_for(slide, **change)
    with pytest.raises(BadInput, match=r"other settings.*--force"):
        run_slide(other, in_turn(slide, Discs(), other), tmp_path)
    anew = run_slide(other, in_turn(slide, Discs(), other), tmp_path, anew=True)
    assert anew.looked_at == anew.tiles


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(WORLD), str(folder), str(log)], env=environment)


def test_a_killed_run_goes_on_without_doing_a_finished_tile_again(tmp_path: Path, whole: CellRows) -> None:
    log = tmp_path / "log"
    for begun in (2, 4):  # killed at once, and killed again while it goes on
        running = start(tmp_path / "run", log)
        until = time.monotonic() + 60
        while (not log.is_file() or len(log.read_text().splitlines()) < begun) and time.monotonic() < until:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        running.wait()
    parts = {part.stem for part in (tmp_path / "run" / "parts").glob("[0-9]*.parquet")}
    assert parts
    assert start(tmp_path / "run", log).wait() == 0
    asked = [line.split() for line in log.read_text().splitlines()]
    last = asked[-1][1]
    assert not {int(part) for part in parts} & {int(number) for number, who in asked if who == last}
    # Every batch was begun; only those in hand at a kill were begun twice.
    numbers = [int(number) for number, _ in asked]
    assert set(numbers) == set(range(len(plan_for(world()).batches())))
    assert len(numbers) - len(set(numbers)) <= 2
    assert_array_equal(in_order(cells_of(tmp_path / "run").boxes), in_order(whole.boxes))
    assert not list((tmp_path / "run").rglob(".*"))


def test_the_differential_counts_what_the_table_holds(tmp_path: Path, whole: CellRows) -> None:
    run = look_at_all(tmp_path)
    said = json.loads((tmp_path / "differential.json").read_text())
    assert said["total"] == run.cells == len(whole)
    assert said["classes"]["dark blob"]["count"] == int((whole.labels == 1).sum())
