"""Begin a run from a trained detector instead of from ImageNet: what it knows of cells is kept, classes may change.

A lab reviews tens of fields, not thousands: learned from nothing, its candidate would know little but those. So the run
is begun where another ended: its detector, with the rows of its classes carried over by class code and fresh rows for
classes that are new. The run itself is then an ordinary one, taken up at its first step (`state.RunState`). Calibration
and threshold, fitted to the old detector, are not carried over: the run calibrates its own. A reader looks at crops and
not at the detector, so it may go on learning once the detector has (`with_reader_of`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.errors import BadCheckpoint
from marrowscope.model.checkpoint import READER, Checkpoint
from marrowscope.model.config import ReaderRecipe
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader
from marrowscope.training.reading import ReadingRecipe
from marrowscope.training.recipe import Recipe
from marrowscope.training.state import STATE, RunState, identity_of, random_state, save_state

GENTLY = 0.2
"""Times the recipe's learning rate: at the whole of it a few fields make the detector forget what they do not show."""
READING_EPOCHS = 8
"""At most: a third of what a reader takes that begins with ImageNet."""
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
    state = RunState(
        model=weights,
        optimiser={},
        random=random_state(),
        epoch=0,
        position=0,
        step=0,
        sums={},
        best=-1.0,
        identity=identity_of(recipe, fields, taxonomy, processes=1),
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
        carried[name] = _rows(name, old, value, start.learned, taxonomy) if per_class else old
        if carried[name].shape != value.shape:
            raise BadCheckpoint(f"{name}: {tuple(old.shape)} does not fit the detector. Fetch the checkpoint anew.")
    return carried


def with_reader_of(start: Checkpoint, detector: Checkpoint, *, seed: int) -> Checkpoint:
    """The detector with the reader that `start` has, its classes carried over by code; without one, as it is.

    seed: for the rows of classes that are new. BadCheckpoint where the weights do not belong to that reader.
    """
    earlier = start.build_reader()
    if earlier is None:
        return detector
    # Its weights are here, and a station may have no network to fetch ImageNet's from.
    recipe = earlier.recipe.model_copy(update={"trunk_weights": "none"})
    torch.manual_seed(seed)
    fresh = CellReader(recipe, len(detector.taxonomy), pretrained=False).state_dict()
    weights = dict(detector.weights)
    for name, old in earlier.state_dict().items():
        per_class = name.startswith("classify.")
        weights[READER + name] = _rows(name, old, fresh[name], start.learned, detector.taxonomy) if per_class else old
    return replace(detector, weights=weights, reader=recipe)


def gentle_reading(reader: ReaderRecipe, recipe: Recipe, fields: Sequence[LabelledField]) -> ReadingRecipe:
    """How a reader goes on learning on a few fields, beside a detector that did by `recipe`."""
    usual = ReadingRecipe()
    epochs = min(recipe.epochs, READING_EPOCHS)
    cells = sum(int((~field.difficult).sum()) for field in fields)
    steps = max(1, cells // usual.batch_size) * epochs
    return ReadingRecipe(
        reader=reader,
        epochs=epochs,
        learning_rate=usual.learning_rate * GENTLY,
        # The mean spans a quarter of the run: in a short one the usual mean would still be what it began with.
        averaged=max(0.0, min(usual.averaged, 1 - 4 / steps)),
        seed=recipe.seed,
    )


def _rows(name: str, old: Tensor, fresh: Tensor, known: Taxonomy, wanted: Taxonomy) -> Tensor:
    """Rows of each class by its code; of a class that is new the fresh row, at the level of the others."""
    each = 4 if name.startswith(_LOCATE) else 1
    background = len(old) // each - len(known)
    made = fresh.clone()
    # A ranked detector's scores have a level of their own: a new class would else drown below it.
    if name.endswith("classify.bias"):
        made[background:] = old[background:].mean()
    made[: background * each] = old[: background * each]
    index = {cell.code: place for place, cell in enumerate(known)}
    for place, cell in enumerate(wanted):
        if (source := index.get(cell.code)) is not None:
            to, at = (place + background) * each, (source + background) * each
            made[to : to + each] = old[at : at + each]
    return made
