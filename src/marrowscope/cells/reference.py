"""Reference ranges: what a healthy marrow has, from whom, and from when.

A set is a TOML file that a lab edits: each range speaks of one class, of several classes together, of a lineage or of
an index, in percent of the counted cells (an index: as the ratio itself).

    name = "our lab"
    source = "40 donors, internal study 2025-03"
    dated = "2025-03"
    [[ranges]]
    codes = ["MYELO"]            # or: lineage = "erythroid", or: index = "M:E"
    low = 5.0
    high = 25.0
    typical = 15.0               # mean or median, where that is all the source states
    name = "myelocytes"          # of several classes together
    chinese = "..."

Several sets can hold together: the first that speaks of a thing is heard (`ReferenceSets`). A range without `low` and
`high` is shown, and flags nothing.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

from marrowscope.cells.taxonomy import Lineage
from marrowscope.errors import BadInput


@dataclass(frozen=True)
class ReferenceRange:
    """What is usual of one thing: of these classes together, of a lineage, or of an index; in percent, or the ratio.

    name, chinese: what several classes are called together.
    """

    codes: tuple[str, ...] = ()
    lineage: Lineage | None = None
    index: str = ""
    low: float | None = None
    high: float | None = None
    typical: float | None = None
    name: str = ""
    chinese: str = ""

    def __post_init__(self) -> None:
        what = ", ".join(self.codes) or self.lineage or self.index
        if sum((bool(self.codes), self.lineage is not None, bool(self.index))) != 1:
            raise BadInput(f"range of '{what}': must speak of classes, or a lineage, or an index. Give exactly one.")
        limits = [x for x in (self.low, self.typical, self.high) if x is not None]
        if not limits or limits != sorted(limits) or limits[0] < 0 or (not self.index and limits[-1] > 100):
            raise BadInput(
                f"range of '{what}': low {self.low}, typical {self.typical}, high {self.high} are no range. Give at "
                "least one, in rising order, percentages between 0 and 100."
            )

    @property
    def text(self) -> str:
        """As a report prints it: `5–25`, `< 3`, `> 2`, or `about 7` where only that is known."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g}–{self.high:g}"
        if self.high is not None:
            return f"< {self.high:g}"
        return f"> {self.low:g}" if self.low is not None else f"~ {self.typical:g}"


class Flag(StrEnum):
    """On which side of the range a value lies."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True)
class Flagged:
    """A value outside its range. certain: so is its whole 95 % interval; else the value may be usual after all."""

    flag: Flag
    certain: bool


def flag(value: float | None, interval: tuple[float, float], usual: ReferenceRange | None) -> Flagged | None:
    """Where `value` lies outside the range; None where it is inside, or where there is no limit to lie outside of."""
    if value is None or usual is None:
        return None
    if usual.low is not None and value < usual.low:
        return Flagged(Flag.LOW, interval[1] < usual.low)
    if usual.high is not None and value > usual.high:
        return Flagged(Flag.HIGH, interval[0] > usual.high)
    return None


@dataclass(frozen=True)
class ReferenceRanges:
    """A set of ranges with its source. dated: year or day of the source. note: what a reader must know of it."""

    name: str
    source: str
    dated: str
    ranges: tuple[ReferenceRange, ...]
    note: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "reference ranges") -> "ReferenceRanges":
        """Read a set. A range may give `code = "X"` for `codes = ["X"]`. BadInput says what is wrong, and where."""
        if extra := set(values) - {"name", "source", "dated", "note", "ranges"}:
            raise BadInput(f"{where}: unknown entry {sorted(extra)}. Known: name, source, dated, note, ranges.")
        for key in ("name", "source", "dated"):
            if not isinstance(values.get(key), str) or not values[key].strip():
                raise BadInput(f"{where}: needs `{key}`, in quotes. A range without a source is no reference.")
        entries = values.get("ranges")
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
            raise BadInput(f"{where}: has no ranges. List at least one [[ranges]] entry.")
        ranges = tuple(_read_range(entry, f"{where}, range {n}") for n, entry in enumerate(entries, 1))
        spoken = [thing for r in ranges for thing in _things(r)]
        if twice := {str(t[1]) for t in spoken if spoken.count(t) > 1}:
            raise BadInput(f"{where}: speaks twice of {', '.join(sorted(twice))}. Leave one.")
        return cls(values["name"], values["source"], values["dated"], ranges, str(values.get("note", "")))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML; what is not stated is left out."""
        return {
            "name": self.name,
            "source": self.source,
            "dated": self.dated,
            "note": self.note,
            "ranges": [
                {k: list(v) if k == "codes" else v for k, v in vars(r).items() if v not in (None, "", ())}
                for r in self.ranges
            ],
        }


