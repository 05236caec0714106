"""The fast matching against plain loops, and the laws of who may find what."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.errors import BadInput, BadTaxonomy
from marrowscope.evaluation.matching import coco_iou_thresholds, match_any_class, match_within_class, pool_fields
from marrowscope.evaluation.pairs import EvaluatedField
from oracles import evaluation_oracle as slow

A = slow.small_taxonomy()


def found_of_field(pairs: list[EvaluatedField], number: int, found: np.ndarray) -> np.ndarray:
    """Matches of one field with that field's own numbering of cells."""
    pool = pool_fields(pairs)
    start = sum(len(p.truth) for p in pairs[:number])
    mine = found[pool.field == number]
    return np.where(mine >= 0, mine - start, -1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([0, 10, 20]))
def test_matching_within_a_class_is_that_of_the_loops_at_every_threshold(seed: int, grid: int) -> None:
    pairs = slow.random_fields(seed, fields=3, grid=grid)
    found = match_within_class(pool_fields(pairs), coco_iou_thresholds())
    for column, iou in enumerate(coco_iou_thresholds()):
        for number, pair in enumerate(pairs):
            ours = found_of_field(pairs, number, found[:, column])
            expected = dict(x for label in range(3) for x in slow.match_field(pair, iou, label))
            assert [expected[d] for d in range(len(pair.detections))] == ours.tolist()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([0, 10, 20]))
def test_matching_by_place_alone_is_that_of_the_loops(seed: int, grid: int) -> None:
    pairs = slow.random_fields(seed, fields=3, grid=grid)
    found = match_any_class(pool_fields(pairs), np.asarray([0.5]))[:, 0]
    for number, pair in enumerate(pairs):
        expected = dict(slow.match_field(pair, 0.5, None))
        assert [expected[d] for d in range(len(pair.detections))] == found_of_field(pairs, number, found).tolist()


def test_the_better_score_takes_the_cell_even_where_the_worse_overlaps_more() -> None:
    pair = slow.field(A, [(0, 0, 100, 100, 0)], [(0, 0, 100, 100, 0, 0.3), (0, 0, 100, 80, 0, 0.9)])
    assert match_within_class(pool_fields([pair]), np.asarray([0.5])).tolist() == [[-1], [0]]


def test_an_iou_of_exactly_the_threshold_is_a_match() -> None:
    pair = slow.field(A, [(0, 0, 100, 100, 0)], [(0, 0, 50, 100, 0, 0.9)])
    assert match_within_class(pool_fields([pair]), np.asarray([0.5, 0.55])).tolist() == [[0, -1]]


def test_many_detections_may_fall_on_a_difficult_cell_and_a_certain_cell_is_preferred() -> None:
    truth = [(0, 0, 100, 100, 0, 1), (0, 0, 100, 60, 0, 0)]
    whole = (0, 0, 100, 100, 0)
    pair = slow.field(A, truth, [(*whole, 0.9), (*whole, 0.8), (*whole, 0.7)])
    assert match_within_class(pool_fields([pair]), np.asarray([0.5]))[:, 0].tolist() == [1, 0, 0]


def test_only_the_best_detections_of_a_class_in_a_field_take_part() -> None:
    many = [(0, 0, 10, 10, label, score) for label in (0, 1) for score in np.linspace(0.1, 0.9, 7)]
    pool = pool_fields([slow.field(A, [], many), slow.field(A, [], many)], max_detections=3)
    assert len(pool.score) == 12
    assert pool.score.min() > 0.6


def test_of_equal_scores_the_earlier_detections_take_part() -> None:
    many = [(i, 0, i + 10, 10, 0, 0.5) for i in range(5)]
    assert pool_fields([slow.field(A, [], many)], max_detections=2).boxes[:, 0].tolist() == [0, 1]


def test_no_field_at_all_is_an_error_that_says_so() -> None:
    with pytest.raises(BadInput, match="no field"):
        pool_fields([])


def test_fields_of_two_schemes_do_not_mix() -> None:
    with pytest.raises(BadTaxonomy, match="one scheme"):
        pool_fields([slow.field(A), slow.field(slow.small_taxonomy(4))])
    with pytest.raises(BadTaxonomy, match="Map one"):
        EvaluatedField("x", slow.field(A).truth, slow.field(slow.small_taxonomy(4)).detections)
