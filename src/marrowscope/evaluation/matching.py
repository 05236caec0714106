"""Which detection found which cell: the COCO rule, for all fields, classes and IoU thresholds at once.

Within a field and a class, detections choose in order of falling score; each takes the still free cell it overlaps
most, if their IoU reaches the threshold. A detection that finds only a difficult cell counts neither way. In COCO's
words a difficult cell is a *crowd*: any number of detections may fall on it, and its overlap with a detection is
the share of the detection's own area that lies inside. Only the `max_detections` best of a class in a field take part.

Ties: of equal scores the earlier field and the earlier detection come first; of equal overlaps the later cell is taken.
Both are as in pycocotools (`COCOeval.evaluateImg`) and faster-coco-eval, with which the tests demand equality.

Because choice is greedy in score, the matches of the detections above any score are those of the whole list, cut there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.evaluation.pairs import EvaluatedField, common_taxonomy

MAX_DETECTIONS = 100
"""COCO's limit, of a field and a class."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def coco_iou_thresholds() -> Floats:
    """The ten thresholds .50, .55 .. .95, rounded exactly as COCO's."""
    return np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, eq=False)
class Pool:
    """Every cell and every detection of all fields, in flat arrays, in the order of the fields."""

    taxonomy: Taxonomy
    field_count: int
    truth_field: Ints
    truth_label: Ints
    truth_boxes: Boxes
    difficult: Bools
    field: Ints
    label: Ints
    boxes: Boxes
    score: NDArray[np.float32]

    def select(self, keep: Bools) -> "Pool":
        """The pool with only these detections; the truth stays."""
        return replace(
            self, field=self.field[keep], label=self.label[keep], boxes=self.boxes[keep], score=self.score[keep]
        )

    def relabelled(self, taxonomy: Taxonomy, index: Sequence[int]) -> "Pool":
        """Cells and detections in the words of another scheme; `index` gives each present class its label there."""
        new = np.asarray(index, np.int64)
        return replace(self, taxonomy=taxonomy, truth_label=new[self.truth_label], label=new[self.label])

    def best_of_each(self, max_detections: int) -> "Pool":
        """The pool with the best detections of each class in each field."""
        group = self.field * len(self.taxonomy) + self.label
        order = np.lexsort((-self.score, group))
        kept = np.zeros(len(group), np.bool_)
        kept[order] = _rank_in_run(group[order]) < max_detections
        return self.select(kept)

    def truth_counts(self) -> Ints:
        """Cells that must be found, (fields, classes): the difficult ones are not among them."""
        wanted = ~self.difficult
        return self.count(self.truth_field[wanted], self.truth_label[wanted])

    def count(self, field: Ints, label: Ints) -> Ints:
        """How often each class occurs in each field, (fields, classes)."""
        classes = len(self.taxonomy)
        counts = np.bincount(field * classes + label, minlength=self.field_count * classes)
        return counts.astype(np.int64).reshape(self.field_count, classes)


def pool_fields(pairs: Sequence[EvaluatedField], *, max_detections: int = MAX_DETECTIONS) -> Pool:
    """Lay all fields end to end, keeping the `max_detections` best of each class in each field."""
    taxonomy = common_taxonomy(pairs)
    truths, claims = [p.truth for p in pairs], [p.detections for p in pairs]
    numbers = np.arange(len(pairs))
    pool = Pool(
        taxonomy,
        len(pairs),
        np.repeat(numbers, [len(t) for t in truths]),
        np.concatenate([t.labels for t in truths]),
        np.concatenate([t.boxes for t in truths]),
        np.concatenate([np.asarray(t.difficult, np.bool_) for t in truths]),
        np.repeat(numbers, [len(d) for d in claims]),
        np.concatenate([d.labels for d in claims]),
        np.concatenate([d.boxes for d in claims]),
        np.concatenate([d.scores for d in claims]),
    )
    return pool.best_of_each(max_detections)


def match_within_class(pool: Pool, iou_thresholds: Floats) -> Ints:
    """The cell each detection found, (detections, thresholds), -1 for none; a cell and its finder share a class."""
    classes = len(pool.taxonomy)
    return _match(
        pool, pool.field * classes + pool.label, pool.truth_field * classes + pool.truth_label, iou_thresholds
    )


