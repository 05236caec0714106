"""Do incoming fields look like those of training? An alarm with a stated rate of false ones.

Each statistic of a batch of fields (`cells.fields_seen`) is compared with that of the training set. It has drifted if

- it is no accident: two-sample Kolmogorov-Smirnov test, p < `FALSE_ALARMS` / number of statistics (Bonferroni); and
- it is no trifle: the batch's median lies beyond the central 90 % of single training fields. A slide that is a little
  paler than most then raises no alarm, however many fields of it there are.

One statistic more, `all looks`, is the Mahalanobis distance of how a field looks from the training fields (each of them
from the rest), which sees colours that are usual one by one and not together. The mix of classes is compared by the
share of cells that would have to change class (total variation), p by permuting whole fields, as cells of one field are
alike; a trifle is less than `MIX_TRIFLE`.

So a batch drawn at random from fields like those of training raises an alarm with a probability of at most 5 %. Fields
of one slide are no such draw: for them it is the second condition that holds the alarm back. A drift in what is found
(cells, sizes, classes) may be the patients, and is marked as such.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import ks_2samp

from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.errors import BadInput
from marrowscope.evaluation.matching import Floats
from marrowscope.evaluation.tables import Table

FALSE_ALARMS = 0.05
"""Probability, at most, of an alarm over a random batch of fields like those of training."""
CENTRAL = (5.0, 95.0)
"""Percentiles of training fields between which the median of a batch raises no alarm."""
MIX_TRIFLE = 0.1
ENOUGH_FIELDS = 5
"""Fewer fields prove nothing: no alarm is raised by them."""
PERMUTATIONS = 999
ALL_LOOKS = "all looks"
MIX = "mix of classes"

Kind = Literal["looks", "finds"]


@dataclass(frozen=True)
class Drift:
    """One statistic. usual: 5th, 50th and 95th percentile of training fields; incoming: those of the batch.

    away: from the training median to that of the batch, in units of the way from the median to the near percentile:
    beyond 1 it is outside what is usual. p: probability of such a difference by accident.
    """

    name: str
    kind: Kind
    usual: tuple[float, float, float]
    incoming: tuple[float, float, float]
    away: float
    p: float
    drifted: bool


@dataclass(frozen=True, eq=False)
class DriftReport:
    """All statistics that both sides have, those farthest away first. fields: of the batch."""

    fields: int
    compared_with: int
    rows: tuple[Drift, ...]

    @property
    def drifted(self) -> tuple[Drift, ...]:
        """What raises the alarm."""
        return tuple(row for row in self.rows if row.drifted)

    @property
    def alarm(self) -> bool:
        """Whether anything has drifted."""
        return bool(self.drifted)

    def verdict(self) -> str:
        """One line for the operator."""
        if self.fields < ENOUGH_FIELDS:
            return f"{self.fields} fields are too few to tell whether they look like those of training"
        if not self.alarm:
            return f"these {self.fields} fields look like those of training"
        names = ", ".join(f"{row.name} ({row.away:+.1f})" for row in self.drifted)
        only_found = all(row.kind == "finds" for row in self.drifted)
        why = "; the patients may differ, and not the pictures" if only_found else ""
        return f"these {self.fields} fields are unlike those of training: {names}{why}"

    def table(self) -> Table:
        """Every statistic, as a table."""
        rows = tuple(
            (
                row.name,
                _three(row.usual),
                _three(row.incoming),
                f"{row.away:+.1f}",
                f"{row.p:.2g}",
                "drifted" if row.drifted else "",
            )
            for row in self.rows
        )
        columns = ("statistic", "training: median (5-95 %)", "these: median (5-95 %)", "away", "p", "verdict")
        return Table(f"Drift of {self.fields} fields against {self.compared_with} of training", columns, rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [{name: getattr(row, name) for name in Drift.__dataclass_fields__} for row in self.rows]
        return {"alarm": self.alarm, "fields": self.fields, "compared_with": self.compared_with, "statistics": rows}


def drift(seen: FieldsSeen, incoming: FieldsSeen, *, seed: int = 0) -> DriftReport:
    """Compare a batch of fields with those of training. BadInput where one of them has no statistics at all."""
    looks = _both(seen.looks, incoming.looks)
    finds = _both(seen.finds, incoming.finds)
    # A model that was taught a class since has one class more than its training fields were counted by.
    mix = bool(seen.mix) and bool(incoming.mix) and len(seen.mix[0]) == len(incoming.mix[0])
    tests = len(looks) + (len(looks) > 1) + len(finds) + mix
    fields = _count(incoming)
    if not tests or not fields:
        raise BadInput("there are no statistics to compare. Measure the training fields: `marrowscope drift --learn`.")
    level = FALSE_ALARMS / tests if fields >= ENOUGH_FIELDS else 0.0
    rows = [_compared(name, "looks", ours, theirs, level) for name, (ours, theirs) in looks.items()]
    if len(looks) > 1:
        far, farther = _distances(
            np.column_stack([ours for ours, _ in looks.values()]),
            np.column_stack([theirs for _, theirs in looks.values()]),
        )
        rows.append(_compared(ALL_LOOKS, "looks", far, farther, level, farther=True))
    rows += [_compared(name, "finds", ours, theirs, level) for name, (ours, theirs) in finds.items()]
    if mix:
        rows.append(_mix(np.asarray(seen.mix, np.float64), np.asarray(incoming.mix, np.float64), level, seed))
    rows.sort(key=lambda row: (not row.drifted, -abs(row.away)))
    return DriftReport(fields, _count(seen), tuple(rows))


def _count(seen: FieldsSeen) -> int:
    columns = (*seen.looks.values(), *seen.finds.values(), seen.mix)
    return max(len(column) for column in columns)


def _both(
    seen: Mapping[str, Sequence[float]], incoming: Mapping[str, Sequence[float]]
) -> dict[str, tuple[Floats, Floats]]:
    """The statistics that both have values of."""
    return {
        name: (np.asarray(values, np.float64), np.asarray(incoming[name], np.float64))
        for name, values in seen.items()
        if len(values) and len(incoming.get(name, ()))
    }


def _compared(name: str, kind: Kind, seen: Floats, incoming: Floats, level: float, *, farther: bool = False) -> Drift:
    """One statistic; farther: only values larger than those of training are a drift."""
    usual, here = (_spread(values) for values in (seen, incoming))
    with warnings.catch_warnings():
        # Where it cannot count exactly it approximates, and warns.
        warnings.simplefilter("ignore", RuntimeWarning)
        # "less": the distribution function of what comes in lies below, so its values are the larger ones.
        p = float(ks_2samp(incoming, seen, alternative="less" if farther else "two-sided").pvalue)
    away = _away(usual, here[1])
    return Drift(name, kind, usual, here, away, p, p < level and (away > 1 if farther else abs(away) > 1))


def _away(usual: tuple[float, float, float], median: float) -> float:
    low, middle, high = usual
    reach = high - middle if median >= middle else middle - low
    # Where training fields are all alike, any difference is outside, by a number that can be printed.
    return float(np.clip((median - middle) / max(reach, 1e-9), -99, 99))


def _spread(values: Floats) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, [CENTRAL[0], 50, CENTRAL[1]]).tolist()
    return low, middle, high


def _distances(seen: Floats, incoming: Floats) -> tuple[Floats, Floats]:
    """Mahalanobis distances from the training fields, (n,) and (m,); each training field from the rest of them."""
    n = len(seen)
    centred = seen - seen.mean(axis=0)
    scatter = centred.T @ centred
    away = incoming - seen.mean(axis=0)
    theirs = np.linalg.solve(_covariance(scatter, n), away.T).T
    # What the mean and the scatter are without each field follows from those with it.
    offset = centred * n / max(n - 1, 1)
    without = scatter - np.einsum("ni,nj->nij", centred, offset)
    ours = np.linalg.solve(_covariance(without, n - 1), offset[..., None])[..., 0]
    return np.sqrt((ours * offset).sum(axis=1)), np.sqrt((theirs * away).sum(axis=1))


def _covariance(scatter: Floats, n: int) -> Floats:
    """Of scatter matrices (..., d, d) of n fields, drawn a little towards the diagonal: that of few fields, or of ones
    that are all alike, can then be inverted.
    """
    raw = scatter / max(n - 1, 1)
    size = scatter.shape[-1]
    shrink = size / (size + max(n, 1))
    own = np.eye(size) * np.maximum(raw, 1e-6)
    return np.asarray((1 - shrink) * np.where(np.eye(size) > 0, own, raw) + shrink * own)


def _mix(seen: Floats, incoming: Floats, level: float, seed: int) -> Drift:
    """Shares of classes: how many cells would have to change class; p by permuting fields."""
    n, whole = len(seen), np.concatenate([seen, incoming])
    total = whole.sum(axis=0)
    here = _apart(incoming.sum(axis=0), seen.sum(axis=0))
    rng = np.random.default_rng(seed)
    drawn = np.empty(PERMUTATIONS)
    for i in range(PERMUTATIONS):
        ours = whole[rng.permutation(len(whole))[:n]].sum(axis=0)
        drawn[i] = _apart(total - ours, ours)
    p = float((1 + (drawn >= here - 1e-12).sum()) / (1 + PERMUTATIONS))
    usual = _spread(drawn)
    return Drift(MIX, "finds", usual, (here, here, here), here / MIX_TRIFLE, p, p < level and here > MIX_TRIFLE)


def _apart(counts: Floats, others: Floats) -> float:
    """Total variation of two mixes, 0..1; 0 where one of them has no cell."""
    if not counts.sum() or not others.sum():
        return 0.0
    return float(np.abs(counts / counts.sum() - others / others.sum()).sum() / 2)


def _three(values: tuple[float, float, float]) -> str:
    low, middle, high = values
    return f"{middle:.3g}" if low == high else f"{middle:.3g} ({low:.3g} to {high:.3g})"
