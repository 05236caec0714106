"""Classes added from a few cells, honestly: to a detector and a reader that never learned from a cell of them.

    python benchmarks/few_shot.py relabel pbc_fields --into pbc8
    marrowscope train pbc8 --recipe blood --set epochs=8 --out finder
    marrowscope train-reader finder/best pbc8 --epochs 12 --out reader
    python benchmarks/few_shot.py measure reader/best pbc_fields --ceiling real

`relabel` marks the cells of the held-out classes difficult, under another class's name: neither taught nor held against
anybody. `measure` draws 5, 10 and 20 cells of a class from the training fields, ten times (seeds 0..9), adds the class
as `marrowscope add-class` does, and runs the whole detector over the validation fields. Printed: means over the draws
with 95 % intervals (Student's t). Macro F1 and AP@50 of the known classes are those without the class, and by how much
they change with it; cells of held-out classes, and what is found on these, are left out of both, so that only the harm
shows. Floor: what the detector calls such cells before it is told. Ceiling: a detector trained on all classes.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from marrowscope.assemble.detectors import checkpoint_path, open_detector
from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.data.convert import read_labels
from marrowscope.data.images import ImageTransfer, read_image
from marrowscope.data.labelled import LabelledField
from marrowscope.data.voc import read_voc, write_voc
from marrowscope.detect.detector import SAME_CELL, one_name_per_cell
from marrowscope.detect.field_detector import FieldDetector
from marrowscope.detect.runtime import Found
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.model.checkpoint import Checkpoint, load_checkpoint
from marrowscope.model.prototypes import KnownCells, Prototypes
from marrowscope.training.few_shot import Eye, add_class, class_named, is_named, remembered, see_fields
from marrowscope.training.validation import detect_labelled

HELD_OUT = ("basophil", "eosinophil")
SHOTS, DRAWS = (5, 10, 20), 10
BORROWED = "lymphocyte"
"""The name under which ignored cells stand; difficult ones are of no class to training."""


def relabel(source: Path, into: Path) -> None:
    """Write the folder in which cells of the held-out classes are difficult."""
    fields = []
    for field in read_voc(source).fields:
        held_out = np.asarray([label in HELD_OUT for label in field.labels], np.bool_)
        labels = tuple(BORROWED if hidden else label for label, hidden in zip(field.labels, held_out, strict=True))
        fields.append(replace(field, labels=labels, difficult=field.difficult | held_out))
    splits = {split: [f.name for f in read_voc(source, split=split).fields] for split in ("train", "val")}
    write_voc(into, fields, splits=splits, images=ImageTransfer.LINK)
    print(f"{into}: {len(fields)} fields, {', '.join(HELD_OUT)} marked difficult")


class Remembering:
    """A runtime that looks at each crop once, however often it is asked, and reads with the prototypes of now."""

    name = "torch, remembered"

    def __init__(self, runtime: Any, eye: Eye) -> None:
        self.find = runtime.find
        self.eye = eye
        self.found: dict[str, Found] = {}
        self._seen: dict[bytes, torch.Tensor] = {}
        self.prototypes: Prototypes | None = None

    def read(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As the reader does with these prototypes."""
        key = hashlib.sha256(crops.tobytes()).digest()
        if key not in self._seen:
            self._seen[key] = self.eye.see(crops)
        features = self._seen[key]
        with torch.no_grad():
            logits = self.eye.reader.classify(features)
            said = logits if self.prototypes is None else self.prototypes(features, logits)
        return np.asarray(said.softmax(dim=1).numpy(), np.float32)


class Looking(FieldDetector):
    """The whole detector, but for what it finds in a field, which no prototype changes and is remembered."""

    runtime: Remembering

    def _find(self, field: FieldImage) -> Found:
        if field.name not in self.runtime.found:
            self.runtime.found[field.name] = super()._find(field)
        return self.runtime.found[field.name]


def without(pairs: Sequence[EvaluatedField], fields: Sequence[LabelledField], names: Sequence[str]) -> list[Any]:
    """The pairs without the cells of these names, and without what was found on them."""
    kept = []
    for pair, field in zip(pairs, fields, strict=True):
        hidden = np.asarray([label in names for label in field.labels], np.bool_)
        found, truth = pair.detections, pair.truth
        stays = np.ones(len(found), np.bool_)
        if hidden.any() and len(found):
            overlap = iou_matrix(found.boxes, field.boxes)
            stays = ~(hidden[overlap.argmax(axis=1)] & (overlap.max(axis=1) >= SAME_CELL))
        own = np.asarray([truth.taxonomy[label].name not in names for label in truth.labels], np.bool_)
        kept.append(
            EvaluatedField(
                pair.name,
                GroundTruth(truth.boxes[own], truth.labels[own], truth.taxonomy, np.asarray(truth.difficult)[own]),
                Detections(found.boxes[stays], found.labels[stays], found.scores[stays], found.taxonomy),
            )
        )
    return kept


def figures(
    pairs: Sequence[EvaluatedField], fields: Sequence[LabelledField], threshold: float, taught: Sequence[str]
) -> dict[str, float]:
    """Figures of the classes added, and the macro ones of those known before."""
    hidden = [name for name in HELD_OUT if name not in taught]
    said: dict[str, float] = {}
    if taught:
        measured = evaluate(without(pairs, fields, hidden), threshold=threshold, bootstrap=0).classes
        for metric in ("recall", "precision", "f1", "ap50"):
            each = [measured.of_class(measured.taxonomy.index(name), metric).value or 0.0 for name in taught]
            said[metric] = float(np.mean(each))
    known = evaluate(without(pairs, fields, HELD_OUT), threshold=threshold, bootstrap=0).classes
    said |= {f"old_{metric}": float(known.of_all(metric).value or 0.0) for metric in ("f1", "ap50")}
    return said


