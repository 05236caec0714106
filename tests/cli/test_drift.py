"""`marrowscope drift`: what was learned is compared with; the exit code tells; `detect` and `centres` use the same."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from marrowscope.data.images import read_image
from marrowscope.evaluation.pairs import load_pairs
from marrowscope.model.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def learned(command: Any, checkpoint: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, which knows what the drawn fields look like."""
    out = tmp_path_factory.mktemp("learned") / "model"
    done = command("drift", checkpoint, drawn / "JPEGImages", "--learn", out, "--runtime", "torch")
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def dark(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same fields under a weak yellow lamp."""
    folder = tmp_path_factory.mktemp("dark")
    for path in sorted((drawn / "JPEGImages").iterdir()):
        pixels = read_image(path).pixels * [0.7, 0.6, 0.4]
        cv2.imwrite(str(folder / f"{path.stem}.png"), pixels[..., ::-1])
    return folder


def test_learning_changes_neither_weights_nor_threshold(checkpoint: Path, learned: Path) -> None:
    before, after = load_checkpoint(checkpoint), load_checkpoint(learned)
    assert all(torch.equal(after.weights[k], v) for k, v in before.weights.items())
    assert (after.score_threshold, after.calibration) == (before.score_threshold, before.calibration)
    assert after.fields_seen is not None
    assert len(after.fields_seen.looks["lightness"]) == 6
    assert len(after.fields_seen.swatch) > 1000


def test_the_same_pictures_raise_no_alarm_and_darker_ones_do(
    command: Any, learned: Path, drawn: Path, dark: Path, tmp_path: Path
) -> None:
    same = command("drift", learned, drawn / "JPEGImages", "--runtime", "torch")
    assert same.exit_code == 0, same.output
    assert "look like those of training" in same.stdout
    other = command("drift", learned, dark, "--out", tmp_path, "--runtime", "torch")
    assert other.exit_code == 1, other.output
    assert "lightness" in other.stderr
    told = json.loads((tmp_path / "drift.json").read_text())
    assert told["alarm"] is True
    assert (tmp_path / "drift.png").is_file()
    assert "| lightness" in (tmp_path / "drift.md").read_text()


def test_a_checkpoint_that_learned_nothing_says_what_to_do(command: Any, checkpoint: Path, drawn: Path) -> None:
    done = command("drift", checkpoint, drawn / "JPEGImages", "--runtime", "torch")
    assert done.exit_code == 2
    assert "--learn" in done.stderr


def test_detect_warns_of_a_drift_and_can_undo_the_stain(
    command: Any, learned: Path, dark: Path, tmp_path: Path
) -> None:
    options = ("--no-overlay", "--format", "json", "--runtime", "torch", "--out", tmp_path / "found")
    plain = command("detect", learned, dark, *options)
    assert plain.exit_code == 0, plain.output
    assert "unlike those of training" in plain.stderr
    pytest.importorskip("torchstain")
    done = command("detect", learned, dark, *options, "--stain", "reinhard")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "found" / "detections.json").read_text())["stain"] == "reinhard"


def test_a_stain_without_a_reference_is_refused(command: Any, checkpoint: Path, dark: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "found", "--runtime", "torch")
    unknown = command("detect", checkpoint, dark, *options, "--stain", "macenko")
    assert unknown.exit_code == 2
    assert "--stain-reference" in unknown.stderr
    alone = command("detect", checkpoint, dark, *options, "--stain-reference", dark)
    assert alone.exit_code == 2
    assert "--stain reinhard" in alone.stderr


def test_centres_are_set_side_by_side(command: Any, checkpoint: Path, drawn: Path, tmp_path: Path) -> None:
    by = tmp_path / "centres.tsv"
    names = sorted(path.stem for path in (drawn / "JPEGImages").iterdir())
    by.write_text("field\tcentre\n" + "".join(f"{n}\t{'north' if i % 2 else 'south'}\n" for i, n in enumerate(names)))
    options = ("--split", "all", "--bootstrap", 20, "--runtime", "torch", "--out", tmp_path / "out")
    done = command("centres", checkpoint, f"all={drawn}", "--by", by, *options)
    assert done.exit_code == 0, done.output
    assert {"north", "south"} <= set(done.stdout.split())
    assert (tmp_path / "out" / "centres.png").is_file()
    assert [pair.name for pair in load_pairs(tmp_path / "out" / "north" / "pairs.npz")] == names[1::2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["my_fields"], "NAME=FOLDER"),
        (["a=x", "a=y"], "named twice"),
        (["a=x", "--split", "b=all"], "no centre is called b"),
    ],
)
def test_centres_that_cannot_be_told_apart_are_refused(command: Any, arguments: list[str], said: str) -> None:
    done = command("centres", "real", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
