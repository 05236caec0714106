"""The live view on a simulated microscope: pictures a second, their age, the overlay's lag, and memory; with faults.

    python benchmarks/live.py                                # one minute, 1920 x 1080 at 30 a second, the shipped model
    python benchmarks/live.py --minutes 15 --faults          # soak: cable pulled, frames dropped, frozen, late
    python benchmarks/live.py --page                         # what the page in Chromium draws; see live_page.py

A scripted hand moves the slide to and fro over 80 fields all the while, detection runs back to back in its own process,
and every few seconds a field is kept, through the desk, in a real archive. Everything runs on this machine: simulator,
view, detector, archive. What is printed:

views/s, age     of what a reader of the session gets: age from the end of the exposure to the reader's hands
overlay          distance of the boxes drawn from the true cells of the very frame that they are drawn over, and from
                 those of the frames before: where these are further off, the overlay does not lag
kept             fields acknowledged, and those found again in the archive afterwards, byte for byte
memory           of this process and the detector's, after warm-up and at the end
"""

import argparse
import hashlib
import platform
import random
import statistics
import tempfile
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import psutil

from marrowscope.assemble.cameras import Microscope, open_microscope
from marrowscope.assemble.detectors import open_detector
from marrowscope.cells.boxes import as_boxes, centres
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.errors import CameraLost, FrameDropped
from marrowscope.instrument.faults import Faults
from marrowscope.instrument.simulated_stage import HandPath
from marrowscope.station.desk import Desk
from marrowscope.station.live import LiveSession
from marrowscope.station.live_view import LiveView
from marrowscope.station.timings import spread_of
from marrowscope.store.store import Store

BACK = (0, 1, 2, 3)
"""Overlays are compared with the truth of the frame shown so many before."""
SETTLE_S = 1.5
"""After a fault, pictures count as disturbed for so long."""


class KeptThen(NamedTuple):
    """A field that the archive said it had kept."""

    id: int
    sha256: str
    cells: int


class Watcher:
    """Reads the session as a page would, and measures."""

    def __init__(self, session: LiveSession, microscope: Microscope) -> None:
        self.session, self.microscope = session, microscope
        # Arrays, so that what is measured here does not grow the memory that is measured.
        self.ages, self.disturbed_ages, self.overlay_ages = array("f"), array("f"), array("f")
        self.per_second: Counter[int] = Counter()
        self.quiet_seconds: set[int] = set()
        self.offsets = {back: array("f") for back in BACK}
        self.shown: deque[int] = deque(maxlen=len(BACK))
        self.stale = self.seen = 0
        self.visits: set[str] = set()
        self.disturbed_until = 0.0
        self.measuring = False

    def watch(self, until: float) -> None:
        """Read until then."""
        after = -1
        while time.monotonic() < until:
            view = self.session.newest(after, 0.5)
            now = time.monotonic()
            second = int(now)
            if self.measuring and now > self.disturbed_until:
                self.quiet_seconds.add(second)
            else:
                self.quiet_seconds.discard(second)
            if view is None:
                continue
            if view.stale:
                self.stale += 1
            elif view.number > after:
                self.note(view, now)
            after = view.number

    def note(self, view: LiveView, now: float) -> None:
        """Measure one view."""
        self.shown.appendleft(view.number)
        age = 1000 * (now - view.captured_at)
        self.per_second[int(now)] += 1
        self.visits.add(view.visit)
        if not self.measuring:
            return
        (self.ages if now > self.disturbed_until else self.disturbed_ages).append(age)
        if view.overlay.frame_number is not None:
            self.overlay_ages.append(view.overlay.age_ms)
        if len(self.shown) == len(BACK) and self.seen % 4 == 0:
            self.compare(view)
        self.seen += 1

    def compare(self, view: LiveView) -> None:
        """Middle distance of the overlay's whole boxes from the true cells of this frame and of those before."""
        whole = [c.box for c in view.overlay.cells if c.counted and _inside(c.box, view.width, view.height)]
        if not whole:
            return
        drawn = centres(as_boxes(whole))
        places = []
        for number in self.shown:
            try:
                truth = self.microscope.simulator.truth(number)
            except KeyError:  # numbered anew after a fault
                return
            places.append((truth.position, centres(truth.boxes)))
        here, before = places[0][0], places[1][0]
        if abs(here.x_um - before.x_um) + abs(here.y_um - before.y_um) < 1.0 or not len(places[0][1]):
            return  # resting: every frame looks alike
        # Each box by the same cell throughout: the nearest one now.
        moved = np.asarray([(here.x_um - p.x_um, here.y_um - p.y_um) for p, _ in places]) / 0.069
        away = drawn[:, None] - places[0][1][None]
        nearest = np.hypot(*away.transpose(2, 0, 1)).argmin(axis=1)
        off = away[np.arange(len(drawn)), nearest]
        close = np.hypot(*off.T) < 40
        for back, by in zip(BACK, moved, strict=True):
            self.offsets[back].extend(np.hypot(*(off[close] - by).T).tolist())


