"""A candidate beside the serving model on fields that neither has learned from, and a verdict with its reasons.

Promote where all of this holds, else keep:

- the fixed set is large enough to tell (`MIN_FIELDS`, `MIN_CELLS`);
- macro F1 is higher, and the interval of the difference does not reach further below zero than `MARGIN`;
- macro AP@50 does not fall by more than `MARGIN` beyond doubt;
- no class (of `MIN_CLASS` cells or more) is worse beyond its interval, and none of several cells is lost altogether.

Twenty classes at 95 % will now and then hold back a model that is as good: that costs a little training, while a worse
model costs a diagnosis. Both models are translated into the scheme in force, so a candidate that knows more classes may
be set beside one that knows fewer. Detections on cells that nobody could name count neither way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.images import read_image
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.detector import SAME_CELL, Detector, one_name_per_cell
from marrowscope.errors import BadInput
from marrowscope.evaluation.differences import Difference, Differences, differences
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.station.desk import translation

MARGIN = 0.01
MIN_FIELDS = 5
MIN_CELLS = 100
MIN_CLASS = 10
SEVERAL = 2


class Verdict(StrEnum):
    """What to do with the candidate."""

    PROMOTE = "promote"
    KEEP = "keep"


@dataclass(frozen=True, eq=False)
class Contestant:
    """A model to be compared. score: from which its detections count."""

    name: str
    detector: Detector
    score: float


@dataclass(frozen=True)
class Comparison:
    """How the candidate did. serving: None where no model serves; `numbers` then sets the candidate beside nothing."""

    serving: str | None
    candidate: str
    numbers: Differences
    verdict: Verdict
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "serving": self.serving,
            "candidate": self.candidate,
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            **self.numbers.to_dict(),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text: name, cells, F1 of both and the difference, AP@50 of both and the difference."""
        numbers = self.numbers
        rows: list[tuple[str, ...]] = [
            (row.name, str(row.truth), *_cells(row.f1), *_cells(row.ap50))
            for row in sorted(numbers.classes, key=lambda row: -row.truth)
        ]
        rows.append(("Mean", str(numbers.cells), *_cells(numbers.macro_f1), *_cells(numbers.macro_ap50)))
        return rows

    def markdown(self) -> str:
        """The comparison as a page."""
        head = (
            "class",
            "cells",
            *(f"{m}, {who}" for m in ("F1", "AP@50") for who in ("serving", "candidate", "change")),
        )
        lines = [
            f"# {self.candidate} beside {self.serving or 'no serving model'}",
            "",
            f"{self.numbers.fields} fields of the fixed set, {self.numbers.cells} cells. Changes with 95 % intervals, "
            "paired over fields.",
            "",
            f"Verdict: **{self.verdict.value}**",
            "",
            *(f"- {reason}" for reason in self.reasons),
            "",
            f"| {' | '.join(head)} |",
            f"|---{'|---:' * (len(head) - 1)}|",
            *(f"| {' | '.join(row)} |" for row in self.rows()),
        ]
        return "\n".join(lines) + "\n"


COLUMNS = ("class", "cells", "F1 was", "is", "change", "AP@50 was", "is", "change")
"""Heads of `Comparison.rows`: what the serving model reached, the candidate, and the difference with its interval."""


def compare(
    serving: Contestant | None,
    candidate: Contestant,
    fixed: Sequence[LabelledField],
    scheme: Taxonomy,
    *,
    draws: int = 1000,
    seed: int = 0,
    on_field: Callable[[], None] = lambda: None,
) -> Comparison:
    """Run both over the fixed fields and judge. on_field: called after every field of every model.

    BadInput without a field. BadImage, BadTaxonomy as the parts raise them.
    """
    if not fixed:
        raise BadInput("the fixed set holds no field: nothing to compare on. Review a case of another patient.")
    second, counted_second = _run(candidate, fixed, scheme, on_field)
    if serving is None:
        first, counted_first = _nothing(second)
    else:
        first, counted_first = _run(serving, fixed, scheme, on_field)
    numbers = differences(
        first, second, counted_first=counted_first, counted_second=counted_second, draws=draws, seed=seed
    )
    against = _first_of_all(numbers) if serving is None else judge(numbers)
    verdict = Verdict.KEEP if against else Verdict.PROMOTE
    name = None if serving is None else serving.name
    return Comparison(name, candidate.name, numbers, verdict, tuple(against) or (_in_favour(name, numbers),))


