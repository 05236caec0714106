"""What a candidate learns from: the fields of a retraining, split for validation, with its classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from marrowscope.cli.terminal import Terminal

if TYPE_CHECKING:
    from marrowscope.cells.taxonomy import Taxonomy
    from marrowscope.data.labelled import LabelledField
    from marrowscope.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class RetrainingData:
    """What a candidate learns from. notes: what a person should know of it."""

    training: tuple["LabelledField", ...]
    validation: tuple["LabelledField", ...]
    taxonomy: "Taxonomy"
    notes: tuple[str, ...]


def training_data(
    folder: Path, extra: Sequence[str], recipe: "Recipe", scheme: "Taxonomy", *, known: "Taxonomy | None" = None
) -> RetrainingData:
    """The exported fields without the fixed set, a fifth of their specimens for validation, and the extra folders.

    known: classes of the model that training begins from; what it knows stays, though no field shows it this time.
    """
    from marrowscope.cli.fields import HELD_OUT
    from marrowscope.data.clean import drop_unknown, keep_frequent_classes
    from marrowscope.data.convert import read_labels, splits_of
    from marrowscope.data.split import by_field, by_specimen
    from marrowscope.data.voc import read_voc
    from marrowscope.errors import BadInput
    from marrowscope.station.desk import translation
    from marrowscope.station.retraining import TRAIN

    own = read_voc(folder, split=TRAIN).fields
    if len(own) < 2:
        raise BadInput(
            f"{len(own)} reviewed fields are free to train on: the others belong to the fixed set. Review more cases."
        )
    several = len({field.specimen for field in own}) > 1
    training, validation = (by_specimen if several else by_field)(own, held_out=HELD_OUT, seed=recipe.seed)
    notes = [] if several else ["one specimen alone: validation fields are of the same patient, which flatters"]
    for place in extra:
        offered = splits_of(Path(place))
        more = read_labels(Path(place), split="train" if "train" in offered else None, skip_bad=True).fields
        notes.append(f"{len(more)} fields of {place} are trained on as well")
        training = (*training, *more)
    kept = keep_frequent_classes([*training, *validation], more_than=recipe.more_than, taxonomy=scheme).fields
    frequent = {scheme.index(label) for field in kept for label in field.labels}
    taught = {
        scheme.index(label)
        for field in training
        for label, difficult in zip(field.labels, field.difficult, strict=True)
        if not difficult and scheme.find(label) is not None
    }
    classes = taught & frequent
    if not classes:
        raise BadInput(
            f"no class has more than {recipe.more_than} cells to learn from. Review more, or --set more_than=0."
        )
    if known is not None:
        classes |= {scheme.index(code) for code in translation(known, scheme)}
    # The bucket comes along where it marks cells to be passed over; classes that are left out then go into it.
    if scheme.other is not None and any(field.difficult.any() for field in [*training, *validation]):
        classes.add(scheme.index(scheme.other))
    taxonomy = scheme.keep(classes)
    return RetrainingData(
        drop_unknown(training, taxonomy).fields, drop_unknown(validation, taxonomy).fields, taxonomy, tuple(notes)
    )


def tell_training(terminal: Terminal, data: RetrainingData) -> None:
    """Classes, cells and fields of both sides."""
    from marrowscope.data.summary import summarise

    for note in data.notes:
        terminal.say(note, style="yellow")
    summary = summarise({"train": data.training, "val": data.validation}, data.taxonomy)
    rows: list[tuple[object, ...]] = [(r.name, r.lineage.value, *r.cells) for r in summary.rows]
    rows += [("cells", "", *summary.cells), ("fields", "", *summary.fields)]
    terminal.table(("class", "lineage", "train", "val"), rows, title=f"{len(data.taxonomy)} classes")
