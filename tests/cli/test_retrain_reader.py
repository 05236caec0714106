"""A model with a reader is followed by a candidate with one, and a stop while it learns costs nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from helpers.retraining import CODES, RECIPE, five_patients, retrain_at, reviewed_station, untrained, work_of
from marrowscope.cli import train_reader
from marrowscope.model.checkpoint import READER, load_checkpoint, save_checkpoint
from marrowscope.model.config import ReaderRecipe
from marrowscope.model.reader import CellReader

READER_RECIPE = ReaderRecipe(
    trunk="mobilenetv3_small_050", trunk_weights="none", strides=(8, 16), frozen_stride=0, crop_px=32, dropout=0
)


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose model has a reader."""
    home = tmp_path_factory.mktemp("station")
    reviewed_station(home, five_patients())
    (home / "tiny.toml").write_text(RECIPE)
    bare = untrained(home / "tiny.toml")
    reader = {READER + k: v for k, v in CellReader(READER_RECIPE, len(CODES)).state_dict().items()}
    save_checkpoint(home / "first", replace(bare, weights={**bare.weights, **reader}, reader=READER_RECIPE))
    with (home / "station.toml").open("a") as settings:
        settings.write('model = "first"\n')
    return home


def asked(home: Path) -> tuple[Any, ...]:
    return home, "--recipe", home / "tiny.toml", "--epochs", 2, "--promote", "never"


@pytest.fixture(scope="module")
def retrained(archived: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    home = Path(shutil.copytree(archived, tmp_path_factory.mktemp("retrained") / "station"))
    return home, retrain_at(*asked(home))


def test_the_candidate_is_detector_and_reader_calibrated_together(retrained: tuple[Path, Result]) -> None:
    home, done = retrained
    assert done.exit_code == 0, done.output
    for said in ("its reader goes on learning, too", "reader: epoch 2/2", "beside first"):
        assert said in done.output
    result = json.loads((work_of(home) / "result.json").read_text(encoding="utf-8"))
    made = load_checkpoint(home / result["path"])
    found = load_checkpoint(work_of(home) / "run" / "best")
    assert made.reader == READER_RECIPE
    assert made.taxonomy == found.taxonomy
    assert {cell.code for cell in made.taxonomy} == {*CODES, "OTHER"}
    assert made.confusion is not None
    for name, value in found.weights.items():
        assert torch.equal(made.weights[name], value), name
    # It learned: the row of a class that the first model had is near that row, and not it.
    first = load_checkpoint(home / "first")
    rows = [c.weights[f"{READER}classify.weight"][c.taxonomy.index("LYM")] for c in (first, made)]
    assert 0 < float((rows[0] - rows[1]).abs().max()) < 0.01


def test_stopped_while_the_reader_learns_it_ends_as_if_nothing_had_been(
    archived: Path, retrained: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(archived, tmp_path / "station"))

    def stopped(*arguments: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_reader, "reading_line", stopped)
        assert retrain_at(*asked(home)).exit_code == 130
    done = retrain_at(home, "--resume", "--promote", "never")
    assert done.exit_code == 0, done.output
    assert "reader: epoch 2/2" in done.output
    assert "epoch 1/" not in done.output
    whole, resumed = (load_checkpoint(work_of(h) / "reader" / "best") for h in (retrained[0], home))
    assert whole.weights.keys() == resumed.weights.keys()
    for name, value in whole.weights.items():
        assert torch.equal(value, resumed.weights[name]), name
    assert resumed.calibration == whole.calibration
    # Over and compared once more, the candidate is the same file.
    before = (work_of(home) / "reader" / "best" / "model.safetensors").stat().st_mtime_ns
    (work_of(home) / "result.json").unlink()
    again = retrain_at(home, "--resume", "--promote", "never")
    assert again.exit_code == 0, again.output
    assert "epoch" not in again.output
    assert (work_of(home) / "reader" / "best" / "model.safetensors").stat().st_mtime_ns == before


def test_a_dry_run_says_that_the_reader_would_learn_and_trains_nothing(archived: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(archived, tmp_path / "station"))
    done = retrain_at(*asked(home), "--dry-run")
    assert done.exit_code == 0, done.output
    assert "its reader goes on learning, too" in done.output
    assert "epoch 1" not in done.output
    assert not (home / "exports").exists()


def test_begun_as_the_recipe_begins_it_has_no_reader(archived: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(archived, tmp_path / "station"))
    done = retrain_at(*asked(home), "--epochs", 1, "--start", "recipe")
    assert done.exit_code == 0, done.output
    assert not (work_of(home) / "reader").exists()
    result = json.loads((work_of(home) / "result.json").read_text(encoding="utf-8"))
    assert load_checkpoint(home / result["path"]).reader is None
