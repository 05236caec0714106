"""The score from which a detection counts: chosen where macro F1 is best, on validation fields, never on test fields.

The search is exact. Only the score of some detection can be a best threshold, and because matching is greedy in score
(`matching`), one matching serves them all: walking down the scores, each detection changes the F1 of its class alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.evaluation.average_precision import RankedClass, rank_classes
from marrowscope.evaluation.matching import MAX_DETECTIONS, Floats, match_within_class, pool_fields
from marrowscope.evaluation.pairs import EvaluatedField

NO_DETECTION = 0.5
"""The threshold where there is no detection to choose by."""


@dataclass(frozen=True)
class ScoreThreshold:
    """A threshold for all classes: detections with `score` or more count; and the macro F1 it gives where chosen."""

    score: float
    macro_f1: float


def choose_threshold(
    pairs: Sequence[EvaluatedField], *, within: float = 0.0, max_detections: int = MAX_DETECTIONS
) -> ScoreThreshold:
    """The one score at which the mean F1 over classes with truth (IoU .5) is highest; of equals, the highest score.

    within: take the lowest score whose mean F1 is at most so much worse instead.
    """
    ranked = [r for r in _rank(pairs, max_detections) if r.positives.sum()]
    scores = np.concatenate([r.score for r in ranked]) if ranked else np.zeros(0, np.float32)
    if not len(scores):
        return ScoreThreshold(NO_DETECTION, 0.0)
    gain = np.concatenate([np.diff(_f1_down_the_ranking(r), prepend=0.0) for r in ranked])
    order = np.argsort(-scores, kind="stable")
    scores, macro = scores[order], np.cumsum(gain[order]) / len(ranked)
    # A threshold takes all detections of its score: only the last of equal scores is a place to cut.
    cuts = np.flatnonzero(np.diff(scores, append=-1.0))
    best = cuts[np.argmax(macro[cuts])]
    if within:
        best = cuts[np.flatnonzero(macro[cuts] >= macro[best] - within)[-1]]
    return ScoreThreshold(float(scores[best]), float(macro[best]))


def choose_class_thresholds(
    pairs: Sequence[EvaluatedField], *, max_detections: int = MAX_DETECTIONS
) -> tuple[float, ...]:
    """Each class's own best score. A class without truth or detections gets the common threshold.

    Rare classes choose by a handful of cells: expect their gain to shrink on other fields.
    """
    common = choose_threshold(pairs, max_detections=max_detections).score
    chosen = []
    for ranked in _rank(pairs, max_detections):
        if not len(ranked.score) or not ranked.positives.sum():
            chosen.append(common)
            continue
        cuts = np.flatnonzero(np.diff(ranked.score, append=-1.0))
        chosen.append(float(ranked.score[cuts[np.argmax(_f1_down_the_ranking(ranked)[cuts])]]))
    return tuple(chosen)


def _rank(pairs: Sequence[EvaluatedField], max_detections: int) -> tuple[RankedClass, ...]:
    pool = pool_fields(pairs, max_detections=max_detections)
    return rank_classes(pool, match_within_class(pool, np.asarray([0.5])))


def _f1_down_the_ranking(ranked: RankedClass) -> Floats:
    """F1 of the first 1, 2 .. n detections, (n,)."""
    hits, misses = np.cumsum(ranked.hit[:, 0]), np.cumsum(ranked.miss[:, 0])
    f1: Floats = 2 * hits / (hits + misses + ranked.positives.sum())
    return f1
