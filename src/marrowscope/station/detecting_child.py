"""The process that detects: the child itself, and what the parent holds of it.

Pixels go through shared memory; what is asked and answered goes through a pipe, one field at a time.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import Detector
from marrowscope.errors import InstrumentError, MarrowscopeError

_OPEN_S, _DETECT_S = 180.0, 60.0


class Found(NamedTuple):
    """What was found in a field, and how long the detector took."""

    detections: Detections
    milliseconds: float


class Request(NamedTuple):
    """A field that somebody wants looked at."""

    pixels: NDArray[np.uint8]
    um_per_px: float | None
    answer: "Future[Found]"


class ChildDied(InstrumentError):
    """The child ended or hung."""


class Child:
    """The child process, seen from the parent."""

    def __init__(self, recipe: bytes, nicer: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._memory: SharedMemory | None = None
        self.process: SpawnProcess = context.Process(
            target=_child_main, args=(theirs, recipe, nicer), name="marrowscope detector", daemon=True
        )
        self.process.start()
        theirs.close()

    def opened(self, closing: threading.Event) -> tuple[Taxonomy, float]:
        """Wait until the detector is open; its taxonomy and score."""
        answer = self._receive(_OPEN_S, closing)
        if isinstance(answer, MarrowscopeError):
            raise answer
        taxonomy, score = answer
        return Taxonomy.from_dict(taxonomy), float(score)

    def detect(self, request: Request, closing: threading.Event) -> Found:
        """One field."""
        pixels = request.pixels
        memory = self._room_for(pixels.nbytes)
        shared: NDArray[np.uint8] = np.ndarray(pixels.shape, np.uint8, memory.buf)
        np.copyto(shared, pixels)
        del shared
        try:
            self._pipe.send((memory.name, pixels.shape, request.um_per_px))
        except OSError as error:
            raise self._death() from error
        answer = self._receive(_DETECT_S, closing)
        if isinstance(answer, MarrowscopeError):
            raise answer
        boxes, labels, scores, taxonomy, milliseconds = answer
        return Found(Detections(boxes, labels, scores, Taxonomy.from_dict(taxonomy)), milliseconds)

    def end(self) -> None:
        """Let the child go, kindly first."""
        self._pipe.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5)
        self.process.close()
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
            self._memory = None

    def _room_for(self, size: int) -> SharedMemory:
        if self._memory is None or self._memory.size < size:
            if self._memory is not None:
                self._memory.close()
                self._memory.unlink()
            self._memory = SharedMemory(create=True, size=size)
        return self._memory

    def _receive(self, timeout_s: float, closing: threading.Event) -> Any:
        deadline = time.monotonic() + timeout_s
        try:
            # In short waits, so that closing need not wait for a slow model.
            while not self._pipe.poll(0.25):
                if closing.is_set():
                    raise ChildDied("the detector was closed.")
                if time.monotonic() > deadline:
                    raise ChildDied(f"the detector gave no answer for {timeout_s:.0f} s.")
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _death(self) -> ChildDied:
        self.process.join(2)
        return ChildDied(f"the detector's process ended (exit code {self.process.exitcode}).")


def _child_main(pipe: Connection, recipe: bytes, nicer: int) -> None:
    """The child: open the detector, then answer until the pipe closes."""
    # Ctrl-C in a terminal reaches the whole family; the parent decides when the child ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Before torch is imported: one core is the detector's, the others are the view's.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "nice"):
        os.nice(nicer)
    import cv2

    cv2.setNumThreads(1)
    with suppress(OSError):  # the parent is gone: nobody waits for an answer
        _answer_all(pipe, recipe)


def _answer_all(pipe: Connection, recipe: bytes) -> None:
    try:
        opened = pickle.loads(recipe)()  # noqa: S301  written by our own parent
    except Exception as error:
        pipe.send(_to_send(error, "the detector could not be opened"))
        return
    detector: Detector = getattr(opened, "detector", opened)
    taxonomy = detector.taxonomy.to_dict()
    pipe.send((taxonomy, getattr(opened, "score_threshold", 0.0)))
    memory: SharedMemory | None = None
    try:
        while True:
            name, shape, um_per_px = pipe.recv()
            if memory is None or memory.name != name:
                if memory is not None:
                    memory.close()
                memory = SharedMemory(name)
            try:
                answer: object = _look(detector, memory, shape, um_per_px, taxonomy)
            except Exception as error:
                answer = _to_send(error, "the detector failed on this field")
            pipe.send(answer)
    except EOFError:
        return
    finally:
        if memory is not None:
            memory.close()


def _look(
    detector: Detector, memory: SharedMemory, shape: tuple[int, int, int], um_per_px: float | None, taxonomy: object
) -> tuple[object, ...]:
    start = time.perf_counter()
    pixels: NDArray[np.uint8] = np.ndarray(shape, np.uint8, memory.buf)
    # Nobody outside may hold on to the shared pixels: they change with the next field.
    (found,) = detector.detect([FieldImage(pixels, "live", um_per_px=um_per_px)])
    return found.boxes, found.labels, found.scores, taxonomy, 1000 * (time.perf_counter() - start)


def _to_send(error: Exception, what: str) -> MarrowscopeError:
    if isinstance(error, MarrowscopeError):
        return error
    return InstrumentError(f"{what}: {type(error).__name__}: {error}")
