"""`marrowscope retrain`: an archive with reviewed cases becomes a candidate, a comparison, and perhaps a serving model."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from helpers.tiny import COLOURS
from marrowscope.cells.specimen import Edit, EditKind, FoundCell, Role
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.cli.app import FrontDoor
from marrowscope.cli.retrain import retrain
from marrowscope.data.voc import read_voc
from marrowscope.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from marrowscope.model.rcnn import CellDetector
from marrowscope.station.retraining import FIXED, fixed_patients
from marrowscope.store.store import Store
from marrowscope.training.recipe import load_recipe

SCHEME = load_taxonomy("clinical")
CODES = ("LYM", "EOS_SEG")
WIDTH, HEIGHT, ROWS, COLUMNS = 160, 120, 3, 4
NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
RECIPE = """
base = "light"
epochs = 1
batch_size = 4
workers = 0
learning_rate = 4e-3
warmup_iterations = 4
[model]
trunk = "mobilenetv3_small_050"
trunk_weights = "none"
trunk_norm = "batch"
frozen_stride = 0
input_size = [160, 120]
strides = [8, 16, 32]
fpn_channels = 16
head_width = 32
training_proposals = 60
detection_proposals = 60
"""

Command = Callable[..., Result]


def paint(seed: int) -> tuple[bytes, list[FoundCell]]:
    """Twelve discs of two colours as a PNG, and what a model that errs now and then says of them."""
    rng = np.random.default_rng(seed)
    pixels = np.full((HEIGHT, WIDTH, 3), (232, 220, 228), np.uint8)
    cells = []
    for number in range(ROWS * COLUMNS):
        label, radius = int(rng.integers(0, 2)), int(rng.integers(10, 15))
        x, y = 20 + number % COLUMNS * 40, 20 + number // COLUMNS * 40
        cv2.circle(pixels, (x, y), radius, COLOURS[label], cv2.FILLED)
        box = (x - radius, y - radius, x + radius + 1, y + radius + 1)
        cells.append(FoundCell(box, CODES[label], 0.9, 0.1))
    noisy = np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".png", noisy[:, :, ::-1])[1].tobytes()), cells


@pytest.fixture(scope="module")
def patients() -> list[str]:
    """Of five patients two are in the fixed set."""
    names = [f"P-{n}" for n in range(100)]
    held_out = fixed_patients(names)
    return [n for n in names if n in held_out][:2] + [n for n in names if n not in held_out][:3]


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory, patients: list[str]) -> Path:
    """A station's home with five reviewed cases of five fields. Copied for each test."""
    home = tmp_path_factory.mktemp("station")
    (home / "station.toml").write_text('scheme = "clinical"\n')
    with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as store:
        store.add_user("anna", "Anna Doe", Role.ADMIN, "hash", by="setup")
        store.add_user("tim", "Tim Doe", Role.TECHNICIAN, "hash", by="anna")
        for number, patient in enumerate(patients):
            specimen = store.add_specimen(f"S-{number}", patient, by="tim")
            slide = store.add_slide(specimen.id, "A", by="tim")
            for field in range(5):
                image, cells = paint(10 * number + field)
                store.keep_field(slide.id, image, width=WIDTH, height=HEIGHT, found=cells, by="tim", now=NOW)
            store.accept_above(specimen.id, 0, by="tim", now=NOW)
            first = store.cells(specimen.id, order="number", limit=1)[0][0]
            store.apply(specimen.id, [Edit(EditKind.RENAME, first.id, code="OTHER")], by="tim")
    return home


@pytest.fixture
def home(archived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(archived, tmp_path / "station"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def command(home: Path) -> Iterator[Command]:
    app = typer.Typer(cls=FrontDoor)
    app.command()(retrain)
    app.command()(_other)

    def run(*arguments: Any, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["retrain", "--home", str(home), *map(str, arguments)], input=stdin)

    yield run


def _other() -> None:
    """Typer gives a program of one command no names."""


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model that counts nothing: the easiest to be better than."""
    folder = tmp_path_factory.mktemp("blind")
    (folder / "tiny.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "tiny.toml").changed(["model.anchor_sizes=[[12],[24],[48]]"])
    taxonomy = SCHEME.keep(SCHEME.index(code) for code in CODES)
    torch.manual_seed(0)
    weights = CellDetector(recipe.model, len(taxonomy), pretrained=False).state_dict()
    save_checkpoint(folder / "best", Checkpoint(weights, recipe.model, taxonomy, score_threshold=0.99))
    return folder / "best"


def work_of(home: Path) -> Path:
    (folder,) = (home / "exports").glob("retrain-*")
    return folder


def opened(home: Path) -> Store:
    return Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels")


def test_one_command_exports_trains_compares_and_promotes_what_is_better(
    home: Path, command: Command, recipe: Path, blind: Path
) -> None:
    done = command(
        "--recipe", recipe, "--epochs", 12, "--base", blind, "--promote", "auto", "--by", "anna", "--device", "cpu"
    )
    assert done.exit_code == 0, done.output
    print(done.output)
    assert 0
