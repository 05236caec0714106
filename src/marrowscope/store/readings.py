"""Readings of their own by several readers, and the effort that a case has cost."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from marrowscope.cells.specimen import Reading
from marrowscope.errors import BadInput, NotFound
from marrowscope.store import database, intake, trail
from marrowscope.store.base import Base, about, state_of
from marrowscope.store.tables import CellRow, EffortRow, ReadingRow
from marrowscope.store.values import Effort


class Readings(Base):
    """The part of the archive that keeps blind readings and effort."""

    def add_readings(
        self, specimen_id: int, codes: Mapping[int, str], *, by: str, now: datetime | None = None
    ) -> list[Reading]:
        """What `by` calls these cells, by id. A cell read again by the same reader takes the later name.

        Readings change no cell, so a signed specimen may be read too. NotFound for a cell of another specimen.
        """
        named = {cell_id: intake.name(code, "code") for cell_id, code in codes.items()}
        if not named:
            raise BadInput("No reading was given.")
        with self._writing(by, now) as change:
            state_of(change.connection, specimen_id)
            mine: set[int] = set()
            for portion in intake.portions(sorted({i for i in named if 0 < i <= intake.LARGEST})):
                known = select(CellRow.id).where(CellRow.id.in_(portion), CellRow.specimen_id == specimen_id)
                mine |= set(change.connection.execute(known).scalars())
            if missing := set(named) - mine:
                raise NotFound(f"Specimen {specimen_id} has no cell {min(missing)}.")
            rows = [
                {"cell_id": cell_id, "reader": by, "specimen_id": specimen_id, "code": code, "at": change.at}
                for cell_id, code in sorted(named.items())
            ]
            upsert = (sqlite.insert if database.is_sqlite(change.connection) else postgresql.insert)(ReadingRow)
            upsert = upsert.on_conflict_do_update(
                index_elements=["cell_id", "reader"], set_={"code": upsert.excluded.code, "at": upsert.excluded.at}
            )
            for some in intake.portions(rows):
                change.connection.execute(upsert.values(list(some)))
            told = {"readings": len(rows), "seal": trail.seal(sorted(named.items()))}
            change.tell("cells.read", about("specimen", specimen_id), new=told)
            return [Reading(cell_id, by, code, change.at) for cell_id, code in sorted(named.items())]

    def readings(self, specimen_id: int) -> list[Reading]:
        """Every reading of a case, by reader and cell. NotFound without such a case."""
        columns = (ReadingRow.cell_id, ReadingRow.reader, ReadingRow.code, ReadingRow.at)
        with self._reading() as connection:
            state_of(connection, specimen_id)
            query = select(*columns).where(ReadingRow.specimen_id == specimen_id)
            rows = connection.execute(query.order_by(ReadingRow.reader, ReadingRow.cell_id)).all()
        return [Reading(*row) for row in rows]

    def add_effort(
        self,
        specimen_id: int,
        seconds: float,
        keystrokes: int,
        clicks: int,
        *,
        by: str,
        now: datetime | None = None,
    ) -> None:
        """Somebody has spent so much more on a case."""
        spent = intake.finite(seconds, "seconds")
        if spent is None or spent < 0:
            raise BadInput(f"seconds: must be 0 or more, got {seconds}.")
        counted = {"keystrokes": intake.count(keystrokes, "keystrokes"), "clicks": intake.count(clicks, "clicks")}
        with self._writing(by, now) as change:
            state_of(change.connection, specimen_id)
            row = {"specimen_id": specimen_id, "who": by, "at": change.at, "seconds": spent, **counted}
            change.connection.execute(insert(EffortRow).values(row))
            change.tell("effort.add", about("specimen", specimen_id), new={"seconds": spent, **counted})

    def effort(self, specimen_id: int) -> list[Effort]:
        """What each person has spent on a case, by name. NotFound without such a case."""
        summed = (func.sum(EffortRow.seconds), func.sum(EffortRow.keystrokes), func.sum(EffortRow.clicks))
        with self._reading() as connection:
            state_of(connection, specimen_id)
            query = select(EffortRow.who, *summed).where(EffortRow.specimen_id == specimen_id)
            rows = connection.execute(query.group_by(EffortRow.who).order_by(EffortRow.who)).all()
        return [Effort(who, float(seconds), int(keys), int(clicks)) for who, seconds, keys, clicks in rows]
