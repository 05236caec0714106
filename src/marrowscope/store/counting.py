"""How a cell stands now, and the counters that follow it.

Pages show counts of a million cells at once; so they are kept (`tallies`, `totals`, and the numbers in `specimens`),
changed in the transaction that changes the cells. `recount` counts anew; the integrity check compares.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, case, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from marrowscope.cells.specimen import Box
from marrowscope.store import database
from marrowscope.store.tables import CellRow, SpecimenRow, TallyRow, TotalRow, WorkRow


@dataclass(frozen=True)
class Standing:
    """What is so of a cell at one moment: all that an edit can change."""

    code: str
    box: Box
    reviewed: bool
    removed: bool

    def columns(self, prefix: str = "") -> dict[str, str | float | bool]:
        """As columns of a row: code, x1, y1, x2, y2, reviewed, removed."""
        values: dict[str, str | float | bool] = {"code": self.code}
        values |= dict(zip(("x1", "y1", "x2", "y2"), self.box, strict=True))
        values |= {"reviewed": self.reviewed, "removed": self.removed}
        return {prefix + key: value for key, value in values.items()}


@dataclass
class Counters:
    """What a change adds to the counters of one specimen. Called: the model's name of a cell, None if a person's."""

    specimen_id: int
    changes: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def move(self, called: str | None, same_as: int | None, old: Standing | None, new: Standing) -> None:
        """A cell that stood so stands otherwise now; old is None for a cell that is new."""
        if same_as is not None:  # seen before: it is counted where it was seen first
            return
        for standing, sign in ((old, -1), (new, 1)):
            if standing is not None and not standing.removed:
                change = self.changes.setdefault((called or "", standing.code), [0, 0])
                change[0] += sign
                change[1] += sign * standing.reviewed

    def write(self, connection: Connection) -> None:
        """Add them up. The caller's transaction is the only one that writes."""
        changes = [(*names, *change) for names, change in self.changes.items() if any(change)]
        if not changes:
            return
        keys = ("called", "code", "counting", "reviewed")
        rows = [{"specimen_id": self.specimen_id, **dict(zip(keys, change, strict=True))} for change in changes]
        _add(connection, TallyRow, ("specimen_id", "called", "code"), rows)
        _add(connection, TotalRow, ("called", "code"), [{key: row[key] for key in keys} for row in rows])
        cells, reviewed = (sum(change[i] for change in self.changes.values()) for i in (0, 1))
        connection.execute(
            update(SpecimenRow)
            .where(SpecimenRow.id == self.specimen_id)
            .values(cells=SpecimenRow.cells + cells, reviewed=SpecimenRow.reviewed + reviewed)
        )


def add_work(connection: Connection, who: str, kinds: Iterable[str]) -> None:
    """Count the edits of a person by kind."""
    done: dict[str, int] = {}
    for kind in kinds:
        done[kind] = done.get(kind, 0) + 1
    if not done:
        return
    _add(connection, WorkRow, ("who", "kind"), [{"who": who, "kind": k, "edits": n} for k, n in done.items()])


def _add(connection: Connection, table: Any, key: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Add the numbers of these rows to those that are kept under the same key."""
    upsert = (sqlite.insert if database.is_sqlite(connection) else postgresql.insert)(table)
    numbers = [column.name for column in table.__table__.columns if column.name not in key]
    sums = {name: getattr(table, name) + upsert.excluded[name] for name in numbers}
    connection.execute(upsert.on_conflict_do_update(index_elements=list(key), set_=sums), list(rows))


def recount(connection: Connection) -> dict[tuple[int, str, str], tuple[int, int]]:
    """(specimen, called, code) -> (counting, reviewed), from the cells themselves."""
    called = func.coalesce(CellRow.called, literal_column("''"))
    reviewed = func.sum(case((CellRow.reviewed, 1), else_=0))
    counting = select(CellRow.specimen_id, called, CellRow.code, func.count(), reviewed)
    counting = counting.where(~CellRow.removed, CellRow.same_as.is_(None))
    rows = connection.execute(counting.group_by(CellRow.specimen_id, called, CellRow.code))
    return {(specimen, by, code): (int(n), int(seen)) for specimen, by, code, n, seen in rows}
