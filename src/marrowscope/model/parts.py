"""The networks of a detector apart, as they are exported: `dense`, `judge`, and `reader` where there is one.

Each is a function of one tensor with a few axes of any length, so it can be traced; ONNX is what every runtime reads.
What lies between them (anchors, suppression, RoIAlign) depends on the picture, and stays in `CellDetector.detect_by`.
"""

import io
import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from marrowscope.errors import MissingExtra
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader
from marrowscope.model.roi_heads import RankedRoIHeads, SoftmaxRoIHeads
from marrowscope.model.trunk import settle_folded

DENSE, JUDGE, READER = "dense", "judge", "reader"
INPUT = "pixels"
"""Name of every graph's input."""
OPSET = 17
MULTIPLE = 32
"""Sides of a picture are padded to a multiple of it, so a trunk's own padding is the same for all of them."""


class Part(NamedTuple):
    """One network. example: an input to trace it with. free: axes of input and outputs that may have any length."""

    network: nn.Module
    example: Tensor
    free: tuple[int, ...]
    outputs: tuple[str, ...]


class _Dense(nn.Module):
    def __init__(self, detector: CellDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        seen = self.detector.dense(images)
        return (*seen.maps, *seen.objectness, *seen.deltas)


class _Judge(nn.Module):
    def __init__(self, heads: RankedRoIHeads | SoftmaxRoIHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        judged: tuple[Tensor, Tensor] = self.heads.judge(pooled)
        return judged


def parts_of(detector: CellDetector, reader: CellReader | None = None) -> dict[str, Part]:
    """The parts by name. Folded weights of both networks are settled: they can only be looked with from now on."""
    recipe = detector.recipe
    settle_folded(detector)
    strides = recipe.strides
    dense = Part(
        _Dense(detector).eval(),
        # Not square, so that no tracer takes one side for the other.
        torch.zeros(1, 3, 2 * MULTIPLE, 3 * MULTIPLE, dtype=torch.uint8),
        (2, 3),
        tuple(f"{what}_{stride}" for what in ("map", "objectness", "deltas") for stride in strides),
    )
    judge = Part(
        _Judge(detector.heads).eval(), torch.zeros(2, recipe.fpn_channels, 7, 7), (0,), ("class_logits", "box_deltas")
    )
    parts = {DENSE: dense, JUDGE: judge}
    if reader is not None:
        settle_folded(reader)
        side = reader.recipe.crop_px
        parts[READER] = Part(reader.eval(), torch.zeros(2, 3, side, side, dtype=torch.uint8), (0,), ("logits",))
    return parts


def as_onnx(part: Part) -> bytes:
    """The part as an ONNX file. MissingExtra."""
    try:
        import onnx  # noqa: F401 (torch asks for it at the end, less kindly)
    except ImportError:
        raise MissingExtra("export of networks: onnx is not installed. pip install 'marrowscope[onnx]'.") from None
    file = io.BytesIO()
    free = {name: {axis: f"{name}_{axis}" for axis in part.free} for name in (INPUT, *part.outputs)}
    with warnings.catch_warnings(), torch.inference_mode():
        # What the tracer says of itself: that it is old, and that sizes known beforehand became constants.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", r".*torch\.jit\.")
        warnings.filterwarnings("ignore", r".*(TorchScript-based ONNX|feature will be removed)", DeprecationWarning)
        torch.onnx.export(
            part.network,
            (part.example,),
            # The older exporter writes into a buffer too, whatever its types say.
            file,  # type: ignore[arg-type]
            input_names=[INPUT],
            output_names=list(part.outputs),
            dynamic_axes=free,
            opset_version=OPSET,
            # The newer exporter takes minutes for axes that are a multiple of 32 (docs/decisions/0018).
            dynamo=False,
        )
    return file.getvalue()
