"""Where an archive of a test is, and ways in past the store."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, text

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
        """Run these statements past the store, all guards switched off."""
        engine = self.engine()
        with database.writing(engine) as connection:
            without_guards(connection)
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()


def without_guards(connection: Connection) -> None:
    """What somebody would do who has the database in his hands."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        return
    connection.execute(text("PRAGMA defer_foreign_keys = ON"))
    triggers = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
    for name in triggers:
        connection.execute(text(f"DROP TRIGGER {name}"))


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
