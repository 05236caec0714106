"""Where to count on a slide, from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.smear_zones import GOOD, ZONE_UM, slide_of
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.writing import write_slide

ROW = ("good", "thick", "turned")


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "zones.ome.tiff"
    write_slide(slide_of((ROW,)), path, quality=90)
    return path


def test_regions_come_as_a_table_a_map_and_a_file(command: Any, slide: Path, tmp_path: Path) -> None:
    chart, told = tmp_path / "map.jpg", tmp_path / "regions.json"
    done = command("regions", slide, "--cells", 20, "--size-um", 100, "--out", chart, "--json", told)
    assert done.exit_code == 0, done.output
    said = json.loads(told.read_text())
    assert said["um_per_px"] == pytest.approx(0.25)
    assert sum(region["nuclei"] for region in said["regions"]) >= 20
    for region in said["regions"]:
        assert ROW[int(region["x"] * said["um_per_px"] // ZONE_UM)] in GOOD
    assert f"{len(said['regions'])} regions, about" in done.stdout
    with Image.open(chart) as picture:
        assert picture.width > 600


def test_fewer_than_wanted_is_said(command: Any, slide: Path) -> None:
    done = command("regions", slide, "--count", 30, "--size-um", 100)
    assert done.exit_code == 0
    assert "30 regions were wanted" in done.stderr


def test_a_slide_that_cannot_be_read_anywhere_ends_in_1(command: Any, tmp_path: Path) -> None:
    write_slide(ArraySlide(np.full((256, 256, 3), 240, np.uint8), um_per_px=0.25), tmp_path / "glass.tiff")
    done = command("regions", tmp_path / "glass.tiff")
    assert done.exit_code == 1
    assert "no place can be read" in done.stderr


def test_a_map_that_is_no_picture_is_refused_before_the_slide_is_read(command: Any, tmp_path: Path) -> None:
    done = command("regions", tmp_path / "missing.svs", "--out", tmp_path / "map.pdf")
    assert done.exit_code == 2
    assert "Call it .jpg or .png" in done.stderr
