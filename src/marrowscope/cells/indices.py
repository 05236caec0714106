"""Indices of a marrow: ratios of two groups of cells, each with an exact 95 % interval.

The groups are disjoint, so a ratio top / bottom is a proportion p = top / (top + bottom) in other clothes: p / (1 - p).
The interval is the Clopper-Pearson interval of p (Biometrika 1934;26:404-413), carried over.

Groups are made by lineage and stage, not by class, so that they hold in a lab's own scheme too. Cells named without a
stage ("neutrophil", "erythroblast") are in M:E, and in neither part of a maturation index. What counts as myeloid
differs between labs: granulocytes and their precursors, with or without monocytes, is a setting (`Myeloid`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from marrowscope.cells.differential import Differential, exact_interval
from marrowscope.cells.taxonomy import CellClass, Lineage


class Myeloid(StrEnum):
    """What the M of M:E counts."""

    GRANULOCYTES = "granulocytes"
    """Granulocytes and their precursors."""
    WITH_MONOCYTES = "with monocytes"
    """Monocytes and their precursors too."""


@dataclass(frozen=True)
class Index:
    """top cells for every bottom cell. key: short and stable. formula: what is counted. source: where it comes from."""

    key: str
    name: str
    formula: str
    source: str
    top: int
    bottom: int

    @property
    def value(self) -> float | None:
        """The ratio; None without cells in the bottom."""
        return self.top / self.bottom if self.bottom else None

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the exact 95 % interval; the upper one is infinite without cells in the bottom."""
        low, high = exact_interval(self.top, self.top + self.bottom)
        return low / (1 - low) if low < 1 else math.inf, high / (1 - high) if high < 1 else math.inf

    def __str__(self) -> str:
        low, high = self.interval
        return "-" if self.value is None else f"{self.value:.2f} ({low:.2f}-{high:.2f})"


def indices(differential: Differential, *, myeloid: Myeloid = Myeloid.GRANULOCYTES) -> tuple[Index, ...]:
    """M:E; I:Mg and I:Me, immature to mature granulocytes and erythroblasts; M:E of the proliferative pool."""
    monocytes = myeloid is Myeloid.WITH_MONOCYTES
    myeloid_lineages = (Lineage.GRANULOCYTIC, Lineage.MONOCYTIC) if monocytes else (Lineage.GRANULOCYTIC,)
    erythroid = _count(differential, lambda c: c.lineage == Lineage.ERYTHROID)
    return (
        Index(
            "M:E",
            "myeloid : erythroid",
            f"granulocytes and precursors{', monocytes and precursors' if monocytes else ''} : nucleated red cells",
            "ICSH 2008 guideline for marrow reports; whether monocytes are myeloid is a setting of the laboratory",
            _count(differential, lambda c: c.lineage in myeloid_lineages),
            erythroid,
        ),
        Index(
            "I:Mg",
            "immature : mature granulocytes",
            "blast to metamyelocyte : band and segmented",
            "maturation index of granulopoiesis, by stage over the granulocytic lineage",
            _count(differential, _stages(Lineage.GRANULOCYTIC, 1, 4)),
            _count(differential, _stages(Lineage.GRANULOCYTIC, 5, 6)),
        ),
        Index(
            "I:Me",
            "immature : mature erythroblasts",
            "proerythroblast and basophilic : polychromatic and orthochromatic",
            "maturation index of erythropoiesis, by stage over the erythroid lineage",
            _count(differential, _stages(Lineage.ERYTHROID, 1, 2)),
            _count(differential, _stages(Lineage.ERYTHROID, 3, 4)),
        ),
        Index(
            "pM:E",
            "proliferative-pool myeloid : erythroid",
            "blast to myelocyte : nucleated red cells",
            "Lee 2008: hardly changed by blood in the aspirate, unlike M:E",
            _count(differential, _stages(Lineage.GRANULOCYTIC, 1, 3)),
            erythroid,
        ),
    )


def _stages(lineage: Lineage, first: int, last: int) -> Callable[[CellClass], bool]:
    return lambda c: c.lineage == lineage and c.stage is not None and first <= c.stage <= last


def _count(differential: Differential, belongs: Callable[[CellClass], bool]) -> int:
    return sum(share.count for cell, share in differential.classes if belongs(cell))
