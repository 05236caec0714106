"""Benchmarks that nobody runs rot: those that take little are run here, small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_training_steps_of_both_losses_are_set_side_by_side():
    small = ["--set", "model.trunk_weights=none", "--set", "model.input_size=[96,72]", "--field", "320", "240"]
    said = run("training_step.py", *small, "--fields", "2", "--warm", "0", "--repeats", "1", "--threads", "1")
    assert said.returncode == 0, said.stderr
    assert "ranked / softmax" in said.stdout
    assert "from memory" in said.stdout


def test_the_field_without_a_gpu_says_so():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    said = run("field.py", "--gpu")
    assert said.returncode == 2
    assert "no GPU" in said.stdout
    assert said.stderr.count("Traceback") == 0


@pytest.mark.slow
def test_a_field_goes_from_jpeg_to_json_in_every_runtime(tmp_path):
    small = ["--size", "400", "300", "--box", "160", "128", "--repeat", "1", "--copies", "3", "--light", "demo"]
    said = run("field.py", *small, "--json", str(tmp_path / "field.json"))
    assert said.returncode == 0, said.stderr
    assert "resnet101 torch" in said.stdout
    assert "demo torch" in said.stdout
    assert "left out" not in said.stdout
    assert (tmp_path / "field.json").is_file()


def test_the_paper_estimate_is_what_its_script_says():
    from benchmarks.scale import tables

    page = (BENCHMARKS.parent / "docs" / "scale.md").read_text(encoding="utf-8")
    for table in tables().split("\n\n"):
        assert table.strip() in page
