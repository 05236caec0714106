"""Run a detector over labelled fields: (truth, detections) pairs for the scales."""

from collections.abc import Callable, Sequence

from marrowscope.data.images import read_image
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.detector import Detector
from marrowscope.evaluation.pairs import EvaluatedField


def detect_labelled(
    detector: Detector,
    fields: Sequence[LabelledField],
    *,
    on_field: Callable[[], None] = lambda: None,
) -> list[EvaluatedField]:
    """Detect every field and set it beside its truth; labels outside the detector's taxonomy are left out."""
    pairs = []
    for field in fields:
        image = read_image(field.image_path, at_least=detector.input_size)
        (found,) = detector.detect([image])
        pairs.append(EvaluatedField(field.name, field.truth(detector.taxonomy), found))
        on_field()
    return pairs
