"""The runtimes of one network, made in the same way for every test."""

from collections.abc import Callable

import torch

from helpers.tiny import tiny_recipe
from marrowscope.detect import onnx_runtime, openvino_runtime
from marrowscope.detect.graph_runtime import GraphRuntime
from marrowscope.detect.runtime import Runtime
from marrowscope.detect.torch_runtime import TorchRuntime
from marrowscope.model.config import ReaderRecipe
from marrowscope.model.parts import as_onnx, parts_of
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader

Build = Callable[[], tuple[CellDetector, CellReader | None]]
READER = ReaderRecipe(trunk="mobilenetv3_small_050", trunk_weights="none", crop_px=64)


def untrained(*settings: str, levels: int = 3, seed: int = 0) -> tuple[CellDetector, CellReader]:
    """A tiny detector and its reader with random weights, opinionated enough to say something."""
    torch.manual_seed(seed)
    sizes = [[12 * 2**level] for level in range(levels)]
    recipe = tiny_recipe(f"model.anchor_sizes={sizes}", "model.input_size=[192, 144]", *settings).model
    detector = CellDetector(recipe, 2, pretrained=False).eval()
    head, predictor = detector.proposals.head, detector.heads.box_predictor
    for layer in (head.cls_logits, head.bbox_pred, predictor.classify, predictor.locate):
        torch.nn.init.normal_(layer.weight, std=0.05)
    return detector, CellReader(READER, 2, pretrained=False).eval()


def in_torch(build: Build) -> Runtime:
    """As `build` gives it."""
    return TorchRuntime(*build())


def in_graphs(build: Build) -> dict[str, GraphRuntime]:
    """The same in OpenVINO and in ONNX Runtime."""
    files = {name: as_onnx(part) for name, part in parts_of(*build()).items()}
    return {
        "openvino": openvino_runtime.openvino_runtime(build()[0], openvino_runtime.convert(files), "fp32"),
        "onnx": onnx_runtime.onnx_runtime(build()[0], files),
    }
