"""The paper's filters: fields without labels, labels of no class, classes too rare to learn.

The paper removes samples without labels and labels of no category, and keeps the classes with more than 100 cells
(Methods, pre-processing). It does not say of what: its Table 1 has classes with 52 and 55 cells in the test set, while
the smallest training count is 168. The count is read here as that of training and test together, and `more_than=100`
as 101 at least.

Every filter returns a `Cleaned` that says what it dropped.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.cells.taxonomy import Taxonomy, spelling_key
from marrowscope.data.labelled import LabelledField, labels_of
from marrowscope.errors import BadTaxonomy


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Fields that stay, and what went: names of whole fields, and cells by label."""

    fields: tuple[LabelledField, ...]
    dropped_fields: tuple[str, ...]
    dropped_cells: Mapping[str, int]

    def __str__(self) -> str:
        cells = ", ".join(f"{n} {label}" for label, n in sorted(self.dropped_cells.items())) or "no cells"
        return f"{len(self.fields)} fields kept; dropped {len(self.dropped_fields)} fields and {cells}"


def drop_unlabelled(fields: Iterable[LabelledField]) -> Cleaned:
    """Leave out fields without a single labelled cell."""
    fields = tuple(fields)
    kept = tuple(f for f in fields if len(f))
    return Cleaned(kept, tuple(f.name for f in fields if not len(f)), {})


def drop_unknown(fields: Iterable[LabelledField], taxonomy: Taxonomy) -> Cleaned:
    """Leave out cells whose label the taxonomy does not know, and fields that are left without a cell."""
    return _keep_labels(tuple(fields), lambda label: taxonomy.find(label) is not None)


def keep_frequent_classes(
    fields: Iterable[LabelledField], *, more_than: int = 100, taxonomy: Taxonomy | None = None
) -> Cleaned:
    """Leave out the classes with no more than `more_than` cells, and fields that are left without a cell.

    Give training and test fields together, before the split. With a taxonomy, labels that name one class are counted
    as one, and unknown labels go; without one each spelling that differs by more than case counts for itself.
    `infer_taxonomy(cleaned.fields)`, or `taxonomy.keep`, gives the classes that stay.
    """
    fields = tuple(fields)
    scheme = taxonomy or (infer_taxonomy(fields) if labels_of(fields) else None)
    classes = {label: None if scheme is None else scheme.find(label) for label in labels_of(fields)}
    counts: Counter[int | None] = Counter()
    for label, count in labels_of(fields).items():
        counts[classes[label]] += count
    frequent = {label for label, k in classes.items() if k is not None and counts[k] > more_than}
    return _keep_labels(fields, frequent.__contains__)


def infer_taxonomy(fields: Iterable[LabelledField], *, name: str = "as labelled") -> Taxonomy:
    """The labels themselves as a scheme, rarest first as in the paper's Table 1, ties by name.

    Spellings that differ only in case, '_' or '-' are one class, called by the commonest of them.
    BadTaxonomy where there are no labels.
    """
    fields = tuple(fields)
    spellings: dict[str, Counter[str]] = {}
    for label, count in labels_of(fields).items():
        spellings.setdefault(spelling_key(label), Counter())[label] += count
    if not spellings:
        raise BadTaxonomy(f"no labelled cell in {len(fields)} fields, so no classes. Label some, or give a scheme.")
    classes = sorted(
        (sum(counts.values()), min(counts, key=lambda s: (-counts[s], s))) for counts in spellings.values()
    )
    return Taxonomy.from_labels([label for _, label in classes], name)


def _keep_labels(fields: Sequence[LabelledField], wanted: Callable[[str], bool]) -> Cleaned:
    kept, dropped_fields, dropped_cells = [], [], Counter[str]()
    for field in fields:
        keep = np.asarray([wanted(label) for label in field.labels], np.bool_)
        dropped_cells.update(label for label, stays in zip(field.labels, keep, strict=True) if not stays)
        if keep.any():
            kept.append(field if keep.all() else field.only(keep))
        else:
            dropped_fields.append(field.name)
    return Cleaned(tuple(kept), tuple(dropped_fields), dict(dropped_cells))
