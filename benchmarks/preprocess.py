"""Pre-processing of one 12-megapixel JPEG, ours against torchvision's own order, both in one run.

    python benchmarks/preprocess.py            # 4000 x 3000 -> 1333 x 1000, 15 repeats, one thread or all

From file to the normalised float tensor (1, 3, 1000, 1333):

torchvision   Pillow decodes at full size; to a float tensor; `GeneralizedRCNNTransform` normalises at full size, then
              resizes. What `fasterrcnn_*` does with the output of `to_tensor`.
ours          simplejpeg decodes at a reduced scale that still covers the box; OpenCV resizes uint8 by areas; to a float
              tensor and normalise at the small size.

The picture is a synthetic field (cells on a pale ground, camera noise), drawn from --seed. The two take turns, so that
whatever else the machine does hits both. The last line says by how much the results differ, in grey levels, and how
much of that is the reduced decode rather than the resize.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms.functional import to_tensor

from marrowscope.data.images import read_image
from marrowscope.detect.prepare import fit, resize_to

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def draw_picture(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """A pale ground with red cells, dark granular nuclei and camera noise: as hard to compress as a real field."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), (228, 212, 222), np.uint8)
    unit = width / 100
    for _ in range(120):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(picture, centre, int(unit * rng.uniform(2, 3)), (205, 170, 180), cv2.FILLED, cv2.LINE_AA)
    for _ in range(30):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        cv2.circle(picture, (x, y), int(unit * rng.uniform(3, 5)), (170, 150, 200), cv2.FILLED, cv2.LINE_AA)
        for _ in range(5):
            lobe = (x + int(unit * rng.normal(0, 0.8)), y + int(unit * rng.normal(0, 0.8)))
            cv2.circle(picture, lobe, int(unit * rng.uniform(1, 2)), (90, 50, 130), cv2.FILLED, cv2.LINE_AA)
    texture = cv2.resize(rng.normal(0, 9, (height // 4, width // 4, 1)).astype(np.float32), (width, height))
    noise = rng.normal(0, 2.5, picture.shape).astype(np.float32)
    blurred = cv2.GaussianBlur(picture, (0, 0), 2.0).astype(np.float32)
    return np.clip(blurred + texture[:, :, None] + noise, 0, 255).astype(np.uint8)


def torchvisions_way(path: Path, transform: GeneralizedRCNNTransform) -> Tensor:
    with Image.open(path) as image:
        tensor = to_tensor(image.convert("RGB"))
    images, _ = transform([tensor])
    batch: Tensor = images.tensors
    return batch


def small_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div_(255).sub_(mean).div_(std)


def our_way(path: Path, box: tuple[int, int]) -> Tensor:
    field = read_image(path, at_least=box)
    width, height, _ = fit(field.width, field.height, box)
    return small_tensor(resize_to(field, (width, height)))


def timed(work: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def grey_levels(a: Tensor, b: Tensor) -> float:
    return float(((a - b) * torch.tensor(STD).view(1, 3, 1, 1) * 255).abs().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="use this JPEG instead of drawing one")
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 3000), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--box", type=int, nargs=2, default=(1333, 1000), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for torch and OpenCV")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    box = (options.box[0], options.box[1])
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    # Both must give the same shape to be compared. torchvision rounds down where we round to the nearest, so one pixel
    # of slack on the longer side lets the shorter one decide; size_divisible=1 leaves out the padding.
    transform = GeneralizedRCNNTransform(min(box), max(box) + 1, list(MEAN), list(STD), size_divisible=1).eval()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = options.image or Path(folder) / "field.jpg"
        if not options.image:
            path.write_bytes(simplejpeg.encode_jpeg(draw_picture(*options.size, options.seed), quality=92))
        ways: dict[str, Callable[[], Tensor]] = {
            "torchvision": lambda: torchvisions_way(path, transform),
            "ours": lambda: our_way(path, box),
        }
        outputs = {name: way() for name, way in ways.items()}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                times[name].append(timed(way))
        whole, decoded = read_image(path), read_image(path, at_least=box)
        from_whole = small_tensor(resize_to(whole, (outputs["ours"].shape[3], outputs["ours"].shape[2])))
        reduced = f"{decoded.pixels.shape[1]} x {decoded.pixels.shape[0]}"
        print(
            f"{whole.width} x {whole.height} JPEG of {path.stat().st_size / 1e6:.1f} MB, decoded at {reduced}; box "
            f"{box[0]} x {box[1]}; {options.repeats} repeats, {options.threads} threads, {platform.machine()}"
        )
    print("| way | output | median ms | min ms |\n|---|---|---:|---:|")
    for name, spent in times.items():
        shape = " x ".join(str(n) for n in outputs[name].shape)
        print(f"| {name} | {shape} | {statistics.median(spent):.0f} | {min(spent):.0f} |")
    ratios = [statistics.median(times["torchvision"]) / statistics.median(times["ours"])]
    ratios.append(min(times["torchvision"]) / min(times["ours"]))
    print(f"\nours is {ratios[0]:.1f} times as fast by median, {ratios[1]:.1f} by minimum")
    print(
        f"mean difference {grey_levels(*outputs.values()):.2f} grey levels of 255; "
        f"of that by the reduced decode {grey_levels(outputs['ours'], from_whole):.2f}"
    )


if __name__ == "__main__":
    main()
