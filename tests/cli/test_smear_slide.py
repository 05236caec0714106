"""A slide drawn on the command line opens again, and its truth lies beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marrowscope.assemble.slides import open_slide
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.detect.outputs import read_qupath_geojson
from marrowscope.slide.drawn_slide import DrawnSlide
from marrowscope.smear.slide import SmearSlide


def test_a_drawn_slide_is_that_of_the_seed_and_its_truth_can_be_read(command: Any, tmp_path: Path) -> None:
    out = tmp_path / "new" / "practice.ome.tiff"
    done = command("smear-slide", out, "--size-um", "150x100", "--um-per-px", 0.5, "--seed", 3, "--lossless")
    assert done.exit_code == 0, done.output
    drawn = DrawnSlide(SmearSlide(3, width_um=150, height_um=100, um_per_px=0.5))
    with open_slide(out) as slide:
        assert slide.um_per_px == pytest.approx(0.5)
        assert (slide.read(0, 0, 0, 300, 200) == drawn.read(0, 0, 0, 300, 200)).all()
    told = json.loads((tmp_path / "new" / "practice.truth.geojson").read_text())
    truth = read_qupath_geojson(told, load_taxonomy("liu2022"))
    assert np.allclose(truth.boxes, drawn.cells().boxes, atol=0.01)
    assert truth.labels.tolist() == drawn.cells().labels.tolist()
    assert f"{len(truth)} cells" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s.jpg"], "End its name"),
        (["s.tiff", "--size-um", "wide"], "--size-um wide"),
        (["s.tiff", "--size-um", "9x9"], "9x9"),
    ],
)
def test_what_cannot_be_drawn_is_said(command: Any, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = command("smear-slide", tmp_path / arguments[0], *arguments[1:])
    assert done.exit_code == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []
