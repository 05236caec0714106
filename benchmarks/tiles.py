"""How a detector of real cells fares on pictures that are not composed fields.

    python benchmarks/tiles.py real DATA/pbc_fields --bccd DATA/bccd/BCCD

DATA/pbc_fields are fields laid out of 4 x 3 tiles with one cell in the middle of each. From the fields of its
validation list, pictures are made as a camera or an archive might hand them over, and the detector is measured on
each kind:

    whole fields   as they are
    tiles          360 x 363 pixels, one cell in the middle
    cut            360 x 363 pixels at random places: cells are cut by the border, some pictures have two or none
    crowded        tiles in which cells of other fields lie against the one in the middle
    x 0.5 .. x 2   tiles resized: another camera, another objective
    tinted         tiles with another white balance, contrast and brightness: another lamp, a neighbour's stain

A cell of which less than half is in the picture counts nowhere. On BCCD, whose labels know white cells only as such, it
is measured whether each is found at all (IoU .5), whatever its name, and how much else is. Seeds are fixed.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.assemble.detectors import open_detector
from marrowscope.cells.boxes import Boxes, iou_matrix
from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.convert import read_labels
from marrowscope.data.images import read_image
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.detector import Detector, one_name_per_cell
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.training.augment import Augmentation, augment
from marrowscope.training.crowd import crowd

TILE = (360, 363)
PITCH = 348
"""Pixels from one tile to the next in a composed field."""
Picture = tuple[NDArray[np.uint8], GroundTruth]


def window(pixels: NDArray[np.uint8], truth: GroundTruth, left: int, top: int) -> Picture:
    """A tile-sized piece of a field; cells with less than half inside are difficult."""
    width, height = TILE
    piece = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    moved = truth.boxes - np.array([left, top, left, top], np.float32)
    cut = moved.clip(0, [piece.shape[1], piece.shape[0]] * 2)
    area = [(b[:, 2:] - b[:, :2]).clip(min=0).prod(axis=1) for b in (cut, moved)]
    visible = area[0] / area[1]
    seen = visible > 0.02
    return piece, GroundTruth(cut[seen], truth.labels[seen], truth.taxonomy, difficult=visible[seen] < 0.5)


def tiles(fields: list[Picture]) -> Iterator[Picture]:
    """Each tile of each field, its cell in the middle."""
    for pixels, truth in fields:
        for row in range(3):
            for column in range(4):
                left = min(column * PITCH, pixels.shape[1] - TILE[0])
                top = min(row * PITCH, pixels.shape[0] - TILE[1])
                yield window(pixels, truth, left, top)


def cut(fields: list[Picture]) -> Iterator[Picture]:
    """Pieces at random places, as many as there are tiles."""
    rng = np.random.default_rng(0)
    for pixels, truth in fields:
        for _ in range(12):
            left = int(rng.integers(0, pixels.shape[1] - TILE[0] + 1))
            top = int(rng.integers(0, pixels.shape[0] - TILE[1] + 1))
            yield window(pixels, truth, left, top)


def crowded(fields: list[Picture]) -> Iterator[Picture]:
    """Tiles of fields in which cells of the next field lie against others."""
    rng = np.random.default_rng(0)
    packed = []
    for (pixels, truth), (other, theirs) in zip(fields, fields[1:] + fields[:1], strict=True):
        full, boxes, taken = crowd(pixels, truth.boxes, other, theirs.boxes, most=24, rng=rng)
        packed.append((full, GroundTruth(boxes, np.concatenate([truth.labels, theirs.labels[taken]]), truth.taxonomy)))
    yield from tiles(packed)


def resized(factor: float) -> Callable[[list[Picture]], Iterator[Picture]]:
    """Tiles at another magnification."""

    def pictures(fields: list[Picture]) -> Iterator[Picture]:
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        for pixels, truth in tiles(fields):
            yield (
                np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=way), np.uint8),
                replace(truth, boxes=truth.boxes * np.float32(factor)),
            )

    return pictures


def tinted(fields: list[Picture]) -> Iterator[Picture]:
    """Tiles seen in another light."""
    rng = np.random.default_rng(0)
    other_light = Augmentation(horizontal_flip=0, colour=1, colour_strength=0.25)
    for pixels, truth in tiles(fields):
        yield augment(pixels, truth.boxes, other_light, rng).image, truth


KINDS: dict[str, Callable[[list[Picture]], Iterator[Picture]]] = {
    "whole fields": iter,
    "tiles": tiles,
    "cut": cut,
    "crowded": crowded,
    "x 0.5": resized(0.5),
    "x 0.75": resized(0.75),
    "x 1.5": resized(1.5),
    "x 2": resized(2.0),
    "tinted": tinted,
}


def look(detector: Detector, pictures: Iterator[Picture]) -> list[EvaluatedField]:
    pairs = []
    for number, (pixels, truth) in enumerate(pictures):
        (found,) = detector.detect([FieldImage(pixels, f"{number:04d}")])
        pairs.append(EvaluatedField(f"{number:04d}", truth, found))
    return pairs


def nameless(pairs: list[EvaluatedField], threshold: float) -> dict[str, float]:
    """Recall and precision of cells as such: each once, whatever its name."""
    hits = claims = cells = 0
    for pair in pairs:
        found = one_name_per_cell(pair.detections.above(threshold))
        difficult = np.zeros(len(pair.truth.boxes), bool) if pair.truth.difficult is None else pair.truth.difficult
        overlap = iou_matrix(found.boxes, pair.truth.boxes)
        free = ~difficult
        # Best detection first, as everywhere.
        for row in overlap:
            best = np.where(free & (row >= 0.5), row, -1)
            if len(best) and best.max() >= 0:
                free[best.argmax()] = False
                hits += 1
                claims += 1
            elif not (row[difficult] >= 0.3).any():
                claims += 1
        cells += int((~difficult).sum())
    return {"cells": cells, "found": hits / max(cells, 1), "of what was found, cells": hits / max(claims, 1)}


def white_cells(folder: Path, words: Taxonomy) -> list[Picture]:
    """BCCD's fields with their white cells alone; the name they get is not compared."""
    pictures = []
    for field in read_labels(folder, skip_bad=True).fields:
        white = [i for i, label in enumerate(field.labels) if label == "WBC"]
        boxes: Boxes = np.asarray(field.boxes, np.float32).reshape(-1, 4)[white]
        truth = GroundTruth(boxes, np.zeros(len(white), np.int64), words)
        pictures.append((read_image(field.image_path).pixels, truth))
    return pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="`real`, or RUN/best")
    parser.add_argument("data", type=Path, help="folder of pbc_fields")
    parser.add_argument("--bccd", type=Path, help="folder of BCCD (Annotations, JPEGImages)")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    opened = open_detector(options.checkpoint)
    detector, threshold = opened.detector, opened.score_threshold
    labelled: tuple[LabelledField, ...] = read_labels(options.data, split="val").fields
    fields = [(read_image(f.image_path).pixels, f.truth(detector.taxonomy)) for f in labelled]
    figures: dict[str, dict[str, float]] = {}
    print("| pictures | AP@50 | mAP@[.5:.95] | F1 | cells found, any name | precision, any name |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind in options.kinds:
        pairs = look(detector, KINDS[kind](fields))
        macro = evaluate(pairs, threshold=threshold, bootstrap=200).classes
        places = nameless(pairs, threshold)
        cells = [str(macro.of_all(m)) for m in ("ap50", "map", "f1")]
        found, right = places["found"], places["of what was found, cells"]
        print(f"| {kind} ({len(pairs)}) | {' | '.join(cells)} | {found:.3f} | {right:.3f} |", flush=True)
        figures[kind] = {m: float(macro.of_all(m).value or 0) for m in ("ap50", "map", "f1")} | places
    if options.bccd:
        pairs = look(detector, iter(white_cells(options.bccd, detector.taxonomy)))
        places = nameless(pairs, threshold)
        print(
            f"| BCCD, white cells ({len(pairs)}) | - | - | - | {places['found']:.3f} | "
            f"{places['of what was found, cells']:.3f} |"
        )
        figures["BCCD"] = places
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
