"""Recall, precision and F1 at a score threshold, and AP: per class, per lineage and mean (paper, Statistical analysis).

TP are the detections above the threshold that found a cell of their class (IoU .5): recall = TP / cells,
precision = TP / detections, F1 = 2 TP / (cells + detections). Without a detection precision is 0. "Macro" is the plain
mean over the classes that have a cell to find, so macro F1 is the mean of F1s, as in the paper's tables; a class
without truth has no numbers. Difficult cells and what falls on them count nowhere. AP: see `average_precision`.
"""

from collections.abc import Sequence

import numpy as np

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadInput
from marrowscope.evaluation.average_precision import (
    RankedClass,
    average_precisions,
    mean_over_classes,
    precision_at_recalls,
    rank_classes,
)
from marrowscope.evaluation.bootstrap import draw_weights, interval, weighted_average_precisions
from marrowscope.evaluation.matching import (
    MAX_DETECTIONS,
    Bools,
    Floats,
    Ints,
    Pool,
    coco_iou_thresholds,
    match_any_class,
    match_within_class,
    pool_fields,
)
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.reliability import judge, reliability
from marrowscope.evaluation.scores import METRICS, Estimate, Evaluation, Scores
from marrowscope.evaluation.thresholds import choose_threshold

__all__ = ["METRICS", "Estimate", "Evaluation", "Scores", "confusion_matrix", "evaluate"]


def evaluate(
    pairs: Sequence[EvaluatedField],
    *,
    threshold: float | Sequence[float] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    max_detections: int = MAX_DETECTIONS,
) -> Evaluation:
    """Measure everything.

    threshold: score from which a detection counts, one for all classes or one for each; None chooses the best for these
    very fields, which flatters them: choose on validation fields (`choose_threshold`) and give it here.
    bootstrap: draws for the intervals; 0 leaves them out.
    """
    return evaluate_with_draws(
        pairs, threshold=threshold, bootstrap=bootstrap, seed=seed, max_detections=max_detections
    )[0]


def evaluate_with_draws(
    pairs: Sequence[EvaluatedField],
    *,
    threshold: float | Sequence[float] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    max_detections: int = MAX_DETECTIONS,
) -> tuple[Evaluation, Floats]:
    """As `evaluate`, and METRICS of every class in every draw, (classes, 6, draws): for differences of evaluations."""
    pool = pool_fields(pairs, max_detections=max_detections)
    if threshold is None:
        threshold = choose_threshold(pairs, max_detections=max_detections).score
    thresholds = _one_per_class(threshold, pool.taxonomy)
    counted = pool.score >= np.asarray(thresholds, np.float32)[pool.label]
    weights = draw_weights(pool.field_count, bootstrap, seed) if bootstrap else None
    classes, ranked, drawn = _measure(pool, pool.select(counted), weights)
    scheme, index = pool.taxonomy.lineage_scheme()
    lineages, _, _ = _measure(
        pool.relabelled(scheme, index).best_of_each(max_detections),
        pool.select(counted).relabelled(scheme, index).best_of_each(max_detections),
        weights,
    )
    whole = Evaluation(
        pool.field_count,
        thresholds,
        classes,
        lineages,
        confusion_matrix(pool.select(counted)),
        np.asarray([precision_at_recalls(r.hit[:, 0], r.miss[:, 0], int(r.positives.sum())) for r in ranked]),
        bootstrap,
        seed,
        reliability(judge(pool), len(pool.taxonomy)),
    )
    return whole, drawn


def confusion_matrix(pool: Pool) -> Ints:
    """What was detected where each cell is, (classes + 1, classes + 1): a cell is matched by place alone (IoU .5).

    Rows are the true class, the last background; columns the class detected, the last missed.
    """
    found = match_any_class(pool, np.asarray([0.5]))[:, 0]
    on_difficult = (found >= 0) & pool.difficult[found] if len(pool.difficult) else np.zeros(len(found), np.bool_)
    background = len(pool.taxonomy)
    truth_of = np.append(pool.truth_label, background)[found]  # -1, no cell, picks the last entry
    was_found = np.zeros(len(pool.truth_label), np.bool_)
    was_found[found[found >= 0]] = True
    missed = pool.truth_label[~was_found & ~pool.difficult]
    matrix = np.zeros((background + 1, background + 1), np.int64)
    np.add.at(matrix, (truth_of[~on_difficult], pool.label[~on_difficult]), 1)
    matrix[:-1, background] = np.bincount(missed, minlength=background)
    return matrix


def _measure(pool: Pool, above: Pool, weights: Floats | None) -> tuple[Scores, tuple[RankedClass, ...], Floats]:
    """Scores of all detections (AP) and of those above the threshold (the rest), the full ranking, and the draws."""
    ranked = rank_classes(pool, match_within_class(pool, coco_iou_thresholds()))
    cut = rank_classes(above, match_within_class(above, np.asarray([0.5])))
    fields, classes = pool.field_count, len(pool.taxonomy)
    hits, claims = np.zeros((classes, fields)), np.zeros((classes, fields))
    for label, r in enumerate(cut):
        hits[label] = np.bincount(r.field, r.hit[:, 0], fields)
        claims[label] = hits[label] + np.bincount(r.field, r.miss[:, 0], fields)
    positives = pool.truth_counts().T

    precisions = average_precisions(ranked)
    columns = (precisions[:, 0], average_precisions(cut)[:, 0], precisions.mean(axis=1))
    values = np.stack([*_operating_point(hits.sum(1), claims.sum(1), positives.sum(1)), *columns], axis=1)
    intervals, drawn = None, np.empty((classes, len(METRICS), 0))
    if weights is not None:
        by_iou = [weighted_average_precisions(ranked, t, weights) for t in range(precisions.shape[1])]
        columns = (by_iou[0], weighted_average_precisions(cut, 0, weights), np.mean(by_iou, axis=0))
        drawn = np.stack([*_operating_point(hits @ weights, claims @ weights, positives @ weights), *columns], axis=1)
        intervals = interval(np.concatenate([drawn, mean_over_classes(drawn)[None]]))
    scores = Scores(pool.taxonomy, values, positives.sum(1), claims.sum(1).astype(np.int64), intervals)
    return scores, ranked, drawn


def _operating_point(hits: Floats, claims: Floats, positives: Floats | Ints) -> tuple[Floats, Floats, Floats]:
    """Recall, precision, F1; NaN where there is nothing to find."""
    defined: Bools = np.asarray(positives) > 0
    recall = np.where(defined, hits / np.maximum(positives, 1), np.nan)
    precision = np.where(defined, hits / np.maximum(claims, 1), np.nan)
    return recall, precision, np.where(defined, 2 * hits / np.maximum(claims + positives, 1), np.nan)


def _one_per_class(threshold: float | Sequence[float], taxonomy: Taxonomy) -> tuple[float, ...]:
    each = np.asarray(threshold, np.float64).reshape(-1)
    if len(each) not in (1, len(taxonomy)) or not ((each >= 0) & (each <= 1)).all():
        raise BadInput(
            f"threshold {threshold}: must be one score in 0..1, or one for each of the {len(taxonomy)} classes."
        )
    return tuple(np.broadcast_to(each, len(taxonomy)).tolist())
