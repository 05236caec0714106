"""A `Detector` that remembers what the fields that pass looked like, and what was counted in them."""

from collections.abc import Sequence

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.fields_seen import MOST_FIELDS, FieldsSeen, Swatch
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.looks import SIDE, gathered, looks_of, pixels_of
from marrowscope.detect.detector import Detector, one_name_per_cell


class Watched:
    """Detects as the detector given, and measures the first `MOST_FIELDS` fields on the way."""

    def __init__(self, detector: Detector, score: float) -> None:
        """score: from which a detection is counted."""
        self._detector, self._score = detector, score
        self._measured: list[tuple[tuple[float, ...], Swatch]] = []
        self._counted: list[Detections] = []

    @property
    def taxonomy(self) -> Taxonomy:
        """See `Detector.taxonomy`."""
        return self._detector.taxonomy

    @property
    def input_size(self) -> tuple[int, int]:
        """See `Detector.input_size`; no less than looks are measured at."""
        width, height = self._detector.input_size
        return max(width, SIDE), max(height, SIDE)

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        """See `Detector.detect`."""
        found = self._detector.detect(fields)
        for field, claims in zip(fields, found, strict=True):
            if len(self._measured) < MOST_FIELDS:
                self._measured.append((looks_of(field), pixels_of(field)))
                self._counted.append(one_name_per_cell(claims.above(self._score)))
        return found

    def seen(self) -> FieldsSeen:
        """The fields that have passed."""
        return gathered(self._measured).with_found(self._counted)
