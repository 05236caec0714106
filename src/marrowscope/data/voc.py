"""Pascal VOC folders in and out: `Annotations/**.xml`, `JPEGImages/`, `ImageSets/Main/<split>.txt`.

A field may lie in a subfolder (`Annotations/specimen_014/field_203.xml`); its name then keeps it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import simplejpeg

from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.cells.files import write_atomically
from marrowscope.data.images import ImageTransfer, transfer_image
from marrowscope.data.intake import check_name, read_specimens, safe_path, without_suffix
from marrowscope.data.labelled import LabelledField, LabelledSet
from marrowscope.data.problems import ProblemKind, ProblemLog, quote
from marrowscope.data.voc_xml import annotation_xml, read_voc_field
from marrowscope.errors import BadAnnotation


def read_voc(folder: Path, *, split: str | None = None, skip_bad: bool = False) -> LabelledSet:
    """Every labelled field of a folder, or those of one split, in order of name.

    skip_bad: leave bad objects and fields out and list them in `problems`; otherwise the first one is raised as
    BadAnnotation or BadImage. Warnings (a box cut at the edge, say) are listed either way.
    BadAnnotation also where the folder or the split does not exist.
    """
    folder = Path(folder)
    if not (folder / "Annotations").is_dir():
        raise BadAnnotation(f"{folder}: has no folder Annotations. Give the folder that holds it and JPEGImages.")
    log = ProblemLog(skip_bad)
    names = annotation_names(folder) if split is None else split_names(folder, split, log)
    specimens = read_specimens(folder, log)
    fields = [read_voc_field(folder, name, specimens, log) for name in names]
    return LabelledSet(folder, tuple(f for f in fields if f is not None), tuple(log.found))


def annotation_names(folder: Path) -> tuple[str, ...]:
    """Names of all annotated fields, sorted."""
    top = folder / "Annotations"
    files = (p for p in top.rglob("*.xml") if not p.name.startswith("."))
    return tuple(sorted(p.relative_to(top).with_suffix("").as_posix() for p in files))


def voc_splits(folder: Path) -> tuple[str, ...]:
    """The splits that `ImageSets/Main` offers."""
    return tuple(sorted(p.stem for p in (Path(folder) / "ImageSets" / "Main").glob("*.txt")))


def split_names(folder: Path, split: str, log: ProblemLog) -> tuple[str, ...]:
    """The fields a split lists, sorted; lines of VOC's per-class lists (`name -1`) are understood."""
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    if safe_path(split) is None or not path.is_file():
        offered = ", ".join(voc_splits(folder)) or "none: it has no ImageSets/Main/*.txt"
        raise BadAnnotation(f"{folder}: has no split {quote(split)}. Splits here: {offered}.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise BadAnnotation(f"{path}: cannot be read ({e}). Save it as UTF-8, one field a line.") from e
    names: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"ImageSets/Main/{split}.txt, line {number}"
        name = _listed_name(folder, line.strip(), where, log)
        if name is not None and name in names:
            log.add(ProblemKind.LISTED_TWICE, where, f"{quote(name)} is listed twice", "Remove one line.")
        elif name is not None:
            names.add(name)
    return tuple(sorted(names))


def _listed_name(folder: Path, line: str, where: str, log: ProblemLog) -> str | None:
    spellings = [line]
    if line.rsplit(maxsplit=1)[-1] in ("-1", "0", "1"):
        spellings.append(line.rsplit(maxsplit=1)[0])
    for spelling in spellings:
        path = safe_path(spelling)
        if path is None:
            what = f"{quote(spelling)} leads out of the folder"
            log.add(ProblemKind.UNSAFE_PATH, where, what, "Write the field's name alone.")
            return None
        for name in (path.as_posix(), without_suffix(path)):
            if (folder / "Annotations" / f"{name}.xml").is_file():
                return name
    what = f"{quote(line)} has no Annotations/{spellings[-1]}.xml"
    log.add(ProblemKind.MISSING_FIELD, where, what, "Restore the file, remove the line, or pass --skip-bad.")
    return None


def write_voc(
    folder: Path,
    fields: Iterable[LabelledField],
    *,
    splits: Mapping[str, Iterable[str]] | None = None,
    images: ImageTransfer = ImageTransfer.COPY,
) -> None:
    """Write fields as a VOC folder that `read_voc` reads back alike (fractional edges are rounded).

    splits: split -> names of fields, one ImageSets list each. Existing files of other fields stay.
    BadAnnotation for two fields of one name, an unsafe name, or a split naming a field that is not there.
    """
    folder = Path(folder)
    written: set[str] = set()
    for field in fields:
        check_name(field.name, written)
        image_name = f"{field.name}{field.image_path.suffix}"
        transfer_image(field.image_path, folder / "JPEGImages" / image_name, images)
        xml = annotation_xml(
            Path(image_name).name,
            field.width,
            field.height,
            field.boxes,
            field.labels,
            difficult=field.difficult,
            specimen=field.specimen,
        )
        write_atomically(folder / "Annotations" / f"{field.name}.xml", xml)
    for split, names in (splits or {}).items():
        listed = sorted(set(names))
        if missing := [n for n in listed if n not in written and not (folder / "Annotations" / f"{n}.xml").is_file()]:
            raise BadAnnotation(f"split {quote(split)}: {quote(missing[0])} was not written. List written fields only.")
        write_atomically(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{n}\n" for n in listed))


def write_voc_image(
    folder: Path,
    image: FieldImage,
    truth: GroundTruth,
    *,
    specimen: str | None = None,
    jpeg_quality: int = 95,
) -> LabelledField:
    """Write one field from pixels and truth; its image becomes a JPEG, its labels the names of the taxonomy.

    ValueError where the pixels are a reduced decode: the boxes would not fit the written image.
    """
    if image.pixels.shape[:2] != (image.height, image.width):
        raise ValueError(f"{image.name}: pixels {image.pixels.shape[:2]} are not those of the original field")
    check_name(image.name, set())
    image_path = Path(folder) / "JPEGImages" / f"{image.name}.jpg"
    # 4:4:4: granules are small and coloured, and halved colour would smear them.
    encoded = simplejpeg.encode_jpeg(image.pixels.copy(order="C"), jpeg_quality, "RGB", "444")
    write_atomically(image_path, encoded)
    labels = tuple(truth.taxonomy[int(label)].name for label in truth.labels)
    xml = annotation_xml(
        image_path.name,
        image.width,
        image.height,
        truth.boxes,
        labels,
        difficult=truth.difficult,
        specimen=specimen,
    )
    write_atomically(Path(folder) / "Annotations" / f"{image.name}.xml", xml)
    field = read_voc_field(Path(folder), image.name, {}, ProblemLog(skip_bad=False))
    if field is None:  # a log that keeps nothing has raised already
        raise BadAnnotation(f"{image.name}: was not readable after writing.")
    return field
