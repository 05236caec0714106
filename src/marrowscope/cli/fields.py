"""A labelled folder becomes training and validation fields with their classes, and everything left out is told.

The folder's own lists decide what is trained on; where it has no list for validation, a part is held out, and the
choice is written to RUN/split.json, so that `evaluate` finds the same fields again.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marrowscope.cells.files import write_atomically
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.data.clean import drop_unknown, drop_unlabelled, infer_taxonomy, keep_frequent_classes
from marrowscope.data.convert import read_labels, splits_of
from marrowscope.data.labelled import LabelledField, labels_of
from marrowscope.data.problems import Problem, Severity
from marrowscope.data.split import by_field, by_specimen
from marrowscope.errors import BadInput

SPLIT = "split.json"
HELD_OUT = 0.2
ALL = "all"
Grouping = Literal["field", "specimen"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run learns from. split: how training and validation came apart. notes: what was left out, and why."""

    training: tuple[LabelledField, ...]
    validation: tuple[LabelledField, ...]
    taxonomy: Taxonomy
    split: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def require_folder(path: Path) -> None:
    """BadInput for data that is not there."""
    if not path.exists():
        raise BadInput(f"{path}: no such folder. Give a folder of labelled fields (VOC, COCO or YOLO).")


def read_for_training(
    folder: Path,
    *,
    train_split: str = "train",
    validation_split: str = "val",
    grouping: Grouping = "field",
    scheme: str | None = None,
    more_than: int = 0,
    seed: int = 0,
    skip_bad: bool = True,
) -> TrainingData:
    """Read, split and clean (the paper's filters). BadInput where nothing is left to train on."""
    require_folder(folder)
    training, validation, split, problems = _parts(
        folder, train_split, validation_split, grouping, seed=seed, skip_bad=skip_bad
    )
    notes: list[str] = []
    training = _labelled(training, "training", notes)
    validation = _labelled(validation, "validation", notes)
    if not training:
        raise BadInput(f"{folder}: no labelled cell to train on. Check the folder with `marrowscope data check`.")
    taxonomy = _taxonomy(folder, training, validation, scheme, more_than)
    notes += _cells_left_out([*training, *validation], taxonomy, more_than)
    return TrainingData(
        drop_unknown(training, taxonomy).fields,
        drop_unknown(validation, taxonomy).fields,
        taxonomy,
        split,
        _errors(problems),
        tuple(notes),
    )


def _parts(
    folder: Path, train_split: str, validation_split: str, grouping: Grouping, *, seed: int, skip_bad: bool
) -> tuple[tuple[LabelledField, ...], tuple[LabelledField, ...], str, list[Problem]]:
    offered = splits_of(folder)
    if train_split in offered:
        read = read_labels(folder, split=train_split, skip_bad=skip_bad)
        fields, problems = read.fields, list(read.problems)
    elif offered and (train_split != "train" or validation_split in offered):
        raise BadInput(
            f"{folder}: has no split '{train_split}'. Splits here: {', '.join(offered)}. Pass --train-split."
        )
    else:
        read = read_labels(folder, skip_bad=skip_bad)
        # What the folder keeps for another purpose, a test say, is not to be learned.
        kept_apart = {f.image_path for s in offered for f in read_labels(folder, split=s, skip_bad=skip_bad).fields}
        fields = tuple(f for f in read.fields if f.image_path not in kept_apart)
        problems = list(read.problems)
    if validation_split in offered:
        held_out = read_labels(folder, split=validation_split, skip_bad=skip_bad)
        problems += held_out.problems
        return fields, held_out.fields, "given", problems
    if validation_split != "val":
        raise BadInput(f"{folder}: has no split '{validation_split}'. Splits here: {', '.join(offered) or 'none'}.")
    usable = drop_unlabelled(fields).fields
    if len(usable) < 2:
        raise BadInput(f"{folder}: {len(usable)} labelled fields cannot be split into training and validation.")
    divide = by_specimen if grouping == "specimen" else by_field
    training, validation = divide(usable, held_out=HELD_OUT, seed=seed)
    return training, validation, grouping, problems


