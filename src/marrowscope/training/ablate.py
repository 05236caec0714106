"""Which part of the method earns what: columns of recipes, trained alike, evaluated alike, tabled side by side.

The paper's three columns are laid over one base recipe, so that nothing but the part in question differs:

    baseline       softmax, smooth L1, sampling; flips left and right alone       (its column "Faster R-CNN")
    ranksort       lambda 1, the same flips                                       (Rank & Sort as published)
    paper          lambda .5 and the five augmentations
    lambda=X       lambda X, the same flips: what the sorting term earns
    NAME:K=V,K=V   the base recipe with these values, for any question of one's own
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.cells.files import write_atomically
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.labelled import LabelledField, data_hash
from marrowscope.detect.detector import Detector
from marrowscope.errors import BadInput, BadRecipe
from marrowscope.evaluation.metrics import Evaluation, evaluate
from marrowscope.evaluation.pairs import save_pairs
from marrowscope.evaluation.report import read_report, write_comparison, write_report
from marrowscope.training.loop import StepReport, train
from marrowscope.training.recipe import Recipe
from marrowscope.training.state import STATE
from marrowscope.training.validation import detect_labelled

FLIPS = (
    "augmentation.horizontal_flip=0.5",
    "augmentation.vertical_flip=0",
    "augmentation.rotation=0",
    "augmentation.translation=0",
    "augmentation.scaling=0",
    "augmentation.noise=0",
    "augmentation.colour=0",
)
FIVE = (
    "augmentation.horizontal_flip=0.5",
    "augmentation.vertical_flip=0.5",
    "augmentation.rotation=0.5",
    "augmentation.translation=0.5",
    "augmentation.noise=0.5",
)
RANKED = ("model.loss=ranked",)
OVERLAYS = {
    # Softmax sorts nothing; lambda 1 keeps the recipe equal to the shipped one.
    "baseline": ("model.loss=softmax", "model.sort_weight=1.0", *FLIPS),
    "ranksort": (*RANKED, "model.sort_weight=1.0", *FLIPS),
    "paper": (*RANKED, "model.sort_weight=0.5", *FIVE),
}
PAPER_COLUMNS = tuple(OVERLAYS)
_LAMBDA = "lambda="

OpenDetector = Callable[[Path], tuple[Detector, float]]
"""Checkpoint folder -> detector and its score threshold; handed in, as runtimes are chosen above this floor."""


@dataclass(frozen=True)
class Column:
    """One column of the table: its name and the recipe behind it."""

    name: str
    recipe: Recipe

    @property
    def folder(self) -> str:
        """The name as a folder."""
        return re.sub(r"[^\w.=-]+", "_", self.name).strip(".") or "column"


def parse_columns(text: str) -> list[str]:
    """`baseline,lambda=0.25,wide:model.head_width=1024,epochs=4` -> its three columns."""
    columns: list[str] = []
    for word in (w.strip() for w in text.split(",")):
        # A bare key=value goes on with the column before it, if that has values of its own.
        if word and "=" in word and ":" not in word and not word.startswith(_LAMBDA) and columns and ":" in columns[-1]:
            columns[-1] += f",{word}"
        elif word:
            columns.append(word)
    return columns


def columns(names: Sequence[str], base: Recipe, *, sort_weights: Sequence[float] = ()) -> list[Column]:
    """The columns by name (see the module), then one `lambda=X` for each sort weight, all laid over `base`.

    A column whose recipe is that of an earlier one is left out: `lambda=1` is `ranksort`. BadRecipe for an unknown
    name or value, and for one name given to two recipes.
    """
    found: list[Column] = []
    for name in [*names, *(f"{_LAMBDA}{weight:g}" for weight in sort_weights)]:
        column = _column(name, base)
        twins = [c for c in found if _nameless(c.recipe) == _nameless(column.recipe)]
        if any(c.folder.casefold() == column.folder.casefold() for c in found) and not twins:
            raise BadRecipe(f"column '{column.name}' is there twice, with different values. Rename one.")
        if not twins:
            found.append(column)
    if not found:
        raise BadRecipe(f"no column to train. Name some: {', '.join(OVERLAYS)}, lambda=0.25, name:key=value.")
    return found


def _column(spec: str, base: Recipe) -> Column:
    name, sign, values = spec.partition(":")
    if sign:
        settings = tuple(value.strip() for value in values.split(",") if value.strip())
    elif name.startswith(_LAMBDA):
        settings = (*RANKED, f"model.sort_weight={name.removeprefix(_LAMBDA)}", *FLIPS)
    elif name in OVERLAYS:
        settings = OVERLAYS[name]
    else:
        raise BadRecipe(
            f"column '{spec}' is not known. Known: {', '.join(OVERLAYS)}, lambda=0.25, name:key=value,key=value."
        )
    return Column(name, base.changed(settings).model_copy(update={"name": name}))


def _nameless(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(exclude={"name"})


def ablate(
    chosen: Sequence[Column],
    fields: Sequence[LabelledField],
    validation: Sequence[LabelledField],
    taxonomy: Taxonomy,
    out: Path,
    *,
    open_detector: OpenDetector,
    resume: bool = False,
    device: str | None = None,
    bootstrap: int = 1000,
    on_column: Callable[[Column, int], None] = lambda column, number: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None,
) -> dict[str, Evaluation]:
    """Train and evaluate every column in its own folder below `out`, then write the comparison there.

    Each column's best checkpoint (by validation AP@50) is evaluated on the validation fields at its own threshold.
    resume: columns that are finished are read, one that was stopped goes on. BadInput where a column is there and
    `resume` is false; BadRecipe where it was of another recipe or other data.
    """
    if not validation:
        raise BadInput("no validation field to compare the columns on. Give a split with both.")
    out = Path(out)
    # Refuse before the first column has cost an hour.
    identities = {column.name: _identity(column, fields, validation, taxonomy) for column in chosen}
    for column in chosen:
        _check_begun(out / column.folder, identities[column.name], resume=resume)
    results: dict[str, Evaluation] = {}
    for number, column in enumerate(chosen, 1):
        folder = out / column.folder
        on_column(column, number)
        if not (folder / "evaluation" / "metrics.json").is_file():
            write_atomically(folder / "column.json", json.dumps(identities[column.name], indent=1) + "\n")
            going_on = (folder / STATE).is_file()
            train(
                fields,
                validation,
                taxonomy,
                column.recipe,
                folder,
                resume=going_on,
                device=device,
                on_step=on_step,
                on_epoch=on_epoch,
            )
            detector, threshold = open_detector(folder / "best")
            pairs = detect_labelled(detector, validation)
            save_pairs(folder / "evaluation" / "pairs.npz", pairs)
            evaluation = evaluate(pairs, threshold=threshold, bootstrap=bootstrap)
            write_report(folder / "evaluation", evaluation, run=column.name)
        results[column.name] = read_report(folder / "evaluation")
    write_comparison(out, results)
    return results


def _identity(
    column: Column, fields: Sequence[LabelledField], validation: Sequence[LabelledField], taxonomy: Taxonomy
) -> dict[str, Any]:
    """What must be the same for a column to be taken up again."""
    recipe = json.loads(column.recipe.model_dump_json(exclude={"workers", "cache_gib", "save_minutes"}))
    hashes = {"training": data_hash(fields), "validation": data_hash(validation)}
    return {"recipe": recipe, "data": hashes, "classes": list(taxonomy.names)}


def _check_begun(folder: Path, identity: dict[str, Any], *, resume: bool) -> None:
    path = folder / "column.json"
    if not path.is_file():
        return
    if not resume:
        raise BadInput(f"{folder}: holds a column already. Pass --resume to keep it, or choose another folder.")
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(f"{path}: not readable ({e}). Remove the column's folder to train it again.") from None
    for key, now in identity.items():
        if begun.get(key) != now:
            raise BadRecipe(f"{folder}: {key} is not that of the column begun there. Choose another folder.")
