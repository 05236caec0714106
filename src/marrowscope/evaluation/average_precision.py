"""Average precision: how well a class's detections are ordered, read off its precision-recall curve.

Detections of a class go in order of falling score over all fields. At each, precision is the share that found a cell,
recall the share of cells found. Precision is then raised to the best reached at that recall or any higher one, and read
at the 101 recalls 0, .01 .. 1 (0 where the curve does not reach): the AP is the mean of the 101 readings. That is
COCO's rule, and `ap50` equals faster-coco-eval's.

`ap50_truncated` is the same reading of the same curve cut at a score threshold: recall not reached adds nothing. The
paper's AP@50 belongs to this kind, so it falls when the threshold rises (the paper's Table 3 beside the authors' own
result files, whose AP is higher at a lower threshold). Only the untruncated number compares models whose scores mean
different things.

A class without a cell to find has no AP (NaN), and no part in the mean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from marrowscope.evaluation.matching import MAX_DETECTIONS, Bools, Floats, Ints, Pool, match_within_class, pool_fields
from marrowscope.evaluation.pairs import EvaluatedField


def recall_points() -> Floats:
    """COCO's 101 recalls."""
    return np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class RankedClass:
    """The detections of one class over all fields, best first, and what each found at each IoU threshold.

    score, field: (n,). hit, miss: (n, thresholds); neither is set for a detection that found a difficult cell.
    positives: cells to be found in each field, (fields,).
    """

    score: NDArray[np.float32]
    field: Ints
    hit: Bools
    miss: Bools
    positives: Ints

    def __len__(self) -> int:
        return len(self.score)


def rank_classes(pool: Pool, found: Ints) -> tuple[RankedClass, ...]:
    """Sort what `match_within_class` found into one ranking a class, in the order of the taxonomy."""
    matched = found >= 0
    ignored = np.zeros_like(matched)
    ignored[matched] = pool.difficult[found[matched]]
    order = np.lexsort((-pool.score, pool.label))
    ends = np.searchsorted(pool.label[order], np.arange(len(pool.taxonomy) + 1))
    positives = pool.truth_counts()

    def each() -> Iterator[RankedClass]:
        for label, (start, end) in enumerate(pairwise(ends)):
            at = order[start:end]
            hit = matched[at] & ~ignored[at]
            yield RankedClass(pool.score[at], pool.field[at], hit, ~matched[at], positives[:, label])

    return tuple(each())


def precision_at_recalls(hit: Bools, miss: Bools, positives: int) -> Floats:
    """Interpolated precision at the 101 recalls, (101,); NaN where there is nothing to find.

    hit, miss: (n,), best detection first.
    """
    recalls = recall_points()
    if not positives:
        return np.full(len(recalls), np.nan)
    hits, misses = np.cumsum(hit), np.cumsum(miss)
    precision = hits / np.maximum(hits + misses, 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    # The last entry answers for every recall that was not reached.
    return np.append(best_from_here, 0.0)[np.searchsorted(hits / positives, recalls, side="left")]


def average_precisions(ranked: Sequence[RankedClass]) -> Floats:
    """AP of each class at each IoU threshold, (classes, thresholds); NaN for a class without truth."""

    def of_class(r: RankedClass) -> list[float]:
        curves = zip(r.hit.T, r.miss.T, strict=True)
        return [float(precision_at_recalls(hit, miss, int(r.positives.sum())).mean()) for hit, miss in curves]

    return np.asarray([of_class(r) for r in ranked])


def mean_over_classes(values: Floats) -> Floats:
    """Mean along the first axis over the classes that have a value; NaN where none has."""
    there = ~np.isnan(values)
    total = np.where(there, values, 0.0).sum(axis=0)
    mean: Floats = np.where(there.any(axis=0), total / np.maximum(there.sum(axis=0), 1), np.nan)
    return mean


def macro_ap50(pairs: Sequence[EvaluatedField], *, max_detections: int = MAX_DETECTIONS) -> float:
    """Mean over classes of AP@50, and nothing else: cheap enough for every epoch. NaN if no field has a cell."""
    pool = pool_fields(pairs, max_detections=max_detections)
    ranked = rank_classes(pool, match_within_class(pool, np.asarray([0.5])))
    return float(mean_over_classes(average_precisions(ranked)[:, 0]))