def _inside(box: tuple[float, float, float, float], width: int, height: int) -> bool:
    return box[0] > 2 and box[1] > 2 and box[2] < width - 2 and box[3] < height - 2


class Keeper:
    """Keeps a field every few seconds, in a real archive."""

    def __init__(self, session: LiveSession, store: Store, every_s: float) -> None:
        self.session, self.store, self.every_s = session, store, every_s
        self.desk = Desk(store, session.scheme)
        specimen = store.add_specimen("SOAK", "P-SOAK", by="soak")
        self.slide_id = store.add_slide(specimen.id, "1", "Wright", by="soak").id
        self.specimen_id = specimen.id
        self.kept: list[KeptThen] = []
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.took_ms: list[float] = []

    def keep_until(self, until: float) -> None:
        """Keep until then."""
        while time.monotonic() + self.every_s < until:
            time.sleep(self.every_s)
            asked = time.monotonic()
            try:
                frame = self.session.keep(20)
            except (FrameDropped, CameraLost) as error:
                self.refused[type(error).__name__] += 1
                continue
            if frame.frame.captured_at < asked:
                self.wrong.append(f"frame {frame.frame.number} is older than the wish to keep it")
            field = self.desk.keep(frame, self.slide_id, None, by="soak")
            self.took_ms.append(1000 * (time.monotonic() - asked))
            self.kept.append(KeptThen(field.id, hashlib.sha256(frame.jpeg).hexdigest(), len(frame.found)))

    def lost(self, archive: Store) -> int:
        """How many acknowledged fields are not in the archive as they were."""
        there = {field.id: field for field in archive.fields(self.specimen_id)}
        missing = 0
        for kept in self.kept:
            field = there.get(kept.id)
            whole = (
                field is not None
                and field.image == kept.sha256
                and hashlib.sha256(archive.image_path(kept.sha256).read_bytes()).hexdigest() == kept.sha256
                and len(archive.field_cells(kept.id)) == kept.cells
            )
            missing += not whole
        return missing


def disturb(faults: Faults, watcher: Watcher, until: float, every_s: float, seed: int) -> Counter[str]:
    """Let something go wrong again and again."""
    rng = random.Random(seed)
    done: Counter[str] = Counter()

    def late() -> None:
        faults.late(300)
        time.sleep(2)
        faults.late(0)

    def unplug() -> None:
        faults.unplug()
        time.sleep(2)
        faults.replug()

    kinds: dict[str, Callable[[], None]] = {
        "drop 10": lambda: faults.drop_frames(10),
        "freeze 1 s": lambda: _wait(faults.freeze, 1.0),
        "freeze 3 s": lambda: _wait(faults.freeze, 3.0),
        "late 300 ms": late,
        "unplug, replug": unplug,
    }
    while time.monotonic() + every_s + 6 < until:
        time.sleep(every_s)
        name = rng.choice(list(kinds))
        watcher.disturbed_until = float("inf")
        kinds[name]()
        watcher.disturbed_until = time.monotonic() + SETTLE_S
        done[name] += 1
    return done


def _wait(freeze: Callable[[float], None], seconds: float) -> None:
    freeze(seconds)
    time.sleep(seconds)


