"""What an evaluation holds, and its form in `metrics.json`, which others script against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadInput
from marrowscope.evaluation.average_precision import mean_over_classes
from marrowscope.evaluation.bootstrap import CONFIDENCE
from marrowscope.evaluation.matching import Floats, Ints
from marrowscope.evaluation.reliability import Reliability

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
        to = " to " if self.low < 0 else "-"
        return f"{self.value:.3f} ({self.low:.2f}{to}{self.high:.2f})"


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
    each class at the 101 recalls, (classes, 101), IoU .5. reliability: scores beside the truth; None in an evaluation
    saved before it was measured.
    """

    field_count: int
    thresholds: tuple[float, ...]
    classes: Scores
    lineages: Scores
    confusion: Ints
    curves: Floats
    draws: int
    seed: int
    reliability: Reliability | None = None

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
            "calibration": self.reliability and self.reliability.to_dict(self.taxonomy),
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
                Reliability.from_dict(values["calibration"]) if values.get("calibration") else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise BadInput(f"not an evaluation of this version ({e!r}). Evaluate again.") from None


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
