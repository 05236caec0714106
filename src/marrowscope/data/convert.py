"""Labels from any format to any other: VOC, COCO, YOLO; from Label Studio, too.

What each cannot carry: VOC fractional pixels (rounded), YOLO difficult marks (lost) and splits by other names than
train, val, test (refused). Images come along unchanged.

A COCO folder is laid out as `annotations/*.json` beside `images/`; the split is the end of the file's name
(`instances_val.json`). A single JSON file, of COCO or a Label Studio export, is read with the folder `images`, or else
the one it lies in, beside it; unless told where its images are.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.clean import infer_taxonomy
from marrowscope.data.coco import read_coco, write_coco
from marrowscope.data.images import ImageTransfer, transfer_image
from marrowscope.data.label_studio import is_label_studio, read_label_studio
from marrowscope.data.labelled import LabelledField, LabelledSet
from marrowscope.data.problems import Problem
from marrowscope.data.voc import read_voc, voc_splits, write_voc
from marrowscope.data.yolo import read_yolo, write_yolo, yolo_splits
from marrowscope.errors import BadAnnotation, BadInput


class LabelFormat(StrEnum):
    """The formats that labels come in."""

    VOC = "voc"
    COCO = "coco"
    YOLO = "yolo"
    LABEL_STUDIO = "label-studio"
    """A project exported as JSON; it is not written."""


WRITTEN = (LabelFormat.VOC, LabelFormat.COCO, LabelFormat.YOLO)


def detect_format(path: Path) -> LabelFormat:
    """The format of a folder or file, by its layout. BadAnnotation where it is none."""
    path = Path(path)
    if (path / "Annotations").is_dir():
        return LabelFormat.VOC
    if (path / "data.yaml").is_file():
        return LabelFormat.YOLO
    if path.suffix.lower() == ".json" and is_label_studio(path):
        return LabelFormat.LABEL_STUDIO
    if path.suffix.lower() == ".json" or any((path / "annotations").glob("*.json")):
        return LabelFormat.COCO
    raise BadAnnotation(
        f"{path}: holds no labels that are understood. Needed: Annotations/ (VOC), data.yaml (YOLO), or "
        "annotations/*.json (COCO); or a JSON file of COCO or Label Studio."
    )


def splits_of(path: Path) -> tuple[str, ...]:
    """The splits of a labelled folder in any format."""
    path = Path(path)
    match detect_format(path):
        case LabelFormat.VOC:
            return voc_splits(path)
        case LabelFormat.YOLO:
            return yolo_splits(path)
        case LabelFormat.COCO:
            return tuple(sorted(_coco_files(path)))
        case LabelFormat.LABEL_STUDIO:
            return ()


def read_labels(
    path: Path, *, split: str | None = None, skip_bad: bool = False, images: Path | None = None
) -> LabelledSet:
    """As `read_voc`, for any format. images: folder of the images of a single JSON file."""
    path = Path(path)
    match detect_format(path):
        case LabelFormat.VOC:
            return read_voc(path, split=split, skip_bad=skip_bad)
        case LabelFormat.YOLO:
            return read_yolo(path, split=split, skip_bad=skip_bad)
        case LabelFormat.COCO:
            return _read_coco_folder(path, split, skip_bad, images)
        case LabelFormat.LABEL_STUDIO:
            if split is not None:
                raise BadAnnotation(f"{path}: has no split '{split}'. A Label Studio export has none.")
            return read_label_studio(path, images or _images_beside(path), skip_bad=skip_bad)


def convert(
    source: Path,
    destination: Path,
    *,
    to: LabelFormat,
    taxonomy: Taxonomy | None = None,
    skip_bad: bool = False,
    images: ImageTransfer = ImageTransfer.COPY,
    image_folder: Path | None = None,
) -> tuple[LabelledSet, Taxonomy]:
    """Read a folder of any format and write it as another, splits and all.

    taxonomy: classes and their order in COCO and YOLO; the labels themselves, rarest first, unless given.
    image_folder: where the images of a single JSON file lie, if not beside it.
    Returns what was read, with its problems, and the taxonomy used.
    """
    source, destination = Path(source), Path(destination)
    if to not in WRITTEN:
        raise BadInput("Label Studio's JSON is read, not written. Connect `marrowscope label-studio` to the project.")
    everything, splits = _read_with_splits(source, skip_bad, image_folder)
    scheme = taxonomy or infer_taxonomy(everything.fields)
    if to is LabelFormat.VOC:
        names = {split: [f.name for f in fields] for split, fields in splits.items()}
        write_voc(destination, everything.fields, splits=names, images=images)
        return everything, scheme
    # COCO and YOLO have no fields outside a split; and one field in two is written twice.
    parts = splits or {"train": everything.fields}
    if to is LabelFormat.YOLO:
        write_yolo(destination, parts, scheme, images=images)
        return everything, scheme
    for split, fields in parts.items():
        write_coco(destination / "annotations" / f"instances_{split}.json", fields, scheme)
        for field in fields:
            target = destination / "images" / f"{field.name}{field.image_path.suffix}"
            transfer_image(field.image_path, target, images)
    return everything, scheme


def _read_with_splits(
    source: Path, skip_bad: bool, images: Path | None
) -> tuple[LabelledSet, Mapping[str, tuple[LabelledField, ...]]]:
    everything = read_labels(source, skip_bad=skip_bad, images=images)
    by_image = {field.image_path: field for field in everything.fields}
    splits: dict[str, tuple[LabelledField, ...]] = {}
    problems: list[Problem] = list(everything.problems)
    for split in splits_of(source):
        part = read_labels(source, split=split, skip_bad=skip_bad, images=images)
        # The name in `everything` is unique, that in a split of YOLO need not be.
        splits[split] = tuple(by_image[f.image_path] for f in part.fields if f.image_path in by_image)
        problems += [p for p in part.problems if p not in problems]
    return LabelledSet(everything.folder, everything.fields, tuple(problems)), splits


def _coco_files(path: Path) -> dict[str, Path]:
    """Split -> JSON file."""
    files = [path] if path.is_file() else sorted((path / "annotations").glob("*.json"))
    return {file.stem.removeprefix("instances_"): file for file in files}


def _images_beside(file: Path) -> Path:
    folders = (file.parent / "images", file.parent.parent / "images", file.parent)
    return next(folder for folder in folders if folder.is_dir())


def _read_coco_folder(path: Path, split: str | None, skip_bad: bool, images: Path | None) -> LabelledSet:
    files = _coco_files(path)
    if split is not None and split not in files:
        raise BadAnnotation(f"{path}: has no split '{split}'. Splits here: {', '.join(files) or 'none'}.")
    fields: dict[str, LabelledField] = {}
    problems: list[Problem] = []
    for chosen in sorted(files) if split is None else [split]:
        part = read_coco(files[chosen], images or _images_beside(files[chosen]), skip_bad=skip_bad)
        fields |= {field.name: field for field in part.fields}
        problems += part.problems
    return LabelledSet(path, tuple(fields[name] for name in sorted(fields)), tuple(problems))
