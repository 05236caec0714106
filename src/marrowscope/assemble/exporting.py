"""Graphs for other runtimes, made of a checkpoint and put beside it; in 8 bits only where accuracy is kept.

What the networks are shown to learn their ranges is what the detector itself shows them while it looks at fields of the
lab, so it is fitted, padded and cropped as it will be.
"""

import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from marrowscope import __version__
from marrowscope.data.images import read_image
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.detector import Detector
from marrowscope.detect.field_detector import FieldDetector
from marrowscope.detect.graph_runtime import Graph, GraphRuntime, Numbers
from marrowscope.detect.graphs import GraphRecord, read_record, sha256_of, write_graphs
from marrowscope.errors import BadCheckpoint, BadInput
from marrowscope.evaluation.average_precision import macro_ap50
from marrowscope.model.checkpoint import WEIGHTS, load_checkpoint
from marrowscope.model.parts import as_onnx, parts_of
from marrowscope.training.validation import detect_labelled

POINTS = 0.005
"""AP@50 that 8 bits may cost."""
FIELDS = 60
"""Fields that are looked at, at most: ranges settle long before."""
CACHE = "MARROWSCOPE_CACHE"
"""Names another folder for the cache."""
CACHED = 8
"""Checkpoints whose graphs stay in the cache; some 30 MB each for a light detector."""
_ROWS = 32
"""Pooled proposals or crops of one field that are kept as samples."""

Fields = Sequence[LabelledField | Path]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exported:
    """What was written. fp32, tried: macro AP@50 on the labelled fields before, and of each try in 8 bits with what it
    kept in fp32; the last one is what was written. None and empty where nothing was measured.
    """

    folder: Path
    record: GraphRecord
    fp32: float | None = None
    tried: tuple[tuple[tuple[str, ...], float], ...] = ()


def export_fp32(checkpoint: Path, runtime: str, *, into: Path | None = None) -> Exported:
    """Write the graphs of a checkpoint (its folder, or its file) for `openvino` or `onnx`.

    into: their folder; left out, it lies beside the weights. MissingExtra without the packages.
    """
    weights = checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint
    loaded = load_checkpoint(weights)
    files = {name: as_onnx(part) for name, part in parts_of(loaded.build(), loaded.build_reader()).items()}
    record = GraphRecord(runtime=runtime, precision="fp32", weights=sha256_of(weights))
    write: Callable[[Path], None]
    if runtime == "onnx":
        from marrowscope.detect import onnx_runtime

        write = partial(onnx_runtime.save, files)
    else:
        from marrowscope.detect import openvino_runtime

        write = partial(openvino_runtime.save, openvino_runtime.convert(files))
    folder = into or weights.parent / runtime
    return Exported(folder, write_graphs(folder, record, write))


def graphs_of(weights: Path, runtime: str) -> tuple[Path, GraphRecord]:
    """Folder and record of the graphs of this file: those exported beside it, else the user's cache, filled if need be.

    BadCheckpoint for exported ones that do not belong to it. OSError where the cache cannot be written.
    """
    beside = weights.parent / runtime
    if (exported := read_record(beside, weights)) is not None:
        return beside, exported
    cache = Path(os.environ.get(CACHE) or user_cache_path("marrowscope")) / "graphs"
    folder = cache / f"{sha256_of(weights)[:32]}-{__version__}" / runtime
    with suppress(BadCheckpoint):  # cut short or changed: made again
        if (cached := read_record(folder, weights)) is not None:
            folder.parent.touch()
            return folder, cached
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = export_fp32(weights, runtime, into=folder)
    by_age = sorted((f for f in cache.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in by_age[CACHED:]:
        shutil.rmtree(old, ignore_errors=True)
    return made.folder, made.record


def export_int8(checkpoint: Path, fields: Fields, progress: Progress = lambda done, total: None) -> Exported:
    """Write the graphs of a checkpoint folder for OpenVINO in 8 bits, as few layers as may be left in fp32.

    fields: of the lab, labelled or plain pictures; with labels accuracy is measured. progress: fields looked at so far,
    of all in this pass. BadInput where even the most careful mixture costs more than `POINTS`. MissingExtra without
    the packages.
    """
    from marrowscope.detect import openvino_runtime
    from marrowscope.detect.openvino_int8 import KEPT, quantise

    loaded = load_checkpoint(checkpoint)
    detector = loaded.build()
    parts = parts_of(detector, loaded.build_reader())
    models = openvino_runtime.convert({name: as_onnx(part) for name, part in parts.items()})
    watched = {name: _Watched(graph) for name, graph in openvino_runtime.openvino_graphs(models).items()}
    chosen = _spread(fields)
    before = _look(FieldDetector(GraphRuntime("fp32", detector, watched), loaded.traits), chosen, progress)
    samples = {name: graph.samples for name, graph in watched.items()}
    record = GraphRecord(runtime="openvino", precision="int8", weights=sha256_of(checkpoint / WEIGHTS))
    tried: list[tuple[tuple[str, ...], float]] = []
    for careful in range(1, len(KEPT) + 1):
        smaller = quantise(models, samples, KEPT[:careful])
        record = record.model_copy(update={"kept_fp32": tuple(group.what for group in KEPT[:careful])})
        if before is not None:
            runtime = openvino_runtime.openvino_runtime(detector, smaller, "int8")
            after = _look(FieldDetector(runtime, loaded.traits), chosen, progress)
            tried.append((record.kept_fp32, after or 0.0))
        if before is None or tried[-1][1] >= before - POINTS:
            folder = checkpoint / "openvino"
            written = write_graphs(folder, record, partial(openvino_runtime.save, smaller))
            return Exported(folder, written, before, tuple(tried))
    raise BadInput(
        f"int8 costs more than {100 * POINTS:.1f} points of AP@50 on these fields: {before:.3f} in fp32, "
        f"{tried[-1][1]:.3f} with {', '.join(record.kept_fp32)} left in fp32. Export with --precision fp32."
    )


class _Watched:
    """A graph that keeps some of what it is given."""

    def __init__(self, graph: Graph) -> None:
        self.samples: list[Numbers] = []
        self._graph = graph

    def __call__(self, values: Numbers) -> Sequence[NDArray[np.float32]]:
        step = max(1, len(values) // _ROWS)
        self.samples.append(values[::step][:_ROWS].copy())
        return self._graph(values)


def _spread(fields: Fields) -> Fields:
    """At most `FIELDS` of them, from all along the list."""
    places = np.unique(np.linspace(0, len(fields) - 1, min(FIELDS, len(fields))).round().astype(int))
    return [fields[place] for place in places.tolist()]


def _look(detector: Detector, fields: Fields, progress: Progress) -> float | None:
    """Look at all of them: macro AP@50, None where there is no label that the detector knows."""
    pairs = []
    for done, field in enumerate(fields, 1):
        if isinstance(field, LabelledField):
            pairs += detect_labelled(detector, [field])
        else:
            detector.detect([read_image(field, at_least=detector.input_size)])
        progress(done, len(fields))
    ap = macro_ap50(pairs) if pairs else math.nan
    return None if math.isnan(ap) else ap
