"""Two models on the same fields: the difference is that of the evaluations, and its interval is paired."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.detections import Detections
from marrowscope.errors import BadInput, BadTaxonomy
from marrowscope.evaluation.bootstrap import draw_weights, interval
from marrowscope.evaluation.differences import Differences, differences
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from oracles import evaluation_oracle as slow

Pairs = list[EvaluatedField]


def above(pairs: Pairs, score: float) -> list[Detections]:
    return [p.detections.above(score) for p in pairs]


def two_models(seed: int, fields: int = 6) -> tuple[Pairs, Pairs]:
    """The same truth; the second model forgets some of what the first finds."""
    first = slow.random_fields(seed, fields=fields, cells=8, claims=14)
    rng = np.random.default_rng(seed)
    second = []
    for pair in first:
        keep = rng.random(len(pair.detections)) < 0.7
        d = pair.detections
        second.append(replace(pair, detections=Detections(d.boxes[keep], d.labels[keep], d.scores[keep], d.taxonomy)))
    return first, second


def compared(first: Pairs, second: Pairs, score: float = 0.4, draws: int = 20, seed: int = 3) -> Differences:
    return differences(
        first, second, counted_first=above(first, score), counted_second=above(second, score), draws=draws, seed=seed
    )


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_numbers_are_those_of_evaluating_each_model(seed: int) -> None:
    first, second = two_models(seed)
    result = compared(first, second)
    whole = [evaluate(pairs, threshold=0.4, bootstrap=0) for pairs in (first, second)]
    for metric, row in (("f1", result.macro_f1), ("ap50", result.macro_ap50)):
        a, b = (e.classes.of_all(metric).value for e in whole)
        assert (row.first, row.second) == (pytest.approx(a), pytest.approx(b))
    for row in result.classes:
        label = first[0].taxonomy.index(row.code)
        a, b = (e.classes.of_class(label, "f1").value for e in whole)
        assert (row.f1.first, row.f1.second) == (pytest.approx(a), pytest.approx(b))
        assert row.f1.change.value == pytest.approx((b or 0) - (a or 0))
        assert row.truth == whole[0].classes.truth[label] > 0
    assert result.cells == whole[0].classes.truth.sum()


def test_the_interval_is_that_of_the_difference_in_every_draw_of_the_same_fields() -> None:
    first, second = two_models(4, fields=8)
    result = compared(first, second, draws=15, seed=9)
    drawn = []
    for column in draw_weights(8, 15, 9).T:
        again = [n for n, times in enumerate(column) for _ in range(int(times))]
        a, b = (
            evaluate([pairs[n] for n in again], threshold=0.4, bootstrap=0).classes.of_all("f1").value
            for pairs in (first, second)
        )
        drawn.append((b or 0) - (a or 0))
    low, high = interval(np.asarray(drawn))
    assert (result.macro_f1.change.low, result.macro_f1.change.high) == (pytest.approx(low), pytest.approx(high))


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_a_model_does_not_differ_from_itself_and_changing_sides_changes_the_sign(seed: int) -> None:
    first, second = two_models(seed)
    same = compared(first, first)
    for row in (same.macro_f1, same.macro_ap50):
        if row.change.value is not None:
            assert (row.change.value, row.change.low, row.change.high) == (0, 0, 0)
    one, other = compared(first, second), compared(second, first)
    if one.macro_f1.change.value is None:
        return
    assert one.macro_f1.change.value == pytest.approx(-(other.macro_f1.change.value or 0))
    assert one.macro_f1.change.low == pytest.approx(-(other.macro_f1.change.high or 0))
    assert not (one.macro_f1.is_worse and other.macro_f1.is_worse)


def test_a_model_that_finds_nothing_any_more_is_worse_beyond_doubt() -> None:
    first = slow.random_fields(7, fields=12, cells=8, claims=20)
    none = [replace(p, detections=Detections.none(p.taxonomy)) for p in first]
    result = compared(first, none, draws=200)
    assert result.macro_f1.is_worse
    assert result.macro_f1.second == 0
    assert all(row.f1.second == 0 for row in result.classes)
    assert not compared(none, first, draws=200).macro_f1.is_worse


def test_other_fields_or_other_classes_cannot_be_compared() -> None:
    first, second = two_models(1)
    with pytest.raises(BadInput, match="same fields"):
        compared(first, second[::-1])
    other = slow.random_fields(1, fields=6, classes=2)
    with pytest.raises(BadTaxonomy, match="same classes"):
        compared(first, [replace(p, name=q.name) for p, q in zip(other, first, strict=True)])
