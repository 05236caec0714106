"""What it takes to write and read a slide of many megapixels, form by form: seconds, and memory at its peak.

    python benchmarks/slides.py --side 20000

The picture is a drawn smear of 2048 x 2048 pixels, laid side by side. Each form is written and read in a process of its
own, so that its memory is its own. Reading asks for 200 rectangles of 1024 x 1024 at random places of the finest level.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.assemble.slides import open_slide
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.slide import Level
from marrowscope.slide.writing import write_slide
from marrowscope.smear.slide import SmearSlide

PATTERN_PX = 2048
RECTANGLES = 200
# Quality of JPEG; None: without loss.
FORMS = {"s.ome.tiff": 90, "s.tiff": 90, "s.dicom": 90, "s.zarr": None}


class Tiled(ArraySlide):
    """A picture laid side by side."""

    def __init__(self, pixels: NDArray[np.uint8], side: int) -> None:
        super().__init__(pixels, um_per_px=0.25, levels=1)
        self.levels = (Level(side, side, 1.0),)
        self._pattern = pixels

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `WholeSlide.read`."""
        rows, columns = np.arange(y, y + height) % PATTERN_PX, np.arange(x, x + width) % PATTERN_PX
        return self._pattern[rows][:, columns]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(pixels: NDArray[np.uint8], side: int, path: Path, quality: int | None) -> tuple[float, float]:
    before = time.perf_counter()
    write_slide(Tiled(pixels, side), path, quality=quality, workers=2)
    return time.perf_counter() - before, peak_mb()


def read(path: Path, side: int) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    before = time.perf_counter()
    with open_slide(path) as slide:
        for x, y in rng.integers(0, side - 1024, (RECTANGLES, 2)).tolist():
            slide.read(0, x, y, 1024, 1024)
    return time.perf_counter() - before, peak_mb()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000, help="pixels")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    asked = parser.parse_args()
    side = asked.side
    um = PATTERN_PX * 0.25
    with SmearSlide(1, width_um=um, height_um=um, um_per_px=0.25) as smear:
        pixels = smear.view(um / 2, um / 2, PATTERN_PX, PATTERN_PX, 0.25)
    print(
        f"{side} x {side} pixels\n| form | write s | peak MB | GB | read s | peak MB |\n|---|---:|---:|---:|---:|---:|"
    )
    context = multiprocessing.get_context("spawn")
    for name in asked.forms:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            with ProcessPoolExecutor(1, mp_context=context) as own:
                wrote = own.submit(write, pixels, side, path, FORMS[name]).result()
            files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
            size = sum(p.stat().st_size for p in files) / 1e9
            with ProcessPoolExecutor(1, mp_context=context) as own:
                got = own.submit(read, path, side).result()
            print(
                f"| {name} | {wrote[0]:.0f} | {wrote[1]:.0f} | {size:.2f} | {got[0]:.1f} | {got[1]:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
