"""Is one model better than another? Paired intervals of the difference, on the same fields.

Two intervals that overlap say little: both models meet the same hard fields. So fields are drawn once, with
replacement, for both (see `bootstrap`), and the interval is that of the difference in each draw. F1 is read at each
model's own threshold, with one name a cell, as it is counted; AP@50 from the whole ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from marrowscope.cells.detections import Detections
from marrowscope.errors import BadInput, BadTaxonomy
from marrowscope.evaluation.average_precision import average_precisions, mean_over_classes, rank_classes
from marrowscope.evaluation.bootstrap import draw_weights, interval, weighted_average_precisions
from marrowscope.evaluation.matching import Floats, match_within_class, pool_fields
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.scores import Estimate

_AT = np.asarray([0.5])


@dataclass(frozen=True)
class Difference:
    """One number of two models, and second - first with its 95 % interval; None where it could not be measured."""

    first: float | None
    second: float | None
    change: Estimate

    @property
    def is_worse(self) -> bool:
        """The second is worse, and the interval does not reach zero."""
        return self.change.high is not None and self.change.high < 0

    def to_dict(self) -> dict[str, float | None]:
        """Plain values, for JSON."""
        change = self.change
        return {
            "first": self.first,
            "second": self.second,
            "change": change.value,
            "low": change.low,
            "high": change.high,
        }


@dataclass(frozen=True)
class ClassDifference:
    """One class. truth: its cells in the fields."""

    code: str
    name: str
    truth: int
    f1: Difference
    ap50: Difference

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "code": self.code,
            "name": self.name,
            "truth": self.truth,
            "f1": self.f1.to_dict(),
            "ap50": self.ap50.to_dict(),
        }


@dataclass(frozen=True)
class Differences:
    """Two models side by side: means over the classes with truth, and those classes."""

    fields: int
    cells: int
    macro_f1: Difference
    macro_ap50: Difference
    classes: tuple[ClassDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "fields": self.fields,
            "cells": self.cells,
            "macro_f1": self.macro_f1.to_dict(),
            "macro_ap50": self.macro_ap50.to_dict(),
            "classes": [row.to_dict() for row in self.classes],
        }


def differences(
    first: Sequence[EvaluatedField],
    second: Sequence[EvaluatedField],
    *,
    counted_first: Sequence[Detections],
    counted_second: Sequence[Detections],
    draws: int = 1000,
    seed: int = 0,
) -> Differences:
    """Compare two models on the same fields, in the same order.

    counted_first, counted_second: for every field, what each model would count (above its threshold, one name a cell).
    BadInput where the fields are not the same.
    """
    if [pair.name for pair in first] != [pair.name for pair in second]:
        raise BadInput("the models were not run on the same fields. Run both on the same list.")
    if first and first[0].taxonomy != second[0].taxonomy:
        raise BadTaxonomy("the models do not speak of the same classes. Translate both to one scheme.")
    weights = draw_weights(len(first), draws, seed)
    values_a, drawn_a, truth = _measured(first, counted_first, weights)
    values_b, drawn_b, _ = _measured(second, counted_second, weights)
    ends = interval(drawn_b - drawn_a)
    macro_a, macro_b = mean_over_classes(values_a), mean_over_classes(values_b)
    macro_ends = interval(mean_over_classes(drawn_b) - mean_over_classes(drawn_a))
    rows = tuple(
        ClassDifference(
            cell.code,
            cell.name,
            int(truth[k]),
            *(_difference(values_a[k, m], values_b[k, m], ends[k, m]) for m in (0, 1)),
        )
        for k, cell in enumerate(first[0].taxonomy)
        if truth[k]
    )
    macro_f1, macro_ap50 = (_difference(macro_a[m], macro_b[m], macro_ends[m]) for m in (0, 1))
    return Differences(len(first), int(truth.sum()), macro_f1, macro_ap50, rows)


def _measured(
    pairs: Sequence[EvaluatedField], counted: Sequence[Detections], weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """(F1, AP@50) of each class (classes, 2), the same of each draw (classes, 2, draws), and cells of each class."""
    whole = pool_fields(pairs)
    cut = pool_fields([EvaluatedField(p.name, p.truth, d) for p, d in zip(pairs, counted, strict=True)])
    ranked = rank_classes(whole, match_within_class(whole, _AT))
    positives = whole.truth_counts().T.astype(np.float64)
    hits, claims = np.zeros_like(positives), np.zeros_like(positives)
    for label, r in enumerate(rank_classes(cut, match_within_class(cut, _AT))):
        hits[label] = np.bincount(r.field, r.hit[:, 0], len(pairs))
        claims[label] = hits[label] + np.bincount(r.field, r.miss[:, 0], len(pairs))
    f1 = _f1(hits.sum(1), claims.sum(1), positives.sum(1))
    drawn_f1 = _f1(hits @ weights, claims @ weights, positives @ weights)
    values = np.stack([f1, average_precisions(ranked)[:, 0]], axis=1)
    drawn = np.stack([drawn_f1, weighted_average_precisions(ranked, 0, weights)], axis=1)
    return values, drawn, positives.sum(1)


def _f1(hits: Floats, claims: Floats, positives: Floats) -> Floats:
    """NaN where there is nothing to find."""
    return np.where(positives > 0, 2 * hits / np.maximum(claims + positives, 1), np.nan)


def _difference(first: float, second: float, ends: Floats) -> Difference:
    if np.isnan(first) or np.isnan(second):
        return Difference(None, None, Estimate(None))
    low, high = (None if np.isnan(end) else float(end) for end in ends)
    return Difference(float(first), float(second), Estimate(float(second - first), low, high))
