"""When enough cells were counted, asked again after every field.

Three ways to be done, the first that comes:

1. the limit: `fields` fields (the paper's 200) or `at_most` cells. More is not asked of anybody; what still straddles
   a cut-off is said;
2. the planned end: `cells` cells (500, WHO), and no clinical cut-off lies in a printed 95 % interval;
3. early: at least `at_least` cells, and every cut-off lies outside the wider 99 % interval.

At 500 cells with "blasts 19.4 % (16.0-23.1) straddles 20 %: count more" one is not done: the diagnosis may hang on it.

On looking again and again. The printed interval is the exact 95 % interval for a number of cells fixed beforehand. Who
looks after each field and stops when a cut-off is clear gives chance many tries, so that interval misses more often
than 5 % when counting stopped because of it. We do not widen what is printed: it would differ from every table and
from a count made to the same number without looking. Instead early stopping must be clear at 99 %, and the counting
has a limit. What remains, computed exactly for a look after every 10 cells from 100 to 1000 and cut-offs at 5, 10 and
20 %: the verdict lies on the wrong side of a cut-off in at most 8 % of marrows, and the printed interval holds the
truth in at least 85 % (both where the true share is the cut-off itself); a few percent away from every cut-off in 94 %
or more. With 95 % at every look it would be 12 % and 78 %. Who needs 95 % without an if fixes the number beforehand:
at_least = cells = at_most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from marrowscope.cells.differential import Differential, Share, exact_interval
from marrowscope.errors import BadInput

EARLY_CONFIDENCE = 0.99


@dataclass(frozen=True)
class CutOff:
    """A clinical line: the share of these classes together against `at` percent of the counted cells."""

    name: str
    codes: tuple[str, ...]
    at: float

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.codes:
            raise BadInput("a cut-off needs a name and at least one class. Give both.")
        if not 0 < self.at < 100:
            raise BadInput(f"cut-off '{self.name}': must lie between 0 and 100 percent, got {self.at}. Correct it.")


BLASTS = ("MYELOBLAST", "MONOBLAST", "PROMONO", "LYMPHOBLAST", "BLAST")
"""Blasts, with promonocytes, which count as such."""
PLASMA_CELLS = ("PLASMABLAST", "PROPLASMA", "PLASMA")
DEFAULT_CUTOFFS = (
    CutOff("blasts", BLASTS, 5.0),
    CutOff("blasts", BLASTS, 10.0),
    CutOff("blasts", BLASTS, 20.0),
    CutOff("plasma cells", PLASMA_CELLS, 10.0),
)


class Standing(StrEnum):
    """Where a share lies against a cut-off."""

    BELOW = "below"
    ABOVE = "above"
    STRADDLES = "straddles"


@dataclass(frozen=True)
class CutOffVerdict:
    """A share against its cut-off. clear: the printed interval does not touch it; early: nor does the 99 % one."""

    name: str
    at: float
    share: Share
    standing: Standing
    early: bool

    @property
    def clear(self) -> bool:
        """Whether the printed 95 % interval lies on one side."""
        return self.standing is not Standing.STRADDLES

    @property
    def text(self) -> str:
        """In one sentence."""
        end = ": count more" if self.standing is Standing.STRADDLES else ""
        verb = "straddles" if self.standing is Standing.STRADDLES else f"is {self.standing.value}"
        return f"{self.name} {self.share} {verb} {self.at:g} %{end}"


@dataclass(frozen=True)
class StopVerdict:
    """Whether enough was counted, why (not), and how every cut-off stands."""

    stop: bool
    reasons: tuple[str, ...]
    cutoffs: tuple[CutOffVerdict, ...]
    cells: int
    fields: int


@dataclass(frozen=True)
class StopRule:
    """See the module. fields, cells, at_most, at_least: numbers of fields and of counted cells."""

    fields: int = 200
    cells: int = 500
    cutoffs: tuple[CutOff, ...] = DEFAULT_CUTOFFS
    at_most: int = 1000
    at_least: int = 100

    def __post_init__(self) -> None:
        if self.fields < 1 or self.cells < 1:
            raise BadInput(f"the stop rule needs at least 1 field and 1 cell, got {self.fields}, {self.cells}.")
        # A lab that plans for more, or for less, need not say the other two.
        object.__setattr__(self, "at_most", max(self.at_most, self.cells))
        object.__setattr__(self, "at_least", min(self.at_least, self.cells))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StopRule":
        """Read what `to_dict` wrote; what is left out keeps its default. BadInput for what cannot be a rule."""
        if extra := set(values) - {f.name for f in fields(cls)}:
            raise BadInput(
                f"stop rule: unknown entry {sorted(extra)}. Known: {', '.join(f.name for f in fields(cls))}."
            )
        given = dict(values)
        try:
            if "cutoffs" in given:
                given["cutoffs"] = tuple(
                    CutOff(str(c["name"]), tuple(map(str, c["codes"])), float(c["at"])) for c in given["cutoffs"]
                )
            whole = {key: int(value) for key, value in given.items() if key != "cutoffs"}
        except (KeyError, TypeError, ValueError) as e:
            raise BadInput(f"stop rule: {e!r}. Cut-offs need name, codes and at; the rest are whole numbers.") from None
        return cls(**(given | whole))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def judge(self, differential: Differential, fields: int) -> StopVerdict:
        """Whether `fields` fields with these cells are enough. A cut-off whose classes the scheme lacks is left out."""
        total = differential.total
        cutoffs = tuple(v for c in self.cutoffs if (v := judge_cutoff(c, differential)) is not None)
        straddling = tuple(dict.fromkeys(v.text for v in cutoffs if not v.clear))
        done = ""
        if fields >= self.fields:
            done = f"{fields} fields: the limit of {self.fields}"
        elif total >= self.at_most:
            done = f"{total} cells: the limit of {self.at_most}"
        elif total >= self.cells and not straddling:
            done = f"{total} cells: a full count of {self.cells}"
        elif total >= self.at_least and cutoffs and all(v.early for v in cutoffs):
            done = f"{total} cells: every cut-off is clear, also at {EARLY_CONFIDENCE:.0%}"
        missing = "" if done or total >= self.cells else f"{total} of {self.cells} cells"
        reasons = (*(x for x in (done, missing) if x), *straddling)
        return StopVerdict(bool(done), reasons, cutoffs, total, fields)


def judge_cutoff(cutoff: CutOff, differential: Differential) -> CutOffVerdict | None:
    """How the share of its classes stands; None where the scheme has none of them."""
    counts = [share.count for cell, share in differential.classes if cell.code in cutoff.codes]
    if not counts:
        return None
    share = Share(sum(counts), differential.total)
    low, high = share.interval
    early_low, early_high = exact_interval(share.count, share.total, EARLY_CONFIDENCE)
    early = 100 * early_high < cutoff.at or 100 * early_low > cutoff.at
    return CutOffVerdict(cutoff.name, cutoff.at, share, _standing(low, high, cutoff.at), early)


def _standing(low: float, high: float, at: float) -> Standing:
    if high < at:
        return Standing.BELOW
    return Standing.ABOVE if low > at else Standing.STRADDLES


def worst(cutoffs: Sequence[CutOffVerdict]) -> CutOffVerdict | None:
    """The cut-off to speak of first: one that straddles, else the nearest to its share; None without any."""
    return min(cutoffs, key=lambda v: (v.clear, abs((v.share.percent or 0.0) - v.at)), default=None)
