"""From a detector's score to the probability that the detection is right, class by class.

A ranking loss orders detections and says nothing of how sure they are. Platt's map, p = sigmoid(slope * logit(score) +
offset), one pair a class, is fitted on validation fields (`evaluation.calibration`) and travels in the checkpoint. It
rises strictly, so the order within a class, and with it every average precision, stays as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

TINY = 1e-6
"""Scores are kept this far from 0 and 1, where a logit would be infinite."""


@dataclass(frozen=True)
class Calibration:
    """Slope (> 0) and offset of every class, in the order of the taxonomy; of classes added since, the last, none."""

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.slopes) != len(self.offsets):
            raise ValueError(f"one slope and one offset a class, got {len(self.slopes)} and {len(self.offsets)}")
        if not (np.isfinite([*self.slopes, *self.offsets]).all() and all(s > 0 for s in self.slopes)):
            raise ValueError("slopes must be positive, slopes and offsets finite")

    def apply(self, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities (n,) of detections with these scores (n,) and labels (n,)."""
        slopes, offsets = np.asarray(self.slopes), np.asarray(self.offsets)
        logits = logit(np.clip(np.asarray(scores, np.float64), TINY, 1 - TINY))
        return np.asarray(expit(slopes[labels] * logits + offsets[labels]), np.float32)

    def of_a_cell(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n,) that what has these scores (n,), whatever its name, is a cell: by the middle class."""
        middle = type(self)((float(np.median(self.slopes)),), (float(np.median(self.offsets)),))
        return middle.apply(scores, np.zeros(len(scores), np.int64))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a header in JSON."""
        return {"slopes": list(self.slopes), "offsets": list(self.offsets)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; KeyError, TypeError or ValueError for anything else."""
        return cls(tuple(float(x) for x in values["slopes"]), tuple(float(x) for x in values["offsets"]))
