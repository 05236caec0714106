"""The audit trail: who did what, when, from what to what and why; each entry sealed onto the one before.

An entry's digest is SHA-256 over the digest before it and the canonical JSON of the entry, so that nothing can be
changed, taken out or put in between without every later digest being wrong. Entries are written in the transaction of
the change that they tell of. An entry about many values (the cells of a field, the corrections of a group) carries
their own digest (`seal`), so that they are held by the chain too.

Who is named by user name, what was done to which specimen by its number and the lab's code of the specimen; a patient's
code is never in here.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from marrowscope.cells.specimen import AuditEntry
from marrowscope.errors import ArchiveDamaged
from marrowscope.store.tables import AuditHeadRow, AuditRow

BEGINNING = "0" * 64
"""The digest before the first entry."""

_COLUMNS: tuple[Any, ...] = (
    AuditRow.id,
    AuditRow.at,
    AuditRow.who,
    AuditRow.what,
    AuditRow.subject,
    AuditRow.old,
    AuditRow.new,
    AuditRow.why,
    AuditRow.previous,
    AuditRow.digest,
)


def canonical(value: Any) -> str:
    """One JSON text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def seal(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def stamp(moment: datetime) -> str:
    """A moment as it is sealed: UTC, microseconds always."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def digest_of(entry: AuditEntry) -> str:
    """What the digest of this entry must be, given the one before it."""
    values = [entry.id, stamp(entry.at), entry.who, entry.what, entry.subject, entry.old, entry.new, entry.why]
    return hashlib.sha256(f"{entry.previous}\n{canonical(values)}".encode()).hexdigest()


def append(
    connection: Connection, *, at: datetime, who: str, what: str, subject: str, old: Any, new: Any, why: str
) -> AuditEntry:
    """Add an entry. The caller's transaction must be a writing one: then nobody else adds one meanwhile."""
    head = connection.execute(select(AuditHeadRow.entries, AuditHeadRow.digest)).one_or_none()
    if head is None:
        raise ArchiveDamaged("The head of the audit trail is missing. Restore the archive from a backup.")
    before, after = ("" if value is None else canonical(value) for value in (old, new))
    bare = AuditEntry(
        head.entries + 1, at.astimezone(UTC), who, what, subject, before, after, why, head.digest, digest=""
    )
    entry = replace(bare, digest=digest_of(bare))
    connection.execute(insert(AuditRow).values(**vars(entry)))
    connection.execute(update(AuditHeadRow).values(entries=entry.id, digest=entry.digest))
    return entry


def entries(connection: Connection) -> Iterator[AuditEntry]:
    """Every entry from the first on, a thousand at a time."""
    last = 0
    while True:
        rows = connection.execute(select(*_COLUMNS).where(AuditRow.id > last).order_by(AuditRow.id).limit(1000)).all()
        if not rows:
            return
        yield from (AuditEntry(*row) for row in rows)
        last = rows[-1].id


def page(connection: Connection, limit: int, offset: int, subject: str | None) -> list[AuditEntry]:
    """Entries, newest first."""
    query = select(*_COLUMNS).order_by(AuditRow.id.desc()).limit(limit).offset(offset)
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    return [AuditEntry(*row) for row in connection.execute(query)]


class ChainCheck:
    """Reads the trail entry by entry, and notes the first one that is not what it was."""

    def __init__(self, expect: str | None = None) -> None:
        self.entries, self.digest, self.problem = 0, BEGINNING, ""
        self._expect, self._met = expect, expect is None

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, none or one: behind the first broken entry nothing can be trusted."""
        return (self.problem,) if self.problem else ()

    def read_all(self, connection: Connection, also: Callable[[AuditEntry], None] = lambda entry: None) -> None:
        """The whole trail. also: called with every entry up to the first broken one."""
        for entry in entries(connection):
            self.read(entry)
            if not self.problem:
                also(entry)
        self.end(connection)

    def read(self, entry: AuditEntry) -> None:
        """The next entry."""
        if not self.problem:
            self.problem = self._wrong_with(entry)
        self.entries, self.digest = self.entries + 1, entry.digest
        self._met = self._met or entry.digest == self._expect

    def _wrong_with(self, entry: AuditEntry) -> str:
        if entry.id != self.entries + 1:
            missing = f"{self.entries + 1}" if entry.id == self.entries + 2 else f"{self.entries + 1}-{entry.id - 1}"
            return f"audit entry {missing} is missing"
        if entry.previous != self.digest:
            return f"audit entry {entry.id} does not follow entry {self.entries}: one of them was exchanged"
        if entry.digest != digest_of(entry):
            return f"audit entry {entry.id} ({entry.what} by {entry.who}) was changed after it was written"
        return ""

    def end(self, connection: Connection) -> None:
        """Whether the trail ends where it says that it ends."""
        head = connection.execute(select(AuditHeadRow.entries, AuditHeadRow.digest)).one_or_none()
        if self.problem:
            return
        if head is None:
            self.problem = "the head of the audit trail is missing"
        elif head.entries != self.entries:
            self.problem = f"the audit trail has {self.entries} entries and should have {head.entries}"
        elif head.digest != self.digest:
            self.problem = f"audit entry {self.entries}, the newest, is not the one that was written"
        elif not self._met:
            self.problem = f"the digest {self._expect} is not in the audit trail: it was written anew"
