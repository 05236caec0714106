"""A draw is the evaluation of the drawn fields; intervals behave as intervals."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.evaluation.average_precision import average_precisions, rank_classes, recall_points
from marrowscope.evaluation.bootstrap import _recalls_passed, draw_weights, interval, weighted_average_precisions
from marrowscope.evaluation.matching import coco_iou_thresholds, match_within_class, pool_fields
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.scores import METRICS
from oracles import evaluation_oracle as slow


def ranked(pairs):
    pool = pool_fields(pairs)
    return rank_classes(pool, match_within_class(pool, coco_iou_thresholds()))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_ap_of_a_draw_is_the_ap_of_the_drawn_fields(seed: int) -> None:
    pairs = slow.random_fields(seed, fields=6)
    weights = draw_weights(6, 3, seed)
    for t in (0, 5):
        ours = weighted_average_precisions(ranked(pairs), t, weights)
        for draw in range(3):
            drawn = [p for p, times in zip(pairs, weights[:, draw], strict=True) for _ in range(int(times))]
            np.testing.assert_allclose(ours[:, draw], average_precisions(ranked(drawn))[:, t], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_fields_drawn_once_each_give_the_ap_itself(seed: int) -> None:
    ranking = ranked(slow.random_fields(seed))
    once = weighted_average_precisions(ranking, 0, np.ones((5, 1)))[:, 0]
    np.testing.assert_allclose(once, average_precisions(ranking)[:, 0], atol=1e-12)


def test_every_interval_is_that_of_evaluating_the_drawn_fields() -> None:
    pairs = slow.random_fields(11, fields=8, cells=9, claims=20)
    weights = draw_weights(8, 12, 5)
    result = evaluate(pairs, threshold=0.4, bootstrap=12, seed=5)
    drawn = []
    for column in weights.T:
        again = [p for p, times in zip(pairs, column, strict=True) for _ in range(int(times))]
        values = evaluate(again, threshold=0.4, bootstrap=0)
        drawn.append(np.concatenate([values.classes.values, values.classes.macro[None]]))
    np.testing.assert_allclose(result.classes.intervals, interval(np.stack(drawn, axis=-1)), atol=1e-12)


def test_recalls_passed_are_those_of_a_search_for_every_ratio_of_small_counts() -> None:
    hits, cells = np.meshgrid(np.arange(0, 331), np.arange(1, 331), indexing="ij")
    ratio = (hits / cells)[hits <= cells][:, None]
    np.testing.assert_array_equal(_recalls_passed(ratio), np.searchsorted(recall_points(), ratio, side="right"))


def test_draws_hold_as_many_fields_as_there_are_and_depend_on_the_seed_alone() -> None:
    weights = draw_weights(17, 50, 3)
    assert weights.shape == (17, 50)
    assert (weights.sum(axis=0) == 17).all()
    np.testing.assert_array_equal(weights, draw_weights(17, 50, 3))
    assert (weights != draw_weights(17, 50, 4)).any()


def test_intervals_hold_the_number_they_belong_to_and_narrow_with_more_fields() -> None:
    width = {}
    for fields in (40, 360):
        result = evaluate(slow.random_fields(1, fields=fields, claims=8), threshold=0.3, bootstrap=300).classes
        low, high = result.intervals[..., 0], result.intervals[..., 1]
        values = np.concatenate([result.values, result.macro[None]])
        assert (low <= values).all()
        assert (values <= high).all()
        width[fields] = (high - low).mean()
    # Nine times the fields: a third of the width, give or take.
    assert 2 < width[40] / width[360] < 4.5


def test_the_same_seed_gives_the_same_intervals() -> None:
    pairs = slow.random_fields(2, fields=20)
    first, again, other = (evaluate(pairs, bootstrap=50, seed=s).classes.intervals for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_rare_class_has_an_interval_from_the_draws_that_hold_it() -> None:
    taxonomy = slow.small_taxonomy(2)
    cell = (0, 0, 50, 50)
    pairs = [slow.field(taxonomy, [(*cell, 0)], [(*cell, 0, 0.9)]) for _ in range(9)]
    pairs.append(slow.field(taxonomy, [(*cell, 1)], [(*cell, 1, 0.9)]))
    ends = evaluate(pairs, threshold=0.5, bootstrap=100).classes.intervals
    np.testing.assert_allclose(ends[1], np.ones((len(METRICS), 2)), atol=1e-12)


def test_an_interval_without_any_value_is_undefined() -> None:
    assert np.isnan(interval(np.full((2, 5), np.nan))).all()
