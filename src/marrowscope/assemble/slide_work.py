"""Slides looked at by processes of this machine, one core each.

What a process needs to know is a `SlideJob`, plain words that travel anywhere; what it does is `prepare` once a slide
and `look` once a batch. Another engine (a cluster) calls the same two.

Each process computes with one thread and reads ahead with another. The parent opens neither slide nor model, so that
it stays small. A worker whose parent is gone ends by itself.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.context import BaseContext
from pathlib import Path
from socket import gethostname
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from marrowscope.assemble.detectors import OpenedDetector, open_detector, use_threads
from marrowscope.assemble.slides import open_slide
from marrowscope.detect.detector import Detector
from marrowscope.detect.graphs import sha256_of
from marrowscope.detect.slide_run import Batch, SlidePlan, Work, look_batch
from marrowscope.detect.slide_scale import FIELDS_IN_TILE, cell_px, find_look
from marrowscope.detect.slide_tiles import Looked
from marrowscope.errors import BadInput, MarrowscopeError
from marrowscope.slide.regions import Rectangle, choose_regions
from marrowscope.slide.slide import WholeSlide

Result = TypeVar("Result")
CROWDED = 2
"""How much closer together cells may lie than in training fields: the limits on what is said of one picture are so many
times wider."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
AHEAD = 2
"""Batches handed out for each worker: one that it looks at and one that waits."""


@dataclass(frozen=True)
class SlideJob:
    """One slide and what is to look at it.

    slide: its address. model, device, runtime: as `open_detector` takes them. um_per_px, network_px: as `find_look`.
    score: None for the checkpoint's own threshold. regions: so many of the best places; None for all of the slide.
    opener: opens the address; by its name, as it must travel.
    """

    slide: str
    model: str
    device: str = "auto"
    runtime: str = "auto"
    score: float | None = None
    um_per_px: float | None = None
    network_px: float | None = None
    regions: int | None = None
    opener: Callable[[str], WholeSlide] = open_slide


def prepare(job: SlideJob) -> SlidePlan:
    """Open the slide and the detector, and settle all that decides what is found. BadSlide, BadCheckpoint, BadInput."""
    from marrowscope.detect.field_detector import FieldDetector

    opened = _detector(job.model, job.device, job.runtime)
    detector = opened.detector
    if not isinstance(detector, FieldDetector):
        raise BadInput(f"{job.model}: saved answers cannot look at a slide. Give a checkpoint, or 'real' or 'demo'.")
    slide = _slide(job)
    width, height = slide.levels[0].width, slide.levels[0].height
    places = _places(slide, job)
    look = find_look(slide, detector, places, um_per_px=job.um_per_px, network_px=job.network_px)
    own_score = job.score is None or job.score == opened.score_threshold
    return SlidePlan(
        slide.name,
        width,
        height,
        job.um_per_px or slide.um_per_px,
        look,
        tuple(places),
        opened.score_threshold if job.score is None else job.score,
        cell_px(detector.traits) / look.scale.network_px,
        detector.taxonomy,
        _identity(job.model, job.device, job.runtime),
        opened.confusion if own_score else None,  # it is that of the checkpoint's own threshold
        Path(job.slide),
    )


def look(job: SlideJob, plan: SlidePlan, batch: Batch) -> Looked:
    """What a batch gives: the same wherever and however often it is asked. BadSlide where the slide is damaged."""
    return look_batch(_slide(job), _at_scale(job, plan), plan, batch)


def look_elsewhere(job: SlideJob, plan: SlidePlan, batch: Batch) -> Looked:
    """`look` on a machine that may hold other weights under the same path. BadInput where it does."""
    here = _identity(job.model, job.device, job.runtime)
    if here != plan.model:
        raise BadInput(
            f"{job.model} on {gethostname()} is not the model that this slide is looked at with ({here} there, "
            f"{dict(plan.model)} asked). Give all machines the same checkpoint and the same runtimes."
        )
    return look(job, plan, batch)


def _places(slide: WholeSlide, job: SlideJob) -> list[Rectangle]:
    if job.regions is None:
        return [Rectangle(0, 0, slide.levels[0].width, slide.levels[0].height)]
    chosen = choose_regions(slide, count=job.regions, um_per_px=job.um_per_px)
    if not chosen:
        raise BadInput(f"{slide.name}: no region is readable. Leave out --regions to look at all of the slide.")
    return [Rectangle(r.x, r.y, r.width, r.height) for r in chosen]


