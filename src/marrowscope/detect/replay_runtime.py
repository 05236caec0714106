"""The fake detector: answers from a saved `detections.json`.

It makes everything around a model testable without one, remakes pictures and tables after the model is gone, and
shows on a machine without torch what another machine found.
"""

from collections.abc import Sequence
from pathlib import Path

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import settle
from marrowscope.detect.saved import DetectedField, SavedDetections, read_detections
from marrowscope.errors import BadInput


class ReplayDetector:
    """Gives for each field what was saved for it; BadInput for a field that was not in the run, or has another size.

    A field is known by its path, else by its file name where only one saved field bears it: the pictures may have
    moved to another folder since.
    """

    # It looks at no pixel, so the smallest decode will do.
    input_size = (1, 1)

    def __init__(self, saved: SavedDetections) -> None:
        self._saved = saved
        self._by_path = {f.path: f for f in saved.fields}
        self._by_name: dict[str, DetectedField | None] = {}
        for found in saved.fields:
            for name in {found.path.name, found.path.stem, found.name}:
                self._by_name[name] = None if name in self._by_name else found

    @classmethod
    def from_file(cls, path: Path) -> "ReplayDetector":
        """Play back this file; BadInput if it cannot be used."""
        return cls(read_detections(path))

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes of the saved run."""
        return self._saved.taxonomy

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        """What was saved for these fields; see `Detector.detect`."""
        return [self._answer(field) for field in fields]

    def _answer(self, field: FieldImage) -> Detections:
        path = field.origin.path
        found = self._by_path.get(path) if path else None
        if found is None:
            found = self._by_name.get(path.name if path else field.name)
        if found is None:
            raise BadInput(f"{path or field.name}: nothing was saved for this field. Detect with a model instead.")
        if (found.width, found.height) != (field.width, field.height):
            raise BadInput(
                f"{path or field.name}: the field is {field.width} x {field.height}, but detections were saved for "
                f"{found.width} x {found.height}. Give the picture on which they were made."
            )
        claims = found.detections
        return settle(claims.boxes, claims.labels, claims.scores, self.taxonomy, field)
