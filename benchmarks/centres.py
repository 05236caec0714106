"""How a detector of one centre fares in another stain, what normalisation gives back, and what the drift alarm says.

    python benchmarks/centres.py real DATA/pbc_fields --bccd DATA/bccd/BCCD

The detector looks at the validation fields as they are, at copies of them in other stains and lights, blurred and of
another magnification, and at BCCD, another laboratory's blood, whose labels know white cells only as such: each kind
plain, and brought to the stain of the training fields by Reinhard and by Macenko, measured over the whole kind.

The alarm compares looks with those of the training fields, and finds with those in one half of the validation fields;
what comes in is the other half, as it is and as copies, or BCCD. Its rate of false alarms is that of 400 random batches
of 5 to 40 fields of the other half, over as many random halvings. Seeds are fixed.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.assemble.detectors import open_detector
from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.field import FieldImage, Origin
from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.data.convert import read_labels
from marrowscope.data.images import read_image
from marrowscope.data.looks import fields_seen, gathered, looks_of, pictures, pixels_of, swatch_of
from marrowscope.detect.detector import Detector, one_name_per_cell
from marrowscope.detect.stain import StainMethod, StainNormalised
from marrowscope.evaluation.centres import FOUND, nucleated
from marrowscope.evaluation.drift import drift
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField

Pixels = NDArray[np.uint8]
Field = tuple[FieldImage, GroundTruth, list[list[float]]]
"""Picture, cells by class, and boxes of cells without one."""


def density(*gains: float) -> Callable[[Pixels], Pixels]:
    """More or less stain: optical density times a gain, for each channel."""

    def change(pixels: Pixels) -> Pixels:
        return (255 * ((pixels + 1.0) / 256) ** np.asarray(gains)).clip(0, 255).astype(np.uint8)

    return change


def light(*gains: float) -> Callable[[Pixels], Pixels]:
    """Another lamp, or another white balance."""
    return lambda pixels: (pixels * np.asarray(gains)).clip(0, 255).astype(np.uint8)


TINTS: dict[str, Callable[[Pixels], Pixels]] = {
    "pale stain (density x .55)": density(0.55, 0.55, 0.55),
    "blue stain, grey light": lambda pixels: light(0.75, 0.8, 0.98)(density(1.5, 1.1, 0.6)(pixels)),
    "red stain (density of green x 1.6)": density(0.7, 1.6, 1.1),
}
SPOILT: dict[str, Callable[[Pixels], Pixels]] = {
    "blurred, sigma 3": lambda pixels: np.asarray(cv2.GaussianBlur(pixels, (0, 0), 3), np.uint8),
    "x 0.6": lambda pixels: np.asarray(cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)),
}


def changed(fields: Sequence[Field], kind: str, change: Callable[[Pixels], Pixels]) -> list[Field]:
    out = []
    for image, truth, coarse in fields:
        pixels = change(image.pixels)
        factor = np.float32(pixels.shape[1] / image.pixels.shape[1])
        picture = FieldImage(pixels, image.name, origin=Origin(Path(kind) / image.name))
        out.append((picture, replace(truth, boxes=truth.boxes * factor), coarse))
    return out


def look(detector: Detector, fields: Sequence[Field]) -> list[Detections]:
    return [detector.detect([image])[0] for image, _, _ in fields]


def measured(fields: Sequence[Field], found: Sequence[Detections], threshold: float) -> dict[str, str]:
    """AP@50 and F1 by class, where there are classes; recall and precision of nucleated cells as such."""
    pairs = [EvaluatedField(i.name, truth, d) for (i, truth, _), d in zip(fields, found, strict=True)]
    whole = [
        nucleated(i.name, truth, coarse, one_name_per_cell(d))
        for (i, truth, coarse), d in zip(fields, found, strict=True)
    ]
    numbers = {"ap50": "-", "f1": "-"}
    if any(len(p.truth) for p in pairs):
        macro = evaluate(pairs, threshold=threshold, bootstrap=400).classes
        numbers = {name: str(macro.of_all(name)) for name in numbers}
    cells = evaluate(whole, threshold=threshold, bootstrap=400).classes
    return numbers | {f"{name}, any name": str(cells.of_class(0, name)) for name in FOUND}


def seen_by(fields: Sequence[Field], found: Sequence[Detections], threshold: float, rows: Sequence[int]) -> FieldsSeen:
    looks = gathered([(looks_of(fields[i][0]), pixels_of(fields[i][0])) for i in rows])
    return looks.with_found([one_name_per_cell(found[i].above(threshold)) for i in rows])


def part(seen: FieldsSeen, rows: Sequence[int]) -> FieldsSeen:
    """Some of the fields, none of which is without a cell."""
    looks, finds = (
        {name: tuple(values[i] for i in rows) for name, values in columns.items()}
        for columns in (seen.looks, seen.finds)
    )
    return FieldsSeen(looks, finds, tuple(seen.mix[i] for i in rows))


def false_alarms(training: FieldsSeen, whole: FieldsSeen, draws: int = 400) -> float:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(draws):
        order = rng.permutation(len(whole.mix)).tolist()
        half = len(order) // 2
        known = part(whole, order[:half])
        batch = order[half : half + int(rng.integers(5, min(41, len(order) - half + 1)))]
        alarms += drift(replace(known, looks=training.looks), part(whole, batch)).alarm
    return alarms / draws


def white_cells(folder: Path, detector: Detector) -> list[Field]:
    out: list[Field] = []
    for field in read_labels(folder, skip_bad=True).fields:
        white = [box.tolist() for box, label in zip(field.boxes, field.labels, strict=True) if label == "WBC"]
        image = replace(read_image(field.image_path), origin=Origin(Path("BCCD") / field.name))
        out.append((image, field.truth(detector.taxonomy), white))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="`real`, or RUN/best")
    parser.add_argument("data", type=Path, help="folder of pbc_fields")
    parser.add_argument("--bccd", type=Path, help="folder of BCCD (Annotations, JPEGImages)")
    parser.add_argument(
        "--fields", type=int, default=0, help="only so many validation fields, and 4 times as many of BCCD"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    opened = open_detector(options.checkpoint)
    detector, threshold = opened.detector, opened.score_threshold
    most = options.fields or None
    training = fields_seen(pictures([f.image_path for f in read_labels(options.data, split="train").fields]))
    plain: list[Field] = []
    for field in read_labels(options.data, split="val").fields[:most]:
        image = replace(read_image(field.image_path), origin=Origin(Path("plain") / field.name))
        plain.append((image, field.truth(detector.taxonomy), []))
    kinds = {"validation fields": plain}
    if options.bccd:
        kinds["BCCD"] = white_cells(options.bccd, detector)[:: max(1, 91 // most) if most else 1]
    kinds |= {name: changed(plain, name, change) for name, change in TINTS.items()}
    figures: dict[str, dict[str, str]] = {}
    found: dict[str, list[Detections]] = {}
    print("| fields | stain | AP@50 | F1 | cells found, any name | of what was found, cells |")
    print("|---|---|---:|---:|---:|---:|")
    for kind, fields in kinds.items():
        slide = {fields[0][0].origin.path.parent: swatch_of(image for image, _, _ in fields)}
        ways: dict[str, Detector] = {"as it is": detector}
        ways |= {m.value: StainNormalised(detector, m, training.swatch, slide) for m in StainMethod}
        for way, looking in ways.items():
            here = look(looking, fields)
            found.setdefault(kind, here)
            numbers = measured(fields, here, threshold)
            figures[f"{kind}, {way}"] = numbers
            print(f"| {kind} ({len(fields)}) | {way} | {' | '.join(numbers.values())} |", flush=True)
    for kind, change in SPOILT.items():
        kinds[kind] = changed(plain[len(plain) // 2 :], kind, change)
        found[kind] = look(detector, kinds[kind])
    everything = seen_by(plain, found["validation fields"], threshold, range(len(plain)))
    half = len(plain) // 2
    known = replace(part(everything, range(half)), looks=training.looks)
    print("\n| fields | alarm | what drifted, and how far (1: the edge of the central 90 % of training fields) |")
    print("|---|---|---|")
    for kind, fields in kinds.items():
        rows = range(half if len(fields) == len(plain) and kind != "BCCD" else 0, len(fields))
        report = drift(known, seen_by(fields, found[kind], threshold, rows))
        names = ", ".join(f"{row.name} {row.away:+.1f}" for row in report.drifted)
        figures[f"drift, {kind}"] = {"alarm": str(report.alarm), "drifted": names}
        print(f"| {kind} ({report.fields}) | {'yes' if report.alarm else 'no'} | {names} |")
    rate = false_alarms(training, everything)
    figures["false alarms"] = {"rate": str(rate)}
    print(f"\nfalse alarms over random batches of validation fields: {rate:.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
