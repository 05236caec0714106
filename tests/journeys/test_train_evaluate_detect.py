"""The first three journeys by their commands: a labelled folder in, a checkpoint, tables and detections out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from marrowscope.data.clean import drop_unknown
from marrowscope.data.images import image_size
from marrowscope.data.labelled import data_hash
from marrowscope.data.problems import ProblemKind
from marrowscope.data.voc import read_voc
from marrowscope.model.checkpoint import load_checkpoint

Marrowscope = Callable[..., Any]
MACRO = {"recall", "precision", "f1", "ap50", "ap50_truncated", "map"}


@dataclass(frozen=True)
class Journey:
    """What the commands left, and what `train` said."""

    fields: Path
    run: Path
    said: str


@pytest.fixture(scope="module")
def journey(marrowscope: Marrowscope, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Six drawn fields, an epoch of training, an evaluation."""
    top = tmp_path_factory.mktemp("journey")
    fields, run = top / "fields", top / "run"
    marrowscope("smear", fields, "--fields", 6, "--size", "320x240", "--val", "0.34", "--workers", 1, "-q")
    said = marrowscope("train", fields, "--recipe", tiny, "--out", run, "--device", "cpu").stdout
    marrowscope(
        "evaluate", run / "best", fields, "--out", run / "evaluation", "--bootstrap", 20, "--threshold", "0.005"
    )
    return Journey(fields, run, said)


def test_training_leaves_two_checkpoints_with_their_provenance(journey: Journey) -> None:
    for name in ("best", "last"):
        checkpoint = load_checkpoint(journey.run / name)
        assert checkpoint.recipe["name"] == "tiny"
        learned = drop_unknown(read_voc(journey.fields, split="train").fields, checkpoint.taxonomy).fields
        assert checkpoint.data_hash == data_hash(learned)
        assert 0 < checkpoint.score_threshold < 1
    (line,) = (json.loads(text) for text in (journey.run / "log.jsonl").read_text().splitlines())
    assert line["epoch"] == 1
    assert {"val_ap50", "val_f1", "score_threshold"} <= set(line)


def test_training_says_what_it_does_and_what_is_next(journey: Journey) -> None:
    for words in ("classes", "recipe tiny", "epoch 1/1", "marrowscope evaluate"):
        assert words in journey.said


def test_the_split_that_was_used_is_on_record(journey: Journey) -> None:
    split = json.loads((journey.run / "split.json").read_text())
    assert split["by"] == "given"
    for side in ("train", "val"):
        listed = (journey.fields / "ImageSets" / "Main" / f"{side}.txt").read_text().split()
        assert split[side] == listed


def test_metrics_have_the_fixed_format(journey: Journey) -> None:
    metrics = json.loads((journey.run / "evaluation" / "metrics.json").read_text())
    assert set(metrics["macro"]) == MACRO
    taxonomy = load_checkpoint(journey.run / "best").taxonomy
    assert list(metrics["classes"]) == list(taxonomy.names)
    for row in metrics["classes"].values():
        assert set(row) >= MACRO | {"truth"}
    cells = sum(len(f.truth(taxonomy)) for f in read_voc(journey.fields, split="val").fields)
    assert sum(row["truth"] for row in metrics["classes"].values()) == cells
    assert metrics["threshold"] == 0.005


def test_tables_figures_and_the_worst_fields_are_there(journey: Journey) -> None:
    out = journey.run / "evaluation"
    for name in ("report.md", "table2.md", "table3.csv", "summary.json", "figure2.png", "figure2.svg", "confusion.csv"):
        assert (out / name).stat().st_size, name
    worst = sorted((out / "worst").glob("*.jpg"))
    assert len(worst) == len(read_voc(journey.fields, split="val").fields)
    errors = [int(path.name.split("_")[1]) for path in worst]
    assert errors == sorted(errors, reverse=True)


def test_a_table_is_remade_without_the_model(marrowscope: Marrowscope, journey: Journey, tmp_path: Path) -> None:
    first = journey.run / "evaluation"
    marrowscope(
        "evaluate", "--pairs", first / "pairs.npz", "--out", tmp_path, "--compare", first, "--bootstrap", 20, "-q"
    )
    assert (tmp_path / "metrics.json").read_bytes() == (first / "metrics.json").read_bytes()
    table = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert table["columns"][2:] == ["run (this)", "run"]


