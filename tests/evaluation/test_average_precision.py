"""AP against plain loops, against faster-coco-eval, and its laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.detections import Detections
from marrowscope.evaluation.average_precision import average_precisions, macro_ap50, rank_classes
from marrowscope.evaluation.matching import coco_iou_thresholds, match_within_class, pool_fields
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from oracles import evaluation_oracle as slow


def ours(pairs: list[EvaluatedField]) -> np.ndarray:
    pool = pool_fields(pairs)
    return average_precisions(rank_classes(pool, match_within_class(pool, coco_iou_thresholds())))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([0, 10, 20]), difficult=st.sampled_from([0.0, 0.3, 1.0]))
def test_every_ap_is_that_of_faster_coco_eval(seed: int, grid: int, difficult: float) -> None:
    pairs = slow.random_fields(seed, grid=grid, difficult=difficult)
    np.testing.assert_allclose(ours(pairs), slow.coco_results(pairs), rtol=0, atol=1e-9)


def test_ap_is_that_of_faster_coco_eval_with_more_detections_than_take_part() -> None:
    pairs = slow.random_fields(4, fields=4, classes=2, cells=40, claims=600)
    assert max(np.bincount(p.detections.labels).max() for p in pairs) > 100
    np.testing.assert_allclose(ours(pairs), slow.coco_results(pairs), rtol=0, atol=1e-9)


def test_ap_is_that_of_faster_coco_eval_on_many_fields() -> None:
    pairs = slow.random_fields(5, fields=150, classes=5, cells=15, claims=40, difficult=0.05)
    np.testing.assert_allclose(ours(pairs), slow.coco_results(pairs), rtol=0, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([0, 20]))
def test_every_ap_is_that_of_the_loops(seed: int, grid: int) -> None:
    pairs = slow.random_fields(seed, fields=4, grid=grid)
    for label, row in enumerate(ours(pairs)):
        for iou, ap in zip(coco_iou_thresholds(), row, strict=True):
            np.testing.assert_allclose(ap, slow.average_precision(*slow.ranking(pairs, label, iou)), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0, 1))
def test_truncated_ap_is_the_ap_of_the_detections_above_the_threshold(seed: int, threshold: float) -> None:
    pairs = slow.random_fields(seed)
    cut = [EvaluatedField(p.name, p.truth, p.detections.above(np.float32(threshold))) for p in pairs]
    column = evaluate(pairs, threshold=threshold, bootstrap=0).classes.values[:, 4]
    np.testing.assert_allclose(column, ours(cut)[:, 0], atol=1e-12)
    assert not (column > ours(pairs)[:, 0] + 1e-12).any()


def test_a_class_without_truth_has_no_ap_and_no_part_in_the_mean() -> None:
    taxonomy = slow.small_taxonomy()
    pair = slow.field(taxonomy, [(0, 0, 50, 50, 0)], [(0, 0, 50, 50, 0, 0.9), (0, 0, 50, 50, 2, 0.9)])
    np.testing.assert_array_equal(ours([pair])[:, 0], [1, np.nan, np.nan])
    assert macro_ap50([pair]) == 1
    assert np.isnan(macro_ap50([slow.field(taxonomy)]))


def test_a_class_that_nobody_found_has_ap_zero() -> None:
    pair = slow.field(slow.small_taxonomy(2), [(0, 0, 50, 50, 0), (0, 0, 50, 50, 1)], [(0, 0, 50, 50, 0, 0.9)])
    assert macro_ap50([pair]) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_macro_ap50_is_that_of_the_whole_evaluation(seed: int) -> None:
    pairs = slow.random_fields(seed)
    assert macro_ap50(pairs) == evaluate(pairs, bootstrap=0).classes.of_all("ap50").value


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_false_detection_below_all_others_raises_no_ap(seed: int) -> None:
    pairs = slow.random_fields(seed)
    worse = []
    for p in pairs:
        d = p.detections
        far = np.full((1, 4), 900, np.float32) + np.asarray([0, 0, 30, 30], np.float32)
        worse.append(
            EvaluatedField(
                p.name,
                p.truth,
                Detections(np.append(d.boxes, far, 0), np.append(d.labels, 0), np.append(d.scores, 0), d.taxonomy),
            )
        )
    np.testing.assert_array_equal(ours(worse), ours(pairs))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_fields_changes_nothing(seed: int) -> None:
    pairs = slow.random_fields(seed)
    shuffled = [pairs[i] for i in np.random.default_rng(seed).permutation(len(pairs))]
    np.testing.assert_array_equal(ours(shuffled), ours(pairs))
