"""Slides on a cluster: what one process finds, each batch stored once, whatever becomes of a machine."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from helpers.ray_world import ray_slide
from helpers.slide_world import Discs, in_turn, plan_for
from marrowscope.assemble.ray_engine import RayEngine, _do, _our_error
from marrowscope.detect.slide_run import run_slide
from marrowscope.detect.slide_table import CellsFile
from marrowscope.detect.slide_tiles import CellRows
from marrowscope.errors import BadInput, MissingExtra

TESTS = Path(__file__).parents[1]


def ray_world(scenario: str, folder: Path) -> dict[str, Any]:
    """What the scenario of `helpers.ray_world` told."""
    pytest.importorskip("ray")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)]), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(TESTS / "helpers" / "ray_world.py"), scenario, str(folder)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def cells_of(folder: Path) -> CellRows:
    with CellsFile(folder / "cells.parquet") as file:
        return CellRows.joined(list(file.batches()))


def same_as_in_one_process(run: Path, folder: Path) -> None:
    slide = ray_slide()
    plan = plan_for(slide)
    run_slide(plan, in_turn(slide, Discs(), plan), folder)
    ours, theirs = cells_of(run), cells_of(folder)
    for column in ("boxes", "labels", "scores", "tiles"):
        assert_array_equal(getattr(ours, column), getattr(theirs, column))
    parts = sorted(part.name for part in (run / "parts").iterdir())
    assert parts == sorted(part.name for part in (folder / "parts").iterdir())
    assert len(parts) == len(plan.batches())


def test_a_cluster_begun_for_it_finds_what_one_process_finds(tmp_path: Path) -> None:
    told = ray_world("one", tmp_path)
    same_as_in_one_process(tmp_path / "run", tmp_path / "plain")
    assert sorted(told["begun"][0]) == list(range(18))
    assert told["said"] == "torn.svs: is damaged"  # as its own error, to be skipped by name
    assert told["slots"] == 1


@pytest.mark.slow
def test_when_a_machine_is_lost_midway_its_batches_are_done_elsewhere_and_stored_once(tmp_path: Path) -> None:
    told = ray_world("lose", tmp_path)
    assert len(told["killed"]) == 1
    assert told["killed"][0] < told["total"]
    begun = sorted(number for notes in told["begun"] for number in notes)
    assert set(begun) == set(range(18))
    assert len(begun) > 18  # what the lost machine had in hand was begun again
    assert all(told["begun"])  # both machines took part
    same_as_in_one_process(tmp_path / "run", tmp_path / "plain")


@pytest.mark.parametrize("address", ["head", "head:", "ray://head", ":6379", "auto:x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(BadInput, match=r"--address .*give host:6379"):
        RayEngine(address)


def test_where_nobody_answers_is_said_within_seconds() -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BadInput, match=r"nobody answers there.*ray start --head"):
        RayEngine(f"127.0.0.1:{port}")


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'marrowscope\[cluster\]'"):
        RayEngine(None)


def test_another_version_on_a_machine_is_refused_before_it_does_anything() -> None:
    with pytest.raises(BadInput, match=r"has marrowscope .*Install one version"):
        _do("0.0.0", lambda: pytest.fail("was done"))


def test_a_machine_without_marrowscope_is_told_apart_from_a_fault() -> None:
    assert isinstance(_our_error(ModuleNotFoundError("No module named 'marrowscope'")), BadInput)
    fault = ValueError("ours")
    assert _our_error(fault) is fault
