"""Whole slides by command: results of each, a bad one named, and a second run that goes on."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Command
from marrowscope.data.images import read_image
from marrowscope.detect.slide_table import CellsFile
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.writing import write_slide

pytest.importorskip("pyarrow")


@pytest.fixture
def night(tmp_path: Path, drawn: Path) -> Path:
    """A folder of two slides, of which one was cut short."""
    folder = tmp_path / "night"
    folder.mkdir()
    fields = [read_image(path).pixels for path in sorted((drawn / "JPEGImages").rglob("*.jpg"))[:4]]
    rows = [np.concatenate(fields[:2], axis=1), np.concatenate(fields[2:], axis=1)]
    pixels = np.concatenate(rows)
    write_slide(ArraySlide(pixels, "smear", um_per_px=0.2), folder / "smear.tiff")
    whole = (folder / "smear.tiff").read_bytes()
    (folder / "cut.tiff").write_bytes(whole[: len(whole) // 3])
    return folder


def test_a_night_of_slides_is_looked_at_and_the_bad_one_named(
    command: Command, night: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found"
    asked = (
        "slides",
        night,
        "--out",
        out,
        "--model",
        checkpoint,
        "--runtime",
        "torch",
        "--scale",
        "1",
        "--workers",
        "1",
    )
    done = command(*asked, "--format", "geojson", "--format", "csv")
    assert done.exit_code == 1, done.output
    assert "cut.tiff" in done.stderr
    assert "1 of 2 slides could not be read" in done.stderr
    with CellsFile(out / "smear" / "cells.parquet") as cells:
        assert (cells.head.width, cells.head.height, cells.head.um_per_px) == (640, 480, pytest.approx(0.2))
        count = len(cells)
    assert count > 0
    assert len(json.loads((out / "smear" / "cells.geojson").read_text())["features"]) == count
    assert f"{count} cells" in done.stdout


def test_a_dry_run_lists_the_slides_and_looks_at_none(command: Command, night: Path, tmp_path: Path) -> None:
    told = command("slides", night, "--out", tmp_path / "found", "--dry-run", "--format", "coco")
    assert told.exit_code == 0, told.output
    assert "2 slides" in told.stdout
    assert "smear.tiff" in told.stdout
    assert not (tmp_path / "found").exists()


def test_a_format_that_is_not_known_is_refused(command: Command, night: Path, tmp_path: Path) -> None:
    told = command("slides", night, "--out", tmp_path / "found", "--format", "voc")
    assert told.exit_code == 2
    assert "Choose of geojson, coco, csv" in told.stderr
