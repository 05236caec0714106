"""`marrowscope calibrate`: a checkpoint goes in, the same one with probabilities for scores comes out."""

from pathlib import Path
from typing import Any

import torch

from marrowscope.model.checkpoint import load_checkpoint


def test_calibration_changes_no_weight_and_is_used_by_detect(
    command: Any, checkpoint: Path, drawn: Path, tmp_path: Path
) -> None:
    out = tmp_path / "calibrated"
    done = command("calibrate", checkpoint, drawn, "--split", "all", "--out", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "expected calibration error" in done.stdout
    before, after = load_checkpoint(checkpoint), load_checkpoint(out)
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[k], v) for k, v in before.weights.items())
    assert after.calibration is not None
    assert after.confusion is not None
    assert len(after.confusion) == len(after.taxonomy) + 1
    again = command("calibrate", out, drawn, "--split", "all", "--out", tmp_path / "again", "--device", "cpu")
    assert again.exit_code == 0, again.output
    assert load_checkpoint(tmp_path / "again").calibration == after.calibration  # fitted to the bare detector
    found = command("detect", out, drawn / "JPEGImages", "--out", tmp_path / "found", "--no-overlay", "--score", 0)
    assert found.exit_code == 0, found.output
    assert "corrected" not in (tmp_path / "found" / "differential.md").read_text()  # another threshold


def test_a_saved_run_has_nothing_to_calibrate(command: Any, drawn: Path, tmp_path: Path) -> None:
    saved = tmp_path / "detections.json"
    saved.write_text('{"fields": []}')
    done = command("calibrate", saved, drawn, "--split", "all", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "saved run" in done.stderr
