"""The differential: counts of cells -> percentages with exact intervals, and the myeloid:erythroid ratio.

Every percentage a doctor reads has an interval beside it: 97 blasts of 500 are 19.4 % (16.0-23.1), which straddles the
20 % line. Intervals are Clopper-Pearson (Biometrika 1934;26:404-413): exact for the binomial, never too narrow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy


def exact_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion, each end in 0..1; (0, 1) where nothing was counted."""
    if not 0 <= count <= total:
        raise ValueError(f"count must lie in 0..total, got {count} of {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high


@dataclass(frozen=True)
class Share:
    """`count` of `total` cells, and the exact 95 % interval of the proportion, in percent."""

    count: int
    total: int

    @property
    def percent(self) -> float | None:
        """Percent of the total; None where nothing was counted."""
        return 100 * self.count / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the exact 95 % interval, in percent."""
        low, high = exact_interval(self.count, self.total)
        return 100 * low, 100 * high

    def __str__(self) -> str:
        low, high = self.interval
        return "-" if self.percent is None else f"{self.percent:.1f} % ({low:.1f}-{high:.1f})"


@dataclass(frozen=True)
class MyeloidErythroid:
    """The M:E ratio: granulocytes and their precursors to nucleated red cells, with an exact 95 % interval.

    The interval is that of M / (M + E), carried over to the ratio. Monocytes do not count as myeloid here.
    """

    myeloid: int
    erythroid: int

    @property
    def ratio(self) -> float | None:
        """M / E; None without erythroid cells."""
        return self.myeloid / self.erythroid if self.erythroid else None

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the interval; the upper one is infinite where E may be absent."""
        low, high = exact_interval(self.myeloid, self.myeloid + self.erythroid)
        return low / (1 - low) if low < 1 else float("inf"), high / (1 - high) if high < 1 else float("inf")

    def __str__(self) -> str:
        low, high = self.interval
        return "-" if self.ratio is None else f"{self.ratio:.2f} ({low:.2f}-{high:.2f})"


@dataclass(frozen=True)
class Differential:
    """Share of every counted class and lineage among all counted cells."""

    taxonomy: Taxonomy
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.taxonomy):
            raise ValueError(f"counts must be {len(self.taxonomy)}, one a class, got {len(self.counts)}")
        if min(self.counts) < 0:
            raise ValueError(f"counts must not be negative, got {min(self.counts)}")

    @property
    def total(self) -> int:
        """Cells that enter the differential: red cells, platelets, megakaryocytes and debris do not."""
        return sum(n for n, c in zip(self.counts, self.taxonomy, strict=True) if c.counted)

    @property
    def classes(self) -> tuple[tuple[CellClass, Share], ...]:
        """Every counted class with its share, in the order of the taxonomy."""
        total = self.total
        return tuple((c, Share(n, total)) for n, c in zip(self.counts, self.taxonomy, strict=True) if c.counted)

    @property
    def uncounted(self) -> tuple[tuple[CellClass, int], ...]:
        """What was seen but stands outside the differential."""
        return tuple((c, n) for n, c in zip(self.counts, self.taxonomy, strict=True) if not c.counted and n)

    def of_lineage(self, lineage: Lineage) -> Share:
        """Share of a whole lineage."""
        return Share(sum(s.count for c, s in self.classes if c.lineage == lineage), self.total)

    @property
    def lineages(self) -> tuple[tuple[Lineage, Share], ...]:
        """Every lineage of the taxonomy with its share."""
        return tuple(
            (x, self.of_lineage(x)) for x in self.taxonomy.lineages if any(c.lineage == x for c, _ in self.classes)
        )

    @property
    def myeloid_erythroid(self) -> MyeloidErythroid:
        """The M:E ratio."""
        return MyeloidErythroid(self.of_lineage(Lineage.GRANULOCYTIC).count, self.of_lineage(Lineage.ERYTHROID).count)


def count_labels(labels: Sequence[int], taxonomy: Taxonomy) -> Differential:
    """The differential of cells given as class indices."""
    counts = np.bincount(np.asarray(labels, np.int64).reshape(-1), minlength=len(taxonomy))
    return Differential(taxonomy, tuple(int(n) for n in counts))


def count_detections(fields: Iterable[Detections], taxonomy: Taxonomy, *, score: float = 0.0) -> Differential:
    """The differential of all detections with at least this score. ValueError for detections of another taxonomy."""
    labels: list[int] = []
    for detections in fields:
        if detections.taxonomy != taxonomy:
            raise ValueError(
                f"detections of scheme '{detections.taxonomy.name}' cannot be counted in scheme '{taxonomy.name}'"
            )
        labels.extend(int(x) for x in detections.above(score).labels)
    return count_labels(labels, taxonomy)
