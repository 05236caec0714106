r"""A CVAT auto-annotation function: the cells of a task's pictures as rectangles.

    cvat-cli task auto-annotate 137 --function-module marrowscope.neighbours.cvat -p model=str:real \
        --allow-unmatched-labels

CVAT matches labels by name: those of the project are spelled as the model's classes are. Its `--conf-threshold`
takes the place of the model's own threshold. (https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation/)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from marrowscope.assemble.detectors import OpenedDetector, open_detector
from marrowscope.cells.field import FieldImage
from marrowscope.data.images import pillow_pixels
from marrowscope.detect.detector import one_name_per_cell
from marrowscope.errors import MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image


def create(model: str = "real", *, device: str = "auto", runtime: str = "auto") -> "CellFunction":
    """What `cvat-cli` calls with its `-p` parameters. model: as for `marrowscope detect`."""
    return CellFunction(open_detector(model, device=device, runtime=runtime))


class CellFunction:
    """A detector as `cvat_sdk.auto_annotation` wants it: `spec` and `detect`. MissingExtra without that package."""

    def __init__(self, opened: OpenedDetector) -> None:
        try:
            from cvat_sdk import auto_annotation
        except ImportError:
            raise MissingExtra("CVAT: cvat-sdk is not installed. pip install 'marrowscope[cvat]'") from None
        self._opened, self._cvat = opened, auto_annotation
        names = opened.detector.taxonomy.names
        self.spec = auto_annotation.DetectionFunctionSpec(
            labels=[auto_annotation.label_spec(name, i, type="rectangle") for i, name in enumerate(names)]
        )

    def detect(self, context: Any, image: "Image") -> list[Any]:
        """The cells of one picture that score at least `context.conf_threshold`, or the model's own threshold."""
        pixels = pillow_pixels(Path(context.frame_name), image)
        score = self._opened.score_threshold if context.conf_threshold is None else context.conf_threshold
        (found,) = self._opened.detector.detect([FieldImage(pixels, context.frame_name)])
        cells = one_name_per_cell(found.above(score))
        return [
            self._cvat.rectangle(int(label), [float(x) for x in box])
            for label, box in zip(cells.labels, cells.boxes, strict=True)
        ]
