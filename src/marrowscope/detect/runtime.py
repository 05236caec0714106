"""The seam between what computes (torch, OpenVINO, ONNX Runtime) and everything done around it. Imports no runtime.

A `Runtime` holds networks and nothing else: how a field is fitted, read a second time and scored is the same for all of
them and lives in `FieldDetector`.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes


class Found(NamedTuple):
    """Cells of one picture: boxes (n, 4) float32 in its pixels, labels (n,) int64, scores (n,) float32, best first."""

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


class Runtime(Protocol):
    """Runs the networks of one checkpoint."""

    @property
    def name(self) -> str:
        """What a person is told: `torch, cpu`, `OpenVINO, int8`."""
        ...

    def find(self, picture: NDArray[np.uint8]) -> Found:
        """The cells of one fitted picture, (h, w, 3) uint8 RGB of any size, after per-class NMS. None found: empty."""
        ...

    def read(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (n, K) of crops (n, S, S, 3) uint8 RGB; asked only where the checkpoint has a reader."""
        ...
