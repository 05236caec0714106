"""How far two readers agree on the same cells: Cohen's kappa, by class, by lineage, and over maturation.

kappa = (observed - expected) / (1 - expected), where expected is what two readers with these habits would agree on by
chance (Cohen, Educ Psychol Meas 1960;20:37-46). Weighted kappa forgives neighbours: a metamyelocyte called myelocyte is
half a mistake (Cohen, Psychol Bull 1968;70:213-220). Intervals are the large-sample ones of Fleiss, Cohen and Everitt
(Psychol Bull 1969;72:323-327), of which the plain kappa is the case of identity weights.

Where the readers agree on every cell that formula gives an interval without width. The lower end is then that of the
exact interval of the observed agreement, carried over to kappa.

Experts reach about .7 on blasts, more on lineages than on stages: so kappa is given for both, and by class, since one
common class agreed on hides a rare one that is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from marrowscope.cells.differential import exact_interval
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy
from marrowscope.errors import BadInput
from marrowscope.evaluation.matching import Floats, Ints
from marrowscope.evaluation.scores import Estimate

Weights = Literal["linear", "quadratic"]
_Z = 1.959963984540054
"""Of a two-sided 95 % interval."""


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance on `n` cells. kappa has no value where chance alone explains everything (one class)."""

    n: int
    observed: float | None
    expected: float | None
    kappa: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"n": self.n, "observed": self.observed, "expected": self.expected, "kappa": _estimate(self.kappa)}


@dataclass(frozen=True)
class ClassAgreement:
    """One class, or one lineage, against all others.

    first, second: cells that each reader calls so. both: that both do. positive: 2 both / (first + second), how often
    the other says the same when one says this class; its interval is exact, of both among the cells that either named.
    """

    name: str
    code: str
    first: int
    second: int
    both: int
    kappa: Estimate
    positive: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "code": self.code,
            "first": self.first,
            "second": self.second,
            "both": self.both,
            "kappa": _estimate(self.kappa),
            "positive": _estimate(self.positive),
        }


@dataclass(frozen=True)
class Confusion:
    """A pair of names for the same cells: `count` of them are `first` to one reader and `second` to the other."""

    first: CellClass
    second: CellClass
    count: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """All that two readers have in common, and not.

    table: (classes, classes), rows the first reader's names, columns the second's. lineages: kappa over lineages.
    by_class, by_lineage: those that either reader used. maturation: weighted kappa over the stages of a lineage, of the
    cells that both put there with a stage.
    """

    taxonomy: Taxonomy
    table: Ints
    classes: Kappa
    lineages: Kappa
    by_class: tuple[ClassAgreement, ...]
    by_lineage: tuple[ClassAgreement, ...]
    maturation: dict[Lineage, Kappa]

    @property
    def n(self) -> int:
        """Cells that both have read."""
        return self.classes.n

    @property
    def observed(self) -> float | None:
        """Share of the cells that both call the same."""
        return self.classes.observed

    @property
    def kappa(self) -> Estimate:
        """Cohen's kappa over the classes."""
        return self.classes.kappa

    @property
    def confusions(self) -> tuple[Confusion, ...]:
        """Every pair of different names, the commonest first."""
        rows, columns = np.nonzero(self.table * (1 - np.eye(len(self.table), dtype=np.int64)))
        pairs = [(int(self.table[i, j]), int(i), int(j)) for i, j in zip(rows, columns, strict=True)]
        return tuple(
            Confusion(self.taxonomy[i], self.taxonomy[j], n) for n, i, j in sorted(pairs, key=lambda p: (-p[0], p[1:]))
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "n": self.n,
            "classes": self.classes.to_dict(),
            "lineages": self.lineages.to_dict(),
            "by_class": [row.to_dict() for row in self.by_class],
            "by_lineage": [row.to_dict() for row in self.by_lineage],
            "maturation": [{"lineage": x.value, **kappa.to_dict()} for x, kappa in self.maturation.items()],
            "confusions": [{"first": c.first.code, "second": c.second.code, "count": c.count} for c in self.confusions],
        }


def agreement(
    first: Sequence[int], second: Sequence[int], taxonomy: Taxonomy, *, weights: Weights = "quadratic"
) -> Agreement:
    """Compare what two readers call the same cells. first, second: labels 0..K-1, in the same order of cells.

    weights: how maturation is weighted. BadInput where the readers' cells differ in number, or there is none.
    """
    a, b = np.asarray(first, np.int64).reshape(-1), np.asarray(second, np.int64).reshape(-1)
    if len(a) != len(b):
        raise BadInput(f"the readers have named {len(a)} and {len(b)} cells. Give the cells that both have read.")
    if not len(a):
        raise BadInput("no cell was read by both. Let both read the same case.")
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= len(taxonomy):
        raise ValueError(f"labels must lie in 0..{len(taxonomy) - 1}")
    table = cross_table(a, b, len(taxonomy))
    scheme, index = taxonomy.lineage_scheme()
    to_lineage = np.asarray(index)
    lineage_table = cross_table(to_lineage[a], to_lineage[b], len(scheme))
    return Agreement(
        taxonomy,
        table,
        cohen_kappa(table),
        cohen_kappa(lineage_table),
        _one_against_rest(table, taxonomy),
        _one_against_rest(lineage_table, scheme),
        _maturation(a, b, taxonomy, weights),
    )


