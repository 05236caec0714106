"""Detection in a process of its own, of low priority: neither Python's lock nor the cores are taken from the view.

The child opens the detector itself, from a recipe that can be pickled, such as `partial(open_detector, "demo")`.
Pixels go through shared memory, one field at a time. A child that dies is started again; what it was working on is
tried once more, and then fails loudly.
"""

import logging
import pickle
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import SAME_CELL, Detector
from marrowscope.errors import InstrumentError, MarrowscopeError
from marrowscope.station.detecting_child import Child, ChildDied, Found, Request

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
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0


def that_count(found: Detections, score: float) -> Detections:
    """The detections with at least this score, and the lesser names of the same cells, which tell of doubt.

    With one name a cell (`one_name_per_cell`) only cells that count are left.
    """
    counts = found.scores >= np.float32(score)
    same = iou_matrix(found.boxes, found.boxes[counts]) >= SAME_CELL
    keep = counts | same.any(axis=1)
    return Detections(found.boxes[keep], found.labels[keep], found.scores[keep], found.taxonomy)


class DetectionProcess:
    """One detector in one child process. Any thread may ask."""

    def __init__(self, source: DetectorSource, *, nicer: int = NICER) -> None:
        """ValueError for a source that cannot be pickled."""
        try:
            self._recipe = pickle.dumps(source)
        except Exception as error:
            raise ValueError(f"detector source {source!r} cannot be sent to a process: {error}") from error
        self._nicer = nicer
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self._closing = threading.Event()
        self._child: Child | None = None
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
        self._requests.put(Request(pixels, um_per_px, answer))
        return answer

    def _serve(self) -> None:
        wait_s = _FIRST_WAIT_S
        request: Request | None = None
        while not self._closing.is_set():
            try:
                child = self._child = Child(self._recipe, self._nicer)
            except OSError as error:
                self._note_problem(InstrumentError(f"no process for the detector: {error}. Close other programs."))
                self._refuse_waiting(request)
                request = None
            else:
                try:
                    self.taxonomy, self.score = child.opened(self._closing)
                except MarrowscopeError as error:
                    self._note_problem(error)
                    self._refuse_waiting(request)
                    request = None
                else:
                    self.problem = None
                    wait_s = _FIRST_WAIT_S
                    self._opened.set()
                    request = self._work(child, request)
                self._opened.clear()
                self._child = None
                child.end()
            self._closing.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        self._refuse_waiting(request)

    def _work(self, child: "Child", again: Request | None) -> Request | None:
        """Answer until the child dies. again: what a child died of before. Returns what is to be tried once more."""
        while True:
            request = again or self._requests.get()
            if request is None:
                return None
            try:
                found = child.detect(request, self._closing)
            except ChildDied as error:
                self._note_problem(error)
                if again is None and not self._closing.is_set():
                    return request
                self._answer(request, InstrumentError(f"{error} The field was not looked at; try again."))
                return None
            except MarrowscopeError as error:
                self._answer(request, error)
            except Exception as error:  # a bug must not leave everybody waiting
                log.exception("a field could not be looked at")
                self._answer(request, InstrumentError(f"the field was not looked at: {error}. Try another."))
            else:
                self._answer(request, found)
            again = None

    def _answer(self, request: Request, answer: Found | MarrowscopeError) -> None:
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

    def _refuse_waiting(self, also: Request | None = None) -> None:
        reason = InstrumentError(self.problem or "the detector was closed. Start the live view again.")
        while True:
            if also is not None:
                self._answer(also, reason)
            try:
                also = self._requests.get_nowait()
            except queue.Empty:
                return
