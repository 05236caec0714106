"""A `Detector` made of a runtime: fit the field, find its cells, read them again, say how sure it is.

What is here is done the same whatever computes, so a faster runtime cannot differ in anything but time and rounding.
"""

from collections.abc import Sequence

from marrowscope.cells.boxes import scale
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import settle
from marrowscope.detect.prepare import fit, resize_to
from marrowscope.detect.runtime import Found, Runtime
from marrowscope.model.traits import Traits


class FieldDetector:
    """Detects one field at a time, so that a field's answer never depends on its neighbours."""

    def __init__(self, runtime: Runtime, traits: Traits) -> None:
        self.runtime = runtime
        self.traits = traits

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that the detector tells apart."""
        return self.traits.taxonomy

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) into which fields are fitted."""
        return self.traits.input_size

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._detect(field) for field in fields]

    def _detect(self, field: FieldImage) -> Detections:
        found = self._find(field)
        scores = found.scores
        if self.traits.calibration is not None:
            scores = self.traits.calibration.apply(scores, found.labels)
        return settle(found.boxes, found.labels, scores, self.taxonomy, field)

    def _find(self, field: FieldImage) -> Found:
        """Cells in original pixels."""
        fitted = fit(field.width, field.height, self.input_size)
        found = self.runtime.find(resize_to(field, (fitted.width, fitted.height)))
        boxes = scale(found.boxes, field.width / fitted.width, field.height / fitted.height)
        return found._replace(boxes=boxes)