def cross_table(first: NDArray[np.int64], second: NDArray[np.int64], classes: int) -> Ints:
    """How often each pair of names was given to a cell, (classes, classes)."""
    return np.bincount(first * classes + second, minlength=classes * classes).astype(np.int64).reshape(classes, classes)


def cohen_kappa(table: ArrayLike, weights: ArrayLike | None = None) -> Kappa:
    """Kappa of a (k, k) table of counts, with its 95 % interval; no value where chance explains all.

    weights: (k, k), 1 for full agreement down to 0; None counts equal names alone.
    """
    counts = np.asarray(table, np.float64)
    n = float(counts.sum())
    if not n:
        return Kappa(0, None, None, Estimate(None))
    w = np.eye(len(counts)) if weights is None else np.asarray(weights, np.float64)
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float((w * p).sum()), float(rows @ w @ columns)
    if expected >= 1 - 1e-12:
        return Kappa(int(n), observed, expected, Estimate(None))
    kappa = (observed - expected) / (1 - expected)
    if observed >= 1 - 1e-12:
        low = (exact_interval(int(n), int(n))[0] - expected) / (1 - expected)
        return Kappa(int(n), 1.0, expected, Estimate(1.0, max(low, -1.0), 1.0))
    half = _Z * _standard_error(p, w, rows, columns, kappa, expected, n)
    return Kappa(int(n), observed, expected, Estimate(kappa, max(kappa - half, -1.0), min(kappa + half, 1.0)))


def _standard_error(
    p: Floats, w: Floats, rows: Floats, columns: Floats, kappa: float, expected: float, n: float
) -> float:
    """Of kappa where it is not zero; Fleiss, Cohen and Everitt 1969, eq. 13 (weighted), 16 (not)."""
    row_mean, column_mean = w @ columns, rows @ w
    inner = w - (row_mean[:, None] + column_mean[None]) * (1 - kappa)
    variance = float((p * inner**2).sum()) - (kappa - expected * (1 - kappa)) ** 2
    return float(np.sqrt(max(variance, 0.0) / n)) / (1 - expected)


def maturation_weights(stages: Sequence[int], how: Weights = "quadratic") -> Floats:
    """Weights (k, k) of classes by their stages: 1 at the same stage, 0 at the ends of the line."""
    line = np.asarray(stages, np.float64)
    span = max(float(line.max() - line.min()), 1.0)
    apart = np.abs(line[:, None] - line[None]) / span
    return np.asarray(1 - (apart**2 if how == "quadratic" else apart))


def _maturation(a: Ints, b: Ints, taxonomy: Taxonomy, how: Weights) -> dict[Lineage, Kappa]:
    result = {}
    for lineage in taxonomy.lineages:
        staged = {i: c.stage for i, c in enumerate(taxonomy) if c.lineage == lineage and c.stage is not None}
        stages = sorted(set(staged.values()))
        if len(stages) < 2:
            continue
        place = np.full(len(taxonomy), -1)
        for label, stage in staged.items():
            place[label] = stages.index(stage)
        both = (place[a] >= 0) & (place[b] >= 0)
        if both.any():
            table = cross_table(place[a][both], place[b][both], len(stages))
            result[lineage] = cohen_kappa(table, maturation_weights(stages, how))
    return result


def _one_against_rest(table: Ints, taxonomy: Taxonomy) -> tuple[ClassAgreement, ...]:
    rows = []
    n = int(table.sum())
    for label, cell in enumerate(taxonomy):
        both = int(table[label, label])
        first, second = int(table[label].sum()), int(table[:, label].sum())
        if not first + second:
            continue
        two = np.asarray([[both, first - both], [second - both, n - first - second + both]])
        rows.append(
            ClassAgreement(
                cell.name, cell.code, first, second, both, cohen_kappa(two).kappa, _positive(both, first, second)
            )
        )
    return tuple(rows)


def _positive(both: int, first: int, second: int) -> Estimate:
    """2 both / (first + second), with the exact interval of both among the cells that either reader named so."""
    either = first + second - both
    low, high = (2 * share / (1 + share) for share in exact_interval(both, either))
    return Estimate(2 * both / (first + second), low, high)


def _estimate(value: Estimate) -> dict[str, float | None]:
    return {"value": value.value, "low": value.low, "high": value.high}
