"""Recall, precision and F1 at a score threshold, and AP: per class, per lineage and mean (paper, Statistical analysis).

TP are the detections above the threshold that found a cell of their class (IoU .5): recall = TP / cells,
precision = TP / detections, F1 = 2 TP / (cells + detections). Without a detection precision is 0. "Macro" is the plain
mean over the classes that have a cell to find, so macro F1 is the mean of F1s, as in the paper's tables; a class
without truth has no numbers. Difficult cells and what falls on them count nowhere. AP: see `average_precision`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from marrowscope.evaluation.bootstrap import CONFIDENCE, draw_weights, interval, weighted_average_precisions
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
from marrowscope.evaluation.thresholds import choose_threshold

METRICS = ("recall", "precision", "f1", "ap50", "ap50_truncated", "map")
WEAKEST = 4
FORMAT = "marrowscope evaluation 1"


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; None where there was nothing to measure or no interval was asked for."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True, eq=False)
class Scores:
    """All numbers of all classes of a scheme.

    values: (classes, 6) in the order of METRICS, NaN where undefined. truth: cells to be found, (classes,).
    detections: claims above the threshold, (classes,). intervals: (classes + 1, 6, 2), the macro row last; or None.
    """

    taxonomy: Taxonomy
    values: Floats
    truth: Ints
    detections: Ints
    intervals: Floats | None = None

    @property
    def macro(self) -> Floats:
        """Means over the classes with truth, (6,)."""
        return mean_over_classes(self.values)

    def of_class(self, label: int, metric: str) -> Estimate:
        """One number of one class."""
        return self._estimate(self.values[label], label, metric)

    def of_all(self, metric: str) -> Estimate:
        """The macro mean of one metric."""
        return self._estimate(self.macro, -1, metric)

    def _estimate(self, values: Floats, row: int, metric: str) -> Estimate:
        column = METRICS.index(metric)
        low, high = (np.nan, np.nan) if self.intervals is None else self.intervals[row, column]
        return Estimate(_or_none(values[column]), _or_none(low), _or_none(high))

    def weakest(self, metric: str, count: int = WEAKEST) -> tuple[int, ...]:
        """The classes (with truth) where the metric is lowest, worst first."""
        values = self.values[:, METRICS.index(metric)]
        there = np.flatnonzero(~np.isnan(values))
        return tuple(int(i) for i in there[np.argsort(values[there], kind="stable")[:count]])

    def mean_of(self, labels: Sequence[int], metric: str) -> float | None:
        """Mean of a metric over some classes; those without truth are left out."""
        return _or_none(mean_over_classes(self.values[list(labels)])[METRICS.index(metric)])


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything measured on a set of fields at a threshold.

    thresholds: score from which a detection of each class counts, (classes,). confusion: (classes + 1, classes + 1),
    rows are truth and then background, columns what was detected and then missed. curves: interpolated precision of
    each class at the 101 recalls, (classes, 101), IoU .5.
    """

    field_count: int
    thresholds: tuple[float, ...]
    classes: Scores
    lineages: Scores
    confusion: Ints
    curves: Floats
    draws: int
    seed: int

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes, in the order of every table here."""
        return self.classes.taxonomy

    @property
    def threshold(self) -> float | None:
        """The threshold common to all classes; None where each has its own."""
        return self.thresholds[0] if len(set(self.thresholds)) == 1 else None

    @property
    def mean_curve(self) -> Floats:
        """Precision at the 101 recalls, averaged over the classes with truth, (101,); its mean is the macro AP@50."""
        return mean_over_classes(self.curves)

    def to_dict(self) -> dict[str, Any]:
        """What `metrics.json` holds: plain numbers and null, classes by name. Curves are apart, in `curves.json`."""
        return {
            "format": FORMAT,
            "fields": self.field_count,
            "threshold": self.threshold,
            "macro": _named(self.classes.macro),
            "weakest": {
                metric: {
                    "classes": [self.taxonomy[i].name for i in self.classes.weakest(metric)],
                    "mean": self.classes.mean_of(self.classes.weakest(metric), metric),
                }
                for metric in ("f1", "ap50")
            },
            "classes": {
                name: row | {"threshold": self.thresholds[i], "code": self.taxonomy[i].code}
                for i, (name, row) in enumerate(_rows(self.classes).items())
            },
            "lineages": _rows(self.lineages),
            "lineages_macro": _named(self.lineages.macro),
            "intervals": None
            if self.classes.intervals is None or self.lineages.intervals is None
            else {
                "confidence": CONFIDENCE,
                "draws": self.draws,
                "seed": self.seed,
                "macro": _named(self.classes.intervals[-1]),
                "classes": _interval_rows(self.classes),
                "lineages": _interval_rows(self.lineages),
                "lineages_macro": _named(self.lineages.intervals[-1]),
            },
            "confusion": {
                "truth": [*self.taxonomy.names, "background"],
                "detected": [*self.taxonomy.names, "missed"],
                "counts": self.confusion.tolist(),
            },
            "taxonomy": self.taxonomy.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], curves: Floats) -> "Evaluation":
        """The evaluation whose `to_dict` this is; `curves` are kept apart. BadInput for anything else."""
        try:
            if values["format"] != FORMAT:
                raise ValueError(f"format is '{values['format']}', not '{FORMAT}'")
            taxonomy = Taxonomy.from_dict(values["taxonomy"])
            intervals = values["intervals"] or {"draws": 0, "seed": 0}
            return cls(
                int(values["fields"]),
                tuple(float(row["threshold"]) for row in values["classes"].values()),
                _scores(taxonomy, values["classes"], intervals.get("classes"), intervals.get("macro")),
                _scores(
                    taxonomy.lineage_scheme()[0],
                    values["lineages"],
                    intervals.get("lineages"),
                    intervals.get("lineages_macro"),
                ),
                np.asarray(values["confusion"]["counts"], np.int64),
                curves,
                int(intervals["draws"]),
                int(intervals["seed"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise BadInput(f"not an evaluation of this version ({e!r}). Evaluate again.") from None


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
    pool = pool_fields(pairs, max_detections=max_detections)
    if threshold is None:
        threshold = choose_threshold(pairs, max_detections=max_detections).score
    thresholds = _one_per_class(threshold, pool.taxonomy)
    counted = pool.score >= np.asarray(thresholds, np.float32)[pool.label]
    weights = draw_weights(pool.field_count, bootstrap, seed) if bootstrap else None
    classes, ranked = _measure(pool, pool.select(counted), weights)
    scheme, index = pool.taxonomy.lineage_scheme()
    lineages, _ = _measure(
        pool.relabelled(scheme, index).best_of_each(max_detections),
        pool.select(counted).relabelled(scheme, index).best_of_each(max_detections),
        weights,
    )
    return Evaluation(
        pool.field_count,
        thresholds,
        classes,
        lineages,
        confusion_matrix(pool.select(counted)),
        np.asarray([precision_at_recalls(r.hit[:, 0], r.miss[:, 0], int(r.positives.sum())) for r in ranked]),
        bootstrap,
        seed,
    )


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


def _measure(pool: Pool, above: Pool, weights: Floats | None) -> tuple[Scores, tuple[RankedClass, ...]]:
    """Scores of all detections (AP) and of those above the threshold (the rest), and the full ranking."""
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
    intervals = None
    if weights is not None:
        by_iou = [weighted_average_precisions(ranked, t, weights) for t in range(precisions.shape[1])]
        columns = (by_iou[0], weighted_average_precisions(cut, 0, weights), np.mean(by_iou, axis=0))
        drawn = np.stack([*_operating_point(hits @ weights, claims @ weights, positives @ weights), *columns], axis=1)
        intervals = interval(np.concatenate([drawn, mean_over_classes(drawn)[None]]))
    return Scores(pool.taxonomy, values, positives.sum(1), claims.sum(1).astype(np.int64), intervals), ranked


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


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _named(values: Floats) -> dict[str, Any]:
    """METRICS -> number, null, or for an interval [low, high] or null."""
    return {
        metric: (None if np.isnan(value).any() else value.tolist())
        for metric, value in zip(METRICS, values, strict=True)
    }


def _rows(scores: Scores) -> dict[str, dict[str, Any]]:
    return {
        name: _named(scores.values[i]) | {"truth": int(scores.truth[i]), "detections": int(scores.detections[i])}
        for i, name in enumerate(scores.taxonomy.names)
    }


def _interval_rows(scores: Scores) -> dict[str, dict[str, Any]]:
    assert scores.intervals is not None  # noqa: S101 - the caller has looked
    return {name: _named(row) for name, row in zip(scores.taxonomy.names, scores.intervals[:-1], strict=True)}


def _scores(
    taxonomy: Taxonomy, rows: Mapping[str, Any], intervals: Mapping[str, Any] | None, macro: Mapping[str, Any] | None
) -> Scores:
    if list(rows) != list(taxonomy.names):
        raise ValueError("the classes are not those of its taxonomy")
    ends = None
    if intervals is not None and macro is not None:
        nothing = [None, None]
        ends = np.asarray([[r[m] or nothing for m in METRICS] for r in [*intervals.values(), macro]], np.float64)
    return Scores(
        taxonomy,
        np.asarray([[row[m] for m in METRICS] for row in rows.values()], np.float64),
        np.asarray([row["truth"] for row in rows.values()], np.int64),
        np.asarray([row["detections"] for row in rows.values()], np.int64),
        ends,
    )