def _labelled(fields: Sequence[LabelledField], which: str, notes: list[str]) -> tuple[LabelledField, ...]:
    cleaned = drop_unlabelled(fields)
    if cleaned.dropped_fields:
        notes.append(f"left out {len(cleaned.dropped_fields)} {which} fields without a labelled cell")
    return cleaned.fields


def _taxonomy(
    folder: Path,
    training: Sequence[LabelledField],
    validation: Sequence[LabelledField],
    scheme: str | None,
    more_than: int,
) -> Taxonomy:
    """The scheme, or the labels, of the classes with more than `more_than` cells of which some are in training."""
    given = load_taxonomy(scheme) if scheme else None
    everything = [*training, *validation]
    kept = keep_frequent_classes(everything, more_than=more_than, taxonomy=given).fields
    learnable = {f.image_path for f in training}
    frequent = [f for f in kept if f.image_path in learnable]
    if not frequent:
        known = "known to the scheme " if given else ""
        most = max(labels_of(everything).values(), default=0)
        raise BadInput(
            f"{folder}: no class {known}has more than {more_than} cells (the commonest label has {most}). "
            "Label more, or pass --set more_than=0."
        )
    if given is None:
        return infer_taxonomy(frequent)
    return given.keep(found for label in labels_of(frequent) if (found := given.find(label)) is not None)


def _cells_left_out(fields: Sequence[LabelledField], taxonomy: Taxonomy, more_than: int) -> list[str]:
    cleaned = drop_unknown(fields, taxonomy)
    if not cleaned.dropped_cells:
        return []
    cells = ", ".join(f"{n} {label}" for label, n in Counter(cleaned.dropped_cells).most_common())
    why = f"classes with no more than {more_than} cells, of no class, or seen in validation alone"
    return [f"left out {cells} ({why})"]


def _errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(p for p in problems if p.severity is Severity.ERROR))


def write_split(run: Path, data: TrainingData, *, seed: int) -> None:
    """Write which field was on which side."""
    sides = {"train": data.training, "val": data.validation}
    names = {side: sorted(f.name for f in fields) for side, fields in sides.items()}
    content = {"by": data.split, "seed": seed, **names}
    write_atomically(run / SPLIT, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_for_evaluation(
    folder: Path, split: str, *, run: Path | None = None, skip_bad: bool = True
) -> tuple[tuple[LabelledField, ...], tuple[Problem, ...]]:
    """The fields of one split (`all`: of the folder), with the problems met.

    run: folder of the run that made the checkpoint; what it held out itself is its split `val`.
    """
    require_folder(folder)
    if split == ALL:
        read = read_labels(folder, skip_bad=skip_bad)
        return read.fields, _errors(read.problems)
    offered = splits_of(folder)
    if split not in offered and (names := _held_out_by(run, split)) is not None:
        read = read_labels(folder, skip_bad=skip_bad)
        fields = tuple(f for f in read.fields if f.name in names)
        if len(fields) < len(names):
            raise BadInput(
                f"{folder}: holds {len(fields)} of the {len(names)} fields that {run}/{SPLIT} calls '{split}'. "
                "Give the folder that was trained on, or --split all."
            )
        return fields, _errors(read.problems)
    if split not in offered:
        raise BadInput(
            f"{folder}: has no split '{split}'. Splits here: {', '.join(offered) or 'none'}. "
            "Pass --split NAME, or --split all for every field."
        )
    read = read_labels(folder, split=split, skip_bad=skip_bad)
    return read.fields, _errors(read.problems)


def _held_out_by(run: Path | None, split: str) -> set[str] | None:
    if run is None or not (run / SPLIT).is_file():
        return None
    try:
        content = json.loads((run / SPLIT).read_text(encoding="utf-8"))
        names = content.get(split)
        return None if names is None else {str(name) for name in names}
    except (OSError, ValueError, AttributeError, TypeError):
        raise BadInput(f"{run / SPLIT}: is not readable. Pass --split all, or train again.") from None