def test_detections_have_the_fixed_format(marrowscope: Marrowscope, journey: Journey, tmp_path: Path) -> None:
    images = journey.fields / "JPEGImages"
    marrowscope(
        "detect", journey.run / "best", images, "--out", tmp_path, "--score", "0.003", "--format", "json,voc", "-q"
    )
    written = json.loads((tmp_path / "detections.json").read_text())
    names = set(load_checkpoint(journey.run / "best").taxonomy.names)
    assert len(written["fields"]) == 6
    assert any(f["detections"] for f in written["fields"])
    for field in written["fields"]:
        assert (field["width"], field["height"]) == image_size(Path(field["path"]))
        for cell in field["detections"]:
            x1, y1, x2, y2 = cell["box"]
            assert 0 <= x1 < x2 <= field["width"]
            assert 0 <= y1 < y2 <= field["height"]
            assert cell["class"] in names
            assert 0.003 <= cell["score"] <= 1
    assert len(list((tmp_path / "overlays").glob("*.jpg"))) == 6


def test_saved_detections_are_evaluated_like_the_model(
    marrowscope: Marrowscope, journey: Journey, tmp_path: Path
) -> None:
    found, again = tmp_path / "found", tmp_path / "again"
    images = journey.fields / "JPEGImages"
    marrowscope("detect", journey.run / "best", images, "--out", found, "--score", 0, "--no-overlay", "-q")
    marrowscope(
        "evaluate", found / "detections.json", journey.fields, "--out", again, "--threshold", "0.005",
        "--bootstrap", 20, "-q",
    )  # fmt: skip
    assert (again / "metrics.json").read_bytes() == (journey.run / "evaluation" / "metrics.json").read_bytes()


def test_a_finished_run_is_neither_overwritten_nor_trained_again(
    marrowscope: Marrowscope, journey: Journey, tiny: Path
) -> None:
    before = (journey.run / "last" / "model.safetensors").read_bytes()
    with pytest.raises(AssertionError, match="--resume"):
        marrowscope("train", journey.fields, "--recipe", tiny, "--out", journey.run, "--device", "cpu")
    marrowscope("train", journey.fields, "--recipe", tiny, "--out", journey.run, "--device", "cpu", "--resume")
    assert (journey.run / "last" / "model.safetensors").read_bytes() == before


def test_without_lists_what_was_held_out_is_what_is_evaluated(
    marrowscope: Marrowscope, journey: Journey, tiny: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(journey.fields, bare, ignore=shutil.ignore_patterns("ImageSets"))
    marrowscope("train", bare, "--recipe", tiny, "--out", tmp_path / "run", "--device", "cpu", "-q")
    marrowscope("evaluate", tmp_path / "run" / "best", bare, "--out", tmp_path / "eval", "--bootstrap", 0, "-q")
    held_out = json.loads((tmp_path / "run" / "split.json").read_text())["val"]
    assert 0 < len(held_out) < 6
    assert json.loads((tmp_path / "eval" / "metrics.json").read_text())["fields"] == len(held_out)


def test_bccd_goes_the_same_way(marrowscope: Marrowscope, tiny: Path, data_root: Path, tmp_path: Path) -> None:
    source, fields, run = data_root / "bccd" / "BCCD", tmp_path / "bccd", tmp_path / "run"
    if not source.is_dir():
        pytest.skip(f"BCCD not found at {source}")
    # Six fields, among them one of the two with a box without area.
    read = read_voc(source, skip_bad=True)
    bad = [p.where.split(".xml")[0] for p in read.problems if p.kind is ProblemKind.ZERO_AREA_BOX]
    assert len(bad) == 2
    varied = [f.name for f in read.fields if len(set(f.labels)) == 3 and f.name not in bad]
    chosen = {"train": [*varied[:2], bad[0]], "val": varied[2:5]}
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (fields / folder).mkdir(parents=True)
    for split, names in chosen.items():
        (fields / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{n}\n" for n in names))
        for name in names:
            (fields / "Annotations" / f"{name}.xml").symlink_to(source / "Annotations" / f"{name}.xml")
            (fields / "JPEGImages" / f"{name}.jpg").symlink_to(source / "JPEGImages" / f"{name}.jpg")
    done = marrowscope("train", fields, "--recipe", tiny, "--out", run, "--device", "cpu", "--set", "more_than=0")
    assert f"{bad[0]}.xml, object" in done.stderr
    assert set(load_checkpoint(run / "best").taxonomy.names) == {"RBC", "WBC", "Platelets"}
    marrowscope("evaluate", run / "best", fields, "--out", run / "evaluation", "--bootstrap", 0, "-q")
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert metrics["fields"] == 3
    assert metrics["classes"]["RBC"]["truth"] > 10
    marrowscope("detect", run / "best", fields / "JPEGImages", "--out", tmp_path / "found", "--score", 0, "-q")
    written = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert len(written["fields"]) == 6
