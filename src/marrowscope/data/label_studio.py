"""Ground truth from Label Studio: a project exported as JSON (https://labelstud.io/guide/export), pictures beside it.

Boxes are percent of the picture, perhaps turned: then the upright box around them is taken. Of a task that several
people labelled, the annotation marked as ground truth counts, else the newest. A task that nobody labelled, or that was
skipped, is no field: only a submitted annotation without cells says that there are none.

A picture is found below the image folder: at its path among Label Studio's local files, at the path of its address,
or by its file name.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from marrowscope.cells.boxes import as_boxes
from marrowscope.data.images import IMAGE_SUFFIXES
from marrowscope.data.intake import (
    SKIP,
    SKIP_FIELD,
    Edges,
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

_BOXES = ("rectanglelabels", "labels")
"""Kinds of regions that are labelled boxes; a `rectangle` with its `labels` is written as both, under one id."""
_OTHER_SHAPES = ("polygonlabels", "ellipselabels", "brushlabels", "keypointlabels", "vectorlabels")


def is_label_studio(path: Path) -> bool:
    """Whether this JSON file is a Label Studio export: it begins as a list, COCO as an object."""
    try:
        with path.open("rb") as file:
            return file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except OSError:
        return False


def read_label_studio(path: Path, images: Path, *, skip_bad: bool = False) -> LabelledSet:
    """Read an export whose pictures lie below `images`; fields come in order of name.

    skip_bad: as for `read_voc`. BadAnnotation where the file is no such export.
    """
    path, images = Path(path), Path(images)
    log = ProblemLog(skip_bad)
    reader = _Reader(path.name, images, read_specimens(images, log), log)
    fields: dict[str, LabelledField] = {}
    for task in _load(path):
        field = reader.field(task)
        if field is None:
            continue
        if field.name in fields:
            what = f"has the picture of an earlier task, {quote(field.name)}"
            log.add(ProblemKind.LISTED_TWICE, reader.place(task), what, "The first one is taken.")
        fields.setdefault(field.name, field)
    return LabelledSet(images, tuple(fields[name] for name in sorted(fields)), tuple(log.found))


def _load(path: Path) -> list[dict[str, Any]]:
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as e:
        raise BadAnnotation(f"{path}: is not readable as JSON ({e}). Export it again.") from e
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise BadAnnotation(f"{path}: is no list of tasks with data. Export the project as JSON, not as JSON-MIN.")
    return tasks


@dataclass(frozen=True)
class _Reader:
    """What stays the same from task to task."""

    file_name: str
    images: Path
    specimens: dict[str, str]
    log: ProblemLog

    def place(self, task: Mapping[str, Any]) -> str:
        """Where a problem lies."""
        return f"{self.file_name}, task {quote(task.get('id'))}"

    def field(self, task: Mapping[str, Any]) -> LabelledField | None:
        """One task; None, perhaps with a problem, where it is no labelled field."""
        where = self.place(task)
        annotation = self._annotation(task, where)
        if annotation is None:
            return None
        relative = self._picture(task["data"], where)
        if relative is None:
            return None
        size = size_of_image(self.images / relative, where, self.log)
        if size is None:
            return None
        boxes: list[Edges] = []
        labels: list[str] = []
        for n, region in enumerate(annotation, 1):
            place = f"{where}, region {n}"
            if not self._size_agrees(region, size, place):
                return None
            if (cell := self._cell(region, size, place)) is not None:
                labels.append(cell[0])
                boxes.append(cell[1])
        name = without_suffix(relative)
        tagged = task["data"].get("specimen")
        specimen = specimen_of(name, self.specimens, tagged if isinstance(tagged, str) else None)
        easy = np.zeros(len(boxes), bool)
        return LabelledField(name, self.images / relative, *size, as_boxes(boxes), tuple(labels), easy, specimen)

    def _annotation(self, task: Mapping[str, Any], where: str) -> list[dict[str, Any]] | None:
        """The regions of the annotation that counts."""
        written = task.get("annotations")
        usable = [
            a
            for a in (written if isinstance(written, list) else [])
            if isinstance(a, dict) and not a.get("was_cancelled") and isinstance(a.get("result"), list)
        ]
        if not usable:
            what = "was skipped" if written else "has no annotation"
            self.log.add(ProblemKind.UNLABELLED_IMAGE, where, what, "Label it, or leave it out of the export.")
            return None
        if len(usable) > 1:
            what = f"has {len(usable)} annotations; the ground truth among them counts, else the newest"
            self.log.add(ProblemKind.LISTED_TWICE, where, what, "Mark the right one as ground truth.")
        chosen = max(usable, key=lambda a: (bool(a.get("ground_truth")), str(a.get("updated_at", ""))))
        return [region for region in chosen["result"] if isinstance(region, dict)]

    def _picture(self, data: Mapping[str, Any], where: str) -> PurePosixPath | None:
        """The path of the picture below the image folder."""
        addresses = [value for value in data.values() if isinstance(value, str) and _is_picture(value)]
        if len(addresses) != 1:
            what = f"its data names {len(addresses)} pictures"
            self.log.add(ProblemKind.MISSING_VALUE, where, what, "A task has one picture. " + SKIP_FIELD)
            return None
        candidates = [path for text in _places(addresses[0]) if (path := safe_path(text)) is not None]
        if not candidates:
            what = f"picture {quote(addresses[0])} leads out of the folder"
            self.log.add(ProblemKind.UNSAFE_PATH, where, what, "Write a path below the image folder.")
            return None
        return next((path for path in candidates if (self.images / path).is_file()), candidates[0])

    def _size_agrees(self, region: Mapping[str, Any], size: tuple[int, int], place: str) -> bool:
        written = (region.get("original_width"), region.get("original_height"))
        if written in ((None, None), size):
            return True
        what = f"says {quote(written[0])} x {quote(written[1])} pixels but the image has {size[0]} x {size[1]}"
        self.log.add(ProblemKind.SIZE_MISMATCH, place, what, SKIP_FIELD)
        return False

    def _cell(self, region: Mapping[str, Any], size: tuple[int, int], place: str) -> tuple[str, Edges] | None:
        kind, value = str(region.get("type", "")).lower(), region.get("value")
        if kind in _OTHER_SHAPES:
            self.log.add(ProblemKind.MISSING_VALUE, place, f"is of kind {kind}, which is no box", SKIP)
        if kind not in _BOXES or not isinstance(value, dict):
            return None
        labels = value.get(kind)
        if not isinstance(labels, list) or len(labels) != 1 or not str(labels[0]).strip():
            self.log.add(ProblemKind.MISSING_VALUE, place, f"has labels {quote(labels)} rather than one", SKIP)
            return None
        try:
            numbers = [float(value[key]) for key in ("x", "y", "width", "height")]
            turned = float(value.get("rotation") or 0)
        except (KeyError, TypeError, ValueError):
            self.log.add(ProblemKind.NOT_A_NUMBER, place, "has a box that is not four numbers", SKIP)
            return None
        box = judge_box(_edges(numbers, turned, size), size, place, self.log)
        return None if box is None else (str(labels[0]).strip(), box)


def _edges(numbers: Sequence[float], turned: float, size: tuple[int, int]) -> Edges:
    """Percent of the picture -> pixels; turned: degrees clockwise about the top left corner."""
    (width, height), (x, y, wide, high) = size, numbers
    x, y, wide, high = x * width / 100, y * height / 100, wide * width / 100, high * height / 100
    if not turned or not math.isfinite(turned):
        return x, y, x + wide, y + high
    cos, sin = math.cos(math.radians(turned)), math.sin(math.radians(turned))
    xs = [x + a * cos - b * sin for a in (0, wide) for b in (0, high)]
    ys = [y + a * sin + b * cos for a in (0, wide) for b in (0, high)]
    return min(xs), min(ys), max(xs), max(ys)


def _is_picture(text: str) -> bool:
    return any(place.lower().endswith(IMAGE_SUFFIXES) for place in _places(text))


def _places(address: str) -> Iterator[str]:
    """Where a picture of this address may lie below the image folder, the likeliest first."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    local = parse_qs(parts.query).get("d")
    # An address is percent-encoded, a bare path is not.
    path = (local[-1] if local else unquote(parts.path)).lstrip("/")
    yield path
    if not local and path.startswith("data/upload/"):
        yield path.removeprefix("data/upload/")
    # No name, no file: a path with '..' must not come back in by its last part.
    if safe_path(path) is not None:
        yield PurePosixPath(path).name
