"""Backups: a folder that holds the whole archive, made while the station runs, and filled into an empty place again.

    manifest.json       what is in it: schema, rows and SHA-256 of every table, SHA-256 of the list of files
    tables/*.jsonl.gz   see `store.portable`
    files.txt           SHA-256 and size of every picture and PDF that a row names
    files/ab/cdef...    their bytes

Rows are read in one transaction, so they are of one moment; files never change, and are on disk before their rows.
The folder is written aside, fsynced and renamed: one that is there is whole.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, select

from marrowscope.cells.files import replacing_folder
from marrowscope.errors import ArchiveDamaged, BadInput
from marrowscope.store import consistency, database, portable, schema
from marrowscope.store.base import Base
from marrowscope.store.integrity import Advance, check_rows
from marrowscope.store.pixels import PixelFolder, digest_of_file
from marrowscope.store.tables import AuditHeadRow

FORMAT = 1


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds. digest: of the newest audit entry in it."""

    folder: Path
    made_at: datetime
    rows: dict[str, int]
    files: int
    bytes: int
    digest: str


class Backups(Base):
    """The part of the archive that makes copies of itself."""

    def backup(self, folder: Path, *, now: datetime | None = None, progress: Advance | None = None) -> BackupReport:
        """Write a backup into a new folder. BadInput where it exists; ArchiveDamaged where a file is not whole."""
        folder = Path(folder)
        if folder.exists():
            raise BadInput(f"{folder}: is there already. Give a new folder.")
        made_at = (now or datetime.now(UTC)).astimezone(UTC)
        with replacing_folder(folder) as aside:
            (aside / "tables").mkdir()
            rows, tables = {}, {}
            with database.snapshot(self._engine) as connection:
                digest = _newest_digest(connection)
                for table in portable.tables():
                    path = aside / "tables" / f"{table.name}.jsonl.gz"
                    rows[table.name] = portable.write_table(connection, table, path)
                    tables[table.name] = {"rows": rows[table.name], "sha256": digest_of_file(path)}
                named = sorted(consistency.pictures_of(connection))
                revision = schema.revision_of(connection)
            sizes = _copy(((d, self._pixels.path(d)) for d in named), aside / "files", len(named), progress)
            (aside / "files.txt").write_text("".join(f"{d} {sizes[d]}\n" for d in named), encoding="utf-8")
            manifest = {
                "format": FORMAT,
                "schema": revision,
                "made_at": made_at.isoformat(),
                "made_on": self._engine.dialect.name,
                "tables": tables,
                "files": {"count": len(named), "sha256": digest_of_file(aside / "files.txt")},
                "audit": {"entries": rows["audit"], "digest": digest},
            }
            (aside / "manifest.json").write_text(f"{json.dumps(manifest, indent=1)}\n", encoding="utf-8")
        return BackupReport(folder, made_at, rows, len(named), sum(sizes.values()), digest)


def restore(folder: Path, url: str, pixels: Path, *, progress: Advance | None = None) -> BackupReport:
    """Fill an empty database and an empty pixel folder from a backup, made on SQLite or on PostgreSQL.

    Everything is verified on the way: the manifest, every file, the rows among each other, the audit trail. What does
    not agree is an ArchiveDamaged, and leaves the place as empty as it was. BadInput where the place is not empty.
    """
    folder, pixels = Path(folder), Path(pixels)
    manifest = _read_manifest(folder)
    if pixels.exists() and any(pixels.iterdir()):
        raise BadInput(f"{pixels}: is not empty. Restore into an empty place.")
    engine = database.open_engine(url)
    new_file = Path(engine.url.database or "") if engine.url.get_backend_name() == "sqlite" else None
    if new_file is not None and new_file.exists():
        raise BadInput(f"{new_file}: is there already. Restore into an empty place.")
    try:
        with _removed_on_failure(new_file, pixels):
            files = [line.split() for line in (folder / "files.txt").read_text(encoding="utf-8").splitlines()]
            stored = PixelFolder(folder / "files")
            with replacing_folder(pixels) as aside:
                sizes = _copy(((d, stored.path(d)) for d, _ in files), aside, len(files), progress)
            with database.writing(engine) as connection:
                _fill(connection, folder, manifest)
    finally:
        engine.dispose()
    rows = {name: table["rows"] for name, table in manifest["tables"].items()}
    made_at = datetime.fromisoformat(manifest["made_at"])
    return BackupReport(folder, made_at, rows, len(files), sum(sizes.values()), manifest["audit"]["digest"])


