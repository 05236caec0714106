"""`marrowscope add-class`: from a labelled folder or pictures of cells to a checkpoint, and what it refuses."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from helpers.runtimes import READER as READER_RECIPE
from helpers.tiny import TAXONOMY, painted_folder, tiny_recipe
from marrowscope.cli.app import app
from marrowscope.model.checkpoint import READER, Checkpoint, load_checkpoint, save_checkpoint
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of lymphocytes and eosinophils, fields of these, and pictures of single green cells."""
    folder = tmp_path_factory.mktemp("home")
    painted_folder(folder / "fields", range(3), held_out=[3])
    torch.manual_seed(0)
    model = tiny_recipe("model.anchor_sizes=[[12], [24], [48]]").model
    reader = CellReader(READER_RECIPE, 2, pretrained=False).state_dict()
    weights = CellDetector(model, 2).state_dict() | {READER + name: value for name, value in reader.items()}
    save_checkpoint(folder / "start", Checkpoint(weights, model, TAXONOMY, reader=READER_RECIPE))
    for number in range(8):
        pixels = np.full((64, 64, 3), (228, 220, 232), np.uint8)
        cv2.circle(pixels, (32, 32), 20 + number % 4, (60, 150 + 5 * number, 40), cv2.FILLED)
        (folder / "cells").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "cells" / f"{number}.png"), pixels)
    return folder


def add(home: Path, *words: object) -> Result:
    return CliRunner().invoke(app, ["add-class", str(home / "start"), *map(str, words)])


def test_pictures_of_single_cells_become_a_class(home: Path, tmp_path: Path) -> None:
    source = home / "cells"
    done = add(home, "--name", "basophil", "--from", source, "--known", home / "fields", "--out", tmp_path / "new")
    assert done.exit_code == 0, done.output
    assert "added from 8 cells: each left out in turn, 8 are recognised by the others, 100 % (63-100)" in done.output
    made = load_checkpoint(tmp_path / "new")
    assert made.taxonomy.names == (*TAXONOMY.names, "basophil")
    assert made.known is not None
    # What the cells look like is in the checkpoint now: another class needs no fields of the old ones.
    again = CliRunner().invoke(
        app,
        ["add-class", str(tmp_path / "new"), "--name", "hairy cell", "--from", str(source), "--shots", "5"]
        + ["--out", str(tmp_path / "two")],
    )
    assert again.exit_code == 0, again.output
    assert "added from 5 cells" in again.output


def test_boxes_of_a_labelled_folder_are_counted_and_too_few_are_refused(home: Path, tmp_path: Path) -> None:
    done = add(home, "--name", "basophil", "--from", home / "fields", "--out", tmp_path / "new")
    assert done.exit_code == 2
    assert "0 labelled cells of basophil: a class is added from 5 or more" in " ".join(done.output.split())
    assert not (tmp_path / "new").exists()


def test_without_memory_of_the_known_classes_the_way_to_it_is_told(home: Path, tmp_path: Path) -> None:
    done = add(home, "--name", "basophil", "--from", home / "cells", "--out", tmp_path / "new")
    assert done.exit_code == 2
    assert "no cell of lymphocyte, eosinophil" in " ".join(done.output.split())
    assert "--known" in done.output
