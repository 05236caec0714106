"""Where an archive of a test is, and ways in past the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, text

from marrowscope.store import database, schema, trail
from marrowscope.store.store import Store
from marrowscope.store.tables import AuditHeadRow, Table


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

    @contextmanager
    def tampering(self) -> Iterator[Connection]:
        """A transaction with all guards switched off, as somebody has it who has the database. It is taken back."""
        engine = self.engine()
        with engine.connect() as connection:
            transaction = connection.execution_options(writing=True).begin()
            if self.on_sqlite:
                connection.execute(text("PRAGMA defer_foreign_keys = ON"))
                triggers = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
                for name in triggers.scalars().all():
                    connection.execute(text(f"DROP TRIGGER {name}"))
            else:
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            try:
                yield connection
            finally:
                transaction.rollback()
        engine.dispose()

    def run(self, statement: str) -> None:
        """Run a statement past the store; guards hold."""
        engine = self.engine()
        with database.writing(engine) as connection:
            connection.execute(text(statement))
        engine.dispose()


def url_of(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + f"/{name}"


def create_database(url: str, name: str) -> str:
    """Make a new database beside that of a URL. Returns its URL."""
    _alone(url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    return url_of(url, name)


def drop_database(url: str) -> None:
    """Away with it, and with whoever is still connected."""
    _alone(url_of(url, "postgres"), f'DROP DATABASE "{url.rsplit("/", 1)[1]}" WITH (FORCE)')


def _alone(url: str, statement: str) -> None:
    """Run a statement that wants no transaction around it."""
    engine = database.open_engine(url)
    connection = engine.raw_connection()
    connection.rollback()
    connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
    connection.cursor().execute(statement)
    connection.dbapi_connection.autocommit = False  # type: ignore[union-attr]
    connection.close()
    engine.dispose()


def empty(url: str) -> None:
    """Make a PostgreSQL archive as it was when it was new, and cut off whoever is still connected to it."""
    engine = database.open_engine(url)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with engine.begin() as connection:
        connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        names = ", ".join(table.name for table in Table.metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        connection.execute(insert(AuditHeadRow).values(id=1, entries=0, digest=trail.BEGINNING))
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": schema.HEAD})
    engine.dispose()
