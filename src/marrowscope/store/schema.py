"""The schema of the archive and its history (Alembic, in `migrations`)."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text

from marrowscope.errors import ArchiveError, BadInput
from marrowscope.store import database

HEAD = "0003"
"""The newest revision; a test holds it to be so. It is here so that opening an archive need not load Alembic."""


def revision_of(connection: Connection) -> str | None:
    """The revision that a database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _config(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade_within(connection: Connection, revision: str | None = None) -> None:
    """Bring a database to a revision (or the newest) in the caller's transaction. ArchiveError for a newer one."""
    from alembic.command import upgrade
    from alembic.script import ScriptDirectory

    config = _config(connection)
    current = revision_of(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise ArchiveError(f"The archive is of a newer marrowscope (schema {current}). Install that one to open it.")
    upgrade(config, revision or HEAD)


def require_current(engine: Engine, where: str) -> None:
    """BadInput where there is no archive, ArchiveError where it is of another marrowscope. Changes nothing."""
    with database.reading(engine) as connection:
        found = revision_of(connection)
    if found is None:
        raise BadInput(f"{where}: holds no archive. Give another --home or --url.")
    if found != HEAD:
        raise ArchiveError(f"{where}: has schema {found}, this marrowscope {HEAD}. Start the station: it migrates.")


def upgrade(engine: Engine) -> None:
    """Bring a database to the newest revision, all of it or nothing. Of several processes one does it."""
    with database.reading(engine) as connection:
        if revision_of(connection) == HEAD:
            return
    with database.writing(engine) as connection:
        upgrade_within(connection)
