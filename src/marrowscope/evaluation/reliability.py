"""Whether a score means what it says: of detections scored .8, are 80 % right?

A detection is right if it found a cell of its class (IoU .5, `matching`); one on a difficult cell counts neither way.
The expected calibration error (Naeini, AAAI 2015) is the mean distance, over bins of equally many detections, between
the mean score and the share that is right. Detections scored below `FLOOR` are left out: there are thousands of them,
nobody looks at them, and being surely wrong they would make every detector look well calibrated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.evaluation.matching import Bools, Floats, Ints, Pool, match_within_class

FLOOR = 0.05
BINS = 15
ENOUGH_FOR_A_BIN = 20
"""Detections of a bin at least; a rare class has fewer bins."""
BARS = 20


@dataclass(frozen=True, eq=False)
class Judged:
    """Detections beside the truth: field, label, score and whether it is right, each (n,)."""

    field: Ints
    label: Ints
    score: Floats
    right: Bools

    def select(self, keep: Bools) -> "Judged":
        """Only these."""
        return Judged(self.field[keep], self.label[keep], self.score[keep], self.right[keep])


def judge(pool: Pool) -> Judged:
    """Every detection that counts for or against the detector."""
    found = match_within_class(pool, np.asarray([0.5]))[:, 0]
    on_difficult = (found >= 0) & pool.difficult[found] if len(pool.difficult) else np.zeros(len(found), np.bool_)
    whole = Judged(pool.field, pool.label, pool.score.astype(np.float64), found >= 0)
    return whole.select(~on_difficult)


@dataclass(frozen=True)
class Bin:
    """Detections of similar score: their mean score, how many are right, how many there are."""

    score: float
    right: int
    count: int

    @property
    def share(self) -> float:
        """Share that is right."""
        return self.right / self.count


@dataclass(frozen=True)
class Reliability:
    """Scores beside the truth, of detections scored FLOOR or more.

    error: expected calibration error, None without a detection; classes: that of each class. right, wrong: detections
    in `BARS` equal steps of score from 0 to 1.
    """

    error: float | None
    classes: tuple[float | None, ...]
    bins: tuple[Bin, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Plain values, for `metrics.json`."""
        return {
            "floor": FLOOR,
            "ece": self.error,
            "classes": dict(zip(taxonomy.names, self.classes, strict=True)),
            "bins": [{"score": b.score, "right": b.right, "count": b.count} for b in self.bins],
            "histogram": {"right": list(self.right), "wrong": list(self.wrong)},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Reliability":
        """What `to_dict` gave; KeyError, TypeError or ValueError for anything else."""
        return cls(
            _or_none(values["ece"]),
            tuple(_or_none(x) for x in values["classes"].values()),
            tuple(Bin(float(b["score"]), int(b["right"]), int(b["count"])) for b in values["bins"]),
            tuple(int(x) for x in values["histogram"]["right"]),
            tuple(int(x) for x in values["histogram"]["wrong"]),
        )


def reliability(judged: Judged, classes: int) -> Reliability:
    """Set scores beside the truth; `classes`: how many the taxonomy has."""
    above = judged.select(judged.score >= FLOOR)
    bins = _bins(above)
    bars = np.clip((above.score * BARS).astype(np.int64), 0, BARS - 1)
    return Reliability(
        _error(bins),
        tuple(_error(_bins(above.select(above.label == label))) for label in range(classes)),
        bins,
        tuple(np.bincount(bars[above.right], minlength=BARS).tolist()),
        tuple(np.bincount(bars[~above.right], minlength=BARS).tolist()),
    )


def calibration_error(judged: Judged) -> float | None:
    """The expected calibration error of all classes together; None without a detection of FLOOR or more."""
    return _error(_bins(judged.select(judged.score >= FLOOR)))


def _bins(judged: Judged) -> tuple[Bin, ...]:
    """As many detections in each as in the others, or one fewer."""
    if not len(judged.score):
        return ()
    order = np.argsort(judged.score, kind="stable")
    parts = np.array_split(order, min(BINS, max(1, len(order) // ENOUGH_FOR_A_BIN)))
    return tuple(Bin(float(judged.score[p].mean()), int(judged.right[p].sum()), len(p)) for p in parts)


def _error(bins: tuple[Bin, ...]) -> float | None:
    whole = sum(b.count for b in bins)
    return sum(abs(b.score - b.share) * b.count for b in bins) / whole if whole else None


def _or_none(value: Any) -> float | None:
    return None if value is None else float(value)
