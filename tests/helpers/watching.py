"""A small simulated microscope for tests of the live view, and a detector that finds nuclei."""

import time
from collections.abc import Sequence

import cv2
import numpy as np

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.detect.detector import settle
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.instrument.simulated_stage import HandPath
from marrowscope.smear.slide import SmearSlide

WIDTH, HEIGHT, UM_PER_PX = 640, 360, 0.2
"""A view of 128 x 72 um."""


class NucleusDetector:
    """Every large violet patch is a lymphocyte. It sees most cells of a drawn smear, and nothing else."""

    input_size = (640, 480)

    def __init__(self) -> None:
        self.taxonomy: Taxonomy = load_taxonomy("liu2022")

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        return [self._one(field) for field in fields]

    def _one(self, field: FieldImage) -> Detections:
        red = cv2.GaussianBlur(field.pixels[:, :, 0], (0, 0), 2)
        dark = (red < 0.62 * np.percentile(red, 90)).astype(np.uint8)
        n, _, stats, _ = cv2.connectedComponentsWithStats(dark)
        least = (4.0 / (field.um_per_px or UM_PER_PX)) ** 2
        boxes = np.asarray([(x, y, x + w, y + h) for x, y, w, h, area in stats[1:n] if area > least], np.float32)
        boxes = boxes.reshape(-1, 4)
        label = self.taxonomy.index("LYM")
        labels = np.full(len(boxes), label, np.int64)
        return settle(boxes, labels, np.full(len(boxes), 0.9, np.float32), self.taxonomy, field)


class BandDetector(NucleusDetector):
    """Sees the same and calls it a band neutrophil."""

    def _one(self, field: FieldImage) -> Detections:
        found = super()._one(field)
        return Detections(found.boxes, np.full(len(found), self.taxonomy.index("BAND")), found.scores, self.taxonomy)


class SlowNucleusDetector(NucleusDetector):
    """As slow as a real one on a laptop, so that many frames are drawn from one answer."""

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        time.sleep(0.4)
        return super().detect(fields)


def microscope(slide: SmearSlide, hand: HandPath | None = None, *, fps: float = 25.0) -> SimulatedMicroscope:
    """Small and quick; waits for its glass to be drawn."""
    return SimulatedMicroscope(
        slide, width=WIDTH, height=HEIGHT, um_per_px=UM_PER_PX, fps=fps, hand=hand, sharp=True, tilt_um_per_mm=0.0
    )
