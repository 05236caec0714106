"""Small fields with known cells, and recipes small enough to train in a test."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.data.voc import write_voc, write_voc_image
from marrowscope.training.recipe import Recipe, load_recipe

TAXONOMY = Taxonomy.from_labels(["lymphocyte", "eosinophil"])
COLOURS = ((70, 40, 140), (210, 90, 60))

TINY = (
    "model.trunk=mobilenetv3_small_050",
    "model.trunk_weights=none",
    "model.trunk_norm=batch",
    "model.frozen_stride=0",
    "model.input_size=[128, 96]",
    "model.strides=[8, 16, 32]",
    "model.fpn_channels=16",
    "model.head_width=32",
    "model.training_proposals=50",
    "model.detection_proposals=50",
    "batch_size=2",
    "epochs=2",
    "workers=0",
    "optimiser=adamw",
    "schedule=one cycle",
)


def tiny_recipe(*settings: str) -> Recipe:
    return load_recipe("light").changed([*TINY, *settings])


def paint(seed: int, *, width: int = 128, height: int = 96, cells: int = 3) -> tuple[FieldImage, GroundTruth]:
    """Discs of two colours that do not overlap, on pale ground with noise."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), (232, 220, 228), np.uint8)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for column in range(cells):
        radius, label = int(rng.integers(9, 14)), int(rng.integers(0, 2))
        x = int((column + 0.5) * width / cells)
        y = int(rng.integers(radius, height - radius))
        cv2.circle(pixels, (x, y), radius, COLOURS[label], cv2.FILLED)
        boxes.append((x - radius, y - radius, x + radius + 1, y + radius + 1))
        labels.append(label)
    noisy = np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
    truth = GroundTruth(np.asarray(boxes, np.float32), np.asarray(labels), TAXONOMY)
    return FieldImage(noisy, f"painted_{seed:03d}"), truth


def painted_folder(folder: Path, seeds: Sequence[int], held_out: Sequence[int] = ()) -> tuple[LabelledField, ...]:
    """A VOC folder of painted fields, with a split where some are held out."""
    fields = {seed: write_voc_image(folder, *paint(seed)) for seed in (*seeds, *held_out)}
    if held_out:
        splits = {"train": [fields[s].name for s in seeds], "val": [fields[s].name for s in held_out]}
        write_voc(folder, fields.values(), splits=splits)
    return tuple(fields.values())
