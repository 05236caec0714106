"""Whole slides: are cells at seams found once, how fast is it on two cores, and how much memory does it take?

    python benchmarks/slide_tiles.py                     # all four, some ten minutes on two free cores
    python benchmarks/slide_tiles.py --only seams --cells 10000

    seams        the shipped `demo` network on pictures of drawn cells: in tiles against the same network on each
                 picture in one piece, with its limits on proposals and detections lifted; cells lost and doubled
    throughput   a plain loop over tiles (read, then detect, one thread), then two worker processes, in one run on the
                 same tiles, one half of the loop before and one after; cells must be equal
    memory       a slide of 60,000 x 60,000 pixels, most of it glass, streamed: the memory of all processes at its
                 highest, and whether it grows
    million      a table of a million cells: settled, and written as GeoJSON, COCO and CSV

Pictures are laid out of cells cut from a drawn smear, turned and mirrored, closer together than on a smear, so that
many lie on seams. The slide of `throughput` and `memory` repeats such a picture, which it holds as JPEG tiles and
decodes as a slide's file is. Seeds are fixed.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import simplejpeg
from numpy.typing import NDArray

from marrowscope.assemble.slide_work import LocalEngine, SlideJob, look, prepare
from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.detect.detector import SAME_CELL, one_name_per_cell
from marrowscope.detect.slide_exports import SlideFormat, export_cells
from marrowscope.detect.slide_run import Batch, SlideProgress, in_turn, run_slide
from marrowscope.detect.slide_table import CellsFile, SlideHead, SlideTable
from marrowscope.detect.slide_tiles import CellRows, Looked
from marrowscope.detect.tiling import Tile, TileGrid, middles
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.slide import BACKGROUND, Level
from marrowscope.smear.slide import SmearSlide

UM_PER_PX = 0.188
"""Of the drawn cells: what `demo` was trained at, so that its network sees one pixel of the slide as one."""
UNSURE = 0.1
"""By how much a score may differ between a tile and the whole before a cell is called lost, or added."""
SIDE = 2304
"""Of a picture; four cores."""
PITCH = 100
"""Pixels from one cell to the next; no divisor of a core, so that cells lie on seams in every way."""
JPEG = 512


def drawn_cells(most: int = 160) -> list[NDArray[np.uint8]]:
    """Squares of PITCH pixels, a cell of a drawn smear in the middle of each."""
    with SmearSlide(3, um_per_px=UM_PER_PX) as slide:
        found = slide.cells_in(8000, 8000, 400, 400)
        middle = (found.boxes_um[:, :2] + found.boxes_um[:, 2:]) / 2
        return [slide.view(float(x), float(y), PITCH, PITCH, UM_PER_PX) for x, y in middle[:most]]


def laid_out(cells: list[NDArray[np.uint8]], side: int, seed: int) -> NDArray[np.uint8]:
    """A picture full of cells, each turned or mirrored by chance."""
    rng = np.random.default_rng(seed)
    count = -(-side // PITCH)
    rows = [
        np.concatenate([np.rot90(cells[i][:, :: rng.choice((1, -1))], k) for i, k in zip(*row, strict=True)], axis=1)
        for row in zip(rng.integers(0, len(cells), (count, count)), rng.integers(0, 4, (count, count)), strict=True)
    ]
    return np.ascontiguousarray(np.concatenate(rows)[:side, :side])


class RepeatedSlide:
    """A slide that repeats a picture held as JPEG tiles, the rest is glass. Its address is the folder of `save`."""

    um_per_px = UM_PER_PX

    def __init__(self, folder: str) -> None:
        self.name = "repeated"
        about = json.loads((Path(folder) / "about.json").read_text())
        self._count, self._every = about["count"], about["every"]
        self._tiles = [p.read_bytes() for p in sorted(Path(folder).glob("*.jpg"))]
        side = about["side"]
        self.levels = (Level(side, side, 1.0), Level(side // 16, side // 16, 16.0))

    @staticmethod
    def save(folder: Path, picture: NDArray[np.uint8], side: int, every: int) -> None:
        """every: of so many squares of the picture's size in a row one shows it; the others are glass."""
        folder.mkdir(parents=True)
        count = picture.shape[0] // JPEG
        for i in range(count * count):
            y, x = i // count * JPEG, i % count * JPEG
            piece = np.ascontiguousarray(picture[y : y + JPEG, x : x + JPEG])
            (folder / f"{i:04d}.jpg").write_bytes(simplejpeg.encode_jpeg(piece, quality=90))
        (folder / "about.json").write_text(json.dumps({"count": count, "side": side, "every": every}))

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `WholeSlide.read`."""
        out = np.full((height, width, 3), BACKGROUND, np.uint8)
        size = self.levels[level].width
        step = JPEG if level == 0 else JPEG // 16
        for row in range(max(y, 0) // step, (min(y + height, size) - 1) // step + 1):
            for column in range(max(x, 0) // step, (min(x + width, size) - 1) // step + 1):
                if (row // self._count * 7 + column // self._count) % self._every:
                    continue
                tile = self._tiles[row % self._count * self._count + column % self._count]
                pixels = simplejpeg.decode_jpeg(tile)[:: JPEG // step, :: JPEG // step]
                x1, y1 = max(column * step, x, 0), max(row * step, y, 0)
                x2, y2 = min((column + 1) * step, x + width, size), min((row + 1) * step, y + height, size)
                if x1 < x2 and y1 < y2:
                    inner = pixels[y1 - row * step : y2 - row * step, x1 - column * step : x2 - column * step]
                    out[y1 - y : y2 - y, x1 - x : x2 - x] = inner
        return out

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> "RepeatedSlide":
        return self

    def __exit__(self, *what: object) -> None:
        pass


def open_repeated(address: str) -> RepeatedSlide:
    return RepeatedSlide(address)


def unlimited(model: str) -> tuple[Callable[[NDArray[np.uint8]], CellRows], float]:
    """The detector of a checkpoint for pictures of any size in one piece, and its threshold."""
    from marrowscope.assemble.detectors import _in_graphs, checkpoint_path, choose_runtime
    from marrowscope.detect.field_detector import FieldDetector
    from marrowscope.model import roi_heads
    from marrowscope.model.checkpoint import load_checkpoint

    # Limits for one field would leave most cells of a large picture out.
    roi_heads.CANDIDATES = 100_000
    path = checkpoint_path(model)
    checkpoint = load_checkpoint(path)
    larger = replace(checkpoint, model=checkpoint.model.for_fields(40))
    detector = FieldDetector(_in_graphs(larger, path, choose_runtime("auto")), larger.traits).at(1.0)

    def detect(picture: NDArray[np.uint8]) -> CellRows:
        (claims,) = detector.detect([FieldImage(picture, "whole")])
        named = one_name_per_cell(claims.above(checkpoint.score_threshold - UNSURE))
        return CellRows(named.boxes.astype(float), named.labels, named.scores, np.zeros((len(named), 2), np.int64))

    return detect, checkpoint.score_threshold


def seams(cells_wanted: int) -> None:
    """Tiles against the whole."""
    cells = drawn_cells()
    whole_picture, threshold = unlimited("demo")
    job = SlideJob("", "demo", network_px=1.0, score=threshold - UNSURE)
    sums: dict[str, int] = {}
    jitter: list[float] = []
    seed = 0
    while sums.get("cells", 0) < cells_wanted:
        slide = ArraySlide(laid_out(cells, SIDE, seed), f"picture {seed}")
        here = replace(job, slide=str(seed), opener=lambda address, s=slide: s)
        plan = prepare(here)
        with tempfile.TemporaryDirectory() as folder:
            run_slide(plan, lambda bs, h=here, p=plan: ((b, look(h, p, b)) for b in bs), Path(folder))
            with CellsFile(Path(folder) / "cells.parquet") as file:
                tiled = CellRows.joined(list(file.batches()))
        whole = whole_picture(slide.read(0, 0, 0, SIDE, SIDE))
        for kind, number in compare(plan.look.grid, threshold, whole, tiled, jitter).items():
            sums[kind] = sums.get(kind, 0) + number
        seed += 1
        print(f"  {seed} pictures: {sums}", file=sys.stderr, flush=True)
    print(f"seams: {seed} pictures of {SIDE} x {SIDE}, {plan.look.grid}, score >= {threshold}, {plan.model['runtime']}")
    for kind, number in sums.items():
        print(f"  {kind}: {number}")
    half, most = np.percentile(jitter, 50), np.percentile(jitter, 99)
    print(f"  jitter of middles, px: 50 % {half:.3f}, 99 % {most:.2f}, most {max(jitter):.2f}")


def compare(grid: TileGrid, threshold: float, whole: CellRows, tiled: CellRows, jitter: list[float]) -> dict[str, int]:
    """Counts of cells near seams, and deep in tiles, where tiles do not meet. Rows go down to `threshold` - UNSURE.

    lost: sure in the whole, and not in the tiles even as an unsure one. added: the other way round. flipped: on either
    side of the threshold. doubled: one of the whole, and two of the tiles on it.
    """
    overlap = iou_matrix(whole.boxes, tiled.boxes)
    same = overlap >= SAME_CELL
    sure_whole, sure_tiled = whole.scores >= threshold, tiled.scores >= threshold
    met = same.any(axis=1) & sure_whole
    best = overlap.argmax(axis=1)
    jitter += np.abs(middles(whole.boxes) - middles(tiled.boxes[best])).max(axis=1)[met].tolist()
    twins = iou_matrix(tiled.boxes, tiled.boxes) >= SAME_CELL
    counts = {"cells": int(sure_whole.sum()), "pairs of one place in the table": int(np.triu(twins, 1).sum())}
    near_whole, near_tiled = (_near(grid, rows) for rows in (whole, tiled))
    for where, in_whole, in_tiled in (("near seams", near_whole, near_tiled), ("deep", ~near_whole, ~near_tiled)):
        counts |= {
            f"cells {where}": int((sure_whole & in_whole).sum()),
            f"doubled {where}": int((met & in_whole & (same.sum(axis=1) > 1)).sum()),
            f"lost {where}": int((sure_whole & in_whole & ~same.any(axis=1)).sum()),
            f"added {where}": int((sure_tiled & in_tiled & ~same.any(axis=0)).sum()),
            f"flipped {where}": int((met & in_whole & ~sure_tiled[best]).sum()),
        }
    return counts


def _near(grid: TileGrid, rows: CellRows) -> NDArray[np.bool_]:
    """Whose middle lies within the band of a seam; the picture's own edge, where the whole sees nothing, is none."""
    centres = middles(rows.boxes)
    near = grid.depth(grid.owner(centres), centres) <= grid.band
    inner = ((centres > PITCH) & (centres < SIDE - PITCH)).all(axis=1)
    return near & inner