def _newest_digest(connection: Connection) -> str:
    """As the head of the trail has it."""
    return connection.execute(select(AuditHeadRow.digest)).scalar_one()


def _read_manifest(folder: Path) -> dict[str, Any]:
    """What a backup says it holds; its tables and its list of files are those that it says."""
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] == FORMAT
        lists = {f"tables/{name}.jsonl.gz": table["sha256"] for name, table in manifest["tables"].items()}
        lists["files.txt"] = manifest["files"]["sha256"]
    except FileNotFoundError:
        raise BadInput(f"{path}: is missing. Give the folder of a backup.") from None
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveDamaged(f"{path}: is no manifest of a backup ({type(error).__name__}).") from None
    if not known:
        raise BadInput(f"{path}: is of format {manifest['format']}, and {FORMAT} is known. Use a newer one.")
    for name, digest in lists.items():
        if not (folder / name).is_file():
            raise ArchiveDamaged(f"{folder / name}: is missing. Take another backup.")
        if digest_of_file(folder / name) != digest:
            raise ArchiveDamaged(f"{folder / name}: has changed since the backup was made. Take another one.")
    return manifest


def _fill(connection: Connection, folder: Path, manifest: dict[str, Any]) -> None:
    """Make the tables as they were, fill them, bring them up to date, and read all of it once more."""
    if inspect(connection).get_table_names():
        raise BadInput("The database is not empty. Restore into an empty one.")
    schema.upgrade_within(connection, manifest["schema"])
    for table in portable.tables():
        if table.name in manifest["tables"]:
            path = folder / "tables" / f"{table.name}.jsonl.gz"
            filled = portable.fill_table(connection, path)
            if filled != manifest["tables"][table.name]["rows"]:
                raise ArchiveDamaged(f"{path}: has {filled} rows, not as many as the manifest says.")
    portable.set_sequences(connection)
    schema.upgrade_within(connection)
    problems, _, digest = check_rows(connection)
    if digest != manifest["audit"]["digest"]:
        problems.append("the newest audit entry is not the one that the manifest names")
    if problems:
        raise ArchiveDamaged(f"{folder}: {problems[0]}. Take another backup.")


def _copy(files: Iterable[tuple[str, Path]], into: Path, total: int, progress: Advance | None) -> dict[str, int]:
    """Copy files to where their digests belong, and verify each on the way. Returns their sizes."""
    target, sizes = PixelFolder(into), {}
    for done, (digest, source) in enumerate(files, start=1):
        path = target.path(digest)
        path.parent.mkdir(exist_ok=True)
        try:
            shutil.copyfile(source, path)
        except FileNotFoundError:
            raise ArchiveDamaged(f"{source}: is missing. Run `marrowscope archive check`.") from None
        if digest_of_file(path) != digest:
            raise ArchiveDamaged(f"{source}: has changed. Run `marrowscope archive check`.")
        sizes[digest] = path.stat().st_size
        if progress is not None:
            progress(done, total)
    return sizes


@contextmanager
def _removed_on_failure(database_file: Path | None, pixels: Path) -> Iterator[None]:
    """A restore that fails leaves nothing. Both places were empty before."""
    try:
        yield
    except BaseException:
        if database_file is not None:
            for suffix in ("", "-wal", "-shm"):
                database_file.with_name(database_file.name + suffix).unlink(missing_ok=True)
        shutil.rmtree(pixels, ignore_errors=True)
        raise
