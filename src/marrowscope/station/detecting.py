"""Detection in a process of its own, of low priority: neither Python's lock nor the cores are taken from the view.

The child opens the detector itself, from a recipe that can be pickled, such as `partial(open_detector, "demo")`.
Pixels go through shared memory, one field at a time. A child that dies is started again; what it was working on is
tried once more, and then fails loudly.
"""

import logging
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import SAME_CELL, Detector
from marrowscope.errors import InstrumentError, MarrowscopeError

log = logging.getLogger(__name__)


class Opened(Protocol):
    """A detector with the score from which its detections count; `assemble.detectors.OpenedDetector` is one."""

    @property
    def detector(self) -> Detector:
        """What detects."""
        ...

    @property
    def score_threshold(self) -> float:
        """From which score a detection counts."""
        ...


DetectorSource = Callable[[], Detector] | Callable[[], Opened]
"""Opens a detector, in the child. It must be picklable: a function of a module, or a `partial` of one."""

NICER = 5
"""How much more polite than the view the child is (`os.nice`)."""
_OPEN_S, _DETECT_S = 180.0, 60.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0


class Found(NamedTuple):
    """What was found in a field, and how long the detector took."""

    detections: Detections
    milliseconds: float


def that_count(found: Detections, score: float) -> Detections:
    """The detections with at least this score, and the lesser names of the same cells, which tell of doubt.

    With one name a cell (`one_name_per_cell`) only cells that count are left.
    """
    counts = found.scores >= np.float32(score)
    same = iou_matrix(found.boxes, found.boxes[counts]) >= SAME_CELL
    keep = counts | same.any(axis=1)
    return Detections(found.boxes[keep], found.labels[keep], found.scores[keep], found.taxonomy)


class _Request(NamedTuple):
    pixels: NDArray[np.uint8]
    um_per_px: float | None
    answer: "Future[Found]"


class DetectionProcess:
    """One detector in one child process. Any thread may ask."""

    def __init__(self, source: DetectorSource, *, nicer: int = NICER) -> None:
        """ValueError for a source that cannot be pickled."""
        try:
            self._recipe = pickle.dumps(source)
        except Exception as error:
            raise ValueError(f"detector source {source!r} cannot be sent to a process: {error}") from error
        self._nicer = nicer
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self._closing = threading.Event()
        self._child: _Child | None = None
        self._thread: threading.Thread | None = None
        self.taxonomy: Taxonomy | None = None
        self.score: float | None = None
        self.problem: str | None = None

    def start(self) -> None:
        """Start the child; it opens the detector meanwhile."""
        self._thread = threading.Thread(target=self._serve, name="detection", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the child. What was asked and not answered fails."""
        self._closing.set()
        self._requests.put(None)
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None

    def __enter__(self) -> "DetectionProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def idle(self) -> bool:
        """Whether a field handed over now would be looked at at once."""
        return self._pending == 0 and self._opened.is_set()

    @property
    def pid(self) -> int | None:
        """The process id of the child; None while there is none."""
        child = self._child
        return child.process.pid if child is not None else None

    def wait_open(self, timeout_s: float) -> bool:
        """Wait until the detector is open: `taxonomy` and `score` are known then."""
        return self._opened.wait(timeout_s)

    def detect(self, pixels: NDArray[np.uint8], um_per_px: float | None = None) -> "Future[Found]":
        """Ask for the cells of a field (h, w, 3) RGB, which must not change meanwhile. Fields wait in line.

        The answer may hold any MarrowscopeError of the detector, or InstrumentError where the child died or hung.
        """
        answer: Future[Found] = Future()
        if self._closing.is_set() or self._thread is None:
            answer.set_exception(InstrumentError("the detector is closed. Start the live view again."))
            return answer
        with self._lock:
            self._pending += 1
        self._requests.put(_Request(pixels, um_per_px, answer))
        return answer

    def _serve(self) -> None:
        wait_s = _FIRST_WAIT_S
        request: _Request | None = None
        while not self._closing.is_set():
            try:
                child = self._child = _Child(self._recipe, self._nicer)
            except OSError as error:
                self._note_problem(InstrumentError(f"no process for the detector: {error}. Close other programs."))
            else:
                try:
                    self.taxonomy, self.score = child.opened(self._closing)
                    self._opened.set()
                    self.problem = None
                    wait_s = _FIRST_WAIT_S
                    request = self._work(child, request)
                except MarrowscopeError as error:
                    self._note_problem(error)
                finally:
                    self._opened.clear()
                    self._child = None
                    child.end()
            if self._closing.is_set():
                break
            if not self._opened.is_set() and self.problem is not None and request is None:
                self._refuse_waiting()
            self._closing.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        self._refuse_waiting(request)

    def _work(self, child: "_Child", again: _Request | None) -> _Request | None:
        """Answer until the child dies. again: what a child died of before. Returns what is to be tried once more."""
        while True:
            request = again or self._requests.get()
            if request is None:
                return None
            try:
                found = child.detect(request, self._closing)
            except _Died as error:
                self._note_problem(error)
                if again is None and not self._closing.is_set():
                    return request
                self._answer(request, InstrumentError(f"{error} The field was not looked at; try again."))
                return None
            except MarrowscopeError as error:
                self._answer(request, error)
            else:
                self._answer(request, found)
            again = None

    def _answer(self, request: _Request, answer: Found | MarrowscopeError) -> None:
        # Whoever hears of the answer may ask at once: the line is shorter before they hear.
        with self._lock:
            self._pending -= 1
        if isinstance(answer, Found):
            request.answer.set_result(answer)
        else:
            request.answer.set_exception(answer)

    def _note_problem(self, error: MarrowscopeError) -> None:
        if not self._closing.is_set():
            self.problem = str(error)
            log.warning("the detector does not run: %s", error)

    def _refuse_waiting(self, also: _Request | None = None) -> None:
        reason = InstrumentError(self.problem or "the detector was closed. Start the live view again.")
        while True:
            if also is not None:
                self._answer(also, reason)
            try:
                also = self._requests.get_nowait()
            except queue.Empty:
                return


class _Died(InstrumentError):
    """The child ended or hung."""


class _Child:
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

    def detect(self, request: _Request, closing: threading.Event) -> Found:
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
                    raise _Died("the detector was closed.")
                if time.monotonic() > deadline:
                    raise _Died(f"the detector gave no answer for {timeout_s:.0f} s.")
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _death(self) -> _Died:
        self.process.join(2)
        return _Died(f"the detector's process ended (exit code {self.process.exitcode}).")


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
    try:
        opened = pickle.loads(recipe)()  # noqa: S301  written by our own parent
    except Exception as error:
        pipe.send(_to_send(error, "the detector could not be opened"))
        return
    detector: Detector = getattr(opened, "detector", opened)
    taxonomy = detector.taxonomy.to_dict()
    pipe.send((taxonomy, getattr(opened, "score_threshold", 0.0)))
    memory: SharedMemory | None = None
    while True:
        try:
            name, shape, um_per_px = pipe.recv()
        except EOFError:
            break
        if memory is None or memory.name != name:
            if memory is not None:
                memory.close()
            memory = SharedMemory(name)
        try:
            answer: object = _look(detector, memory, shape, um_per_px, taxonomy)
        except Exception as error:
            answer = _to_send(error, "the detector failed on this field")
        try:
            pipe.send(answer)
        except OSError:
            break  # nobody waits for it any more
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
