"""What a file or folder is, told by its first bytes or its parts: no format's library is needed for it."""

from pathlib import Path

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"BM": "BMP", b"RIFF": "WebP", b"GIF8": "GIF"}
_ZARR = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_DICOM_AT = 128


def head_of(path: Path) -> bytes:
    """The bytes that the functions below judge. OSError where the file cannot be read."""
    with path.open("rb") as file:
        return file.read(_DICOM_AT + 4)


def is_dicom(head: bytes) -> bool:
    """Whether it bears DICOM's mark."""
    return head[_DICOM_AT:] == b"DICM"


def is_tiff(head: bytes) -> bool:
    """TIFF or BigTIFF, of either byte order."""
    return head.startswith(_TIFF)


def picture_kind(head: bytes) -> str | None:
    """The name of the format of an ordinary picture; None for anything else."""
    return next((kind for mark, kind in _PICTURES.items() if head.startswith(mark)), None)


def is_zarr_folder(path: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((path / name).is_file() for name in _ZARR)


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder, by name. What cannot be read is passed over."""
    return [p for p in sorted(folder.iterdir()) if p.is_file() and _is_dicom_file(p)]


def _is_dicom_file(path: Path) -> bool:
    try:
        return is_dicom(head_of(path))
    except OSError:
        return False
