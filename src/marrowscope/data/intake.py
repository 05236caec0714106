"""What every label format shares on the way in: safe paths, image headers, judged boxes, specimens.

Files come from outside: a name inside one must not lead out of the folder, a number may be no number, and a box may
be none. What cannot be used is handed to the `ProblemLog`.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from marrowscope.cells.files import write_atomically
from marrowscope.data.images import IMAGE_SUFFIXES, ImageTooLarge, image_size
from marrowscope.data.labelled import LabelledField
from marrowscope.data.problems import ProblemKind, ProblemLog, quote
from marrowscope.errors import BadAnnotation, BadImage

SKIP = "Correct the box, or pass --skip-bad."
SKIP_FIELD = "Correct the file, or pass --skip-bad to leave the field out."
SPECIMENS = "specimens.tsv"

Edges = tuple[float, float, float, float]


def safe_path(text: str) -> PurePosixPath | None:
    """A relative path that stays below its folder; None for one that does not (absolute, '..', a drive, NUL)."""
    path = PurePosixPath(text.replace("\\", "/"))
    windows = PureWindowsPath(text)
    if not text or "\0" in text or path.is_absolute() or windows.drive or windows.root or ".." in path.parts:
        return None
    return path if path.parts else None


def without_suffix(path: PurePosixPath | Path) -> str:
    """'specimen_014/field_203.jpg' -> 'specimen_014/field_203'; other dots in a name are kept."""
    known = path.suffix.lower() in (*IMAGE_SUFFIXES, ".xml", ".txt")
    return (path.with_suffix("") if known else path).as_posix()


def check_name(name: str, written: set[str]) -> None:
    """Before writing: the name stays below the folder and is new; it is added to `written`. Else BadAnnotation."""
    if str(safe_path(name)) != name:
        raise BadAnnotation(f"field {quote(name)}: its name leads out of the folder. Rename it.")
    if name in written:
        raise BadAnnotation(f"field {quote(name)}: two fields have this name. Rename one.")
    written.add(name)


def find_image(folder: Path, name: str) -> Path | None:
    """The image of this name with any of the known suffixes."""
    for suffix in IMAGE_SUFFIXES:
        for spelled in (suffix, suffix.upper()):
            if (path := folder / f"{name}{spelled}").is_file():
                return path
    return None


def list_images(folder: Path) -> tuple[Path, ...]:
    """Every image below a folder, sorted; hidden files (such as `._field.jpg` of macOS) are passed over."""
    return tuple(
        sorted(
            p
            for p in folder.rglob("*")
            if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file()
        )
    )


def size_of_image(path: Path, where: str, log: ProblemLog) -> tuple[int, int] | None:
    """(width, height) by the header; None, with a problem, where it cannot be read."""
    if not path.is_file():
        log.add(ProblemKind.MISSING_IMAGE, where, f"image {path} does not exist", "Restore it, or pass --skip-bad.")
        return None
    try:
        return image_size(path)
    except BadImage as e:
        kind = ProblemKind.IMAGE_TOO_LARGE if isinstance(e, ImageTooLarge) else ProblemKind.CORRUPT_IMAGE
        log.add(kind, where, str(e).rstrip("."), "Or pass --skip-bad to leave the field out.")
        return None


def judge_box(
    edges: Sequence[float],
    size: tuple[int, int],
    where: str,
    log: ProblemLog,
    *,
    written: Sequence[float] | None = None,
    names: Sequence[str] = ("x1", "y1", "x2", "y2"),
) -> Edges | None:
    """Cut x1, y1, x2, y2 at the field of `size` (width, height); None, with a problem, where there is no box.

    written, names: the four numbers as the file has them, if they are not the edges, and what it calls them.
    """
    written = written or edges
    said = [f"{value:g}" for value in written]
    if not all(math.isfinite(value) for value in edges):
        log.add(ProblemKind.NOT_A_NUMBER, where, f"box ({', '.join(said)}) is not four numbers", SKIP)
        return None
    for i, way in ((0, "left of"), (1, "above")):
        if written[i] >= written[i + 2]:
            kind = ProblemKind.ZERO_AREA_BOX if written[i] == written[i + 2] else ProblemKind.REVERSED_BOX
            log.add(kind, where, f"{names[i]} {said[i]} is not {way} {names[i + 2]} {said[i + 2]}", SKIP)
            return None
    (x1, y1, x2, y2), (width, height) = edges, size
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if cut == (x1, y1, x2, y2):
        return cut
    what = f"box ({', '.join(said)}) "
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        log.add(ProblemKind.BOX_OUTSIDE, where, what + f"lies outside the field of {width} x {height}", SKIP)
        return None
    what += f"reaches beyond the field of {width} x {height} and was cut at its edge"
    log.add(ProblemKind.BOX_BEYOND_EDGE, where, what, "Check that the labels belong to this image.")
    return cut


def read_specimens(folder: Path, log: ProblemLog) -> dict[str, str]:
    """Field -> specimen from `specimens.tsv`; empty without one."""
    path = folder / SPECIMENS
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        log.add(ProblemKind.MALFORMED_FILE, SPECIMENS, f"cannot be read ({e})", "Save it as UTF-8, tabs between.")
        return {}
    columns = reader.fieldnames or ()
    if not {"field", "specimen"} <= set(columns) or any(not (r["field"] and r["specimen"]) for r in rows):
        remedy = "First line: field<TAB>specimen; then one line a field."
        log.add(
            ProblemKind.MALFORMED_FILE, SPECIMENS, "has no columns field and specimen, or a line without one", remedy
        )
    return {row["field"]: row["specimen"] for row in rows if row.get("field") and row.get("specimen")}


def specimen_of(name: str, listed: dict[str, str], tagged: str | None) -> str | None:
    """The rule of `labelled`: the list, else the tag, else the subfolder, else unknown."""
    if name in listed:
        return listed[name]
    if tagged and tagged.strip():
        return tagged.strip()
    folder = PurePosixPath(name).parent.as_posix()
    return None if folder == "." else folder


def write_specimens(folder: Path, fields: Iterable[LabelledField]) -> None:
    """`specimens.tsv` beside labels whose format has no place for a specimen; none is written if none is known."""
    lines = [f"{field.name}\t{field.specimen}\n" for field in fields if field.specimen]
    if lines:
        write_atomically(folder / SPECIMENS, "".join(["field\tspecimen\n", *sorted(set(lines))]))
