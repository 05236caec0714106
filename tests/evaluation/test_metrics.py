"""Recall, precision, F1, lineages and the confusion matrix: against the loops, and their laws."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.boxes import shift
from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.errors import BadInput
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.scores import METRICS, Evaluation
from oracles import evaluation_oracle as slow


def perfect(pairs: list[EvaluatedField]) -> list[EvaluatedField]:
    """Fields whose detections are exactly the cells."""
    return [
        EvaluatedField(
            p.name, p.truth, Detections(p.truth.boxes, p.truth.labels, np.full(len(p.truth), 0.9), p.taxonomy)
        )
        for p in pairs
    ]


def same(a: Evaluation, b: Evaluation) -> bool:
    return json.dumps(a.to_dict()) == json.dumps(b.to_dict())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0, 1), grid=st.sampled_from([0, 20]))
def test_recall_precision_and_f1_are_those_of_the_loops(seed: int, threshold: float, grid: int) -> None:
    pairs = slow.random_fields(seed, grid=grid)
    scores = evaluate(pairs, threshold=threshold, bootstrap=0).classes
    for label in range(3):
        rows, cells = slow.ranking(pairs, label, 0.5, threshold)
        np.testing.assert_allclose(scores.values[label, :3], slow.operating_point(rows, cells), atol=1e-12)
        assert scores.truth[label] == cells
        assert scores.detections[label] == len(rows)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_map_is_the_mean_of_the_ten_thresholds(seed: int) -> None:
    pairs = slow.random_fields(seed)
    expected = slow.coco_results(pairs)
    scores = evaluate(pairs, threshold=0.5, bootstrap=0).classes
    np.testing.assert_allclose(scores.values[:, 3], expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(scores.values[:, 5], expected.mean(axis=1), atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_perfect_detections_score_one_everywhere(seed: int) -> None:
    pairs = perfect(slow.random_fields(seed, difficult=0, cells=8))
    result = evaluate(pairs, threshold=0.5, bootstrap=20)
    for scores in (result.classes, result.lineages):
        there = ~np.isnan(scores.values)
        assert there.any()
        np.testing.assert_allclose(scores.values[there], 1, atol=1e-12)
    assert np.trace(result.confusion) == result.confusion.sum() == sum(len(p.truth) for p in pairs)


@pytest.mark.parametrize("seed", range(4))
def test_without_any_detection_every_number_is_zero(seed: int) -> None:
    pairs = [EvaluatedField(p.name, p.truth, Detections.none(p.taxonomy)) for p in slow.random_fields(seed, cells=9)]
    result = evaluate(pairs, bootstrap=10)
    assert set(result.classes.values[~np.isnan(result.classes.values)]) == {0.0}
    assert result.confusion[:, :-1].sum() == 0


def test_fields_without_a_cell_have_no_numbers_and_do_not_fail() -> None:
    pairs = [slow.field(slow.small_taxonomy(), [], [(0, 0, 9, 9, 1, 0.5)])] * 3
    result = evaluate(pairs, bootstrap=10)
    assert set(result.to_dict()["macro"].values()) == {None}
    assert result.confusion[3, 1] == 3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), dx=st.integers(0, 500), dy=st.integers(0, 500))
def test_moving_everything_together_changes_nothing(seed: int, dx: int, dy: int) -> None:
    pairs = slow.random_fields(seed, grid=10)
    moved = []
    for p in pairs:
        truth = GroundTruth(shift(p.truth.boxes, dx, dy), p.truth.labels, p.taxonomy, p.truth.difficult)
        d = p.detections
        moved.append(EvaluatedField(p.name, truth, Detections(shift(d.boxes, dx, dy), d.labels, d.scores, p.taxonomy)))
    assert same(evaluate(moved, bootstrap=0), evaluate(pairs, bootstrap=0))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_fields_changes_no_number(seed: int) -> None:
    pairs = slow.random_fields(seed, fields=6)
    shuffled = [pairs[i] for i in np.random.default_rng(seed).permutation(6)]
    assert same(evaluate(shuffled, threshold=0.4, bootstrap=0), evaluate(pairs, threshold=0.4, bootstrap=0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0, 0.9))
def test_a_lineage_finds_at_least_what_its_classes_find_where_cells_lie_apart(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    taxonomy = slow.small_taxonomy(4)
    # Cells on a lattice of 100 px: no detection reaches two of them.
    truth = [(100 * i, 0, 100 * i + 60, 60, rng.integers(4)) for i in range(12)]
    claims = [
        (x + rng.normal(0, 8), 0, x2 + rng.normal(0, 8), 60, rng.integers(4), rng.random())
        for x, _, x2, *_ in 2 * truth
    ]
    result = evaluate([slow.field(taxonomy, truth, claims)], threshold=threshold, bootstrap=0)
    _, index = taxonomy.lineage_scheme()
    found = np.nan_to_num(result.classes.values[:, 0]) * result.classes.truth
    for lineage, recall in enumerate(result.lineages.values[:, 0]):
        members = np.asarray(index) == lineage
        assert result.lineages.truth[lineage] == result.classes.truth[members].sum()
        if result.lineages.truth[lineage]:
            assert recall * result.lineages.truth[lineage] >= found[members].sum() - 1e-9


def test_a_confused_class_is_right_by_lineage() -> None:
    pair = slow.field(slow.small_taxonomy(), [(0, 0, 50, 50, 0)], [(0, 0, 50, 50, 1, 0.9)])
    result = evaluate([pair], threshold=0.5, bootstrap=0)
    assert result.classes.of_all("recall").value == 0
    assert result.lineages.of_all("recall").value == 1
    assert result.confusion[0, 1] == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0, 1))
def test_the_confusion_matrix_is_that_of_the_loops(seed: int, threshold: float) -> None:
    pairs = slow.random_fields(seed)
    expected = np.zeros((4, 4), int)
    for p in pairs:
        cut = EvaluatedField(p.name, p.truth, p.detections.above(np.float32(threshold)))
        matches = slow.match_field(cut, 0.5, None)
        for d, t in matches:
            if t < 0 or not p.truth.difficult[t]:
                expected[3 if t < 0 else p.truth.labels[t], cut.detections.labels[d]] += 1
        for t in set(np.flatnonzero(~p.truth.difficult)) - {t for _, t in matches}:
            expected[p.truth.labels[t], 3] += 1
    np.testing.assert_array_equal(evaluate(pairs, threshold=threshold, bootstrap=0).confusion, expected)


def test_the_rows_of_the_confusion_matrix_hold_every_cell_once() -> None:
    pairs = slow.random_fields(3, fields=20)
    result = evaluate(pairs, threshold=0.3, bootstrap=0)
    np.testing.assert_array_equal(result.confusion[:-1].sum(axis=1), result.classes.truth)
    assert result.confusion[-1, -1] == 0


def test_each_class_may_have_its_own_threshold() -> None:
    taxonomy = slow.small_taxonomy(2)
    truth = [(0, 0, 50, 50, 0), (100, 0, 150, 50, 1)]
    pair = slow.field(taxonomy, truth, [(0, 0, 50, 50, 0, 0.4), (100, 0, 150, 50, 1, 0.4)])
    result = evaluate([pair], threshold=[0.5, 0.3], bootstrap=0)
    assert result.classes.values[:, 0].tolist() == [0, 1]
    assert result.threshold is None
    assert [row["threshold"] for row in result.to_dict()["classes"].values()] == [0.5, 0.3]


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), [0.5, 0.5]])
def test_an_impossible_threshold_is_an_error_that_says_so(threshold: float) -> None:
    with pytest.raises(BadInput, match="must be one score"):
        evaluate(slow.random_fields(0), threshold=threshold, bootstrap=0)


def test_the_dictionary_has_the_promised_form() -> None:
    values = evaluate(slow.random_fields(2, fields=10), bootstrap=20).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values["macro"]) == set(METRICS) == {"recall", "precision", "f1", "ap50", "ap50_truncated", "map"}
    assert list(values["classes"]) == ["cell A", "cell B", "cell C"]
    for name, row in values["classes"].items():
        assert set(METRICS) | {"truth"} <= set(row)
        for metric in METRICS:
            low, high = values["intervals"]["classes"][name][metric]
            assert 0 <= low <= high <= 1
    assert len(values["weakest"]["f1"]["classes"]) == 3
    assert values["weakest"]["f1"]["mean"] == pytest.approx(values["macro"]["f1"])


def test_macro_numbers_are_plain_means_over_classes_with_truth() -> None:
    values = evaluate(slow.random_fields(6, classes=5, fields=3), bootstrap=0).to_dict()
    for metric in METRICS:
        there = [row[metric] for row in values["classes"].values() if row["truth"]]
        assert values["macro"][metric] == pytest.approx(sum(there) / len(there), abs=1e-12)


@pytest.mark.parametrize("draws", [0, 15])
def test_an_evaluation_survives_its_dictionary(draws: int) -> None:
    result = evaluate(slow.random_fields(8, classes=5, fields=3), bootstrap=draws)
    back = Evaluation.from_dict(json.loads(json.dumps(result.to_dict())), result.curves)
    assert same(back, result)
    assert back.taxonomy == result.taxonomy


@pytest.mark.parametrize("values", [{}, {"format": "other"}, {"format": "marrowscope evaluation 1"}])
def test_a_foreign_dictionary_is_an_error_that_says_so(values: dict) -> None:
    with pytest.raises(BadInput, match="not an evaluation"):
        Evaluation.from_dict(values, np.zeros((1, 101)))
