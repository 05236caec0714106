"""Pictures and PDFs on disk, each under the SHA-256 of its bytes: `ab/cdef...` beneath the pixel folder.

A file is written aside, fsynced and renamed before the row that names it is committed, so a row never names what is
not there. Nothing is ever deleted here: a file without a row (a crash between the two) is harmless.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from marrowscope.cells.files import write_atomically
from marrowscope.errors import ArchiveDamaged, BadImage, BadInput, NotFound

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ASIDE = re.compile(r"\.[0-9a-f]{1,40}-[0-9a-f]{12}")
"""What `write_atomically` leaves when it is killed."""


def digest_of_bytes(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 in hex of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_picture(data: bytes) -> None:
    """BadImage for what is neither a JPEG nor a PNG by its first bytes."""
    if not data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise BadImage(f"The picture of {len(data)} bytes is neither JPEG nor PNG. Convert it first.")


def require_pdf(data: bytes) -> None:
    """BadInput for what is no PDF by its first bytes."""
    if not data.startswith(b"%PDF-"):
        raise BadInput(f"The report of {len(data)} bytes is no PDF. Render it first.")


class PixelFolder:
    """The folder `pixels` of a station."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the file of this digest is, or would be. NotFound for what is no SHA-256 in hex."""
        if not _DIGEST.fullmatch(digest):
            raise NotFound("There is no picture of that name: a SHA-256 in hex was expected.")
        return self.folder / digest[:2] / digest[2:]

    def keep(self, data: bytes) -> str:
        """Keep these bytes; durable on return. Returns their digest."""
        digest = digest_of_bytes(data)
        path = self.path(digest)
        # Read rather than trusted: the same picture kept again mends a damaged file.
        if path.is_file() and digest_of_file(path) == digest:
            return digest
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            _sync(self.folder)
        write_atomically(path, data)
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes. ArchiveDamaged where they are gone or are others by now."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ArchiveDamaged(f"{path}: the file is missing. Restore it from a backup.") from None
        if digest_of_bytes(data) != digest:
            raise ArchiveDamaged(f"{path}: the file has changed. Restore it from a backup.")
        return data

    def files(self) -> Iterator[tuple[str, Path]]:
        """(digest by its name, path) of every file kept; files half-written when the power failed have digest ''."""
        for folder in sorted(p for p in self.folder.iterdir() if p.is_dir()):
            for path in sorted(folder.iterdir()):
                name = folder.name + path.name
                if _DIGEST.fullmatch(name):
                    yield name, path
                elif _ASIDE.fullmatch(path.name):
                    yield "", path


def _sync(folder: Path) -> None:
    """Make a new sub-folder durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
