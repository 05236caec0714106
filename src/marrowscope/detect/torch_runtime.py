"""The networks in torch, on the CPU or a GPU."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.field_detector import FieldDetector
from marrowscope.detect.runtime import Found
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.model.rcnn import CellDetector, batch_images
from marrowscope.model.reader import CellReader
from marrowscope.model.traits import Traits


class TorchRuntime:
    """Runs a `CellDetector`, and a `CellReader` where there is one."""

    def __init__(
        self, model: CellDetector, reader: CellReader | None = None, *, device: str | torch.device = "cpu"
    ) -> None:
        self._model = model.eval().to(device)
        self._reader = None if reader is None else reader.eval().to(device)
        self._device = torch.device(device)

    @property
    def name(self) -> str:
        """`torch, cpu`."""
        return f"torch, {self._device.type}"

    def find(self, picture: NDArray[np.uint8]) -> Found:
        """See `Runtime.find`."""
        # (h, w, 3) pixels seen as (3, h, w) are what channels_last wants.
        image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).to(self._device)
        (found,) = self._model.detect(batch_images([image]), [picture.shape[:2]])
        boxes, labels, scores = (found[k].cpu().numpy() for k in ("boxes", "labels", "scores"))
        return Found(boxes, labels, scores)

    def read(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime.read`."""
        if self._reader is None:
            raise ValueError("asked to read cells, but the checkpoint has no reader")
        images = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).to(self._device)
        with torch.inference_mode():
            probabilities = self._reader(images).float().softmax(dim=1)
        return np.asarray(probabilities.cpu().numpy(), np.float32)


class TorchDetector(FieldDetector):
    """A `CellDetector` as a `Detector`."""

    def __init__(
        self,
        model: CellDetector,
        taxonomy: Taxonomy,
        *,
        reader: CellReader | None = None,
        device: str | torch.device = "cpu",
        traits: Traits | None = None,
    ) -> None:
        """traits: what its checkpoint says of it; None for a bare model, such as one in training."""
        bare = Traits(taxonomy, model.recipe.input_size)
        super().__init__(TorchRuntime(model, reader, device=device), traits or bare)

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, device: str | torch.device = "cpu") -> "TorchDetector":
        """The detector of a checkpoint folder. BadCheckpoint where it is none."""
        checkpoint = load_checkpoint(path)
        return cls(
            checkpoint.build(),
            checkpoint.taxonomy,
            reader=checkpoint.build_reader(),
            device=device,
            traits=checkpoint.traits,
        )
