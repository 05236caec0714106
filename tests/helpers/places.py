"""Where an archive of a test is, and ways in past the store."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

from marrowscope.store import database
from marrowscope.store.store import Store


@dataclass(frozen=True)
class Place:
    """Where an archive is. engine(): a way in past the store, as an intruder would take it."""

    url: str
    pixels: Path

    @property
    def on_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def open(self) -> Store:
        return Store.open(self.url, self.pixels)

    def engine(self) -> Engine:
        return database.open_engine(self.url)

    def run(self, *statements: str) -> None:
        """Run these statements past the store, all guards switched off: what somebody can do who has the database."""
        if self.on_sqlite:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection, connection:
                triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
                for statement in (*(f"DROP TRIGGER {name}" for (name,) in triggers), *statements):
                    connection.execute(statement)
            return
        engine = self.engine()
        with engine.begin() as there:
            for statement in ("SET LOCAL session_replication_role = replica", *statements):
                there.execute(text(statement))
        engine.dispose()


def url_of(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + f"/{name}"


def create_database(url: str, name: str, template: str) -> None:
    engine = database.open_engine(url)
    connection = engine.raw_connection()
    connection.rollback()
    connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
    connection.cursor().execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    connection.dbapi_connection.autocommit = False  # type: ignore[union-attr]
    connection.close()
    engine.dispose()
