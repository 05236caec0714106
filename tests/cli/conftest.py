"""A small drawn folder, an untrained checkpoint, and the command line in this process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.data.voc import read_voc, write_voc_image
from marrowscope.smear.field import draw_field

Command = Callable[..., Result]

CLASSES = ("lymphoblast", "lymphocyte", "segmented neutrophil", "myeloblast", "orthochromatic erythroblast")
TINY = """
base = "light"
epochs = 1
workers = 0
more_than = 6
warmup_iterations = 1
[model]
trunk = "mobilenetv3_small_050"
trunk_weights = "none"
trunk_norm = "batch"
frozen_stride = 0
fpn_channels = 16
head_width = 32
input_size = [320, 240]
pre_nms_proposals = 50
training_proposals = 50
detection_proposals = 50
"""


@pytest.fixture(scope="session")
def command() -> Command:
    """Run `marrowscope` with these arguments in this process."""
    from marrowscope.cli.app import app

    def run(*arguments: Any, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)

    return run


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOC folder of six drawn fields of 320 x 240, without lists. Read only."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(6):
        image, truth = draw_field(seed, width=320, height=240)
        write_voc_image(folder, image, truth, specimen=f"slide_{seed % 3}")
    return folder


@pytest.fixture
def fields(drawn: Path, tmp_path: Path) -> Path:
    """The same folder, to be changed."""
    return Path(shutil.copytree(drawn, tmp_path / "fields"))


@pytest.fixture(scope="session")
def labelled(drawn: Path) -> tuple[LabelledField, ...]:
    """Its fields."""
    return read_voc(drawn).fields


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that trains in seconds and learns nothing."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained detector of a few classes."""
    import torch

    from marrowscope.model.checkpoint import Checkpoint, save_checkpoint
    from marrowscope.model.rcnn import CellDetector
    from marrowscope.training.recipe import load_recipe

    folder = tmp_path_factory.mktemp("model")
    (folder / "tiny.toml").write_text(TINY)
    recipe = load_recipe(folder / "tiny.toml").changed(["model.anchor_sizes=[[24],[36],[48]]"])
    whole = load_taxonomy("liu2022")
    # Few classes make quick pictures.
    taxonomy = whole.keep(whole.index(name) for name in CLASSES)
    torch.manual_seed(0)
    model = CellDetector(recipe.model, len(taxonomy), pretrained=False)
    made = Checkpoint(
        model.state_dict(),
        recipe.model,
        taxonomy,
        recipe=recipe.model_dump(mode="json"),
        data_hash="ab" * 32,
        epoch=3,
        score_threshold=0.009,
        metrics={"val_ap50": 0.25, "val_f1": 0.5},
    )
    save_checkpoint(folder / "best", made)
    return folder / "best"
