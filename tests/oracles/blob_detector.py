"""A detector that a reader can check by eye: dark blobs on a light ground, found by threshold. For tests alone.

Unlike saved answers it really looks at pixels, through `prepare.fit` and `prepare.resize_to`, so it shows whether a
reduced decode, a resize or a batch moves a box.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from marrowscope.cells.boxes import scale
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy
from marrowscope.detect.detector import settle
from marrowscope.detect.prepare import fit, resize_to

SHADES = Taxonomy(
    "shades",
    (CellClass("PALE", "pale blob", Lineage.LYMPHOID), CellClass("DARK", "dark blob", Lineage.ERYTHROID, stage=1)),
)


class BlobDetector:
    """Every connected patch darker than mid-grey; the darker, the higher the score."""

    taxonomy = SHADES

    def __init__(self, input_size: tuple[int, int] = (400, 300)) -> None:
        self.input_size = input_size

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        return [self._one(field) for field in fields]

    def _one(self, field: FieldImage) -> Detections:
        width, height, _ = fit(field.width, field.height, self.input_size)
        grey = resize_to(field, (width, height)).mean(axis=2)
        n, _, stats, _ = cv2.connectedComponentsWithStats((grey < 128).astype(np.uint8))
        boxes, scores = [], []
        for x, y, w, h, area in stats[1:n]:
            if area >= 30:
                boxes.append((x, y, x + w, y + h))
                scores.append(1 - np.median(grey[y : y + h, x : x + w]) / 255)
        found = np.asarray(boxes, np.float32).reshape(-1, 4)
        labels = np.asarray([int(s > 0.75) for s in scores], np.int64)
        found = scale(found, field.width / width, field.height / height)
        return settle(found, labels, np.asarray(scores, np.float32), SHADES, field)
