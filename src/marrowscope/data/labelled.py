"""A field with its labelled cells as it lies on disk, whatever the format it was labelled in.

`LabelledField` keeps the labels as they were written; a `Taxonomy` gives them meaning only in `truth`. The specimen of
a field (the patient's smear it came from) is found by the first rule that answers:

1. `specimens.tsv` in the folder: a header line `field<TAB>specimen`, then one line a field;
2. a tag of the label file itself (VOC: `<source><specimen>`; COCO: `specimen` of the image);
3. the subfolder: `specimen_014/field_203` belongs to `specimen_014`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, as_boxes
from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.problems import Problem as Problem
from marrowscope.data.problems import ProblemKind as ProblemKind
from marrowscope.data.problems import Severity as Severity
from marrowscope.errors import BadImage


@dataclass(frozen=True, eq=False)
class LabelledField:
    """One field and what a person saw in it.

    name: path below the image folder without suffix, '/' between subfolders. width, height: pixels of the image file.
    boxes: (n, 4) float32, inside the field. labels: n names as written. difficult: (n,) bool.
    """

    name: str
    image_path: Path
    width: int
    height: int
    boxes: Boxes
    labels: tuple[str, ...]
    difficult: NDArray[np.bool_]
    specimen: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", as_boxes(self.boxes))
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "difficult", np.asarray(self.difficult, np.bool_).reshape(-1))
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"{self.name}: size must be positive, got {self.width} x {self.height}")
        if not len(self.boxes) == len(self.labels) == len(self.difficult):
            raise ValueError(
                f"{self.name}: boxes, labels and difficult must be equally many, "
                f"got {len(self.boxes)}, {len(self.labels)}, {len(self.difficult)}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def truth(self, taxonomy: Taxonomy) -> GroundTruth:
        """The cells as the taxonomy names them; labels that it does not know are left out."""
        found = [taxonomy.find(label) for label in self.labels]
        known = np.asarray([label is not None for label in found], np.bool_)
        labels = np.asarray([label for label in found if label is not None], np.int64)
        return GroundTruth(self.boxes[known], labels, taxonomy, self.difficult[known])

    def only(self, keep: NDArray[np.bool_]) -> "LabelledField":
        """The field with only the cells where `keep` (n,) is true."""
        labels = tuple(label for label, kept in zip(self.labels, keep, strict=True) if kept)
        return LabelledField(
            self.name,
            self.image_path,
            self.width,
            self.height,
            self.boxes[keep],
            labels,
            self.difficult[keep],
            self.specimen,
        )


@dataclass(frozen=True)
class LabelledSet:
    """What was read from a folder: the usable fields by name, and every problem met on the way."""

    folder: Path
    fields: tuple[LabelledField, ...]
    problems: tuple[Problem, ...]


def labels_of(fields: Iterable[LabelledField]) -> Counter[str]:
    """How many cells carry each label, as written."""
    return Counter(label for field in fields for label in field.labels)


def data_hash(fields: Iterable[LabelledField]) -> str:
    """SHA-256 (hex) of names, sizes, boxes, labels, difficult marks and image byte sizes.

    Neither the order of fields, nor that of the cells in a field, nor where the folder lies changes it.
    BadImage for a missing image.
    """
    lines = []
    for field in fields:
        try:
            image_bytes = field.image_path.stat().st_size
        except OSError:
            raise BadImage(f"{field.image_path}: no such image. Restore it, or leave the field out.") from None
        rows = zip(field.boxes.tolist(), field.labels, field.difficult.tolist(), strict=True)
        # float32 -> Python float -> JSON is exact, so equal boxes always give equal text.
        cells = sorted(json.dumps([*box, label, difficult]) for box, label, difficult in rows)
        lines.append(json.dumps([field.name, field.width, field.height, image_bytes, cells]))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
