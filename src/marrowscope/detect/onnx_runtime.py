"""The networks as ONNX, in ONNX Runtime on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marrowscope.detect.graph_runtime import Graph, GraphRuntime, Numbers
from marrowscope.errors import MissingExtra
from marrowscope.model.parts import INPUT
from marrowscope.model.rcnn import CellDetector


def save(files: Mapping[str, bytes], folder: Path) -> None:
    """Write `NAME.onnx`."""
    for name, data in files.items():
        (folder / f"{name}.onnx").write_bytes(data)


def load(folder: Path) -> dict[str, bytes]:
    """Read what `save` wrote."""
    return {file.stem: file.read_bytes() for file in folder.glob("*.onnx")}


def onnx_runtime(detector: CellDetector, files: Mapping[str, bytes]) -> GraphRuntime:
    """A runtime of these graphs, with as many threads as torch has. MissingExtra."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra(
            "runtime onnx: ONNX Runtime is not installed. pip install 'marrowscope[onnx]', or take --runtime torch."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait busily would take the processor from torch, which computes between the graphs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graphs: dict[str, Graph] = {
        name: _Session(onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]))
        for name, data in files.items()
    }
    return GraphRuntime("ONNX Runtime, fp32", detector, graphs)


class _Session:
    """A `Graph`."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, values: Numbers) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run(None, {INPUT: values})
        return outputs