def throughput(model: str, batches: int, workers: int) -> None:
    """The plain loop against the engine."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "slide"
        RepeatedSlide.save(folder, laid_out(drawn_cells(), 2048, 0), 20_000, 1)
        job = SlideJob(str(folder), model, network_px=1.0 if model == "demo" else None, opener=open_repeated)
        from marrowscope.assemble.detectors import use_threads

        use_threads(1)
        plan = prepare(job)
        from marrowscope.assemble.slide_work import _at_scale

        slide, detector = open_repeated(str(folder)), _at_scale(job, plan)
        todo = [b for b in plan.batches() if len(b.tiles) == 16][: batches + workers]
        warm, todo = todo[:workers], todo[workers:]
        plain = in_turn(slide, detector, plan, ahead=False)
        list(plain(warm[:1]))
        with LocalEngine(workers) as engine:
            ready = engine.work(job, plan)
            list(ready(warm * 2))
            half = len(todo) // 2
            first, at_first = timed(lambda: list(plain(todo[:half])))
            both, at_engine = timed(lambda: list(ready(todo)))
            second, at_second = timed(lambda: list(plain(todo[half:])))
        in_loop = {b.number: found for b, found in (*first, *second)}
        equal = all(np.array_equal(in_loop[b.number].cells.boxes, found.cells.boxes) for b, found in both)
        tiles = sum(len(b.tiles) for b in todo)
        loop_s, loop_cpu = (a + b for a, b in zip(at_first, at_second, strict=True))
        cells = sum(len(found.cells) for _, found in both)
        print(f"throughput: {model}, {plan.model['runtime']}, {tiles} tiles, {cells} finds, equal: {equal}")
        print(f"  plain loop, one thread: {tiles / loop_s:.2f} tiles/s, {loop_cpu / tiles:.3f} CPU s a tile")
        print(f"  {workers} workers: {tiles / at_engine[0]:.2f} tiles/s, {at_engine[1] / tiles:.3f} CPU s a tile")
        print(f"  {loop_s / at_engine[0]:.2f} times as fast; load average {os.getloadavg()[0]:.1f}")


def timed(job: Callable[[], list[tuple[Batch, Looked]]]) -> tuple[list[tuple[Batch, Looked]], tuple[float, float]]:
    """What a job gives, and the seconds and CPU seconds (of all processes) that it took."""
    begun, cpu = time.monotonic(), _cpu_seconds()
    result = job()
    return result, (time.monotonic() - begun, _cpu_seconds() - cpu)


def _family() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _cpu_seconds() -> float:
    return sum(t.user + t.system for t in (p.cpu_times() for p in _family()))


class Watching:
    """The highest resident memory of this process and its children, in MiB; proportional where pages are shared."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            rss = pss = 0
            for process in _family():
                try:
                    rss += process.memory_info().rss
                    pss += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.marks.append((rss / 2**20, pss / 2**20))

    def __enter__(self) -> "Watching":
        self._thread.start()
        return self

    def __exit__(self, *what: object) -> None:
        self._ended.set()
        self._thread.join()


