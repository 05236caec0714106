"""The chosen threshold against trying every score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.thresholds import choose_class_thresholds, choose_threshold
from oracles import evaluation_oracle as slow


def macro_f1(pairs: list[EvaluatedField], threshold: float) -> float:
    rankings = [slow.ranking(pairs, label, 0.5, threshold) for label in range(3)]
    return float(np.nanmean([slow.operating_point(*r)[2] for r in rankings]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([0, 20]))
def test_no_score_gives_a_better_macro_f1_than_the_chosen_one(seed: int, grid: int) -> None:
    pairs = slow.random_fields(seed, grid=grid, difficult=0.1)
    if not any((~p.truth.difficult).any() for p in pairs):
        return
    chosen = choose_threshold(pairs)
    scores = sorted({float(s) for p in pairs for s in p.detections.scores}) or [0.5]
    best = max(macro_f1(pairs, s) for s in scores)
    assert chosen.macro_f1 == pytest.approx(best, abs=1e-12)
    assert macro_f1(pairs, chosen.score) == pytest.approx(best, abs=1e-12)
    assert evaluate(pairs, bootstrap=0).classes.of_all("f1").value == pytest.approx(best, abs=1e-12)


def test_of_equally_good_scores_the_highest_is_chosen() -> None:
    first, second, third = [(100 * i, 0, 100 * i + 50, 50, 0) for i in range(3)]
    misses = [(300, y, 350, y + 50, 0, 0.6) for y in (0, 100, 200)]
    pair = slow.field(slow.small_taxonomy(), [first, second, third], [(*first, 0.9), *misses, (*second, 0.3)])
    # F1 is 2 x 1 / (1 + 3) at .9, less at .6, and 2 x 2 / (5 + 3) at .3.
    assert choose_threshold([pair]).score == pytest.approx(0.9)
    assert choose_threshold([pair]).macro_f1 == 0.5


def test_without_detections_the_threshold_is_one_half() -> None:
    pairs = [EvaluatedField(p.name, p.truth, Detections.none(p.taxonomy)) for p in slow.random_fields(1)]
    assert choose_threshold(pairs).score == 0.5
    assert choose_threshold(pairs).macro_f1 == 0
    assert choose_class_thresholds(pairs) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_own_thresholds_are_each_classs_best_and_so_never_worse_together(seed: int) -> None:
    pairs = slow.random_fields(seed, fields=12)
    own = choose_class_thresholds(pairs)
    for label, threshold in enumerate(own):
        scores = {float(s) for p in pairs for s in p.detections.scores[p.detections.labels == label]}
        best = max(slow.operating_point(*slow.ranking(pairs, label, 0.5, s))[2] for s in scores)
        assert slow.operating_point(*slow.ranking(pairs, label, 0.5, threshold))[2] == pytest.approx(best)
    common = choose_threshold(pairs).macro_f1
    assert evaluate(pairs, threshold=own, bootstrap=0).classes.of_all("f1").value >= common - 1e-12


def test_a_lower_score_that_is_nearly_as_good_may_be_taken_instead():
    """Ten cells, nine found with certainty and one in doubt, beside a false one below it."""
    taxonomy = Taxonomy.from_labels(["lymphocyte"])
    cells = np.arange(10)[:, None] * 100 + np.array([[0, 0, 50, 50]])
    truth = GroundTruth(cells, np.zeros(10, int), taxonomy)
    ghosts = np.array([[0, 500, 50, 550], [100, 500, 150, 550]])
    boxes = np.concatenate([cells[:9], ghosts[:1], cells[9:], ghosts[1:]])
    scores = np.array([0.9] * 9 + [0.5, 0.4, 0.3], np.float32)
    found = [EvaluatedField("field", truth, Detections(boxes, np.zeros(12, int), scores, taxonomy))]
    best, lower = choose_threshold(found), choose_threshold(found, within=0.05)
    # F1: 18/19 with nine, 20/21 with the doubtful one, 20/22 with the last.
    assert (best.score, lower.score) == (np.float32(0.4), np.float32(0.3))
    assert best.macro_f1 > lower.macro_f1 >= best.macro_f1 - 0.05
    assert choose_threshold(found, within=0.001) == best
