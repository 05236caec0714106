"""The composition root of slides: a path becomes a WholeSlide; here alone a driver of a format is imported.

The format is told by what a file holds; its name is for people. TIFFs of scanners that OpenSlide knows are OpenSlide's,
all other TIFFs ours, as OpenSlide passes over pyramids in SubIFDs.
"""

import glob
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marrowscope.detect.sources import natural_key
from marrowscope.errors import BadSlide, MissingExtra
from marrowscope.slide.marks import dicom_files, head_of, is_dicom, is_tiff, is_zarr_folder, picture_kind
from marrowscope.slide.slide import WholeSlide

SLIDE_SUFFIXES = (
    *(".tif", ".tiff", ".btf", ".tf8", ".svs", ".svslide", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu"),
    *(".czi", ".dcm"),
)
"""Endings by which slides are found in a folder; one that is named may end as it likes."""


def open_slide(path: Path | str) -> WholeSlide:
    """The slide at a path: a file, or a folder of DICOM or Zarr.

    BadSlide: missing, damaged, or of no format that is known. MissingExtra where the library of its format is not
    installed.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path)
    try:
        head = head_of(path)
    except FileNotFoundError:
        raise BadSlide(f"{path}: is not there. Check the path.") from None
    except OSError as error:
        raise BadSlide(f"{path}: cannot be read ({error.strerror}). Check the disk and who may read it.") from error
    if not head:
        raise BadSlide(f"{path}: is empty. Copy or scan it again.")
    with _libraries(path):
        return _driver_of(path, head)(path)


def find_slides(paths: Iterable[Path | str]) -> list[Path]:
    """The slides that are named: files, folders, and patterns (`**` too), each once.

    What is named keeps its order; within a folder or a pattern names are sorted naturally. A folder of DICOM or Zarr is
    one slide; of any other folder the slides directly in it are taken. BadSlide for what holds none.
    """
    found: dict[Path, Path] = {}
    for named in paths:
        for path in _matches(str(named)):
            found.setdefault(path.resolve(), path)
    if not found:
        raise BadSlide("no slide was named. Name files, folders or patterns.")
    return list(found.values())


def _matches(named: str) -> list[Path]:
    path = Path(named)
    if path.is_dir():
        others = [p.name for p in _slides_in(path) if p.suffix.lower() != ".dcm"]
        if others and dicom_files(path):
            raise BadSlide(f"{path}: holds DICOM files beside {others[0]}. Put the DICOM slide into its own folder.")
        slides = [path] if _is_slide_folder(path) else _slides_in(path)
        if not slides:
            raise BadSlide(f"{path}: no slide in this folder ({', '.join(SLIDE_SUFFIXES)}, DICOM, Zarr). Name another.")
        return slides
    if path.exists():
        return [path]
    # Path.glob takes no absolute pattern, and would list hidden files.
    matches = [Path(p) for p in glob.glob(named, recursive=True)]  # noqa: PTH207
    folders = {p for p in matches if _is_slide_folder(p)}
    files = {p for p in matches if _looks_like_slide(p)}
    # Each level of a DICOM slide is a file of its own.
    folders |= {p.parent for p in files if p.suffix.lower() == ".dcm"}
    # ** goes into slides that are folders, too; what lies in them is no slide of its own.
    whole = {p for p in folders | files if not folders.intersection(p.parents)}
    if not whole:
        raise BadSlide(f"{named}: is not there. Check the path; quote a pattern to keep the shell from it.")
    return sorted(whole, key=natural_key)


def _slides_in(folder: Path) -> list[Path]:
    inside = [p for p in folder.iterdir() if not p.name.startswith(".")]
    return sorted((p for p in inside if _looks_like_slide(p) or _is_slide_folder(p)), key=natural_key)


def _looks_like_slide(path: Path) -> bool:
    return path.suffix.lower() in SLIDE_SUFFIXES and path.is_file()


def _is_slide_folder(path: Path) -> bool:
    return path.is_dir() and (is_zarr_folder(path) or bool(dicom_files(path)))


def _open_folder(path: Path) -> WholeSlide:
    if is_zarr_folder(path):
        with _libraries(path):
            from marrowscope.slide.zarr_slide import ZarrSlide

            return ZarrSlide(path)
    if dicom_files(path):
        with _libraries(path):
            from marrowscope.slide.dicom_slide import DicomSlide

            return DicomSlide(path)
    if not any(path.iterdir()):
        raise BadSlide(f"{path}: is an empty folder. Name a slide, or a folder of DICOM or Zarr.")
    raise BadSlide(f"{path}: is a folder, and neither a DICOM slide nor Zarr. Name one of the slides in it.")


def _driver_of(path: Path, head: bytes) -> Callable[[Path], WholeSlide]:
    if is_dicom(head):
        from marrowscope.slide.dicom_slide import DicomSlide

        return DicomSlide
    from marrowscope.slide.openslide_slide import GENERIC_TIFF, OpenslideSlide, vendor_of

    vendor = vendor_of(path)
    if vendor not in (None, GENERIC_TIFF):
        return OpenslideSlide
    if is_tiff(head):
        from marrowscope.slide.tiff_slide import TiffSlide

        return TiffSlide
    if kind := picture_kind(head):
        raise BadSlide(f"{path}: is a picture ({kind}), no slide. Read it as a field: `marrowscope detect {path}`.")
    raise BadSlide(f"{path}: is no slide of a known format, whatever its name says. Export it as OME-TIFF or DICOM.")


@contextmanager
def _libraries(path: Path) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtra(
            f"{path}: reading slides needs {error.name}, which is not installed. pip install 'marrowscope[slides]'."
        ) from error
