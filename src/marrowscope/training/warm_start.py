"""Begin a run from a trained detector instead of from ImageNet: what it knows of cells is kept, classes may change.

A lab reviews tens of fields, not thousands: learned from nothing, its candidate would know little but those. So the run
is begun where another ended: its detector, with the rows of its classes carried over by class code and fresh rows for
classes that are new. The run itself is then an ordinary one, taken up at its first step (`state.RunState`). What was
fitted to the old detector (reader, calibration, threshold) is not carried over: the run calibrates its own.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.labelled import LabelledField, data_hash
from marrowscope.errors import BadCheckpoint
from marrowscope.model.checkpoint import READER, Checkpoint
from marrowscope.model.rcnn import CellDetector
from marrowscope.training.recipe import Recipe
from marrowscope.training.state import STATE, RunState, random_state, save_state

GENTLY = 0.2
"""Times the recipe's learning rate: at the whole of it a few fields make the detector forget what they do not show."""
_CLASSIFY = "heads.box_predictor.classify."
_LOCATE = "heads.box_predictor.locate."


def recipe_from(start: Checkpoint, recipe: Recipe) -> Recipe:
    """The recipe with the detector of the checkpoint, which cannot change its parts, and a gentler learning rate."""
    detector = start.model.model_copy(update={"trunk_weights": "none"})
    return recipe.model_copy(update={"model": detector, "learning_rate": recipe.learning_rate * GENTLY})


def begin_from(
    start: Checkpoint, fields: Sequence[LabelledField], taxonomy: Taxonomy, recipe: Recipe, out: Path
) -> Recipe:
    """Leave in `out` the state of a run before its first step; `loop.train(..., resume=True)` then goes on from there.

    Returns the recipe to give to it. A run that was begun there already is left alone. BadCheckpoint where the weights
    do not belong to the detector described beside them.
    """
    recipe = recipe_from(start, recipe)
    if (out / STATE).exists():
        return recipe
    torch.manual_seed(recipe.seed)
    weights = carried_over(start, taxonomy, recipe)
    out.mkdir(parents=True, exist_ok=True)
    identity = {
        # As the loop has it: it would refuse a state that is not of this very run.
        "recipe": json.loads(recipe.model_dump_json(exclude={"workers", "cache_gib", "save_minutes"})),
        "data_hash": data_hash(fields),
        "classes": list(taxonomy.names),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }
    state = RunState(
        model=weights,
        optimiser={},
        random=random_state(),
        epoch=0,
        position=0,
        step=0,
        sums={},
        best=-1.0,
        identity=identity,
    )
    save_state(out, state)
    return recipe


def carried_over(start: Checkpoint, taxonomy: Taxonomy, recipe: Recipe) -> dict[str, Tensor]:
    """The weights of a detector for these classes, with all that the checkpoint knows of them."""
    fresh = CellDetector(recipe.model, len(taxonomy), pretrained=False).state_dict()
    if set(fresh) != {name for name in start.weights if not name.startswith(READER)}:
        raise BadCheckpoint("the weights to start from do not fit the detector described beside them. Fetch it anew.")
    carried: dict[str, Tensor] = {}
    for name, value in fresh.items():
        old = start.weights[name]
        old = old.float() if old.is_floating_point() else old
        per_class = name.startswith(_CLASSIFY) or (
            name.startswith(_LOCATE) and recipe.model.box_regression == "per class"
        )
        carried[name] = _rows(name, old, value, start.taxonomy, taxonomy) if per_class else old
        if carried[name].shape != value.shape:
            raise BadCheckpoint(f"{name}: {tuple(old.shape)} does not fit the detector. Fetch the checkpoint anew.")
    return carried


def _rows(name: str, old: Tensor, fresh: Tensor, known: Taxonomy, wanted: Taxonomy) -> Tensor:
    """Rows of each class by its code; of a class that is new the fresh row, at the level of the others."""
    each = 4 if name.startswith(_LOCATE) else 1
    background = len(old) // each - len(known)
    made = fresh.clone()
    # A ranked detector's scores have a level of their own: a new class would else drown below it.
    if name == f"{_CLASSIFY}bias":
        made[background:] = old[background:].mean()
    made[: background * each] = old[: background * each]
    index = {cell.code: place for place, cell in enumerate(known)}
    for place, cell in enumerate(wanted):
        if (source := index.get(cell.code)) is not None:
            to, at = (place + background) * each, (source + background) * each
            made[to : to + each] = old[at : at + each]
    return made
