"""Writing files so that half-written output never looks whole."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on success it is fsynced and renamed, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp would make a file private to its owner; this one gets the rights that any new file gets here.
    aside = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(6)}{path.suffix}")
    handle = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    rights = os.fstat(handle).st_mode & 0o777
    os.close(handle)
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.chmod(rights)  # some writers replace the file with a private one of their own
        aside.replace(path)
        _sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`, which becomes it on success, every file fsynced first; else it is removed.

    `folder` itself must not be there, or be empty.
    """
    aside = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    aside.mkdir(parents=True)
    try:
        yield aside
        for path in aside.rglob("*"):
            if path.is_dir():
                _sync_folder(path)
            else:
                with path.open("rb") as written:
                    os.fsync(written.fileno())
        _sync_folder(aside)
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
        _sync_folder(folder.parent)
    finally:
        if aside.exists():
            shutil.rmtree(aside)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write aside, fsync, rename."""
    with replacing(path) as aside:
        aside.write_bytes(data.encode() if isinstance(data, str) else data)