def _in_favour(serving: str | None, numbers: Differences) -> str:
    if serving is None:
        return "no model serves yet"
    gains = f"macro F1 {_change(numbers.macro_f1)}, macro AP@50 {_change(numbers.macro_ap50)}"
    return f"{gains}; no class is worse beyond doubt"


def judge(numbers: Differences) -> list[str]:
    """What speaks against promoting the second model; empty where nothing does."""
    against = _too_few(numbers)
    f1, ap50 = numbers.macro_f1, numbers.macro_ap50
    if f1.change.value is None or f1.change.value <= 0:
        against.append(f"macro F1 does not rise: {_change(f1)}")
    elif f1.change.low is None or f1.change.low < -MARGIN:
        against.append(f"macro F1 may fall by more than {MARGIN:g}: {_change(f1)}")
    if ap50.change.high is None or ap50.change.high < -MARGIN:
        against.append(f"macro AP@50 falls: {_change(ap50)}")
    for row in numbers.classes:
        if row.truth >= SEVERAL and row.f1.first and not row.f1.second:
            against.append(f"{row.name} is lost: none of {row.truth} is found any more")
        elif row.truth >= MIN_CLASS and row.f1.is_worse:
            against.append(f"{row.name} is worse: F1 {_change(row.f1)}")
    return against


def _first_of_all(numbers: Differences) -> list[str]:
    """Beside no model at all: enough to tell, and something found."""
    against = _too_few(numbers)
    if not numbers.macro_f1.second:
        against.append("the candidate finds nothing on the fixed set")
    return against


def _too_few(numbers: Differences) -> list[str]:
    if numbers.fields >= MIN_FIELDS and numbers.cells >= MIN_CELLS:
        return []
    return [
        f"the fixed set is too small to tell: {numbers.fields} fields, {numbers.cells} cells; "
        f"{MIN_FIELDS} and {MIN_CELLS} are asked for"
    ]


def _run(
    model: Contestant, fields: Sequence[LabelledField], scheme: Taxonomy, on_field: Callable[[], None]
) -> tuple[list[EvaluatedField], list[Detections]]:
    """What a model finds in every field, beside the truth, in words of the scheme; and of that what it would count."""
    pairs, counted = [], []
    for field in fields:
        image = read_image(field.image_path, at_least=model.detector.input_size)
        truth = field.truth(scheme)
        found = _translated(model.detector.detect([image])[0], scheme)
        found = _off_the_unidentified(found, truth)
        pairs.append(EvaluatedField(field.name, truth, found))
        counted.append(one_name_per_cell(found.above(model.score)))
        on_field()
    return pairs, counted


def _nothing(pairs: Sequence[EvaluatedField]) -> tuple[list[EvaluatedField], list[Detections]]:
    """What no model finds in the same fields."""
    none = [Detections.none(pair.taxonomy) for pair in pairs]
    return [EvaluatedField(pair.name, pair.truth, found) for pair, found in zip(pairs, none, strict=True)], none


def _translated(found: Detections, scheme: Taxonomy) -> Detections:
    index = {cell.code: label for label, cell in enumerate(scheme)}
    words = np.asarray([index[code] for code in translation(found.taxonomy, scheme)], np.int64)
    return Detections(found.boxes, words[found.labels], found.scores, scheme)


def _off_the_unidentified(found: Detections, truth: GroundTruth) -> Detections:
    """Without detections whose best cell is one that nobody could name."""
    if not len(truth) or not len(found):
        return found
    overlap = iou_matrix(found.boxes, truth.boxes)
    difficult = np.asarray(truth.difficult)[overlap.argmax(axis=1)] & (overlap.max(axis=1) >= SAME_CELL)
    keep = ~difficult
    return Detections(found.boxes[keep], found.labels[keep], found.scores[keep], found.taxonomy)


def _cells(row: Difference) -> tuple[str, str, str]:
    return _number(row.first), _number(row.second), _change(row)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _change(row: Difference) -> str:
    change = row.change
    if change.value is None:
        return "-"
    ends = "" if change.low is None or change.high is None else f" ({change.low:+.2f}, {change.high:+.2f})"
    return f"{change.value:+.3f}{ends}"
