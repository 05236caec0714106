"""Ground truth as COCO JSON, in and out (cocodataset.org, data format: object detection).

COCO's boxes are [x, y, width, height] in 0-based edges, so nothing is rounded on the way. `iscrowd` stands for
difficult: both are neither required nor penalised. The specimen of an image travels as an entry of its own,
`specimen`, which other readers pass over.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.files import write_atomically
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.intake import (
    SKIP,
    SKIP_FIELD,
    Edges,
    check_name,
    judge_box,
    read_specimens,
    safe_path,
    size_of_image,
    specimen_of,
    without_suffix,
)
from marrowscope.data.labelled import LabelledField, LabelledSet
from marrowscope.data.problems import ProblemKind, ProblemLog, quote
from marrowscope.errors import BadAnnotation


def read_coco(path: Path, images: Path, *, skip_bad: bool = False) -> LabelledSet:
    """Read one COCO file whose `file_name`s lie below `images`; fields come in order of name.

    skip_bad: as for `read_voc`. BadAnnotation where the file is no COCO at all.
    """
    path, images = Path(path), Path(images)
    log = ProblemLog(skip_bad)
    content = _load(path)
    names = {c["id"]: str(c["name"]).strip() for c in content["categories"] if "id" in c and c.get("name")}
    by_image: dict[Any, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, entry in enumerate(content["annotations"], 1):
        by_image.setdefault(entry.get("image_id"), []).append((number, entry))
    reader = _Reader(path.name, images, names, read_specimens(images, log), log)
    fields = [reader.field(image, by_image.pop(image.get("id"), [])) for image in content["images"]]
    for image_id, entries in by_image.items():
        what = f"belongs to image {quote(image_id)}, which is not listed"
        log.add(ProblemKind.MISSING_FIELD, f"{path.name}, annotation {entries[0][0]}", what, SKIP)
    kept = sorted((f for f in fields if f is not None), key=lambda f: f.name)
    return LabelledSet(images, tuple(kept), tuple(log.found))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise BadAnnotation(f"{path}: is not readable as JSON ({e}). Export it again.") from e
    for part in ("images", "annotations", "categories"):
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise BadAnnotation(f"{path}: has no list '{part}'. Give a COCO file of ground truth (instances).")
        for entry in entries:
            ids = (entry.get("id"), entry.get("image_id"), entry.get("category_id"))
            if any(isinstance(i, (list, dict)) for i in ids):
                raise BadAnnotation(f"{path}: an id in '{part}' is neither number nor text. Export it again.")
    return dict(content)


@dataclass(frozen=True)
class _Reader:
    """What stays the same from image to image."""

    file_name: str
    images: Path
    names: Mapping[Any, str]
    specimens: dict[str, str]
    log: ProblemLog

    def field(self, image: Mapping[str, Any], entries: Iterable[tuple[int, Mapping[str, Any]]]) -> LabelledField | None:
        """One image with its annotations (numbered from 1); None, with a problem, where it cannot be used."""
        where = f"{self.file_name}, image {quote(image.get('file_name', image.get('id')))}"
        relative = safe_path(str(image.get("file_name", "")))
        if relative is None:
            what = "has no file_name, or one that leads out of the folder"
            self.log.add(ProblemKind.UNSAFE_PATH, where, what, "Write a path below the image folder.")
            return None
        size = size_of_image(self.images / relative, where, self.log)
        if size is None or not self._size_agrees(image, size, where):
            return None
        boxes, labels, difficult = [], [], []
        for number, entry in entries:
            place = f"{where}, annotation {number}"
            label = self.names.get(entry.get("category_id"))
            if label is None:
                what = f"category_id {quote(entry.get('category_id'))} is no category"
                self.log.add(ProblemKind.MISSING_VALUE, place, what, SKIP)
            elif (box := self._box(entry.get("bbox"), size, place)) is not None:
                boxes.append(box)
                labels.append(label)
                difficult.append(bool(entry.get("iscrowd", 0)))
        name = without_suffix(relative)
        specimen = specimen_of(name, self.specimens, image.get("specimen"))
        return LabelledField(
            name, self.images / relative, *size, as_boxes(boxes), tuple(labels), np.asarray(difficult, bool), specimen
        )

    def _size_agrees(self, image: Mapping[str, Any], size: tuple[int, int], where: str) -> bool:
        written = (image.get("width"), image.get("height"))
        if written in ((None, None), size):
            return True
        what = f"says {quote(written[0])} x {quote(written[1])} pixels but the image has {size[0]} x {size[1]}"
        self.log.add(ProblemKind.SIZE_MISMATCH, where, what, SKIP_FIELD)
        return False

    def _box(self, bbox: Any, size: tuple[int, int], place: str) -> Edges | None:
        try:
            x, y, width, height = (float(v) for v in bbox)
        except (TypeError, ValueError):
            what = f"bbox {quote(bbox)} is not four numbers"
            self.log.add(ProblemKind.NOT_A_NUMBER, place, what, SKIP)
            return None
        return judge_box((x, y, x + width, y + height), size, place, self.log)


def write_coco(path: Path, fields: Iterable[LabelledField], taxonomy: Taxonomy) -> None:
    """Write fields as one COCO file; categories are the taxonomy's, ids from 1, in its order.

    `file_name` is the field's name with its image's suffix; the images themselves stay where they are.
    BadTaxonomy for a label that the taxonomy does not know: a conversion loses no cell in silence.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    written: set[str] = set()
    for image_id, field in enumerate(fields, 1):
        check_name(field.name, written)
        entry = {"id": image_id, "file_name": f"{field.name}{field.image_path.suffix}"}
        images.append(entry | {"width": field.width, "height": field.height})
        if field.specimen:
            images[-1]["specimen"] = field.specimen
        rows = zip(field.boxes.tolist(), field.labels, field.difficult.tolist(), strict=True)
        for (x1, y1, x2, y2), label, difficult in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": taxonomy.index(label) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(difficult),
                }
            )
    categories = [{"id": i, "name": c.name, "supercategory": c.lineage.value} for i, c in enumerate(taxonomy, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(Path(path), json.dumps(content, ensure_ascii=False))
