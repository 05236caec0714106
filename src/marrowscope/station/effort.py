"""What a review costs: seconds, keystrokes and clicks, by case and by person.

A review after a machine was slower than the microscope in seven laboratories (326 s against 191 s), so it is measured.
What counts as a keystroke is said in `keyboards`. The target: at most 60 for a case of 200 cells with 90 % right calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING

from marrowscope.errors import BadInput

if TYPE_CHECKING:
    from marrowscope.store.store import Store

LONGEST_S = 3600.0
"""Seconds in one message of the page, which sends twice a minute; more is a clock gone wrong."""
MOST = 20_000
"""Keystrokes, or clicks, in one message."""


@dataclass(frozen=True)
class CaseEffort:
    """What a case took so far, of all who worked on it. cells: those that count; reviewed: of these."""

    specimen_id: int
    seconds: float
    keystrokes: int
    clicks: int
    cells: int
    reviewed: int

    @property
    def keystrokes_per_200(self) -> float | None:
        """Keystrokes for 200 reviewed cells, to hold against the target; None before any is reviewed."""
        return 200 * self.keystrokes / self.reviewed if self.reviewed else None


@dataclass(frozen=True)
class PersonEffort:
    """What one person's cases took: how many, and the middle one of each kind."""

    who: str
    cases: int
    seconds: float
    keystrokes: float
    clicks: float


def add_effort(
    store: "Store",
    specimen_id: int,
    seconds: float,
    keystrokes: int,
    clicks: int,
    *,
    by: str,
    now: datetime | None = None,
) -> None:
    """Note what was spent since the last note. BadInput for what cannot be; nothing is written for nothing."""
    if not 0 <= seconds <= LONGEST_S:
        raise BadInput(f"effort: {seconds} seconds since the last note cannot be. Give 0 to {LONGEST_S:.0f}.")
    if not (0 <= keystrokes <= MOST and 0 <= clicks <= MOST):
        raise BadInput(f"effort: {keystrokes} keystrokes, {clicks} clicks cannot be. Give 0 to {MOST}.")
    if seconds or keystrokes or clicks:
        store.add_effort(specimen_id, seconds, keystrokes, clicks, by=by, now=now)


def case_effort(store: "Store", specimen_id: int) -> CaseEffort:
    """The effort of a case."""
    spent, counts = store.effort(specimen_id), store.counts(specimen_id)
    return CaseEffort(
        specimen_id,
        sum(e.seconds for e in spent),
        sum(e.keystrokes for e in spent),
        sum(e.clicks for e in spent),
        sum(counting for counting, _ in counts.values()),
        sum(reviewed for _, reviewed in counts.values()),
    )


def person_efforts(store: "Store", specimen_ids: Iterable[int]) -> tuple[PersonEffort, ...]:
    """The effort of each person over these cases, medians of a case; in order of name."""
    spent: dict[str, list[tuple[float, int, int]]] = {}
    for specimen_id in specimen_ids:
        for effort in store.effort(specimen_id):
            spent.setdefault(effort.who, []).append((effort.seconds, effort.keystrokes, effort.clicks))
    return tuple(
        PersonEffort(who, len(cases), *(float(median(kind)) for kind in zip(*cases, strict=True)))
        for who, cases in sorted(spent.items())
    )
