"""The composition root: a name or a path becomes a `Detector`; here alone a runtime is chosen and imported.

demo                     the model that comes with marrowscope for the demonstration, trained on the synthetic smear
real                     the one for real fields, trained on blood cells until a lab trains on its own
RUN/best, a folder       a checkpoint; its exported graphs where it has some
detections.json          saved answers, played back: no torch, no model
"""

import logging
from dataclasses import dataclass, replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from marrowscope.cells.adjusted import Confusion
from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.detect.detector import Detector
from marrowscope.errors import BadCheckpoint, BadInput

if TYPE_CHECKING:
    from marrowscope.detect.runtime import Runtime
    from marrowscope.model.checkpoint import Checkpoint

DEMO, REAL = "demo", "real"
SHIPPED = {DEMO: "smear", REAL: "blood"}
"""Names of the models that come with marrowscope -> their folders below `models`."""
DEVICES = ("auto", "cpu", "cuda")
RUNTIMES = ("auto", "torch", "openvino", "onnx")
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OpenedDetector:
    """A detector, the score from which its detections count (chosen on validation), and where it came from.

    confusion: how it names cells when counted at that score, where its checkpoint knows (`cells.adjusted`).
    runtime: what computes, in words. fields_seen: what fields looked like in its training, where its checkpoint knows.
    """

    detector: Detector
    score_threshold: float
    path: Path
    runtime: str
    confusion: Confusion | None = None
    fields_seen: FieldsSeen | None = None


def checkpoint_path(name: str | Path) -> Path:
    """The path that a name stands for: `demo` and `real` are shipped models, everything else is a path already.

    BadCheckpoint where the shipped model is not part of this installation. A folder of that name: `./demo`.
    """
    if str(name) not in SHIPPED:
        return Path(name)
    shipped = Path(str(resources.files("marrowscope"))) / "models" / SHIPPED[str(name)]
    if not shipped.is_dir():
        raise BadCheckpoint(
            f"the shipped model is missing: no {shipped}. Install a release of marrowscope, or give a checkpoint."
        )
    return shipped


def open_detector(
    name: str | Path, *, device: str = "auto", runtime: str = "auto", fields_in_one: int = 1
) -> OpenedDetector:
    """The detector of a checkpoint or of a `detections.json`. BadInput (BadCheckpoint) where it is neither.

    fields_in_one: how many training fields a picture may be as large as; so many times what the recipe allows for one
    may be said of it. MissingExtra for a runtime that is not installed.
    """
    path = checkpoint_path(name)
    if path.suffix.lower() == ".json":
        from marrowscope.detect.replay_runtime import ReplayDetector
        from marrowscope.detect.saved import read_detections

        saved = read_detections(path)
        # Whatever lies below the run's threshold is not in the file, so 0 keeps all that there is.
        threshold = saved.about.get("score_threshold", 0.0)
        return OpenedDetector(ReplayDetector(saved), float(threshold), path, "saved answers")
    from marrowscope.detect.field_detector import FieldDetector
    from marrowscope.model.checkpoint import load_checkpoint

    if not path.exists():
        raise BadCheckpoint(f"{path}: no such checkpoint. Give a folder such as RUN/best, or 'real' or 'demo'.")
    chosen = choose_runtime(runtime, device)
    checkpoint = load_checkpoint(path)
    if fields_in_one > 1:
        checkpoint = replace(checkpoint, model=checkpoint.model.for_fields(fields_in_one))
    in_torch = chosen == "torch"
    opened = _in_torch(checkpoint, choose_device(device)) if in_torch else _in_graphs(checkpoint, path, chosen)
    detector = FieldDetector(opened, checkpoint.traits)
    return OpenedDetector(
        detector, checkpoint.score_threshold, path, opened.name, checkpoint.confusion, checkpoint.fields_seen
    )


def _in_torch(checkpoint: "Checkpoint", device: str) -> "Runtime":
    from marrowscope.detect.torch_runtime import TorchRuntime
    from marrowscope.model.trunk import settle_folded

    detector, reader = checkpoint.build(), checkpoint.build_reader()
    for network in (detector, reader):
        if network is not None:
            settle_folded(network)
    return TorchRuntime(detector, reader, device=device)


def _in_graphs(checkpoint: "Checkpoint", path: Path, runtime: str) -> "Runtime":
    """With the graphs that were exported beside the weights, else with ones of the cache, else made in memory."""
    from marrowscope.assemble.exporting import graphs_of
    from marrowscope.model.checkpoint import WEIGHTS
    from marrowscope.model.parts import as_onnx, parts_of

    files, precision, folder = {}, "fp32", Path()
    detector = checkpoint.build()
    try:
        folder, record = graphs_of(path / WEIGHTS if path.is_dir() else path, runtime)
        precision = record.precision
    except OSError as error:
        log.info("no cache for converted networks (%s): they are converted each time", error)
        files = {name: as_onnx(part) for name, part in parts_of(detector, checkpoint.build_reader()).items()}
    if runtime == "onnx":
        from marrowscope.detect import onnx_runtime

        return onnx_runtime.onnx_runtime(detector, files or onnx_runtime.load(folder))
    from marrowscope.detect import openvino_runtime

    models = openvino_runtime.convert(files) if files else openvino_runtime.load(folder)
    return openvino_runtime.openvino_runtime(detector, models, precision)


def choose_runtime(name: str, device: str = "auto") -> str:
    """`torch`, `openvino` or `onnx`; `auto` takes the quickest that is installed: torch on a GPU, else OpenVINO, else
    ONNX Runtime. BadInput for one that is not known, or that cannot use the GPU that was asked for.
    """
    if name not in RUNTIMES:
        raise BadInput(f"runtime '{name}' is not known. Choose one of {', '.join(RUNTIMES)}.")
    if name in ("openvino", "onnx") and device == "cuda":
        raise BadInput(f"runtime '{name}' computes on the CPU here. Leave out --device cuda, or take --runtime torch.")
    if name != "auto":
        return name
    if choose_device(device) == "cuda":
        return "torch"
    for runtime, packages in _NEEDS.items():
        if all(find_spec(package) for package in packages):
            return runtime
    return "torch"


_NEEDS = {"openvino": ("openvino", "onnx"), "onnx": ("onnxruntime", "onnx")}
"""What a runtime needs, the quickest first; onnx carries networks out of torch."""


def choose_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` takes the GPU where there is one. BadInput for a GPU that is not there."""
    if name not in DEVICES:
        raise BadInput(f"device '{name}' is not known. Choose one of {', '.join(DEVICES)}.")
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise BadInput("device 'cuda': torch sees no GPU here. Choose cpu or auto, or install a torch with CUDA.")
    return "cuda" if there and name != "cpu" else "cpu"


def use_threads(count: int) -> None:
    """Compute with this many CPU threads, whatever the runtime (all ask torch); 0 leaves the choice to torch."""
    if count:
        import torch

        torch.set_num_threads(count)
