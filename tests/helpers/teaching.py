"""A station with reviewed cells of two colours, and a model with a reader that knows one of them."""

from pathlib import Path

import torch

from helpers.retraining import CODES, RECIPE, SCHEME, five_patients, reviewed_station
from helpers.runtimes import READER as READER_RECIPE
from marrowscope.model.checkpoint import READER, Checkpoint, save_checkpoint
from marrowscope.model.config import InputScale
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader
from marrowscope.training.recipe import load_recipe

TAUGHT = "segmented eosinophil"


def station_to_teach(home: Path) -> None:
    """Its detector is untrained and finds nothing; its reader is, too, but sees colours."""
    home.mkdir(parents=True)
    reviewed_station(home, five_patients())
    (home / "recipe.toml").write_text(RECIPE)
    recipe = load_recipe(home / "recipe.toml").changed(["model.anchor_sizes=[[12],[24],[48]]"])
    torch.manual_seed(0)
    weights = CellDetector(recipe.model, 1, pretrained=False).state_dict()
    reader = CellReader(READER_RECIPE, 1, pretrained=False).state_dict()
    model = Checkpoint(
        weights | {READER + name: value for name, value in reader.items()},
        recipe.model,
        SCHEME.keep([SCHEME.index(CODES[0])]),
        score_threshold=0.99,
        scale=InputScale(factor=1.0, cell_px=24.0),
        reader=READER_RECIPE,
    )
    save_checkpoint(home / "models" / "first", model)
