"""What a frame of the simulated microscope costs, and how fast new glass is drawn.

    python benchmarks/camera.py [--seconds 4] [--width 1920 --height 1080] [--seed 0]

Frames are read as a live view reads them. `cpu` is the reader's own processor time a frame (drawing ahead is done by
another thread, and given apart); `late` is the 95th percentile of the age of a frame when it is handed out, which
includes the camera's latency of 10 ms. Rows:

at rest           everything drawn
in drawn glass    the stage goes to and fro over drawn tiles
hand, new glass   0.12 mm/s over glass that nobody has seen: the pace of reading a smear
stage, new glass  1.5 mm/s over glass that nobody has seen

Then milliseconds for one tile (512 px), for a draft of it, for a whole new view, and for software colour, focus score
and an autofocus.
"""

import argparse
import platform
import statistics
import threading
import time
from collections.abc import Callable
from itertools import islice

import cv2
import numpy as np

from marrowscope.instrument.camera import Control
from marrowscope.instrument.colour import SoftwareColour
from marrowscope.instrument.focus import autofocus, focus_score
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.instrument.simulated_stage import HandPath
from marrowscope.smear.slide import SmearSlide
from marrowscope.smear.slide_plan import SlidePlan
from marrowscope.smear.slide_tile import TILE_PX, TilePainter


def read(microscope: SimulatedMicroscope, seconds: float) -> str:
    """One row: frames a second, numbers missed, cost and age."""
    ages, numbers = [], []
    with microscope.camera as camera:
        next(camera.frames())
        began, worked, all_worked = time.perf_counter(), time.thread_time(), time.process_time()
        for frame in camera.frames():
            ages.append(time.monotonic() - frame.captured_at)
            numbers.append(frame.number)
            if time.perf_counter() - began > seconds:
                break
        wall = time.perf_counter() - began
        mine, everybody = time.thread_time() - worked, time.process_time() - all_worked
    missed = numbers[-1] - numbers[0] + 1 - len(numbers)
    return (
        f"{len(numbers) / wall:8.1f} {missed:7d} {1000 * mine / len(numbers):9.1f} "
        f"{1000 * (everybody - mine) / len(numbers):11.1f} {1000 * float(np.percentile(ages, 95)):9.1f}"
    )


def to_and_fro(microscope: SimulatedMicroscope, stop: threading.Event) -> None:
    stage = microscope.stage
    assert stage is not None
    x = stage.position_um.x_um
    while not stop.is_set():
        stage.move_to_um(x=x + 100)
        stage.move_to_um(x=x)


def milliseconds(work: Callable[[int], object], repeats: int) -> str:
    taken = []
    for n in range(repeats):
        began = time.perf_counter()
        work(n)
        taken.append(1000 * (time.perf_counter() - began))
    return f"{min(taken):8.1f} {statistics.median(taken):8.1f} {max(taken):8.1f}"


def straight(x: float, y: float, um_per_s: float) -> HandPath:
    return HandPath(np.asarray([0.0, 100.0]), np.asarray([x, x + 100 * um_per_s]), np.asarray([y, y]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    size = {"width": asked.width, "height": asked.height}
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, OpenCV {cv2.__version__}")
    print(f"{asked.width} x {asked.height} at 30 frames/s, seed {asked.seed}\n")
    print(f"{'':18} {'frames/s':>8} {'missed':>7} {'cpu, ms':>9} {'others, ms':>11} {'late, ms':>9}")

    with SmearSlide(asked.seed) as slide:
        microscope = SimulatedMicroscope(slide, **size)
        with microscope.camera as camera:
            camera.snap()
        print(f"{'at rest':18} {read(microscope, asked.seconds)}")
        stage, stop = microscope.stage, threading.Event()
        assert stage is not None
        start = stage.position_um
        slide.view(start.x_um + 50, start.y_um, asked.width + 1500, asked.height, slide.um_per_px)
        mover = threading.Thread(target=to_and_fro, args=(microscope, stop))
        mover.start()
        print(f"{'in drawn glass':18} {read(microscope, asked.seconds)}")
        stop.set()
        mover.join()
        stage.move_to_um(z=start.z_um + 3)
        print(f"{'out of focus':18} {read(microscope, asked.seconds)}")
    for name, speed in (("hand, new glass", 120.0), ("stage, new glass", 1500.0)):
        with SmearSlide(asked.seed) as slide:
            moved = SimulatedMicroscope(slide, **size, hand=straight(5000, 9000, speed))
            slide.view(5000, 9000, asked.width, asked.height, slide.um_per_px)
            print(f"{name:18} {read(moved, asked.seconds)}")

    print(f"\n{'':18} {'min, ms':>8} {'median':>8} {'max':>8}")
    with SmearSlide(asked.seed) as slide:
        plan = SlidePlan(asked.seed, slide.width_um, slide.height_um, slide.taxonomy)
        painter = TilePainter(plan, slide.stain, slide.um_per_px)
        middle = int(10_000 / slide.um_per_px / TILE_PX)
        print(f"{'tile':18} {milliseconds(lambda n: painter.paint((0, middle + n, middle)), 40)}")
        print(f"{'draft of a tile':18} {milliseconds(lambda n: painter.draft((0, middle + n, middle + 9)), 40)}")
        new_view = milliseconds(
            lambda n: slide.view(4000 + 300 * n, 7000, asked.width, asked.height, slide.um_per_px), 6
        )
        print(f"{'new view':18} {new_view}")
        microscope = SimulatedMicroscope(slide, **size, fps=60)
        with microscope.camera as camera:
            pixels = camera.snap().pixels
            software = SoftwareColour()
            software.set(Control.RED, 0.9)
            print(f"{'software colour':18} {milliseconds(lambda _: software.apply(pixels), 20)}")
            print(f"{'focus score':18} {milliseconds(lambda _: focus_score(pixels), 20)}")
            list(islice(camera.frames(), 2))
            print(f"{'autofocus':18} {milliseconds(lambda _: autofocus(camera, microscope.stage), 2)}")


if __name__ == "__main__":
    main()