def over_80_fields(seed: int) -> HandPath:
    """Once over the part of the slide that is looked at."""
    return HandPath.meander(
        3000, 3000, columns=8, rows=10, step_x_um=66, step_y_um=45, rest_s=0.6, unsteady_um=3, seed=seed
    )


def draw_ahead(microscope: Microscope, seed: int) -> None:
    """Let the simulator draw all the glass first: what it remembers of that is no growth of the station's."""
    way = over_80_fields(seed)
    for x, y in sorted(set(zip(way.x_um.tolist(), way.y_um.tolist(), strict=True))):
        microscope.simulator.slide.view(x, y, 1920, 1080, 0.069)


def to_and_fro(seconds: float, seed: int) -> HandPath:
    """A hand over 80 fields, forth and back, for as long as it takes."""
    one = over_80_fields(seed)
    times, xs, ys = [one.seconds], [one.x_um], [one.y_um]
    for n in range(1, int(seconds / one.lasts_s) + 2):
        way = slice(None, None, -1 if n % 2 else 1)
        beats = one.lasts_s - one.seconds[::-1] if n % 2 else one.seconds
        times.append(beats + n * one.lasts_s)
        xs.append(one.x_um[way])
        ys.append(one.y_um[way])
    return HandPath(np.concatenate(times), np.concatenate(xs), np.concatenate(ys))


def family_mb() -> tuple[float, float]:
    """Resident memory of this process, and of it and its children, in MB."""
    me = psutil.Process()
    own = me.memory_info().rss / 1e6
    children = 0.0
    for child in me.children(recursive=True):
        try:
            children += child.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
    return own, own + children


