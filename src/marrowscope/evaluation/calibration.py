"""Fit the map from score to probability (`cells.calibration`) on validation fields.

Platt (Advances in Large Margin Classifiers 1999): logistic regression of "is it right?" on the logit of the score. One
fit for all classes together; then each class corrects it by a slope and an offset of its own, which are drawn towards
"no correction" as a normal prior draws them. So a class of 17 cells moves as far as its cells can carry it, one whose
detections are parted without a slip does not run away, and one without a detection has the fit of all.

All detections take part, also the thousands far below any threshold: leaving out those under .01 to .05 moved the error
on other fields by less than it moves between folds (docs/decisions/0020), and a floor is one thing more to set.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from marrowscope.cells.calibration import TINY, Calibration
from marrowscope.cells.detections import Detections
from marrowscope.evaluation.matching import Bools, Floats, pool_fields
from marrowscope.evaluation.pairs import EvaluatedField, common_taxonomy
from marrowscope.evaluation.reliability import Judged, calibration_error, judge

SLOPE_SD, OFFSET_SD = 1.0, 2.0
"""How far a class may easily go from the fit of all: times the slope, logits. Chosen by the error on other fields."""
ALL_SLOPE_SD, ALL_OFFSET_SD = 10.0, 10.0
"""The fit of all, from "the score is the probability": wide, there only for sets of a few detections."""
_LEAST_SLOPE = 0.05
_REPEATS = 5

Line = tuple[float, float]
"""Slope and offset."""


def fit_calibration(pairs: Sequence[EvaluatedField]) -> Calibration | None:
    """The calibration of a detector that, uncalibrated, says this of validation fields; None without a detection."""
    taxonomy = common_taxonomy(pairs)
    return _fit(judge(pool_fields(pairs)), len(taxonomy))


def apply_calibration(pairs: Sequence[EvaluatedField], calibration: Calibration) -> list[EvaluatedField]:
    """What the detector says when it is calibrated so; best score first."""
    return [EvaluatedField(pair.name, pair.truth, _applied(pair.detections, calibration)) for pair in pairs]


def cross_fitted_error(pairs: Sequence[EvaluatedField], *, repeats: int = _REPEATS, seed: int = 0) -> float | None:
    """The calibration error that other fields may expect: fitted on one half of these, measured on the other.

    Both ways, for `repeats` random halvings, and the mean of these; None where a half has nothing to fit or to measure.
    """
    judged, classes = judge(pool_fields(pairs)), len(common_taxonomy(pairs))
    chance, errors = np.random.default_rng(seed), []
    for _ in range(repeats):
        first = np.isin(judged.field, chance.permutation(len(pairs))[: len(pairs) // 2])
        fits = [_fit(judged.select(half), classes) for half in (~first, first)]
        if fits[0] is None or fits[1] is None:
            return None
        # float32 holds the scores themselves, so rounding is that of the detector.
        told = [fit.apply(judged.score.astype(np.float32), judged.label) for fit in fits if fit is not None]
        scores = np.where(first, *told).astype(np.float64)
        errors.append(calibration_error(Judged(judged.field, judged.label, scores, judged.right)))
    found = [e for e in errors if e is not None]
    return float(np.mean(found)) if found else None


def _applied(claims: Detections, calibration: Calibration) -> Detections:
    scores = calibration.apply(claims.scores, claims.labels)
    order = np.argsort(-scores, kind="stable")
    return Detections(claims.boxes[order], claims.labels[order], scores[order], claims.taxonomy)


def _fit(judged: Judged, classes: int) -> Calibration | None:
    if not len(judged.score):
        return None
    logits = logit(np.clip(judged.score, TINY, 1 - TINY))
    slope, offset = _regress(logits, judged.right, ALL_SLOPE_SD, ALL_OFFSET_SD)
    common = slope * logits + offset
    lines = []
    for label in range(classes):
        mine = judged.label == label
        times, plus = _regress(common[mine], judged.right[mine], SLOPE_SD, OFFSET_SD)
        lines.append((times * slope, times * offset + plus))
    return Calibration(tuple(a for a, _ in lines), tuple(b for _, b in lines))


def _regress(logits: Floats, right: Bools, slope_sd: float, offset_sd: float) -> Line:
    """Logistic regression with normal priors about slope 1 and offset 0; convex, so the one best line."""

    def loss(line: Floats) -> tuple[float, Floats]:
        at = line[0] * logits + line[1]
        away = (line - (1.0, 0.0)) / (slope_sd, offset_sd)
        missed = expit(at) - right
        value = np.logaddexp(0, at).sum() - at[right].sum() + (away**2).sum() / 2
        slope = np.asarray([missed @ logits, missed.sum()]) + away / (slope_sd, offset_sd)
        return float(value), slope

    best = minimize(
        loss, np.asarray([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(_LEAST_SLOPE, None)] + [(None, None)]
    )
    return float(best.x[0]), float(best.x[1])
