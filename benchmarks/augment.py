"""What the paper's augmentations cost on one field, in milliseconds: resize first and warp once, or step by step.

    python benchmarks/augment.py

Both orders turn a 4000 x 3000 field with 14 cells into a 1333 x 1000 sample, all five augmentations on. torchvision's
order is the usual one: flips, rotation, translation and noise each on the full field, then the resize. A last row
gives torchvision the small field as well, so that the order and the library can be told apart. The field is made from
seed 0; the least of several repeats is the time least disturbed by others.
"""

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torchvision
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from marrowscope.training.augment import Augmentation, augment

FIELD, SAMPLE, CELLS = (4000, 3000), (1333, 1000), 14


def timings_ms(work: Callable[[], object], repeats: int) -> list[float]:
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def make_field() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(120, 256, (30, 40, 3), dtype=np.uint8)
    corners = rng.uniform((0, 0), (FIELD[0] - 400, FIELD[1] - 400), (CELLS, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(240, 400, (CELLS, 2))], axis=1)
    return cv2.resize(coarse, FIELD, interpolation=cv2.INTER_CUBIC), boxes.astype(np.float32)


def ours(image: np.ndarray, boxes: np.ndarray) -> object:
    always = Augmentation(horizontal_flip=1, vertical_flip=1, rotation=1, translation=1, noise=1)
    small = cv2.resize(image, SAMPLE, interpolation=cv2.INTER_AREA)
    return augment(small, boxes / 3, always, np.random.default_rng(0))


def torchvisions(image: np.ndarray, boxes: np.ndarray, *, resize_first: bool) -> object:
    resize = v2.Resize(SAMPLE[::-1], antialias=True)
    five = [
        v2.RandomHorizontalFlip(1),
        v2.RandomVerticalFlip(1),
        v2.RandomRotation(45, interpolation=v2.InterpolationMode.BILINEAR),
        v2.RandomAffine(0, translate=(0.0625, 0.0625), interpolation=v2.InterpolationMode.BILINEAR),
        v2.GaussianNoise(sigma=8 / 255),
    ]
    steps = [resize, *five] if resize_first else [*five, resize]
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    labelled = BoundingBoxes(boxes, format=BoundingBoxFormat.XYXY, canvas_size=image.shape[:2])  # type: ignore[call-arg]
    return v2.Compose(steps)(pixels, labelled)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    image, boxes = make_field()
    small = cv2.resize(image, SAMPLE, interpolation=cv2.INTER_AREA)
    always = Augmentation(horizontal_flip=1, vertical_flip=1, rotation=1, translation=1, noise=1)
    rows = {
        "marrowscope: resize, one warp, noise": lambda: ours(image, boxes),
        "  of this, after the resize": lambda: augment(small, boxes / 3, always, np.random.default_rng(0)),
        "torchvision v2: five steps, then resize": lambda: torchvisions(image, boxes, resize_first=False),
        "torchvision v2: resize, then five steps": lambda: torchvisions(image, boxes, resize_first=True),
    }
    print(f"torchvision {torchvision.__version__}, OpenCV {cv2.__version__}, {torch.get_num_threads()} threads")
    print(f"{FIELD[0]} x {FIELD[1]} -> {SAMPLE[0]} x {SAMPLE[1]}, {CELLS} cells, {repeats} repeats")
    print(f"{'':<42}{'least ms':>10}{'median ms':>11}")
    for name, work in rows.items():
        taken = timings_ms(work, repeats)
        print(f"{name:<42}{min(taken):>10.0f}{np.median(taken):>11.0f}")


if __name__ == "__main__":
    main()
