"""The calibration: order within a class stays, probabilities hold on other fields, rare classes do not run away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.evaluation.average_precision import macro_ap50
from marrowscope.evaluation.calibration import apply_calibration, cross_fitted_error, fit_calibration
from marrowscope.evaluation.matching import pool_fields
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.reliability import FLOOR, calibration_error, judge, reliability
from oracles import evaluation_oracle as slow

TAXONOMY = Taxonomy.from_labels(["myelocyte", "metamyelocyte", "basophil"])
SLOPES, OFFSETS = np.asarray([3.0, 6.0, 4.0]), np.asarray([1.0, -2.0, 0.5])


def laboratory(
    seed: int, fields: int = 60, *, each: int = 30, shares: tuple[float, ...] = (0.6, 0.35, 0.05)
) -> list[EvaluatedField]:
    """Fields whose detections are right with probability sigmoid(slope x logit(score) + offset) of their class."""
    chance = np.random.default_rng(seed)
    pairs = []
    for number in range(fields):
        labels = chance.choice(3, each, p=shares)
        logits = chance.normal(-0.3, 0.6, each)
        right = chance.random(each) < expit(SLOPES[labels] * logits + OFFSETS[labels])
        corner = 100 * np.arange(each)[:, None]
        boxes = np.concatenate([corner, corner * 0, corner + 50, corner * 0 + 50], axis=1).astype(np.float32)
        truth = GroundTruth(boxes[right], labels[right], TAXONOMY)
        order = np.argsort(-logits)
        claims = Detections(boxes[order], labels[order], expit(logits)[order].astype(np.float32), TAXONOMY)
        pairs.append(EvaluatedField(str(number), truth, claims))
    return pairs


def error_of(pairs: list[EvaluatedField]) -> float:
    error = calibration_error(judge(pool_fields(pairs)))
    assert error is not None
    return error


def test_a_detector_made_with_known_slopes_is_found_out() -> None:
    found = fit_calibration(laboratory(1, 400))
    assert found is not None
    np.testing.assert_allclose(found.slopes, SLOPES, rtol=0.2)
    np.testing.assert_allclose(found.offsets, OFFSETS, atol=0.4)


def test_scores_become_probabilities_on_fields_that_the_fit_has_not_seen() -> None:
    seen, unseen = laboratory(2), laboratory(3, 200)
    found = fit_calibration(seen)
    assert found is not None
    assert error_of(unseen) > 0.1
    assert error_of(apply_calibration(unseen, found)) < 0.04


def test_the_cross_fitted_error_is_what_other_fields_show() -> None:
    seen, unseen = laboratory(4), laboratory(5, 300)
    found = fit_calibration(seen)
    assert found is not None
    told = cross_fitted_error(seen)
    assert told is not None
    assert told == pytest.approx(error_of(apply_calibration(unseen, found)), abs=0.025)
    assert told == cross_fitted_error(seen)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from([0, 20]))
def test_every_slope_is_positive_so_the_order_within_a_class_and_its_ap_stay(seed: int, grid: int) -> None:
    pairs = slow.random_fields(seed, grid=grid, difficult=0.1)
    found = fit_calibration(pairs)
    if found is None:
        assert not any(len(p.detections) for p in pairs)
        return
    assert min(found.slopes) > 0
    after = apply_calibration(pairs, found)
    for before, now in zip(pairs, after, strict=True):
        assert (np.diff(now.detections.scores) <= 0).all()
        assert len(now.detections) == len(before.detections)
    if grid == 0:  # where no two scores are equal
        assert macro_ap50(after) == pytest.approx(macro_ap50(pairs), abs=1e-6, nan_ok=True)


def test_a_class_whose_detections_are_parted_without_a_slip_does_not_run_away() -> None:
    pairs = laboratory(6)
    basophils = []
    for pair in pairs:
        claims, truth = pair.detections, pair.truth
        kept = truth.labels != 2
        sure = (claims.labels == 2) & (claims.scores > 0.4)
        boxes = np.concatenate([truth.boxes[kept], claims.boxes[sure]])
        labels = np.concatenate([truth.labels[kept], claims.labels[sure]])
        basophils.append(EvaluatedField(pair.name, GroundTruth(boxes, labels, TAXONOMY), claims))
    found = fit_calibration(basophils)
    assert found is not None
    # Left alone, the fit would be a step: an infinite slope, and a probability of 0 or 1 for whatever comes.
    assert found.slopes[2] < 4 * max(found.slopes[:2])
    assert 0.05 < float(found.apply(np.asarray([0.4], np.float32), np.asarray([2]))[0]) < 0.95


def test_a_class_without_a_detection_has_the_fit_of_all_and_one_with_few_stays_near_it() -> None:
    everything = fit_calibration(laboratory(7, shares=(0.5, 0.5, 0.0)))
    assert everything is not None
    at = np.asarray([0.2, 0.4, 0.6], np.float32)
    of = [everything.apply(at, np.full(3, label)) for label in range(3)]
    assert (of[2] <= np.maximum(of[0], of[1]) + 0.05).all()
    assert (of[2] >= np.minimum(of[0], of[1]) - 0.05).all()


def test_without_detections_there_is_nothing_to_fit() -> None:
    pairs = [EvaluatedField(p.name, p.truth, Detections.none(p.taxonomy)) for p in slow.random_fields(1)]
    assert fit_calibration(pairs) is None
    assert cross_fitted_error(pairs) is None
    assert cross_fitted_error(laboratory(8, 1)) is None


def test_one_detection_alone_moves_nothing_far() -> None:
    box = (0, 0, 50, 50, 0)
    pair = slow.field(slow.small_taxonomy(), [box], [(*box, 0.7)])
    found = fit_calibration([pair])
    assert found is not None
    assert np.isfinite([*found.slopes, *found.offsets]).all()


def slow_error(scores: np.ndarray, right: np.ndarray) -> float:
    """Bins of equally many by counting, written out."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    bins = min(15, max(1, len(order) // 20))
    size, more = divmod(len(order), bins)
    whole = start = 0.0
    for number in range(bins):
        end = start + size + (number < more)
        part = order[int(start) : int(end)]
        whole += abs(sum(scores[i] for i in part) - sum(right[i] for i in part))
        start = end
    return whole / len(order)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_error_is_that_of_the_loops_and_counts_no_difficult_cell(seed: int) -> None:
    pairs = slow.random_fields(seed, fields=12, difficult=0.2)
    judged = judge(pool_fields(pairs))
    assert len(judged.score) <= sum(len(p.detections) for p in pairs)
    above = judged.score >= FLOOR
    found = reliability(judged, len(pairs[0].taxonomy))
    if not above.any():
        assert found.error is None
        return
    assert found.error == pytest.approx(slow_error(judged.score[above], judged.right[above]), abs=1e-9)
    assert sum(found.right) + sum(found.wrong) == sum(b.count for b in found.bins) == above.sum()
    assert sum(found.right) == judged.right[above].sum()


def test_a_detector_that_says_what_is_true_has_no_error_and_one_too_sure_has_the_difference() -> None:
    pairs = laboratory(9, 300)
    exact = []
    for p in pairs:
        scores = expit(
            SLOPES[p.detections.labels] * logit(p.detections.scores.astype(float)) + OFFSETS[p.detections.labels]
        )
        exact.append(
            EvaluatedField(p.name, p.truth, Detections(p.detections.boxes, p.detections.labels, scores, TAXONOMY))
        )
    assert error_of(exact) < 0.02
    box = (0, 0, 50, 50, 0)
    half = [slow.field(slow.small_taxonomy(), [box] if i % 2 else [], [(*box, 0.9)]) for i in range(40)]
    assert error_of(half) == pytest.approx(0.4, abs=1e-6)
