"""What `benchmarks/field.py` sets against one another, each in a process of its own: from a JPEG to JSON, by stages.

Nothing heavy is imported above the functions: a process holds what its contender needs, and its memory is measured.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TORCHVISION = "torchvision eager"
RUNTIMES = ("torch", "onnx", "openvino")
MODULES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
CLASSES = 20
STAGES = (
    "decode",
    "resize",
    "dense network",
    "proposals",
    "pooling",
    "head",
    "settling",
    "find, rest",
    "reading",
    "JSON",
    "rest",
)
"""`reading`: cutting cells and naming them again, where there is a reader. `rest`: threads, the differential."""


@dataclass(frozen=True)
class Contender:
    """name: what the table says. kind: `torchvision`, `large`, `light`, or `products` of matrices: no detector.

    checkpoint: its folder, for ours. box: (width, height) inside which torchvision's fits a field.
    """

    name: str
    kind: str
    checkpoint: Path = Path()
    runtime: str = "torch"
    box: tuple[int, int] = (1344, 1024)


def runtimes_there() -> list[str]:
    """The runtimes that `open_detector` can choose and that are installed."""
    import inspect

    from marrowscope.assemble.detectors import open_detector

    if "runtime" not in inspect.signature(open_detector).parameters:
        return ["torch"]
    return [name for name in RUNTIMES if importlib.util.find_spec(MODULES[name])]


class Stages:
    """Wall-clock seconds by stage of the run in progress."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def take(self) -> dict[str, float]:
        """What was spent since the last time."""
        spent = dict(self.spent)
        self.spent.clear()
        return spent

    def time(self, owner: Any, attribute: str, stage: str, *, within: str | None = None) -> None:
        """Charge calls of `owner.attribute` to a stage, and take them off the stage that they lie within."""
        inner: Callable[..., Any] = getattr(owner, attribute)

        def timed(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return inner(*args, **options)
            finally:
                spent = time.perf_counter() - started
                self.spent[stage] += spent
                if within:
                    self.spent[within] -= spent

        setattr(owner, attribute, timed)


Run = Callable[[Path, Path], None]
"""From a JPEG to a folder with its JSON."""


def build(contender: Contender, stages: Stages, seed: int) -> tuple[Run, bool]:
    """How to run it, and whether torch computes and so can count its FLOPs."""
    if contender.kind == "torchvision":
        return _torchvision(contender.box, stages, seed)
    return _ours(contender, stages)


def _torchvision(box: tuple[int, int], stages: Stages, seed: int) -> tuple[Run, bool]:
    import torch
    from PIL import Image
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.transforms.functional import to_tensor

    torch.manual_seed(seed)
    backbone = resnet_fpn_backbone(backbone_name="resnet101", weights=None)
    model = FasterRCNN(backbone, CLASSES + 1, min_size=min(box), max_size=max(box)).eval()
    stages.time(model.transform, "forward", "resize")
    stages.time(model.backbone, "forward", "dense network")
    stages.time(model.rpn, "forward", "proposals")
    stages.time(model.rpn.head, "forward", "dense network", within="proposals")
    stages.time(model.roi_heads, "forward", "settling")
    stages.time(model.roi_heads.box_roi_pool, "forward", "pooling", within="settling")
    stages.time(model.roi_heads.box_head, "forward", "head", within="settling")
    stages.time(model.roi_heads.box_predictor, "forward", "head", within="settling")

    def decode(path: Path) -> Any:
        with Image.open(path) as image:
            return to_tensor(image.convert("RGB"))

    def write(found: dict[str, Any], out: Path) -> None:
        out.mkdir(exist_ok=True)
        (out / "detections.json").write_text(json.dumps({k: v.tolist() for k, v in found.items()}))

    timed = SimpleNamespace(decode=decode, write=write)
    stages.time(timed, "decode", "decode")
    stages.time(timed, "write", "JSON")

    def run(path: Path, out: Path) -> None:
        with torch.inference_mode():
            (found,) = model([timed.decode(path)])
        timed.write(found, out)

    return run, True


def random_checkpoint(folder: Path, box: tuple[int, int], seed: int) -> None:
    """A checkpoint of `resnet101` with random weights: of use for nothing but time."""
    import torch

    from marrowscope.cells.taxonomy import load_taxonomy
    from marrowscope.model.checkpoint import Checkpoint, save_checkpoint
    from marrowscope.model.config import ModelRecipe
    from marrowscope.model.rcnn import CellDetector

    taxonomy = load_taxonomy("liu2022")
    recipe = ModelRecipe(input_size=box, trunk_weights="none")
    torch.manual_seed(seed)
    weights = CellDetector(recipe, len(taxonomy)).state_dict()
    # Every score counts, as many cells are written as a field may hold.
    save_checkpoint(folder, Checkpoint(weights, recipe, taxonomy, score_threshold=0.0))


def in_every_runtime(kind: str, label: str, source: Path, scratch: Path, shown: Path) -> list[Contender]:
    """A checkpoint in each runtime that is installed, its graphs exported beforehand, as `marrowscope export` does.

    shown: the picture on which 8 bits are calibrated. One picture is enough for the time, not for the accuracy.
    """
    from marrowscope.model.checkpoint import WEIGHTS

    def copied(folder: Path) -> Path:
        folder.mkdir(parents=True)
        shutil.copy(source / WEIGHTS if source.is_dir() else source, folder / WEIGHTS)
        return folder

    place = scratch / kind / label.replace("/", "_")
    plain = copied(place / "fp32")
    found = [Contender(f"{label} torch", kind, plain)]
    others = runtimes_there()[1:]
    if not others:
        return found
    from marrowscope.assemble.exporting import export_fp32, export_int8

    for runtime in others:
        export_fp32(plain, runtime)
        found.append(Contender(f"{label} {runtime}", kind, plain, runtime))
    if "openvino" in others and importlib.util.find_spec("nncf"):
        small = copied(place / "int8")
        export_int8(small, [shown])
        found.append(Contender(f"{label} openvino int8", kind, small, "openvino"))
    return found


def opened(contender: Contender) -> Any:
    """The detector as `open_detector` gives it."""
    from marrowscope.assemble.detectors import open_detector

    options: dict[str, Any] = {"runtime": contender.runtime} if len(runtimes_there()) > 1 else {}
    return open_detector(contender.checkpoint, device="cpu", **options)


def _ours(contender: Contender, stages: Stages) -> tuple[Run, bool]:
    from marrowscope.detect import field_detector, run, sources

    found = opened(contender)
    stages.time(sources, "read_image", "decode")
    stages.time(field_detector, "resize_to", "resize")
    for name in ("write_detections", "write_differential", "write_run"):
        stages.time(run, name, "JSON")
    runtime = found.detector.runtime
    stages.time(runtime, "find", "find, rest")
    stages.time(runtime, "read", "reading")
    stages.time(field_detector, "cut_cells", "reading")
    _time_inside_find(runtime, stages)

    def work(path: Path, out: Path) -> None:
        run.detect_paths(found.detector, [path], out, score=found.score_threshold)

    return work, contender.runtime == "torch"


def _time_inside_find(runtime: Any, stages: Stages) -> None:
    """What `find` is made of: two networks, torch's or a graph's, and what lies between them."""
    from marrowscope.model import rcnn

    model = runtime._model if hasattr(runtime, "_model") else runtime._detector
    dense, judge = (model, "dense"), (model.heads, "judge")
    if hasattr(runtime, "_graphs"):
        dense, judge = (runtime, "_dense"), (runtime, "_judge")
    stages.time(*dense, "dense network", within="find, rest")
    stages.time(rcnn, "propose", "proposals", within="find, rest")
    stages.time(model.heads.box_roi_pool, "forward", "pooling", within="find, rest")
    stages.time(*judge, "head", within="find, rest")
    stages.time(model.heads, "detections", "settling", within="find, rest")


def resident_mib() -> float:
    """Most memory that this process ever held. Linux counts it since the start of the program, and nothing before."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(lines[0].split()[1]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 1024


def gemm_gflops(seconds: float = 0.5) -> float:
    """GFLOP/s of products of 2048 x 2048 float32 matrices in torch, the best of those made in this time."""
    import torch

    a = torch.randn(2048, 2048)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * 2048**3 / best / 1e9


def gflop_of(run: Run, path: Path, out: Path) -> float:
    """Floating point operations of one field in convolutions and matrix products, in 10^9."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run(path, out)
    return counter.get_total_flops() / 1e9


def throughput(contender: Contender, paths: Sequence[Path], scratch: Path) -> dict[str, float]:
    """Fields a second of a folder: decoding alone, detection alone, both together, and with pictures drawn."""
    from marrowscope.detect.run import detect_paths
    from marrowscope.detect.sources import read_fields

    found = opened(contender)
    detector, score = found.detector, found.score_threshold
    size = detector.input_size
    fields = list(read_fields(paths[:2], at_least=size))
    detector.detect(fields)

    def rate(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return len(paths) / (time.perf_counter() - started)

    works: dict[str, Callable[[], object]] = {
        "decode alone": lambda: [None for _ in read_fields(paths, at_least=size)],
        "detection alone": lambda: [detector.detect([fields[i % 2]]) for i in range(len(paths))],
        "both": lambda: detect_paths(detector, paths, scratch / "both", score=score),
        "both, drawing": lambda: detect_paths(detector, paths, scratch / "drawn", score=score, overlay=True),
    }
    rates: dict[str, list[float]] = defaultdict(list)
    for turn in range(3):
        for name in list(works)[:: 1 if turn % 2 else -1]:
            rates[name].append(rate(works[name]))
    return {name: sorted(r)[1] for name, r in rates.items()}


def serve(
    contender: Contender, connection: Connection, paths: Sequence[Path], scratch: Path, threads: int, seed: int
) -> None:
    """Answer in a process of its own: `run`, `about`, `throughput`, until `stop`."""
    _keep_to(threads)
    stages = Stages()
    out = scratch / contender.name.replace(" ", "_").replace("/", "_")
    try:
        work, countable = (None, False) if contender.kind == "products" else build(contender, stages, seed)
    except Exception as error:  # whatever a runtime raises, the others go on
        connection.send({"error": f"{type(error).__name__}: {error}"})
        return
    connection.send({})
    while (asked := connection.recv()) != "stop":
        if work is None:
            connection.send({"gflops": gemm_gflops()})
        elif asked == "run":
            stages.take()
            started = time.perf_counter()
            work(paths[0], out)
            whole = time.perf_counter() - started
            spent = stages.take()
            connection.send({"seconds": whole, "stages": {**spent, "rest": whole - sum(spent.values())}})
        elif asked == "about":
            memory = resident_mib()
            gflop = gflop_of(work, paths[0], out) if countable else None
            connection.send({"resident_mib": memory, "gflop": gflop})
        elif asked == "throughput":
            connection.send(throughput(contender, paths, scratch))


def _keep_to(threads: int) -> None:
    """Hold the process to so many cores, whatever counts threads and however."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
