"""How far a number might move with other fields: 95 % intervals by resampling fields (Efron, Ann Stat 1979;7:1-26).

Cells of one field share light, focus and stain, so whole fields are drawn, with replacement, as many as there are. A
draw is a weight for every field (how often it came). Matching is done once: a draw only re-weights what it found, so
precision and recall become products of weights and counts, and an AP becomes cumulative sums over a class's ranking
(exactly the AP of the drawn list of fields, unless one field gives one class equal scores: copies of a detection then
follow each other). The interval runs from the 2.5th to the 97.5th percentile of the draws.

What it does not tell: how other patients, stains or training runs would move the number.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from marrowscope.evaluation.average_precision import RankedClass, recall_points
from marrowscope.evaluation.matching import Floats

CONFIDENCE = 0.95


def draw_weights(field_count: int, draws: int, seed: int) -> Floats:
    """How often each field came in each draw, (fields, draws); every column sums to the number of fields."""
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(field_count, np.full(field_count, 1 / field_count), size=draws)
    return np.ascontiguousarray(weights.T, dtype=np.float64)


def weighted_average_precisions(ranked: Sequence[RankedClass], threshold: int, weights: Floats) -> Floats:
    """AP of every class in every draw, (classes, draws), at one IoU threshold; NaN where a draw holds no such cell."""
    return np.asarray([_of_class(r, threshold, weights) for r in ranked])


def _of_class(ranked: RankedClass, threshold: int, weights: Floats) -> Floats:
    positives = ranked.positives @ weights
    hit = ranked.hit[:, threshold]
    counts = np.flatnonzero(hit | ranked.miss[:, threshold])
    hit, field = hit[counts], ranked.field[counts]
    # Within a run of hits precision only rises, so the curve's upper edge is known from the last hit of each run.
    # A row is a run and the misses just before it; misses after the last run lower nothing.
    run = np.cumsum(np.diff(hit.astype(np.int8), prepend=0) == 1)
    runs = int(run[-1]) if len(run) else 0
    if not runs:
        return np.where(positives > 0, 0.0, np.nan)
    row = np.where(hit, run - 1, run)
    shape = (runs + 1, len(weights))
    hits = (csr_array((hit.astype(np.float64), (row, field)), shape=shape) @ weights)[:-1]
    claims = (csr_array((np.ones(len(row)), (row, field)), shape=shape) @ weights)[:-1]
    _accumulate(np.add, hits)
    _accumulate(np.add, claims)
    precision = hits / np.maximum(claims, 1)
    _accumulate(np.maximum, precision[::-1])
    # Each run answers for the recalls passed since the run before.
    passed = _recalls_passed(hits / np.maximum(positives, 1))
    ap: Floats = np.einsum("ij,ij->j", precision, passed)
    ap -= np.einsum("ij,ij->j", precision[1:], passed[:-1])
    return np.where(positives > 0, ap / len(recall_points()), np.nan)


def _accumulate(operation: np.ufunc, rows: Floats) -> None:
    """`operation.accumulate` down the rows, in place: row by row it is twice as fast as NumPy's own."""
    for above, row in itertools.pairwise(rows):
        operation(above, row, out=row)


def _recalls_passed(recall: Floats) -> Floats:
    """How many of the 101 points are <= recall; what searchsorted(..., side="right") gives, five times as fast.

    A recall is a ratio of counts below a million, so it equals k / 100 or is further than 1e-8 from it; which side of
    the rounded point an equal one lies on is asked of the point itself.
    """
    points = recall_points()
    index = (recall * 100 + 1e-7).astype(np.int32)
    index += recall >= points[index]
    return index.astype(np.float64)


def interval(draws: Floats) -> Floats:
    """Low and high end over the last axis, (..., 2); draws without a value are left out, NaN where none has one."""
    tail = (1 - CONFIDENCE) / 2
    ends = np.full((*draws.shape[:-1], 2), np.nan)
    for index in np.ndindex(draws.shape[:-1]):
        there = draws[index][~np.isnan(draws[index])]
        if len(there):
            ends[index] = np.quantile(there, [tail, 1 - tail])
    return ends