class Growth:
    """Memory over time."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []

    def sample_until(self, until: float, every_s: float = 2.0) -> None:
        """Sample until then."""
        start = time.monotonic()
        while time.monotonic() < until - every_s:
            time.sleep(every_s)
            self.samples.append((time.monotonic() - start, *family_mb()))

    def between(self, low_s: float, high_s: float, column: int) -> float:
        """The middle of a stretch of time; column 1: this process, 2: with its children."""
        values = [s[column] for s in self.samples if low_s <= s[0] <= high_s]
        return statistics.median(values) if values else float("nan")


def soak(options: argparse.Namespace, home: Path) -> None:
    seconds = 60 * options.minutes
    warm_s = min(120.0, 0.25 * seconds)
    microscope = open_microscope(
        "simulated",
        seed=options.seed,
        fps=options.fps,
        hand=to_and_fro(seconds + 60, options.seed),
        memory_mb=320,
        width=options.size[0],
        height=options.size[1],
    )
    source = partial(open_detector, options.detector, device="cpu")
    store = Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels")
    session = LiveSession(microscope.camera, microscope.stage, source, scheme=load_taxonomy("clinical"))
    watcher, keeper, growth = Watcher(session, microscope), Keeper(session, store, options.keep_every), Growth()
    disturbed: list[Counter[str]] = []
    with microscope:
        draw_ahead(microscope, options.seed)
        session.start()
        ready(session)
        begin = time.monotonic()
        until = begin + seconds
        cpu = psutil.Process().cpu_times()
        threads = [
            threading.Thread(target=watcher.watch, args=(until,)),
            threading.Thread(target=keeper.keep_until, args=(until,)),
            threading.Thread(target=growth.sample_until, args=(until,)),
        ]
        if options.faults and microscope.faults is not None:
            faults = microscope.faults
            threads.append(
                threading.Thread(
                    target=lambda: disturbed.append(disturb(faults, watcher, until, options.fault_every, options.seed))
                )
            )
        for thread in threads:
            thread.start()
        time.sleep(warm_s)
        watcher.measuring = True
        for thread in threads:
            thread.join()
        spent = psutil.Process().cpu_times()
        state = session.state()
        session.close()
    store.close()
    with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as archive:
        lost = keeper.lost(archive)
        healthy = archive.verify().ok
    say(options, seconds, warm_s, watcher, keeper, growth, lost, healthy)
    cpu_share = (spent.user + spent.system - cpu.user - cpu.system) / (time.monotonic() - begin)
    print(f"cpu: {cpu_share:.2f} cores for simulator, view and archive (the detector has a process of its own)")
    print("stages, ms (middle/95 %):", ", ".join(f"{k} {a:.0f}/{b:.0f}" for k, (a, b) in state.timings.items()))
    if disturbed:
        print("faults:", ", ".join(f"{name}: {n}" for name, n in sorted(disturbed[0].items())))


def ready(session: LiveSession) -> None:
    """Wait for camera and detector, then balance, as an operator does."""
    for _ in range(240):
        state = session.state()
        if state.connected and state.detecting:
            break
        time.sleep(0.5)
    session.auto_exposure()
    time.sleep(0.5)
    session.white_balance_grey_world()


def say(
    options: argparse.Namespace,
    seconds: float,
    warm_s: float,
    watcher: Watcher,
    keeper: Keeper,
    growth: Growth,
    lost: int,
    healthy: bool,
) -> None:
    quiet = sorted(watcher.quiet_seconds)[1:-1]
    rates = [watcher.per_second[s] for s in quiet if {s - 1, s + 1} <= watcher.quiet_seconds]
    age, disturbed = spread_of(watcher.ages), spread_of(watcher.disturbed_ages)
    print(
        f"{options.size[0]} x {options.size[1]} at {options.fps:g} a second for {options.minutes:g} min, model "
        f"'{options.detector}', {platform.machine()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}"
    )
    middle = statistics.median(rates) if rates else float("nan")
    print(f"views/s: {middle:.1f} middle, {np.percentile(rates, 5) if rates else float('nan'):.1f} in the slowest 5 %")
    print(f"age: {age.p50:.0f} ms middle, {age.p95:.0f} ms p95, {age.most:.0f} ms most ({age.times} views)")
    if disturbed.times:
        print(
            f"age during faults: {disturbed.p50:.0f} ms middle, {disturbed.p95:.0f} ms p95; {watcher.stale} said stale"
        )
    detected = spread_of(watcher.overlay_ages)
    print(f"overlay: detected {detected.p50:.0f} ms ago (middle), {detected.p95:.0f} ms (p95)")
    offsets = {back: statistics.median(v) if v else float("nan") for back, v in watcher.offsets.items()}
    of = ", ".join(f"{back} before {px:.1f} px" for back, px in offsets.items())
    lag = min(offsets, key=lambda b: offsets[b])
    print(
        f"overlay of a moving slide lies off the true cells of the frame itself or before by: {of} -> lag {lag} frames"
    )
    cells, took = sum(k.cells for k in keeper.kept), spread_of(keeper.took_ms)
    print(
        f"kept: {len(keeper.kept)} fields with {cells} cells, each in {took.p50:.0f} ms (middle); refused aloud: "
        f"{dict(keeper.refused)}; lost: {lost}; archive {'whole' if healthy else 'DAMAGED'}"
    )
    for line in keeper.wrong:
        print("WRONG:", line)
    for name, column in (("this process", 1), ("with the detector", 2)):
        early = growth.between(warm_s, warm_s + 0.1 * seconds, column)
        late = growth.between(0.9 * seconds, seconds, column)
        print(f"memory, {name}: {early:.0f} MB after {warm_s:.0f} s, {late:.0f} MB at the end, {late / early - 1:+.1%}")
    print(f"visits: {len(watcher.visits)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--faults", action="store_true", help="let things go wrong")
    parser.add_argument("--page", action="store_true", help="measure the page in Chromium instead (live_page.py)")
    parser.add_argument("--fault-every", type=float, default=10.0, help="seconds of peace between faults")
    parser.add_argument("--keep-every", type=float, default=5.0, help="seconds between kept fields")
    parser.add_argument("--detector", default="demo", help="a checkpoint, or `demo`")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    if options.page:
        import live_page

        live_page.watch(60 * options.minutes, None)
        return
    # Two cores are shared with the detector and a browser: pools of threads would only push each other aside.
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        soak(options, Path(folder))


if __name__ == "__main__":
    main()