@dataclass(frozen=True)
class Usual:
    """A range and the set that it comes from."""

    range: ReferenceRange
    set: ReferenceRanges


@dataclass(frozen=True)
class ReferenceSets:
    """Several sets at once; of two that speak of the same thing the first is heard."""

    sets: tuple[ReferenceRanges, ...] = ()

    def of_codes(self, codes: Iterable[str]) -> Usual | None:
        """The range of exactly these classes together."""
        wanted = frozenset(codes)
        return self._first(lambda r: bool(r.codes) and frozenset(r.codes) == wanted)

    def of_lineage(self, lineage: Lineage) -> Usual | None:
        """The range of a lineage."""
        return self._first(lambda r: r.lineage == lineage)

    def of_index(self, key: str) -> Usual | None:
        """The range of an index, by its key."""
        return self._first(lambda r: r.index == key)

    def groups(self) -> tuple[Usual, ...]:
        """Ranges of several classes together."""
        found: dict[frozenset[str], Usual] = {}
        for s in self.sets:
            for r in s.ranges:
                if len(r.codes) > 1:
                    found.setdefault(frozenset(r.codes), Usual(r, s))
        return tuple(found.values())

    def _first(self, speaks: Any) -> Usual | None:
        return next((Usual(r, s) for s in self.sets for r in s.ranges if speaks(r)), None)


def builtin_references() -> tuple[str, ...]:
    """Names of the sets that come with marrowscope."""
    folder = resources.files("marrowscope.cells") / "reference_ranges"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_reference(name_or_path: str | Path) -> ReferenceRanges:
    """A built-in set by name (`theml`, `parmentier2020`), or a lab's own TOML file. BadInput: not readable."""
    text = str(name_or_path)
    built_in = text in builtin_references()
    folder = resources.files("marrowscope.cells") / "reference_ranges"
    resource: Any = folder / f"{text}.toml" if built_in else Path(text)
    try:
        values = tomllib.loads(resource.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{text}: no such file. Built-in references: {', '.join(builtin_references())}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"{text}: not readable as TOML: {e}. Write the ranges as TOML in UTF-8.") from None
    return ReferenceRanges.from_dict(values, where=text)


def default_references() -> ReferenceSets:
    """What holds until a lab says otherwise."""
    return ReferenceSets((load_reference("theml"), load_reference("parmentier2020")))


def _things(r: ReferenceRange) -> tuple[tuple[str, object], ...]:
    return (("", frozenset(r.codes) if r.codes else r.lineage or r.index),)


def _read_range(entry: Any, where: str) -> ReferenceRange:
    if not isinstance(entry, Mapping):
        raise BadInput(f"{where}: is no [[ranges]] entry. Write one.")
    values = {k: v for k, v in entry.items() if v is not None}
    if "code" in values and "codes" not in values:
        values["codes"] = [values.pop("code")]
    known = ("codes", "lineage", "index", "low", "high", "typical", "name", "chinese")
    if extra := set(values) - set(known):
        raise BadInput(f"{where}: unknown entry {sorted(extra)}. Known: {', '.join(known)}.")
    for key in ("low", "high", "typical"):
        if key in values and (isinstance(values[key], bool) or not isinstance(values[key], int | float)):
            raise BadInput(f"{where}: `{key}` must be a number, got {values[key]!r}. Correct it.")
    codes = values.get("codes", ())
    if isinstance(codes, str) or not all(isinstance(c, str) for c in codes):
        raise BadInput(f"{where}: `codes` must be a list of class codes, got {codes!r}. Correct it.")
    if "lineage" in values and values["lineage"] not in list(Lineage):
        raise BadInput(f"{where}: lineage '{values['lineage']}' is unknown. Known: {', '.join(Lineage)}.")
    lineage = Lineage(values["lineage"]) if "lineage" in values else None
    return ReferenceRange(**(values | {"codes": tuple(codes), "lineage": lineage}))
