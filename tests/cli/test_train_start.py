"""`train --start`: a run that begins with what a checkpoint knows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny import TINY, painted_folder
from marrowscope.model.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    painted_folder(folder, range(4), held_out=(6, 7))
    return folder


def settings(*more: str) -> list[str]:
    return [word for value in (*TINY, "epochs=1", *more) for word in ("--set", value)]


@pytest.fixture(scope="module")
def first(command: Any, fields: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("runs") / "first"
    assert command("train", fields, "--recipe", "light", "--out", out, *settings()).exit_code == 0
    return out / "last"


def test_a_run_begins_with_the_weights_and_the_detector_of_the_checkpoint(
    command: Any, fields: Path, first: Path, tmp_path: Path
) -> None:
    # Steps too small to matter, and another head width that cannot be had.
    values = settings("learning_rate=1e-9", "weight_decay=0", "model.head_width=64")
    done = command("train", fields, "--recipe", "light", "--start", first, "--out", tmp_path / "run", *values)
    assert done.exit_code == 0, done.stderr
    made, known = load_checkpoint(tmp_path / "run" / "last"), load_checkpoint(first)
    assert made.model.head_width == 32
    name = "heads.box_head.fc6.weight"
    torch.testing.assert_close(made.weights[name], known.weights[name], atol=1e-5, rtol=0)
    assert json.loads((tmp_path / "run" / "split.json").read_text())["train"]


def test_it_is_not_begun_twice(command: Any, fields: Path, first: Path, tmp_path: Path) -> None:
    words = ("train", fields, "--recipe", "light", "--start", first, "--out", tmp_path / "run", *settings())
    assert command(*words).exit_code == 0
    again = command(*words)
    assert again.exit_code == 2
    assert "--resume" in again.stderr


def test_several_processes_cannot_begin_it(
    command: Any, fields: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = command("train", fields, "--recipe", "light", "--start", first, "--out", tmp_path / "run", *settings())
    assert done.exit_code == 2
    assert "--start" in done.stderr


def test_a_start_that_is_not_there_is_named(command: Any, fields: Path, tmp_path: Path) -> None:
    done = command("train", fields, "--recipe", "light", "--start", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr
