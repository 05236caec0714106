"""Seconds to draw a synthetic field, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/smear.py [--repeats 7]

Prints the least and the median of the repeats, wall-clock and processor time, for 4000 x 3000 and 1000 x 750; seeds
0, 1, 2, ... so that fuller and emptier fields are both in it. The first field, which fills the caches, is not counted.
"""

import argparse
import hashlib
import platform
import statistics
import time

import cv2
import numpy as np

from marrowscope.smear.field import draw_field


def seconds(width: int, height: int, repeats: int) -> tuple[list[float], list[float]]:
    wall, processor = [], []
    for seed in range(repeats):
        started, worked = time.perf_counter(), time.process_time()
        draw_field(seed, width=width, height=height)
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - worked)
    return wall, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, OpenCV {cv2.__version__}")
    print(f"{'field':>12} {'wall min':>9} {'median':>7} {'cpu min':>8} {'median':>7}  SHA-256 of seed 0")
    for width, height in ((4000, 3000), (1000, 750)):
        first, _ = draw_field(0, width=width, height=height)
        wall, processor = seconds(width, height, repeats)
        numbers = [min(wall), statistics.median(wall), min(processor), statistics.median(processor)]
        least, median, cpu_least, cpu_median = (f"{n:.3f}" for n in numbers)
        sha = hashlib.sha256(first.pixels.tobytes()).hexdigest()[:12]
        print(f"{width:>5} x {height:<4} {least:>9} {median:>7} {cpu_least:>8} {cpu_median:>7}  {sha}")


if __name__ == "__main__":
    main()
