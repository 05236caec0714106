"""YOLO folders in and out, laid out as ultralytics reads them.

    data.yaml                 names: {0: ..., 1: ...}; train: images/train; val: images/val
    images/<split>/*.jpg
    labels/<split>/*.txt      one cell a line: class, centre x, centre y, width, height, as shares of the image

The format knows neither difficult cells nor specimens: the first are written like any other, the second go to
`specimens.tsv` beside data.yaml. An image without a label file is a field without cells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.files import write_atomically
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.images import IMAGE_SUFFIXES, ImageTransfer, transfer_image
from marrowscope.data.intake import (
    SKIP,
    SKIP_FIELD,
    Edges,
    check_name,
    judge_box,
    list_images,
    read_specimens,
    safe_path,
    size_of_image,
    specimen_of,
    without_suffix,
    write_specimens,
)
from marrowscope.data.labelled import LabelledField, LabelledSet
from marrowscope.data.problems import ProblemKind, ProblemLog, quote
from marrowscope.errors import BadAnnotation

_SPLITS = ("train", "val", "test")


def yolo_splits(folder: Path) -> tuple[str, ...]:
    """The splits that data.yaml names."""
    content = _load(Path(folder))
    return tuple(split for split in _SPLITS if content.get(split))


def read_yolo(folder: Path, *, split: str | None = None, skip_bad: bool = False) -> LabelledSet:
    """Every field of a folder with a data.yaml, or those of one split; a field is named by its path in the split.

    Where all splits are read and two have a field of one name, the later one is called `<split>/<name>`.

    skip_bad: as for `read_voc`. BadAnnotation where data.yaml is missing, or names neither classes nor the split.
    """
    folder = Path(folder)
    offered = yolo_splits(folder)
    if split is not None and split not in offered:
        raise BadAnnotation(f"{folder}: has no split {quote(split)}. Splits here: {', '.join(offered) or 'none'}.")
    content = _load(folder)
    names = _class_names(folder, content)
    log = ProblemLog(skip_bad)
    specimens = read_specimens(folder, log)
    fields: dict[str, LabelledField] = {}
    for chosen in offered if split is None else (split,):
        for image, name in _images(folder, content[chosen], chosen, log):
            field = _read_field(folder, image, name, names, specimens, log)
            if field is not None and name in fields:
                field = replace(field, name=f"{chosen}/{name}")
            if field is not None:
                fields[field.name] = field
    return LabelledSet(folder, tuple(fields[name] for name in sorted(fields)), tuple(log.found))


def _load(folder: Path) -> dict[str, Any]:
    path = folder / "data.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadAnnotation(f"{folder}: has no data.yaml. Give the folder that holds it.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as e:
        raise BadAnnotation(f"{path}: is not readable as YAML ({' '.join(str(e).split())}). Correct it.") from e
    if not isinstance(content, dict):
        raise BadAnnotation(f"{path}: has no entries. It needs `names` and at least `train`.")
    return content


def _class_names(folder: Path, content: Mapping[str, Any]) -> dict[int, str]:
    names = content.get("names")
    pairs: Iterable[tuple[Any, Any]]
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
    try:
        found = {int(index): str(name).strip() for index, name in pairs}
    except (TypeError, ValueError):
        found = {}
    if not found:
        raise BadAnnotation(f"{folder / 'data.yaml'}: has no class `names`. List them in order, or by number.")
    return found


def _images(folder: Path, entry: Any, split: str, log: ProblemLog) -> list[tuple[Path, str]]:
    """Images of a split, with their names. An entry is a folder, a text file that lists images, or a list of those."""
    found: list[tuple[Path, str]] = []
    for text in entry if isinstance(entry, list) else [entry]:
        where = f"data.yaml, {split}"
        path = _below(folder, str(text))
        if path is None:
            what = f"{quote(text)} is not in the folder"
            log.add(ProblemKind.MISSING_FIELD, where, what, "Write it relative to data.yaml.")
        elif path.is_dir():
            found += [(image, without_suffix(image.relative_to(path))) for image in list_images(path)]
        else:
            for line in path.read_text(encoding="utf-8-sig").split("\n"):
                image = _below(folder, line.strip()) if line.strip() else None
                if image is not None and image.suffix.lower() in IMAGE_SUFFIXES:
                    found.append((image, _listed_name(image.relative_to(folder))))
                elif line.strip():
                    what = f"{quote(line)} is no image in the folder"
                    log.add(ProblemKind.MISSING_IMAGE, where, what, "Restore it, or remove the line.")
    return found


def _below(folder: Path, text: str) -> Path | None:
    """A path of data.yaml in this folder. Exporters write '../train/images' or './images': leading dots go."""
    parts = list(PurePosixPath(text.replace("\\", "/")).parts)
    while parts and parts[0] in ("..", "."):
        parts.pop(0)
    relative = safe_path("/".join(parts)) if parts else None
    path = None if relative is None else folder / relative
    return path if path is not None and path.exists() else None


def _listed_name(below: Path) -> str:
    """Path without suffix, outermost `images` and split."""
    parts = list(PurePosixPath(without_suffix(below)).parts)
    if "images" in parts[:-1]:
        parts = parts[parts.index("images") + 1 :]
    if parts[0] in _SPLITS and len(parts) > 1:
        parts = parts[1:]
    return "/".join(parts)


def _label_file(folder: Path, image: Path) -> Path:
    """As ultralytics has it: the last folder called images becomes labels, the suffix .txt."""
    parts = list(image.relative_to(folder).parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return folder.joinpath(*parts).with_suffix(".txt")


def _read_field(
    folder: Path, image: Path, name: str, names: Mapping[int, str], specimens: dict[str, str], log: ProblemLog
) -> LabelledField | None:
    path = _label_file(folder, image)
    where = path.relative_to(folder).as_posix()
    size = size_of_image(image, where, log)
    if size is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n") if path.is_file() else []
    except (OSError, UnicodeDecodeError) as e:
        log.add(ProblemKind.MALFORMED_FILE, where, f"is not readable as text ({e})", SKIP_FIELD)
        return None
    boxes, labels = [], []
    for number, line in enumerate(lines, 1):
        if line.strip() and (cell := _cell(line, size, names, f"{where}, line {number}", log)) is not None:
            labels.append(cell[0])
            boxes.append(cell[1])
    specimen = specimen_of(name, specimens, None)
    none_difficult = np.zeros(len(boxes), np.bool_)
    return LabelledField(name, image, *size, as_boxes(boxes), tuple(labels), none_difficult, specimen)


def _cell(
    line: str, size: tuple[int, int], names: Mapping[int, str], where: str, log: ProblemLog
) -> tuple[str, Edges] | None:
    try:
        number, x, y, width, height = (float(v) for v in line.split())
    except ValueError:
        what = f"{quote(line)} is not class, x, y, width, height"
        log.add(ProblemKind.NOT_A_NUMBER, where, what, "Correct the line, or pass --skip-bad.")
        return None
    label = names.get(int(number)) if number.is_integer() else None
    if not label:
        log.add(ProblemKind.MISSING_VALUE, where, f"class {number:g} has no name in data.yaml", SKIP)
        return None
    edges = _snapped((x - width / 2, y - height / 2, x + width / 2, y + height / 2), size)
    box = judge_box(edges, size, where, log)
    return None if box is None else (label, box)


def _snapped(shares: Edges, size: tuple[int, int]) -> Edges:
    """Shares -> pixels; a whole pixel blurred by the six decimals that most tools write becomes whole again."""
    pixels = np.asarray(shares) * [*size, *size]
    whole = np.round(pixels)
    x1, y1, x2, y2 = np.where(np.abs(pixels - whole) <= 1e-6 * max(size), whole, pixels).tolist()
    return x1, y1, x2, y2


def write_yolo(
    folder: Path,
    splits: Mapping[str, Sequence[LabelledField]],
    taxonomy: Taxonomy,
    *,
    images: ImageTransfer = ImageTransfer.COPY,
) -> None:
    """Write a YOLO folder. splits: train, val and test, those that there are -> fields.

    BadTaxonomy for a label that the taxonomy does not know.
    """
    folder = Path(folder)
    if unknown := set(splits) - set(_SPLITS):
        raise BadAnnotation(f"split {quote(min(unknown))}: YOLO knows {', '.join(_SPLITS)}. Rename it.")
    for split, fields in splits.items():
        written: set[str] = set()
        for field in fields:
            check_name(field.name, written)
            target = folder / "images" / split / f"{field.name}{field.image_path.suffix}"
            transfer_image(field.image_path, target, images)
            rows = zip(field.boxes.tolist(), field.labels, strict=True)
            lines = [_line(taxonomy.index(label), box, field) for box, label in rows]
            write_atomically(folder / "labels" / split / f"{field.name}.txt", "".join(lines))
    write_specimens(folder, [field for fields in splits.values() for field in fields])
    content = {split: f"images/{split}" for split in _SPLITS if split in splits}
    text = yaml.safe_dump(content | {"names": dict(enumerate(taxonomy.names))}, sort_keys=False, allow_unicode=True)
    write_atomically(folder / "data.yaml", text)


def _line(label: int, box: Sequence[float], field: LabelledField) -> str:
    x1, y1, x2, y2 = box
    shares = ((x1 + x2) / 2 / field.width, (y1 + y2) / 2 / field.height)
    sides = ((x2 - x1) / field.width, (y2 - y1) / field.height)
    return f"{label} {' '.join(f'{v:.10g}' for v in (*shares, *sides))}\n"