@lru_cache(maxsize=1)
def _slide(job: SlideJob) -> WholeSlide:
    """Open as long as the same slide is asked for; the one before is let go of with its last user."""
    return job.opener(job.slide)


@lru_cache(maxsize=1)
def _detector(model: str, device: str, runtime: str) -> OpenedDetector:
    return open_detector(model, device=device, runtime=runtime, fields_in_one=FIELDS_IN_TILE * CROWDED)


@lru_cache(maxsize=1)
def _identity(model: str, device: str, runtime: str) -> dict[str, Any]:
    """What tells this detector from any other."""
    from marrowscope.model.checkpoint import WEIGHTS

    opened = _detector(model, device, runtime)
    weights = opened.path / WEIGHTS if opened.path.is_dir() else opened.path
    return {"checkpoint": model, "weights": sha256_of(weights), "runtime": opened.runtime}


def _at_scale(job: SlideJob, plan: SlidePlan) -> Detector:
    from marrowscope.detect.field_detector import FieldDetector

    detector = _detector(job.model, job.device, job.runtime).detector
    assert isinstance(detector, FieldDetector)  # noqa: S101 (prepare saw to it)
    return detector.at(plan.look.scale.network_px)


class Engine(Protocol):
    """Where the work is done. It gives the same wherever that is."""

    def prepare(self, job: SlideJob) -> SlidePlan:
        """What is looked at, with what."""

    def work(self, job: SlideJob, plan: SlidePlan) -> Work:
        """For `run_slide`."""


class LocalEngine:
    """Worker processes that stay for several slides."""

    def __init__(self, workers: int) -> None:
        """workers: processes, one core each."""
        self._workers = workers
        self._others = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(workers, _copies(), _begin_worker, (dict(os.environ),))

    def prepare(self, job: SlideJob) -> SlidePlan:
        """`prepare`, in a worker."""
        return self._result(self.submit(prepare, job))

    def submit(self, job: Callable[..., Result], *of: object) -> "Future[Result]":
        """Have a worker do a job; both travel there, and its result back."""
        return self._pool.submit(job, *of)

    def work(self, job: SlideJob, plan: SlidePlan) -> Work:
        """An engine for `run_slide`. Few batches are out at a time, so that memory stays bounded."""

        def work(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Looked]]:
            waiting = iter(batches)
            out: dict[Future[Looked], Batch] = {}
            try:
                while True:
                    while len(out) < AHEAD * self._workers and (batch := next(waiting, None)) is not None:
                        out[self.submit(look, job, plan, batch)] = batch
                    if not out:
                        return
                    for done in wait(out, return_when=FIRST_COMPLETED).done:
                        yield out.pop(done), self._result(done)
            finally:
                for future in out:
                    future.cancel()

        return work

    def _result(self, future: "Future[Result]") -> Result:
        try:
            return future.result()
        except BrokenProcessPool:
            raise MarrowscopeError(
                "a worker process was ended from outside, as happens where memory runs out. What was finished is kept: "
                "give the same command again, with fewer --workers if it happens again."
            ) from None

    def close(self) -> None:
        """End the workers at once: whatever they still do, nobody waits for."""
        for worker in set(multiprocessing.active_children()) - self._others:
            worker.terminate()
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def default_workers(device: str) -> int:
    """A process a core that this one may use; where a GPU was asked for one, as it is the GPU that computes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if device == "cuda" else cores


def _copies() -> BaseContext:
    """How workers come to be: on Linux as copies of a process that has imported all they need, whose pages they share;
    elsewhere each from nothing.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["marrowscope.assemble.shared_by_workers"])
    return context


def _begin_worker(environ: dict[str, str]) -> None:
    # What it was copied from may be older than the latest change.
    os.environ.clear()
    os.environ.update(environ)
    # Ctrl-C reaches all processes of the terminal; the parent says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent watch").start()
    _give_memory_back()
    import cv2

    cv2.setNumThreads(1)
    use_threads(1)


def _give_memory_back() -> None:
    """Have large pieces of memory go back to the system once they are free; glibc would keep a tenth of a worker's."""
    # None: the symbols of the process itself; only glibc has this one.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**20)
        mallopt(_TRIM_THRESHOLD, 2**17)


def _end_with(parent: "multiprocessing.process.BaseProcess") -> None:
    parent.join()
    os._exit(1)
