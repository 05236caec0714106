"""The networks in OpenVINO, on the CPU."""

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from marrowscope.detect.graph_runtime import Graph, GraphRuntime, Numbers
from marrowscope.errors import MissingExtra
from marrowscope.model.rcnn import CellDetector

Model = Any
"""An `openvino.Model`."""
Result = TypeVar("Result")


def library() -> Any:
    """The package, its telemetry left out: it would tell its makers each time that it is used. MissingExtra."""
    # None makes its import fail, whereupon OpenVINO and NNCF send nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise MissingExtra(
            "runtime openvino: OpenVINO is not installed. pip install 'marrowscope[openvino]', or take --runtime torch."
        ) from None
    return openvino


def in_a_thread_of_its_own(job: Callable[[], Result]) -> Result:
    """The result of a job during which OpenVINO's CPU plugin is loaded.

    Each load gives the calling thread another stack for signals, and unloading takes them back as if the newest went
    first; where it does not, the thread is left with one that is gone, and the next signal (Ctrl-C, the end of a child
    process) ends the interpreter without a word. A thread that ends has nothing to lose
    (github.com/openvinotoolkit/openvino/pull/11894; `tests/detect/test_openvino_runtime.py`).
    """
    with ThreadPoolExecutor(1) as one:
        return one.submit(job).result()


def convert(files: Mapping[str, bytes]) -> dict[str, Model]:
    """The graphs of ONNX files."""
    core = library().Core()
    return {name: core.read_model(data) for name, data in files.items()}


def save(models: Mapping[str, Model], folder: Path) -> None:
    """Write `NAME.xml` and `NAME.bin`."""
    for name, model in models.items():
        library().save_model(model, folder / f"{name}.xml", compress_to_fp16=False)


def load(folder: Path) -> dict[str, Model]:
    """Read what `save` wrote."""
    core = library().Core()
    return {file.stem: core.read_model(file) for file in folder.glob("*.xml")}


def openvino_graphs(models: Mapping[str, Model]) -> dict[str, Graph]:
    """The graphs made ready to compute, each field as soon as may be, with as many threads as torch has."""
    core = library().Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # Else bfloat16 where the processor has it, and scores that differ in the second digit.
        "INFERENCE_PRECISION_HINT": "f32",
        # Pinned, every process of one thread computes on the first core, and the others stand idle.
        "ENABLE_CPU_PINNING": False,
    }
    return in_a_thread_of_its_own(
        lambda: {name: _Compiled(core.compile_model(model, "CPU", settings)) for name, model in models.items()}
    )


def openvino_runtime(detector: CellDetector, models: Mapping[str, Model], precision: str) -> GraphRuntime:
    """A runtime of these graphs, `OpenVINO, fp32` or `OpenVINO, int8`."""
    return GraphRuntime(f"OpenVINO, {precision}", detector, openvino_graphs(models))


class _Compiled:
    """A `Graph`. One request is used again and again, and nothing is copied on the way in and out."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def __call__(self, values: Numbers) -> list[NDArray[np.float32]]:
        results = self._request.infer([values], share_inputs=True, share_outputs=True)
        return list(results.values())
