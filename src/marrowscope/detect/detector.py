"""The seam between those who want cells found and whatever finds them. Imports no runtime.

A `Detector` is anything that turns fields into detections: the torch runtime, a faster one, or saved answers played
back. One contract test (`tests/contracts/test_detector_contract.py`) holds them all to the promises made here.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, clip, iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy


@runtime_checkable
class Detector(Protocol):
    """Finds and names the cells of fields."""

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that it tells apart."""
        ...

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the box into which fields are resized.

        A source may hand over a reduced decode as long as it covers this box: more pixels would be thrown away.
        """
        ...

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        """One `Detections` a field, in the order given.

        Boxes are in original pixels (`FieldImage.width` x `height`) and lie inside the field; the best score comes
        first. A field with no cell gives no detection; no field gives an empty list. What is found in a field does
        not depend on the fields beside it.
        """
        ...


def settle(
    boxes: Boxes, labels: NDArray[np.int64], scores: NDArray[np.float32], taxonomy: Taxonomy, field: FieldImage
) -> Detections:
    """What a runtime says last: cut boxes (n, 4) in original pixels at the field, drop empty ones, best score first.

    Equal scores keep their order, so that the same field always gives the same list.
    """
    boxes = clip(boxes, field.width, field.height)
    whole = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    order = np.flatnonzero(whole)
    order = order[np.argsort(-scores[order], kind="stable")]
    return Detections(boxes[order], labels[order], scores[order], taxonomy)


SAME_CELL = 0.5
"""IoU from which two detections are of one cell."""


def one_name_per_cell(found: Detections) -> Detections:
    """Of detections that lie on one cell under several names, the one with the best score; so it is counted once.

    Detectors suppress within a class, as the paper's does, and may call a cell myelocyte and metamyelocyte: fair to a
    curve of precision and recall, wrong in a count.
    """
    order = np.argsort(-found.scores, kind="stable")
    overlaps = iou_matrix(found.boxes, found.boxes) >= SAME_CELL
    kept: list[int] = []
    for index in order.tolist():
        if not overlaps[index, kept].any():
            kept.append(index)
    return Detections(found.boxes[kept], found.labels[kept], found.scores[kept], found.taxonomy)
