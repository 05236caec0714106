"""Where the archive's rows live: SQLite in a file, or PostgreSQL by URL, set up so that what is committed stays.

SQLite: write-ahead log, an fsync at every commit (`synchronous=FULL`), foreign keys on. A transaction that writes
begins with `BEGIN IMMEDIATE`; on PostgreSQL it begins by taking one advisory lock. So there is one writer at a time on
either, and readers never wait for it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from marrowscope.errors import ArchiveError, BadInput, BadSetting, Conflict, MissingExtra

log = logging.getLogger(__name__)

BUSY_SECONDS = 30
WRITER_LOCK = 0x6D617272_6F777363
"""Key of the advisory lock ("marrowsc") that every writer on PostgreSQL holds until it commits."""

_SQLITE_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}",
    # REPLACE INTO deletes rows; only so do the triggers that forbid it see it.
    "PRAGMA recursive_triggers = ON",
    "PRAGMA cache_size = -16000",
    "PRAGMA temp_store = MEMORY",
)


def open_engine(url: str, *, create: bool = True) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://...`. Connects to nothing yet. BadSetting for any other URL.

    create: False is a BadInput where the file of SQLite is not there.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError:
        raise BadSetting("The database URL is no URL. Write sqlite:///PATH or postgresql://USER@HOST/NAME.") from None
    if backend == "sqlite":
        return _sqlite(parsed, create)
    if backend == "postgresql":
        return _postgresql(parsed)
    raise BadSetting(
        f"{backend}: the archive speaks SQLite and PostgreSQL only. Write sqlite:///PATH or postgresql://..."
    )


def _sqlite(url: URL, create: bool) -> Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise BadSetting("sqlite: the archive needs a file, as in sqlite:///station/archive.db.")
    if not create and not Path(url.database).is_file():
        raise BadInput(f"{url.database}: there is no archive. Give another --home or --url.")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"{url.database}: its folder cannot be made ({error.strerror}). Give another place.") from None
    engine = create_engine(url, pool_size=10, max_overflow=40, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        # The driver would begin transactions by itself, and too late; we say BEGIN below.
        connection.isolation_level = None
        for setting in _SQLITE_SETTINGS:
            connection.execute(setting)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(
            url.set(drivername="postgresql+pg8000"), pool_size=10, max_overflow=40, pool_pre_ping=True
        )
    except ModuleNotFoundError:
        raise MissingExtra("PostgreSQL needs a driver. Install it: pip install 'marrowscope[postgres]'.") from None

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # A server may be set to acknowledge before it has written; an archive may not.
        cursor.execute("SET synchronous_commit = on")
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        connection.commit()
        cursor.close()

    return engine


def is_sqlite(connection: Connection | Engine) -> bool:
    """Whether this is SQLite; else it is PostgreSQL."""
    return connection.dialect.name == "sqlite"


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def translated_errors() -> Iterator[None]:
    """What a database says, in the archive's own errors. The statement and its values stay out of the message."""
    try:
        yield
    except IntegrityError as error:
        log.warning("the database refused a change: %s", type(error.orig).__name__)
        raise Conflict("Somebody changed the same thing meanwhile. Look again, and repeat it.") from error
    except DatabaseError as error:
        # The bare kind is a file that is no database; other kinds are mistakes of ours, and are shown as such.
        if type(error) not in (DatabaseError, OperationalError):
            raise
        raise ArchiveError(f"The database refused ({_reason(error)}). Nothing was changed; try again.") from error
    except InterfaceError as error:
        raise ArchiveError(f"The database refused ({_reason(error)}). Nothing was changed; try again.") from error


def _reason(error: DBAPIError) -> str:
    """The driver's own words, in one line."""
    words = error.orig.args[0] if error.orig is not None and error.orig.args else type(error.orig).__name__
    if isinstance(words, dict):  # pg8000 gives the fields of the server's message; M is the text
        words = words.get("M", "unknown")
    return " ".join(str(words).split())


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One look at the archive."""
    with translated_errors(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """One long look, during which nothing seems to change, however much is written meanwhile."""
    with translated_errors(), engine.connect() as connection:
        if not is_sqlite(connection):
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One change: all of it is durable when the block ends, or none of it if it raises. The only writer meanwhile."""
    with translated_errors(), engine.connect() as connection:
        connection = connection.execution_options(writing=True)
        with connection.begin():
            if not is_sqlite(connection):
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
            yield connection
