"""A detector that runs in torch, on the CPU or a GPU."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from marrowscope.cells.boxes import scale
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import settle
from marrowscope.detect.prepare import fit, resize_to
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.model.rcnn import CellDetector, batch_images


class TorchDetector:
    """Detects with a `CellDetector`, one field at a time, so that a field's answer never depends on its neighbours."""

    def __init__(self, model: CellDetector, taxonomy: Taxonomy, *, device: str | torch.device = "cpu") -> None:
        self._model = model.eval().to(device)
        self._taxonomy = taxonomy
        self._device = torch.device(device)

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, device: str | torch.device = "cpu") -> "TorchDetector":
        """The detector of a checkpoint folder. BadCheckpoint where it is none."""
        checkpoint = load_checkpoint(path)
        return cls(checkpoint.build(), checkpoint.taxonomy, device=device)

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that the detector tells apart."""
        return self._taxonomy

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) into which fields are fitted."""
        return self._model.recipe.input_size

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._detect(field) for field in fields]

    def _detect(self, field: FieldImage) -> Detections:
        fitted = fit(field.width, field.height, self.input_size)
        pixels = resize_to(field, (fitted.width, fitted.height))
        # (h, w, 3) pixels seen as (3, h, w) are what channels_last wants.
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).to(self._device)
        (found,) = self._model.detect(batch_images([image]), [(fitted.height, fitted.width)])
        boxes = scale(found["boxes"].cpu().numpy(), field.width / fitted.width, field.height / fitted.height)
        return settle(boxes, found["labels"].cpu().numpy(), found["scores"].cpu().numpy(), self._taxonomy, field)
