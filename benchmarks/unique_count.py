"""Cells counted once: a slide moved by hand over 200 overlapping fields, and the unique cells against the truth.

    python benchmarks/unique_count.py                    # truth and the shipped model, 200 fields
    python benchmarks/unique_count.py --source truth --fields 40

A synthetic smear lies under the simulated microscope at 1920 x 1080 and 132 um across. A scripted hand moves it row by
row, there and back, and rests at every field; each overlaps its neighbours by half in x and by 40 % in y. Every frame
goes through `station.atlas_glass.Glass`, as in a live session; detection looks at one frame at a time and its answer
comes a quarter of a second later, while the slide moves on. Time is simulated, so the numbers do not depend on how fast
this machine is.

truth cells   those that lay wholly within at least one frame of the path
unique        what the atlas counts
per field     what plain counting gives: the cells of the 200 fields where the hand rested, added up

`truth` as source of detections isolates the tracking: it gives the true boxes of the very frame, also of cells that are
cut by its border. `demo` is the model that comes with marrowscope.
"""

import argparse
import platform
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from marrowscope.assemble.detectors import open_detector, use_threads
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.specimen import FoundCell
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.instrument.camera import Frame
from marrowscope.instrument.colour import balance, grey_world
from marrowscope.instrument.exposure import auto_exposure
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.instrument.simulated_stage import HandPath
from marrowscope.smear.slide import SmearSlide
from marrowscope.station.atlas_glass import Glass
from marrowscope.station.desk import found_cells
from marrowscope.station.detecting import that_count
from marrowscope.station.live_view import Sight

DETECTED = 0.4
"""Share of a cell that must lie in the frame for the truth to be given away: less is hardly found by any detector."""

Finder = Callable[[SimulatedMicroscope, Frame], list[FoundCell]]


class SteppedClock:
    """Time that passes only while somebody waits for it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        """Seconds."""
        return self.seconds

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Let them pass."""
        self.seconds += seconds


class Outcome(NamedTuple):
    """What one walk over the slide gave."""

    truth: int
    unique: int
    per_field: int
    fields: int
    frames: int
    visits: int
    worst_px: float
    rms_px: float
    right_class: float

    @property
    def error(self) -> float:
        """Of the unique count, as a share of the truth."""
        return self.unique / self.truth - 1


def true_cells(scheme: Taxonomy) -> Finder:
    def find(microscope: SimulatedMicroscope, frame: Frame) -> list[FoundCell]:
        truth = microscope.truth(frame.number)
        seen = truth.seen >= DETECTED
        everything = Detections(
            truth.boxes[seen], truth.labels[seen], np.ones(int(seen.sum()), np.float32), truth.taxonomy
        )
        return found_cells(everything, scheme, frame.pixels.shape[1], frame.pixels.shape[0])

    return find


def cells_of_model(scheme: Taxonomy, name: str) -> Finder:
    opened = open_detector(name, device="cpu")

    def find(microscope: SimulatedMicroscope, frame: Frame) -> list[FoundCell]:
        (found,) = opened.detector.detect([FieldImage(frame.pixels, "frame", um_per_px=frame.um_per_px)])
        height, width = frame.pixels.shape[:2]
        return found_cells(that_count(found, opened.score_threshold), scheme, width, height)

    return find


def hand_over(fields: int, seed: int) -> HandPath:
    rows = max(1, round((fields / 2) ** 0.5))
    columns = -(-fields // rows)
    # A view is 132 x 75 um.
    return HandPath.meander(
        3000, 3000, columns=columns, rows=rows, step_x_um=66, step_y_um=45, rest_s=0.4, unsteady_um=3, seed=seed
    )


def walk(finder: Finder, scheme: Taxonomy, fields: int, seed: int, fps: float) -> Outcome:
    """Move over the slide once, and count."""
    path = hand_over(fields, seed)
    # The middle of every rest: two moments of the script lie in one place.
    rests = (path.seconds[1::2] + path.seconds[2::2]) / 2
    glass = Glass(scheme)
    clock = SteppedClock()
    whole: dict[int, str] = {}
    per_field, next_rest = 0, 0
    pending: tuple[float, Sight, list[FoundCell]] | None = None
    offsets: dict[str, np.ndarray] = {}
    errors = []
    with SmearSlide(seed) as slide:
        microscope = SimulatedMicroscope(slide, hand=path, sharp=True, clock=clock, fps=fps, seed=seed)
        with microscope.camera as camera:
            # As the operator does: a picture as bright and as white as those that the model learnt from.
            auto_exposure(camera)
            balance(camera, grey_world(camera.snap().pixels))
            for frame in camera.frames():
                sight = glass.see(frame)
                place = np.asarray(microscope.where(frame.number)[:2])
                here = np.asarray([sight.x_um, sight.y_um])
                offset = offsets.setdefault(sight.visit, place - here)
                errors.append(float(np.hypot(*(place - here - offset))) / microscope.um_per_px)
                truth = microscope.truth(frame.number)
                inside = truth.seen >= 1 - 1e-6
                for cell, label in zip(truth.ids[inside].tolist(), truth.labels[inside].tolist(), strict=True):
                    whole[cell] = truth.taxonomy[label].code
                if pending is not None and frame.captured_at >= pending[0]:
                    glass.add(pending[1], pending[2])
                    pending = None
                resting = next_rest < len(rests) and frame.captured_at >= rests[next_rest]
                if pending is None or resting:
                    found = finder(microscope, frame)
                    if resting:
                        per_field += len(found)
                        next_rest += 1
                    if pending is None:
                        glass.claim()
                        pending = (frame.captured_at + 0.25, sight, found)
                if frame.captured_at > path.lasts_s:
                    break
        if pending is not None:
            glass.add(pending[1], pending[2])
    counts = glass.counts()
    truths = dict(zip(*np.unique(list(whole.values()), return_counts=True), strict=True))
    agreeing = sum(min(counts.get(code, 0), int(n)) for code, n in truths.items())
    return Outcome(
        len(whole),
        sum(counts.values()),
        per_field,
        next_rest,
        len(errors),
        len(offsets),
        max(errors),
        float(np.sqrt(np.mean(np.square(errors)))),
        agreeing / len(whole),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=("truth", "demo", "both"), default="both")
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--fps", type=float, default=15.0, help="frames a simulated second")
    parser.add_argument("--seed", type=int, default=7, help="of slide, hand and camera")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    use_threads(1)
    scheme = load_taxonomy("clinical")
    finders = {"truth": true_cells(scheme)} if options.source != "demo" else {}
    if options.source != "truth":
        finders["demo"] = cells_of_model(scheme, "demo")
    print(f"{options.fields} fields of 1920 x 1080, seed {options.seed}, {platform.machine()}")
    print("| detections | truth cells | unique | error | per field | error | counts by class agree | visits |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    notes = []
    for name, finder in finders.items():
        start = time.perf_counter()
        out = walk(finder, scheme, options.fields, options.seed, options.fps)
        print(
            f"| {name} | {out.truth} | {out.unique} | {out.error:+.2%} | {out.per_field} | "
            f"{out.per_field / out.truth - 1:+.0%} | {out.right_class:.1%} | {out.visits} |",
            flush=True,
        )
        notes.append(
            f"{name}: place of {out.frames} frames right to {out.rms_px:.2f} px (rms), {out.worst_px:.2f} px at worst; "
            f"{out.fields} rests; {time.perf_counter() - start:.0f} s"
        )
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
