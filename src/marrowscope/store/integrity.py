"""The audit trail to look at and to verify, and the check of the whole archive."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, func, select

from marrowscope.cells.specimen import AuditEntry
from marrowscope.store import consistency, database, intake, trail
from marrowscope.store.base import Base
from marrowscope.store.pixels import PixelFolder, digest_of_file
from marrowscope.store.tables import AuditHeadRow, AuditRow, CellRow, SpecimenRow
from marrowscope.store.values import IntegrityReport

Advance = Callable[[int, int], None]
"""Called with (files done, of all)."""


class Integrity(Base):
    """The part of the archive that watches over it."""

    def audit(self, limit: int = 100, offset: int = 0, subject: str | None = None) -> tuple[list[AuditEntry], int]:
        """Entries of the audit trail, newest first, and how many there are in all.

        subject: only those about it, as `store.base.about` writes it: `specimen/12`, `user/anna`.
        """
        limit, offset = intake.page(limit, offset)
        if subject is not None:
            intake.text(subject, "subject")
        with self._reading() as connection:
            if subject is None:
                total = connection.execute(select(AuditHeadRow.entries)).scalar_one()
            else:
                about_it = select(func.count()).select_from(AuditRow).where(AuditRow.subject == subject)
                total = connection.execute(about_it).scalar_one()
            return trail.page(connection, limit, offset, subject), total

    def verify(self, expect: str | None = None) -> IntegrityReport:
        """Read the audit trail from its first entry to its last; the report names the first one that is broken.

        expect: a digest that was written down earlier; it must still be in the trail.
        """
        with database.snapshot(self._engine) as connection:
            chain = trail.ChainCheck(expect)
            chain.read_all(connection)
        return IntegrityReport(chain.problems, {"audit entries": chain.entries}, digest=chain.digest)

    def check(self, *, quick: bool = False, progress: Advance | None = None) -> IntegrityReport:
        """Check everything: trail, rows, counters, references, and every file that a row names.

        quick: files must be there, and are not read. May run while the station does. progress: see `Advance`.
        """
        with database.snapshot(self._engine) as connection:
            problems, checked, digest = check_rows(connection)
            named = consistency.pictures_of(connection)
        problems += consistency.first(files_differ(self._pixels, named, quick=quick, progress=progress))
        checked["files"] = len(named)
        # Looked for after the rows were read: a picture kept meanwhile is on disk, and its row unknown to us.
        orphans = tuple(_shown(path) for digest, path in self._pixels.files() if digest not in named)
        return IntegrityReport(tuple(problems), checked, orphans, digest)


def check_rows(connection: Connection) -> tuple[list[str], dict[str, int], str]:
    """Everything that rows alone can tell: problems, what was looked at, and the digest of the newest audit entry."""
    told, chain = consistency.Told(), trail.ChainCheck()
    chain.read_all(connection, told.read)
    problems = list(chain.problems)
    checks = (
        consistency.references_differ(connection),
        consistency.fields_differ(connection, told),
        consistency.groups_differ(connection, told),
        consistency.reports_differ(connection, told),
        consistency.states_differ(connection, told),
        consistency.histories_differ(connection),
        consistency.counters_differ(connection),
    )
    for differences in checks:
        problems += consistency.first(differences)
    checked = {"audit entries": chain.entries, "specimens": 0, "cells": 0}
    for name, key in (("specimens", SpecimenRow.id), ("cells", CellRow.id)):
        checked[name] = connection.execute(select(func.count(key))).scalar_one()
    checked |= {"fields": len(told.fields), "groups of edits": len(told.groups), "reports": len(told.reports)}
    return problems, checked, chain.digest


def files_differ(
    pixels: PixelFolder, named: dict[str, str], *, quick: bool, progress: Advance | None = None
) -> Iterator[str]:
    """Files that are missing or have other bytes than their name says. named: digest -> what names it."""
    for done, (digest, what) in enumerate(sorted(named.items()), start=1):
        path = pixels.path(digest)
        if not path.is_file():
            yield f"{what}: its file {_shown(path)} is missing"
        elif not quick and digest_of_file(path) != digest:
            yield f"{what}: its file {_shown(path)} has changed"
        if progress is not None:
            progress(done, len(named))


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
