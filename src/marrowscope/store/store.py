"""The archive: one class, made of parts by subject, each in a module of its own.

Every call that writes is one transaction, which also appends to the audit trail; it takes `by`, who does it, and `now`,
the moment (left out: the clock's). What it returns is on disk to stay. Values are plain `cells.specimen` ones. A store
may be used by many threads, and a database by many processes.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from marrowscope.store import schema
from marrowscope.store.backup import Backups
from marrowscope.store.cases import Cases
from marrowscope.store.cellbook import Cells
from marrowscope.store.database import open_engine, without_password
from marrowscope.store.edits import Edits
from marrowscope.store.fields import Fields
from marrowscope.store.integrity import Integrity
from marrowscope.store.models import Models
from marrowscope.store.people import People
from marrowscope.store.pixels import PixelFolder
from marrowscope.store.readings import Readings
from marrowscope.store.reports import Reports
from marrowscope.store.statistics import Statistics


class Store(People, Cases, Fields, Cells, Edits, Readings, Reports, Models, Integrity, Backups, Statistics):
    """An open archive. Make it with `Store.open`."""

    @classmethod
    def open(cls, url: str, pixels: Path, *, create: bool = True) -> Self:
        """Open an archive, and make or migrate its tables where that is needed.

        url: `sqlite:///PATH` or `postgresql://USER@HOST/NAME`. pixels: the folder of the pictures. BadSetting for a
        URL that cannot be used, MissingExtra without a driver, ArchiveError where the database does not answer.
        create: False makes and migrates nothing, and is a BadInput where there is no archive.
        """
        engine = open_engine(url, create=create)
        try:
            if create:
                schema.upgrade(engine)
            else:
                schema.require_current(engine, without_password(url))
            return cls(engine, PixelFolder(pixels))
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Let go of the database. The store must not be used afterwards."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
