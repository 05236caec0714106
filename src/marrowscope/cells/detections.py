"""What is true of a field (`GroundTruth`) and what the model claims about it (`Detections`).

Arrays are checked when they are made. Labels run 0..K-1 and never travel without their taxonomy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, as_boxes
from marrowscope.cells.taxonomy import Taxonomy


def _check(boxes: Boxes, labels: NDArray[np.int64], taxonomy: Taxonomy) -> None:
    if labels.shape != (len(boxes),):
        raise ValueError(f"labels must be ({len(boxes)},), one a box, got {labels.shape}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(taxonomy)):
        raise ValueError(f"labels must lie in 0..{len(taxonomy) - 1}, got {labels.min()}..{labels.max()}")
    if not np.isfinite(boxes).all():
        raise ValueError("boxes must be finite")


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Labelled cells of one field: boxes (n, 4) float32, labels (n,) int64, difficult (n,) bool.

    A difficult cell is one that the labeller could not name for certain: it is neither required nor penalised.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    taxonomy: Taxonomy
    difficult: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", as_boxes(self.boxes))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64).reshape(-1))
        difficult = np.zeros(len(self.boxes), np.bool_) if self.difficult is None else np.asarray(self.difficult, bool)
        object.__setattr__(self, "difficult", difficult)
        _check(self.boxes, self.labels, self.taxonomy)
        if difficult.shape != (len(self.boxes),):
            raise ValueError(f"difficult must be ({len(self.boxes)},), one a box, got {difficult.shape}")

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Detections:
    """The model's claims about one field: boxes (n, 4) float32, labels (n,) int64, scores (n,) float32 in 0..1."""

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    taxonomy: Taxonomy

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", as_boxes(self.boxes))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64).reshape(-1))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float32).reshape(-1))
        _check(self.boxes, self.labels, self.taxonomy)
        if self.scores.shape != (len(self.boxes),):
            raise ValueError(f"scores must be ({len(self.boxes)},), one a box, got {self.scores.shape}")
        if len(self.scores) and not (self.scores.min() >= 0 and self.scores.max() <= 1):
            raise ValueError("scores must lie in 0..1")

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, score: float) -> "Detections":
        """Keep the detections with at least this score."""
        # A score is kept as float32: 0.7 asked for in float64 lies above the 0.7 that was stored.
        keep = self.scores >= np.float32(score)
        return Detections(self.boxes[keep], self.labels[keep], self.scores[keep], self.taxonomy)

    @classmethod
    def none(cls, taxonomy: Taxonomy) -> "Detections":
        """No cell was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32), taxonomy)