def memory(model: str, side: int, workers: int, every: int) -> None:
    """A large slide, streamed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "slide"
        RepeatedSlide.save(folder, laid_out(drawn_cells(), 2048, 0), side, every)
        job = SlideJob(str(folder), model, network_px=1.0 if model == "demo" else 0.5, opener=open_repeated)
        told: list[SlideProgress] = []
        with Watching() as watched, LocalEngine(workers) as engine:
            plan = engine.prepare(job)
            run = run_slide(
                plan,
                engine.work(job, plan),
                Path(temporary) / "out",
                formats=list(SlideFormat),
                progress=told.append,
            )
        rss, pss = (np.asarray(x) for x in zip(*watched.marks, strict=True))
        half = len(rss) // 2
        print(f"memory: {side} x {side}, {model}, {run.tiles} tiles ({run.empty} empty), {run.cells} cells")
        print(f"  all {workers + 1} processes: RSS at most {rss.max():.0f} MiB, PSS at most {pss.max():.0f} MiB")
        earlier, later = np.median(pss[half // 2 : half]), np.median(pss[-half // 2 :])
        print(
            f"  PSS, median of the second quarter {earlier:.0f} MiB, of the last {later:.0f} MiB; {run.seconds:.0f} s"
        )


def million(cells: int) -> None:
    """A table of many cells, settled and exported."""
    taxonomy = load_taxonomy("liu2022")
    grid = TileGrid(576, 128, 25)
    across = int(np.sqrt(cells / 30))
    per_tile = -(-cells // across**2)

    def batches() -> Iterator[tuple[Batch, Looked]]:
        rng = np.random.default_rng(0)
        for row in range(across):
            tiles = tuple(Tile(row, column) for column in range(across))
            origin = np.repeat([(t.column * 576, t.row * 576) for t in tiles], per_tile, axis=0)
            middle = origin + rng.uniform(-grid.band, 576 + grid.band, origin.shape)
            labels = rng.integers(0, len(taxonomy), len(middle))
            scores = rng.uniform(0.5, 1, len(middle)).astype(np.float32)
            rows = CellRows(
                np.concatenate([middle - 30, middle + 30], axis=1), labels, scores, np.repeat(tiles, per_tile, axis=0)
            )
            yield Batch(row, tiles), Looked(rows, 0)

    with tempfile.TemporaryDirectory() as temporary, Watching() as watched:
        table = SlideTable(Path(temporary) / "out", {})
        for batch, looked in batches():
            table.add(batch.number, batch.tiles, looked)
        begun = time.monotonic()
        path = table.settle(grid, SlideHead("million", across * 576, across * 576, None, taxonomy, {}))
        settled = time.monotonic() - begun
        with CellsFile(path) as file:
            written = export_cells(file, table.folder, list(SlideFormat))
            count = len(file)
        sizes = ", ".join(f"{p.name} {p.stat().st_size / 2**20:.0f} MiB" for p in (path, *written))
        seconds = time.monotonic() - begun - settled
        print(f"million: {count} cells left of {across**2 * per_tile} candidates")
        print(f"  settled in {settled:.0f} s, exported in {seconds:.0f} s")
        print(f"  {sizes}; RSS at most {max(rss for rss, _ in watched.marks):.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=["seams", "throughput", "memory", "million"])
    parser.add_argument("--cells", type=int, default=10_000, help="cells at least, for seams")
    parser.add_argument("--model", default="demo", help="for throughput and memory")
    parser.add_argument("--batches", type=int, default=8, help="of 16 tiles, for throughput")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=60_000, help="of the slide, for memory")
    parser.add_argument("--every", type=int, default=37, help="one square in so many shows cells, for memory")
    asked = parser.parse_args()
    if asked.only in (None, "seams"):
        seams(asked.cells)
    if asked.only in (None, "throughput"):
        throughput(asked.model, asked.batches, asked.workers)
    if asked.only in (None, "memory"):
        memory(asked.model, asked.side, asked.workers, asked.every)
    if asked.only in (None, "million"):
        million(1_000_000)


if __name__ == "__main__":
    main()
