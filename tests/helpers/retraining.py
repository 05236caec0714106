"""A station with reviewed cases of painted cells, a recipe small enough to retrain on them, and the command."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import typer
from typer.testing import CliRunner, Result

from helpers.tiny import COLOURS
from marrowscope.cells.specimen import Edit, EditKind, FoundCell, Role
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.cli.app import FrontDoor
from marrowscope.cli.retrain import retrain
from marrowscope.model.checkpoint import Checkpoint
from marrowscope.model.rcnn import CellDetector
from marrowscope.station.retraining import fixed_patients
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
learning_rate = 2e-2
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


def five_patients() -> list[str]:
    """Of five patients two are in the fixed set."""
    names = [f"P-{n}" for n in range(100)]
    held_out = fixed_patients(names)
    return [n for n in names if n in held_out][:2] + [n for n in names if n not in held_out][:3]


def reviewed_station(home: Path, patients: list[str]) -> None:
    """Make it a home with a reviewed case of each: with five fields where the patient is of the fixed set, else two."""
    (home / "station.toml").write_text('scheme = "clinical"\n')
    with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as store:
        store.add_user("anna", "Anna Doe", Role.ADMIN, "hash", by="setup")
        store.add_user("tim", "Tim Doe", Role.TECHNICIAN, "hash", by="anna")
        for number, patient in enumerate(patients):
            specimen = store.add_specimen(f"S-{number}", patient, by="tim")
            slide = store.add_slide(specimen.id, "A", by="tim")
            for field in range(5 if patient in fixed_patients(patients) else 2):
                image, cells = paint(10 * number + field)
                store.keep_field(slide.id, image, width=WIDTH, height=HEIGHT, found=cells, by="tim", now=NOW)
            store.accept_above(specimen.id, 0, by="tim", now=NOW)
            first = store.cells(specimen.id, order="number", limit=1)[0][0]
            store.apply(specimen.id, [Edit(EditKind.RENAME, first.id, code="OTHER")], by="tim")


def untrained(path: Path) -> Checkpoint:
    """A detector of both classes, by the recipe in the file, that knows nothing and counts nothing."""
    recipe = load_recipe(path).changed(["model.anchor_sizes=[[12],[24],[48]]"])
    taxonomy = SCHEME.keep(SCHEME.index(code) for code in CODES)
    torch.manual_seed(0)
    weights = CellDetector(recipe.model, len(taxonomy), pretrained=False).state_dict()
    return Checkpoint(weights, recipe.model, taxonomy, score_threshold=0.99)


def retrain_at(home: Path, *arguments: Any, stdin: str | None = None) -> Result:
    """`marrowscope retrain` on the CPU, as if typed."""
    app = typer.Typer(cls=FrontDoor)
    app.command()(retrain)
    app.command()(_other)
    command = ["retrain", "--home", str(home), "--device", "cpu", "--threads", "1", *map(str, arguments)]
    return CliRunner().invoke(app, command, input=stdin)


def _other() -> None:
    """Typer gives a program of one command no names."""


def work_of(home: Path) -> Path:
    """The folder of the only retraining there."""
    (folder,) = (home / "exports").glob("retrain-*")
    return folder
