"""Drawing fields, giving a model away, and the demo that ties all of it together."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.running import Running
from marrowscope.cli.demo import FIRST_SEED
from marrowscope.data.labelled import data_hash
from marrowscope.data.voc import read_voc, voc_splits, write_voc_image
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.smear.field import draw_field


def _smear(command: Any, out: Path, fields: int, *more: Any) -> Any:
    return command("smear", out, "--fields", fields, "--size", "160x120", "--workers", 1, *more)


def test_drawn_fields_are_those_of_the_seed_and_a_stopped_run_goes_on(command: Any, tmp_path: Path) -> None:
    assert _smear(command, tmp_path / "whole", 5, "--seed", 2, "--val", 0.4).exit_code == 0
    assert _smear(command, tmp_path / "parts", 2, "--seed", 2).exit_code == 0
    first = tmp_path / "parts" / "JPEGImages" / "smear_200000.jpg"
    drawn_at = first.stat().st_mtime_ns
    done = _smear(command, tmp_path / "parts", 5, "--seed", 2, "--val", 0.4)
    assert done.exit_code == 0, done.output
    assert first.stat().st_mtime_ns == drawn_at
    for split in ("train", "val"):
        whole, parts = (read_voc(tmp_path / f, split=split).fields for f in ("whole", "parts"))
        assert data_hash(whole) == data_hash(parts)
    assert read_voc(tmp_path / "whole", split="val").fields


def test_fields_drawn_otherwise_are_not_mixed(command: Any, tmp_path: Path) -> None:
    assert _smear(command, tmp_path / "out", 1).exit_code == 0
    done = _smear(command, tmp_path / "out", 2, "--balanced")
    assert done.exit_code == 2
    assert "drawn otherwise" in done.stderr


def test_a_folder_of_real_fields_is_not_drawn_into(command: Any, fields: Path) -> None:
    done = _smear(command, fields, 1)
    assert done.exit_code == 2
    assert "not drawn here" in done.stderr


def test_specimens_share_the_fields_and_lie_on_one_side(command: Any, tmp_path: Path) -> None:
    assert _smear(command, tmp_path / "out", 6, "--specimens", 3, "--val", 0.3).exit_code == 0
    sides = [{f.specimen for f in read_voc(tmp_path / "out", split=s).fields} for s in ("train", "val")]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {"slide_000", "slide_001", "slide_002"}


def test_without_validation_there_is_no_list_for_it(command: Any, tmp_path: Path) -> None:
    assert _smear(command, tmp_path / "out", 2, "--val", 0).exit_code == 0
    assert voc_splits(tmp_path / "out") == ("train",)


@pytest.mark.parametrize("size", ["4000", "0x10", "axb", "-5x10", "20000x20000", "5000x64", "159x200"])
def test_a_size_that_is_none_is_refused(command: Any, tmp_path: Path, size: str) -> None:
    done = command("smear", tmp_path / "out", "--fields", 1, "--size", size)
    assert done.exit_code == 2
    assert "--size" in done.stderr


def test_an_export_is_half_the_size_and_carries_a_card(command: Any, checkpoint: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    note.write_text("Untrained; for tests alone.")
    done = command("export", checkpoint, "--out", tmp_path / "half", "--note", note)
    assert done.exit_code == 0, done.output
    assert "MB, float16" in done.stdout
    assert command("export", checkpoint, "--out", tmp_path / "full", "--full").exit_code == 0
    half, full = ((tmp_path / f / "model.safetensors").stat().st_size for f in ("half", "full"))
    assert 0.45 * full < half < 0.62 * full
    given, original = load_checkpoint(tmp_path / "half"), load_checkpoint(checkpoint)
    assert given.taxonomy == original.taxonomy
    assert given.score_threshold == 0.5  # ranked scores are levelled
    given.build()
    card = (tmp_path / "half" / "CARD.md").read_text()
    for word in ("Untrained; for tests alone.", "mobilenetv3_small_050", "ab" * 32, "0.25", "0.5000", "lymphoblast"):
        assert word in card
    assert "still to be written" in command("export", checkpoint, "--out", tmp_path / "full").stdout


def test_a_checkpoint_is_not_exported_onto_itself(command: Any, checkpoint: Path) -> None:
    before = (checkpoint / "model.safetensors").read_bytes()
    done = command("export", checkpoint, "--out", checkpoint)
    assert done.exit_code == 2
    assert (checkpoint / "model.safetensors").read_bytes() == before


def test_the_demo_tells_its_story_and_leaves_what_it_names(command: Any, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    # The first field is there already, and is kept.
    image, truth = draw_field(FIRST_SEED, width=320, height=240, taxonomy=load_checkpoint(checkpoint).taxonomy)
    drawn_at = write_voc_image(out / "fields", image, truth).image_path.stat().st_mtime_ns
    arguments = ("demo", "--out", out, "--fields", 2, "--checkpoint", checkpoint, "--size", "320x240")
    done = command(*arguments, "--device", "cpu")
    assert done.exit_code == 0, done.output
    for part in ("1. A smear is drawn", "2. The model looks", "3. What it says", "4. The differential", "Done in"):
        assert part in done.stdout
    assert "myeloid : erythroid" in done.stdout
    for name in (
        "fields/JPEGImages/smear_900000000.jpg",
        "detections/overlays/smear_900000000.jpg",
        "detections/differential.md",
        "evaluation/report.md",
        "evaluation/figure2.png",
        "evaluation/pairs.npz",
    ):
        assert (out / name).is_file(), name
    macro = json.loads((out / "evaluation" / "metrics.json").read_text())["macro"]
    assert set(macro) == {"recall", "precision", "f1", "ap50", "ap50_truncated", "map"}
    assert (out / "fields" / "JPEGImages" / "smear_900000000.jpg").stat().st_mtime_ns == drawn_at


def test_the_live_demo_ends_with_a_running_station(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    words = ["--out", str(out), "--fields", "2", "--checkpoint", str(checkpoint), "--size", "320x240", "--live"]
    with Running("demo", *words) as running:
        health = httpx.get(f"{running.address}/api/health")
        assert health.status_code == 200
        assert (out / "station" / "archive.db").is_file()
        assert running.stop() == 0, "".join(running.said)