def called(
    pairs: Sequence[EvaluatedField], fields: Sequence[LabelledField], threshold: float, name: str
) -> Counter[str]:
    """What the cells of this name are called by detections that count."""
    names: Counter[str] = Counter()
    for pair, field in zip(pairs, fields, strict=True):
        found = one_name_per_cell(pair.detections.above(threshold))
        for box in field.boxes[[label == name for label in field.labels]]:
            overlap = iou_matrix(box[None], found.boxes)[0] if len(found) else np.zeros(1)
            hit = overlap.max() >= SAME_CELL
            names[found.taxonomy[int(found.labels[overlap.argmax()])].name if hit else "not found"] += 1
    return names


def interval(values: Sequence[float]) -> str:
    """Mean with its 95 % interval over draws."""
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(student.ppf(0.975, len(values) - 1)) * deviation / np.sqrt(len(values))
    return f"{mean:.3f} ({mean - half:.3f}, {mean + half:.3f})"


def measure(path: str, data: Path, ceiling: str | None) -> None:
    """Print the table."""
    checkpoint = load_checkpoint(checkpoint_path(path))
    eye = Eye(checkpoint)
    training = read_labels(data, split="train").fields
    # Made before `train-reader` kept it; cells of held-out classes are passed over here, too.
    known = checkpoint.known or remembered(checkpoint, training).known
    assert known is not None
    shown = [f.only(np.asarray([label in HELD_OUT for label in f.labels], np.bool_)) for f in training]
    seen = see_fields(eye, shown, well=lambda name: name in HELD_OUT, on_field=lambda: None)
    fields = read_labels(data, split="val").fields
    runtime = Remembering(open_detector(path, device="cpu", runtime="torch").detector.runtime, eye)  # type: ignore[attr-defined]

    size = FieldDetector(runtime, checkpoint.traits).input_size
    images = [read_image(field.image_path, at_least=size, name=field.name) for field in fields]

    def detect(made: Checkpoint) -> list[EvaluatedField]:
        runtime.prototypes = None if made.known is None or not made.added else Prototypes(made.known, made.added)
        found = Looking(runtime, made.traits).detect(images)
        truth = [field.truth(made.taxonomy) for field in fields]
        return [EvaluatedField(f.name, t, d) for f, t, d in zip(fields, truth, found, strict=True)]

    before = detect(checkpoint)
    base = figures(before, fields, checkpoint.score_threshold, ())
    print(f"known classes before: macro F1 {base['old_f1']:.3f}, AP@50 {base['old_ap50']:.3f}")
    for name in HELD_OUT:
        print(f"floor: {name} is called {dict(called(before, fields, checkpoint.score_threshold, name).most_common())}")
    print("\n| class | shots | recall | precision | F1 | AP@50 | change of known F1 | change of known AP@50 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for taught in (HELD_OUT[:1], HELD_OUT[1:], HELD_OUT):
        for count in SHOTS:
            rows = [
                figures(detect(made), fields, made.score_threshold, taught)
                for made in (_taught(checkpoint, eye, known, seen, taught, count, draw) for draw in range(DRAWS))
            ]
            cells = [interval([row[metric] for row in rows]) for metric in ("recall", "precision", "f1", "ap50")]
            cells += [interval([row[m] - base[m] for row in rows]) for m in ("old_f1", "old_ap50")]
            print(f"| {' and '.join(taught)} | {count} | {' | '.join(cells)} |", flush=True)
    if ceiling:
        opened = open_detector(ceiling, device="cpu")
        pairs = detect_labelled(opened.detector, fields)
        for taught in (HELD_OUT[:1], HELD_OUT[1:], HELD_OUT):
            said = figures(pairs, fields, opened.score_threshold, taught)
            cells = [f"{said[metric]:.3f}" for metric in ("recall", "precision", "f1", "ap50")]
            print(f"| {' and '.join(taught)} | all, trained | {' | '.join(cells)} | | |")


def _taught(
    checkpoint: Checkpoint, eye: Eye, known: KnownCells, seen: Any, names: Sequence[str], count: int, draw: int
) -> Checkpoint:
    made, memory = checkpoint, known
    for name in names:
        pool = seen.named(is_named(name))
        rng = np.random.default_rng([draw, count, HELD_OUT.index(name)])
        shots = pool[torch.from_numpy(rng.choice(len(pool), count, replace=False))]
        made, _ = add_class(made, eye, class_named(name), shots, memory, shots[:0])
        assert made.known is not None
        memory = made.known
    return made


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    hide = commands.add_parser("relabel")
    hide.add_argument("data", type=Path)
    hide.add_argument("--into", type=Path, required=True)
    run = commands.add_parser("measure")
    run.add_argument("checkpoint")
    run.add_argument("data", type=Path)
    run.add_argument("--ceiling")
    run.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.command == "relabel":
        relabel(given.data, given.into)
        return
    torch.set_num_threads(given.threads)
    measure(given.checkpoint, given.data, given.ceiling)


if __name__ == "__main__":
    main()
