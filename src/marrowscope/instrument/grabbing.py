"""What every driver of a real camera shares: a thread that takes pictures, and a place for the newest of them.

A vendor's library is read in one thread as fast as it delivers, each picture is copied out of its buffer, and only the
newest is kept: a slow reader misses pictures and never sees an old one. A driver says how to open, grab and close.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import CameraLost, NotOffered
from marrowscope.instrument.camera import CameraInfo, Control, Frame, Range

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
"""How long without a picture until a camera counts as lost."""


class Grabbed(NamedTuple):
    """A picture as a driver hands it over. number: the camera's own count of exposures, None where it has none."""

    pixels: NDArray[np.uint8]
    number: int | None = None


class GrabbingCamera(ABC):
    """A `Camera` made of five steps that a driver fills in; see `camera.Camera` for what is promised outside."""

    def __init__(self, address: str, *, um_per_px: float | None = None) -> None:
        self.address = address
        self.um_per_px = um_per_px
        self._info: CameraInfo | None = None
        self._news = threading.Condition()
        self._newest: Frame | None = None
        self._problem: Exception | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _open(self) -> CameraInfo:
        """Find the device, start it, say what it is. CameraLost where it is not there; leaves nothing open then."""

    @abstractmethod
    def _close(self) -> None:
        """Stop and let go of the device; also after a failure."""

    @abstractmethod
    def _grab(self, timeout_s: float) -> Grabbed | None:
        """The next picture, as a copy; None where none came in time or it did not arrive whole."""

    def _ranges(self) -> dict[Control, Range]:
        """The controls that the device offers."""
        return {}

    def _read(self, control: Control) -> float:
        raise NotOffered(self._lacks(control))

    def _write(self, control: Control, value: float) -> None:
        raise NotOffered(self._lacks(control))

    def _lacks(self, control: Control) -> str:
        return f"camera '{self.address}' has no control {control.value}. It is corrected in software instead."

    @property
    def info(self) -> CameraInfo:
        """See `Camera.info`."""
        if self._info is None:
            raise CameraLost(f"camera '{self.address}' is not open. Enter its context first.")
        return self._info

    @property
    def controls(self) -> dict[Control, Range]:
        """See `Camera.controls`."""
        return self._ranges()

    def get(self, control: Control) -> float:
        """See `Camera.get`."""
        if control not in self._ranges():
            raise NotOffered(self._lacks(control))
        return self._read(control)

    def set(self, control: Control, value: float) -> float:
        """See `Camera.set`."""
        offered = self._ranges()
        if control not in offered:
            raise NotOffered(self._lacks(control))
        self._write(control, offered[control].clamp(value))
        return self._read(control)

    def frames(self) -> Iterator[Frame]:
        """See `Camera.frames`."""
        seen = -1
        while not self._closing.is_set():
            frame = self._wait(seen)
            if frame is None:
                return
            seen = frame.number
            yield frame

    def snap(self) -> Frame:
        """See `Camera.snap`: the picture under way when asked is let pass, the one after it is taken."""
        with self._news:
            passing = self._newest.number if self._newest else -1
        under_way = self._wait(passing)
        frame = self._wait(under_way.number) if under_way else None
        if frame is None:
            raise CameraLost(f"camera '{self.address}' was closed while a picture was asked for.")
        return frame

    def _wait(self, seen: int) -> Frame | None:
        """The newest frame after number `seen`; None once the camera is closed. CameraLost where none comes."""
        deadline = time.monotonic() + TIMEOUT_S
        with self._news:
            while not self._closing.is_set():
                if self._problem is not None:
                    raise CameraLost(f"camera '{self.address}': {self._problem}. Check its cable and power.")
                if self._newest is not None and self._newest.number > seen:
                    return self._newest
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CameraLost(
                        f"camera '{self.address}': no picture for {TIMEOUT_S:.0f} s. Check its cable and power."
                    )
                self._news.wait(left)
        return None

    def _run(self) -> None:
        number = -1
        while not self._closing.is_set():
            try:
                grabbed = self._grab(TIMEOUT_S / 4)
            except Exception as error:  # vendors' libraries raise what they like
                if not self._closing.is_set():
                    log.warning("camera %s stopped: %s", self.address, error)
                with self._news:
                    self._problem = error
                    self._news.notify_all()
                return
            if grabbed is None:
                continue
            now = time.monotonic()
            # A camera that counts tells of pictures lost on the way; one that starts anew must not count backwards.
            number = max(number + 1, grabbed.number) if grabbed.number is not None else number + 1
            frame = Frame(grabbed.pixels, number, now, self.um_per_px)
            with self._news:
                self._newest = frame
                self._news.notify_all()

    def __enter__(self) -> Self:
        self._closing.clear()
        self._newest = self._problem = None
        self._info = self._open()
        self._thread = threading.Thread(target=self._run, name=f"camera {self.address}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with self._news:
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(2 * TIMEOUT_S)
            self._thread = None
        self._info = None
        self._close()


def as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) RGB, contiguous and a copy of its own, from grey (h, w) or (h, w, 1), RGB, or RGBA."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.array(pixels[:, :, :3], np.uint8, order="C", copy=True)
