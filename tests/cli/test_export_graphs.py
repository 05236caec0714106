"""Exporting for another runtime, and computing with what was exported."""

import json
from pathlib import Path
from typing import Any

import pytest

from marrowscope.assemble import exporting
from marrowscope.assemble.detectors import open_detector
from marrowscope.data.voc import read_voc, write_voc_image
from marrowscope.detect.openvino_int8 import KEPT
from marrowscope.smear.field import draw_field


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five drawn fields as the shipped model knows them."""
    folder = tmp_path_factory.mktemp("smear")
    taxonomy = open_detector("demo", device="cpu", runtime="torch").detector.taxonomy
    for seed in range(900_000_200, 900_000_205):
        write_voc_image(folder, *draw_field(seed, width=1400, height=1056, taxonomy=taxonomy))
    return folder


def test_an_export_to_onnx_is_what_detect_computes_with(
    command: Any, checkpoint: Path, fields: Path, tmp_path: Path
) -> None:
    done = command("export", checkpoint, "--out", tmp_path / "model", "--to", "onnx")
    assert done.exit_code == 0, done.output
    assert "MB, fp32" in done.stdout
    assert {p.name for p in (tmp_path / "model" / "onnx").iterdir()} == {"dense.onnx", "judge.onnx", "graphs.json"}
    arguments = ("detect", tmp_path / "model", fields, "-r", "--out", tmp_path / "found", "--no-overlay")
    done = command(*arguments, "--runtime", "onnx", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "by ONNX Runtime, fp32" in done.stdout
    assert json.loads((tmp_path / "found" / "detections.json").read_text())["runtime"] == "ONNX Runtime, fp32"


def test_int8_keeps_its_accuracy_and_says_so(command: Any, smear: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    done = command("export", "demo", "--out", out, "--to", "openvino", "--precision", "int8", "--fields", smear)
    assert done.exit_code == 0, done.output
    assert "in fp32" in done.stdout
    assert "output layers" in done.stdout
    fp32, int8 = (float(line.split(": ")[1].split(" ")[0]) for line in done.stdout.splitlines() if "AP@50" in line)
    assert fp32 > 0.8
    assert int8 >= fp32 - exporting.POINTS
    record = json.loads((out / "openvino" / "graphs.json").read_text())
    assert (record["precision"], record["kept_fp32"]) == ("int8", ["depthwise and output layers"])
    opened = open_detector(out, device="cpu")
    assert opened.runtime == "OpenVINO, int8"
    full = out / "model.safetensors"
    assert (out / "openvino" / "dense.bin").stat().st_size < 0.8 * full.stat().st_size


def test_int8_is_not_measured_on_fields_without_labels(
    command: Any, checkpoint: Path, fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marrowscope.detect.openvino_int8.quantise", lambda models, samples, kept: models)
    pictures = fields / "JPEGImages"
    out = tmp_path / "model"
    done = command("export", checkpoint, "--out", out, "--to", "openvino", "--precision", "int8", "--fields", pictures)
    assert done.exit_code == 0, done.output
    assert "was not measured" in done.stderr


def test_where_int8_costs_too_much_more_is_kept_and_at_last_it_is_refused(
    command: Any, checkpoint: Path, smear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([0.9, 0.7, 0.8, 0.89])
    monkeypatch.setattr(exporting, "_look", lambda *_: next(measured))
    tried: list[int] = []
    monkeypatch.setattr(
        "marrowscope.detect.openvino_int8.quantise", lambda models, samples, kept: tried.append(len(kept)) or models
    )
    out = tmp_path / "model"
    done = command("export", checkpoint, "--out", out, "--to", "openvino", "--precision", "int8", "--fields", smear)
    assert done.exit_code == 2
    assert tried == list(range(1, len(KEPT) + 1))
    assert "0.900 in fp32, 0.890" in done.stderr
    assert not (out / "openvino").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--precision", "int8"), "--to openvino"),
        (("--to", "onnx", "--precision", "int8"), "--to openvino"),
        (("--to", "openvino", "--precision", "int8"), "--fields FOLDER"),
        (("--to", "openvino", "--fields", "."), "--precision int8"),
        (("--to", "openvino", "--precision", "int8", "--fields", "nowhere"), "no such folder"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_written(
    command: Any, checkpoint: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = command("export", checkpoint, "--out", tmp_path / "model", *options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "model").exists()


def test_a_runtime_that_cannot_use_the_gpu_is_refused(
    command: Any, checkpoint: Path, fields: Path, tmp_path: Path
) -> None:
    assert read_voc(fields).fields
    done = command(
        "detect", checkpoint, fields, "-r", "--out", tmp_path / "found", "--runtime", "onnx", "--device", "cuda"
    )
    assert done.exit_code == 2
    assert "Leave out --device cuda" in done.stderr