def match_any_class(pool: Pool, iou_thresholds: Floats) -> Ints:
    """As `match_within_class`, but a detection may find a cell of any class: what a confusion matrix counts."""
    return _match(pool, pool.field, pool.truth_field, iou_thresholds)


def _match(pool: Pool, group: Ints, truth_group: Ints, iou_thresholds: Floats) -> Ints:
    """Greedy matching in each group, for every threshold together.

    Only pairs that overlap enough for the lowest threshold are looked at. Step r lets the r-th candidate of every group
    choose; groups do not meet, so a step is one array operation, and there are as many as the busiest group has.
    """
    # COCO lets an IoU of 1 - 1e-10 pass for 1.
    thresholds = np.minimum(iou_thresholds, 1 - 1e-10)
    found = np.full((len(group), len(thresholds)), -1, np.int64)
    detection, truth, iou = _candidates(pool, group, truth_group, thresholds.min())
    if not len(detection):
        return found
    # Each detection's candidates from worst to best: the last one still free is the one it takes.
    order = np.lexsort((truth, iou, ~pool.difficult[truth], detection, -pool.score[detection], group[detection]))
    detection, truth, iou = detection[order], truth[order], iou[order]
    first = np.flatnonzero(np.diff(detection, prepend=-1))
    step = np.repeat(_rank_in_run(group[detection[first]]), np.diff(first, append=len(detection)))
    order = np.argsort(step, kind="stable")
    detection, truth, iou, step = detection[order], truth[order], iou[order], step[order]

    reaches = iou[:, None] >= thresholds
    taken = np.zeros((len(pool.difficult), len(thresholds)), np.bool_)
    bounds = [0, *(np.flatnonzero(np.diff(step, append=-1)) + 1).tolist()]
    for start, end in pairwise(bounds):
        here, cells = detection[start:end], truth[start:end]
        heads = np.flatnonzero(np.diff(here, prepend=-1))
        free = reaches[start:end] & ~taken[cells]
        best = np.maximum.reduceat(np.where(free, np.arange(end - start)[:, None], -1), heads, axis=0)
        chosen = np.where(best >= 0, cells[best], -1)
        found[here[heads]] = chosen
        row, column = np.nonzero(chosen >= 0)
        cell = chosen[row, column]
        taken[cell, column] = ~pool.difficult[cell]
    return found


def _candidates(pool: Pool, group: Ints, truth_group: Ints, at_least: float) -> tuple[Ints, Ints, Floats]:
    """All pairs (detection, cell, IoU) of one group that overlap enough."""
    truth_order = np.argsort(truth_group, kind="stable")
    in_order = truth_group[truth_order]
    begin = np.searchsorted(in_order, group, side="left")
    many = np.searchsorted(in_order, group, side="right") - begin
    detection = np.repeat(np.arange(len(group)), many)
    offset = np.arange(len(detection)) - np.repeat(np.cumsum(many) - many, many)
    truth = truth_order[np.repeat(begin, many) + offset]
    iou = _iou_of_pairs(pool.boxes, pool.truth_boxes, pool.difficult, detection, truth)
    keep = iou >= at_least
    return detection[keep], truth[keep], iou[keep]


def _iou_of_pairs(boxes: Boxes, truth_boxes: Boxes, crowd: Bools, detection: Ints, truth: Ints) -> Floats:
    a, b = boxes.astype(np.float64), truth_boxes.astype(np.float64)
    areas = [np.prod(np.maximum(x[:, 2:] - x[:, :2], 0), axis=1) for x in (a, b)]
    x1, y1, x2, y2 = (
        pick(a[detection, side], b[truth, side])
        for side, pick in enumerate((np.maximum, np.maximum, np.minimum, np.minimum))
    )
    inter = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    own = areas[0][detection]
    union = np.where(crowd[truth], own, own + areas[1][truth] - inter)
    iou: Floats = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def _rank_in_run(values: Ints) -> Ints:
    """Position of each entry within its run of equal values: 7 7 7 9 9 -> 0 1 2 0 1."""
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1)) if len(values) else np.zeros(0, np.int64)
    return np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
