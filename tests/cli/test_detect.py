"""`marrowscope detect`, mostly with saved answers played back, as that needs no model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from marrowscope.detect.saved import DetectedField, SavedDetections, write_detections

MARROWSCOPE = [sys.executable, "-c", "from marrowscope.cli import main; main()"]


@pytest.fixture
def saved(labelled: Any, tmp_path: Path) -> Path:
    """The truth of the drawn fields as a detections.json, threshold .25; the first cell of each scores .2."""
    import numpy as np

    from marrowscope.cells.detections import Detections
    from marrowscope.cells.taxonomy import load_taxonomy

    taxonomy = load_taxonomy("liu2022")
    found = []
    for field in labelled:
        truth = field.truth(taxonomy)
        scores = np.full(len(truth), 0.9, np.float32)
        scores[0] = 0.2
        claims = Detections(truth.boxes, truth.labels, scores, taxonomy)
        found.append(DetectedField(field.image_path, field.name, field.width, field.height, claims))
    path = tmp_path / "saved.json"
    write_detections(path, SavedDetections(taxonomy, tuple(found), (), {"score_threshold": 0.25}))
    return path


def _cells(out: Path) -> int:
    written = json.loads((out / "detections.json").read_text())
    return sum(len(f["detections"]) for f in written["fields"])


def test_detections_are_written_in_every_format_asked_for(
    command: Any, saved: Path, drawn: Path, labelled: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = command("detect", saved, drawn / "JPEGImages", "--out", out, "--format", "json,csv,voc,coco,yolo,geojson")
    assert done.exit_code == 0, done.output
    written = json.loads((out / "detections.json").read_text())
    assert len(written["fields"]) == len(labelled)
    first = written["fields"][0]
    assert {"path", "width", "height", "detections"} <= set(first)
    assert {"class", "score", "box"} <= set(first["detections"][0])
    for name in ("detections.csv", "voc", "coco/dataset.json", "yolo/classes.txt", "geojson", "differential.md"):
        assert (out / name).exists(), name
    assert len(list((out / "overlays").glob("*.jpg"))) == len(labelled)


def test_the_saved_threshold_counts_unless_another_is_given(
    command: Any, saved: Path, drawn: Path, labelled: Any, tmp_path: Path
) -> None:
    cells = sum(len(f) for f in labelled)
    arguments = ("detect", saved, drawn / "JPEGImages", "--no-overlay", "--out")
    assert command(*arguments, tmp_path / "own").exit_code == 0
    assert _cells(tmp_path / "own") == cells - len(labelled)
    assert not (tmp_path / "own" / "overlays").exists()
    assert command(*arguments, tmp_path / "all", "--score", "0.1").exit_code == 0
    assert _cells(tmp_path / "all") == cells


def test_a_list_on_stdin_is_read(command: Any, saved: Path, labelled: Any, tmp_path: Path) -> None:
    listed = "".join(f"{f.image_path}\n" for f in labelled[:2])
    done = command("detect", saved, "-", "--out", tmp_path / "out", "--no-overlay", stdin=listed)
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [f["path"] for f in written["fields"]] == [str(f.image_path) for f in labelled[:2]]


def test_one_corrupt_picture_is_named_and_the_others_are_done(saved: Path, labelled: Any, tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.jpg"
    whole = labelled[0].image_path.read_bytes()
    corrupt.write_bytes(whole[: len(whole) // 2])
    pictures = [str(labelled[0].image_path), str(corrupt), str(labelled[1].image_path)]
    out = tmp_path / "out"
    line = [*MARROWSCOPE, "detect", str(saved), *pictures, "--out", str(out), "--no-overlay"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "corrupt.jpg" in done.stderr
    assert "1 of 3 pictures could not be read" in done.stderr
    written = json.loads((out / "detections.json").read_text())
    assert len(written["fields"]) == 2
    assert [u["path"] for u in written["unreadable"]] == [str(corrupt)]


def test_a_dry_run_lists_and_writes_nothing(command: Any, drawn: Path, tmp_path: Path) -> None:
    done = command("detect", "demo", drawn / "JPEGImages", "--out", tmp_path / "out", "--dry-run")
    assert done.exit_code == 0
    assert done.stdout.startswith("6 pictures, by demo")
    assert not (tmp_path / "out").exists()


def test_quiet_says_nothing(command: Any, saved: Path, drawn: Path, tmp_path: Path) -> None:
    done = command("detect", saved, drawn / "JPEGImages", "--out", tmp_path / "out", "--no-overlay", "-q")
    assert (done.exit_code, done.output) == (0, "")


def test_an_unknown_format_is_named(command: Any, saved: Path, drawn: Path, tmp_path: Path) -> None:
    done = command("detect", saved, drawn / "JPEGImages", "--out", tmp_path / "out", "--format", "json,xls")
    assert done.exit_code == 2
    assert "xls" in done.stderr
    assert "geojson" in done.stderr
