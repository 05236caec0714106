"""The thread that reads a camera, and never gives up on it: unplugged, it waits for the camera to come back.

Two ways to look, as every camera has them: pictures pass by and whoever is slow misses some; a picture that somebody
asked for is exposed after they asked, arrives whole, or fails loudly.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

from marrowscope.errors import CameraLost, FrameDropped, InstrumentError
from marrowscope.instrument.camera import Camera, CameraInfo, Control, Frame, Range

log = logging.getLogger(__name__)

Seen = TypeVar("Seen")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 3.0
TRIES = 3
"""How often a picture that was asked for is taken again when it is lost on its way."""


class Asked(NamedTuple, Generic[Seen]):
    """A picture that somebody waits for."""

    answer: "Future[tuple[Frame, Seen]]"
    keep: bool


class Eye(Generic[Seen]):
    """Reads a camera in a thread of its own and hands every frame to `look`, which must not raise or block for long.

    look(frame, keep): keep is True for a frame that somebody decided to keep. Frames are numbered for the whole life
    of the eye: they rise also where a camera that was replugged counts from the start again.
    """

    def __init__(self, camera: Camera, look: Callable[[Frame, bool], Seen]) -> None:
        self._camera = camera
        self._look = look
        self._stop = threading.Event()
        self._asked: deque[Asked[Seen]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._info: CameraInfo | None = None
        self._last = -1
        self._offset = 0
        self.connected = False
        self.problem: str | None = None
        self.times_lost = 0

    @property
    def info(self) -> CameraInfo | None:
        """What the camera said of itself when it was last there."""
        return self._info

    def start(self) -> None:
        """Open the camera, and go on opening it."""
        self._thread = threading.Thread(target=self._run, name="eye", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the camera. Whoever waits for a picture gets CameraLost."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None
        self._refuse("the live view was closed")

    def ask(self, *, keep: bool) -> "Future[tuple[Frame, Seen]]":
        """A frame exposed after this call, and what `look` made of it. It may hold FrameDropped or CameraLost."""
        answer: Future[tuple[Frame, Seen]] = Future()
        with self._lock:
            if self.connected and not self._stop.is_set():
                self._asked.append(Asked(answer, keep))
                return answer
        answer.set_exception(CameraLost(f"no picture: {self.problem or 'the camera is not open'}"))
        return answer

    def _run(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            before = self._last
            try:
                with self._camera as camera:
                    self._watch(camera)
                if not self._stop.is_set():
                    raise CameraLost("the camera was closed by somebody else. It is opened again.")
            except InstrumentError as error:
                self._lost(str(error))
            except Exception as error:  # a driver's bug must not end the view for good
                log.exception("the camera failed")
                self._lost(f"the camera failed: {type(error).__name__}: {error}")
            wait_s = FIRST_WAIT_S if self._last > before else min(2 * wait_s, LONGEST_WAIT_S)
            self._stop.wait(wait_s)
        self.connected = False

    def _lost(self, problem: str) -> None:
        if self._stop.is_set():
            return
        if self.connected:
            self.times_lost += 1
        if problem != self.problem:
            log.warning("%s", problem)
        with self._lock:
            self.connected = False
            self.problem = problem
        self._refuse(problem)

    def _watch(self, camera: Camera) -> None:
        self._info = camera.info
        self._offset = self._last + 1
        first = True
        for frame in camera.frames():
            if first:
                # Only a picture proves that a camera is there.
                self._offset = max(0, self._last + 1 - frame.number)
                with self._lock:
                    self.connected, self.problem = True, None
                first = False
            if self._stop.is_set():
                return
            self._show(frame)
            while self._asked and not self._stop.is_set():
                self._take(camera)

    def _show(self, frame: Frame) -> None:
        number = frame.number + self._offset
        if number > self._last:
            self._last = number
            self._look(replace(frame, number=number), False)

    def _take(self, camera: Camera) -> None:
        """One picture that was asked for. CameraLost passes through: `_lost` then answers whoever else waits."""
        with self._lock:
            asked = self._asked.popleft()
        try:
            frame = _snap(camera)
        except CameraLost as error:
            asked.answer.set_exception(error)
            raise
        except InstrumentError as error:
            asked.answer.set_exception(error)
            return
        number = max(frame.number + self._offset, self._last + 1)
        self._offset = number - frame.number
        self._last = number
        frame = replace(frame, number=number)
        try:
            asked.answer.set_result((frame, self._look(frame, asked.keep)))
        except Exception as error:
            asked.answer.set_exception(error)
            raise

    def _refuse(self, problem: str) -> None:
        with self._lock:
            refused, self._asked = self._asked, deque()
        for asked in refused:
            asked.answer.set_exception(CameraLost(f"no picture: {problem}"))


def _snap(camera: Camera) -> Frame:
    for _ in range(TRIES - 1):
        try:
            return camera.snap()
        except FrameDropped as error:
            log.info("taken again: %s", error)
    return camera.snap()


class SharedCamera:
    """The camera of a running eye, for whoever needs pictures beside the view: exposure, focus.

    A `Camera`, of which opening and closing are left to the eye.
    """

    def __init__(self, camera: Camera, eye: Eye[Seen], timeout_s: float = 10.0) -> None:
        self._camera, self._eye, self._timeout_s = camera, eye, timeout_s

    @property
    def info(self) -> CameraInfo:
        """See `Camera.info`."""
        return self._camera.info

    @property
    def controls(self) -> dict[Control, Range]:
        """See `Camera.controls`."""
        return self._camera.controls

    def get(self, control: Control) -> float:
        """See `Camera.get`."""
        return self._camera.get(control)

    def set(self, control: Control, value: float) -> float:
        """See `Camera.set`."""
        return self._camera.set(control, value)

    def frames(self) -> Iterator[Frame]:
        """Pictures exposed one after the other, each after it was asked for."""
        while True:
            yield self.snap()

    def snap(self) -> Frame:
        """See `Camera.snap`."""
        try:
            return self._eye.ask(keep=False).result(self._timeout_s)[0]
        except TimeoutError:
            raise CameraLost(f"no picture within {self._timeout_s:.0f} s. Check the camera's cable.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
