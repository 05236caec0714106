"""What every part of the archive stands on: the engine, the pixel folder, and how a change is made."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from marrowscope.cells.specimen import AuditEntry, SpecimenState
from marrowscope.errors import Locked, NotFound
from marrowscope.store import database, intake, trail
from marrowscope.store.pixels import PixelFolder
from marrowscope.store.tables import SpecimenRow

log = logging.getLogger(__name__)


def about(kind: str, key: int | str) -> str:
    """The subject of an audit entry: `specimen/12`, `user/anna`, `model/3`, `setting/letterhead`.

    All that happens to the slides, fields, cells and reports of a specimen has the specimen as its subject.
    """
    return f"{kind}/{key}"


@dataclass
class Change:
    """A change under way: its transaction, its moment, its author, and the audit entries that it must leave."""

    connection: Connection
    at: datetime
    by: str
    told: list[AuditEntry] = field(default_factory=list)
    empty: bool = False
    """Set where it turned out that there is nothing to change, and so nothing to tell."""

    def tell(self, what: str, subject: str, *, old: Any = None, new: Any = None, why: str = "") -> None:
        """Append to the audit trail. old, new: anything that is JSON."""
        self.told.append(
            trail.append(
                self.connection, at=self.at, who=self.by, what=what, subject=subject, old=old, new=new, why=why
            )
        )


class Base:
    """The engine and the pixels; the parts of `Store` inherit it."""

    def __init__(self, engine: Engine, pixels: PixelFolder) -> None:
        self._engine, self._pixels = engine, pixels

    def _reading(self) -> AbstractContextManager[Connection]:
        return database.reading(self._engine)

    @contextmanager
    def _writing(self, by: str, now: datetime | None) -> Iterator[Change]:
        """One transaction and its audit entries. A change that tells nothing is a mistake of ours."""
        intake.name(by, "the author of the change")
        if now is not None and now.tzinfo is None:
            raise ValueError(f"a time needs its zone, got {now!r}")
        with database.writing(self._engine) as connection:
            # The clock is read after waiting for the lock, so that the trail's times run forward.
            change = Change(connection, (now or datetime.now(UTC)).astimezone(UTC), by)
            yield change
            if not (change.told or change.empty):
                raise AssertionError("a change without an audit entry")
        if change.told:
            log.info("%s by %s: %s", change.told[-1].what, by, change.told[-1].subject)


def state_of(connection: Connection, specimen_id: int) -> SpecimenState:
    """Where a case stands. NotFound where there is none."""
    found = connection.execute(
        select(SpecimenRow.state).where(SpecimenRow.id == intake.number_of(specimen_id, "specimen"))
    ).scalar()
    if found is None:
        raise NotFound(f"There is no specimen {specimen_id}.")
    return SpecimenState(found)


def require_unlocked(connection: Connection, specimen_id: int) -> SpecimenState:
    """The state of a case that may be changed. Locked where it is signed."""
    state = state_of(connection, specimen_id)
    if state is SpecimenState.SIGNED:
        raise Locked(f"Specimen {specimen_id} is signed. Begin an amendment to change it.")
    return state
