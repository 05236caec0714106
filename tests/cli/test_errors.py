"""Whatever goes wrong ends in one clear line and the right exit code."""

import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import marrowscope.cli
from marrowscope.cli.app import DEBUG
from marrowscope.errors import BadCheckpoint, BadRecipe

MARROWSCOPE = [sys.executable, "-c", "from marrowscope.cli import main; main()"]


def _process(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [*MARROWSCOPE, *(str(a) for a in arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def _says(result: Any, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_an_unknown_recipe_is_one_line_that_names_those_there_are(command: Any, drawn: Path, tmp_path: Path) -> None:
    _says(command("train", drawn, "--recipe", "papre", "--out", tmp_path / "run"), "BadRecipe", "'papre'", "paper")


@pytest.mark.parametrize(
    ("setting", "word"),
    [("learning_rat=1", "learning_rat"), ("epochs", "key=value"), ("epochs=many", "epochs"), ("model.x.y=1", "x.y")],
)
def test_a_bad_setting_is_named(command: Any, drawn: Path, tmp_path: Path, setting: str, word: str) -> None:
    _says(command("train", drawn, "--set", setting, "--out", tmp_path / "run"), "BadRecipe", word)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "{nowhere}", "--out", "{out}"),
        ("ablate", "{nowhere}", "--out", "{out}"),
        ("data", "check", "{nowhere}"),
        ("data", "summary", "{nowhere}"),
        ("data", "split", "{nowhere}"),
        ("data", "convert", "{nowhere}", "{out}", "--to", "coco"),
        ("detect", "demo", "{nowhere}", "--out", "{out}"),
        ("evaluate", "--pairs", "{nowhere}", "--out", "{out}"),
        ("detect", "{nowhere}", "{picture}", "--out", "{out}"),
        ("export", "{nowhere}", "--out", "{out}"),
    ],
    ids=lambda a: " ".join(w for w in a if "{" not in w),
)
def test_what_is_not_there_is_named(command: Any, drawn: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    places = {
        "{nowhere}": str(tmp_path / "nowhere"),
        "{out}": str(tmp_path / "out"),
        "{picture}": str(drawn / "JPEGImages" / "smear_000000.jpg"),
    }
    _says(command(*(places.get(a, a) for a in arguments)), str(tmp_path / "nowhere"))


def test_foreign_weights_are_not_taken_for_a_checkpoint(command: Any, drawn: Path, tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    picture = drawn / "JPEGImages" / "smear_000000.jpg"
    _says(command("detect", tmp_path, picture, "--out", tmp_path / "out"), "BadCheckpoint", "another program's")


def test_a_run_folder_given_for_its_checkpoint_is_hinted_at(command: Any, checkpoint: Path, tmp_path: Path) -> None:
    _says(command("export", checkpoint.parent, "--out", tmp_path / "out"), "BadCheckpoint")


def test_results_cannot_be_written_into_a_file(command: Any, drawn: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    _says(command("evaluate", checkpoint, drawn, "--split", "all", "--out", tmp_path / "file"), "cannot be made")


def test_a_missing_shipped_model_is_told(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    _says(command("demo", "--out", tmp_path / "out"), "BadCheckpoint", "shipped model")


def test_an_error_of_the_system_is_one_line_too(command: Any, tmp_path: Path, checkpoint: Path) -> None:
    # A note that is a folder: reading it fails with an OSError.
    _says(command("export", checkpoint, "--out", tmp_path / "out", "--note", tmp_path), "IsADirectoryError")


def test_debug_shows_where_it_came_from(command: Any, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")
    told = command("train", drawn, "--recipe", "papre", "--out", "run")
    assert isinstance(told.exception, BadRecipe)
    monkeypatch.setenv(DEBUG, "0")
    told = command("--debug", "detect", "nowhere", drawn / "JPEGImages", "--out", "found")
    assert isinstance(told.exception, BadCheckpoint)


def test_as_a_process_bad_input_exits_with_2_and_debug_adds_the_traceback(drawn: Path) -> None:
    plain = _process("train", drawn, "--recipe", "papre", "--out", "run")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.startswith("BadRecipe: ")
    assert "Traceback" not in plain.stderr
    told = _process("train", drawn, "--recipe", "papre", "--out", "run", MARROWSCOPE_DEBUG="1")
    assert told.returncode != 0
    assert "Traceback" in told.stderr


def test_an_unknown_option_exits_with_2() -> None:
    told = _process("detect", "demo", "x.jpg", "--out", "y", "--no-such-option")
    assert told.returncode == 2
    assert "--no-such-option" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_fault_of_ours_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def broken() -> None:
        raise KeyError("never to be seen")

    monkeypatch.setattr("marrowscope.cli.app.app", broken)
    with pytest.raises(SystemExit) as ended:
        marrowscope.cli.main()
    assert ended.value.code == marrowscope.cli.FAULT
    told = capsys.readouterr().err
    assert "KeyError" in told
    assert "fault of marrowscope" in told


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "smear"
    line = [*MARROWSCOPE, "smear", str(out), "--fields", "5000", "--size", "160x120", "--workers", "1"]
    # Where the tests themselves run in the background, Ctrl-C is ignored, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        drawing = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        waited = time.monotonic()
        while not any(out.glob("Annotations/*.xml")) and time.monotonic() - waited < 60:
            time.sleep(0.05)
        drawing.send_signal(signal.SIGINT)
        _, told = drawing.communicate(timeout=60)
    finally:
        drawing.kill()
    assert drawing.returncode == 130
    assert "Stopped. Give the same command again" in told
    assert "Traceback" not in told
