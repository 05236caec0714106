"""The seam between those who want pictures and whatever takes them. Imports no driver.

One contract test (`tests/contracts/test_camera_contract.py`) holds every driver to the promises made here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture from a camera.

    pixels: (h, w, 3) uint8 RGB, a copy of its own: no driver's buffer. number: counts up by one for every frame that
    the camera exposed, so that a gap is a frame that was dropped. captured_at: `time.monotonic()` seconds when its
    exposure ended, or as near to that as the driver can tell. um_per_px: None where nobody calibrated it.
    """

    pixels: NDArray[np.uint8]
    number: int
    captured_at: float
    um_per_px: float | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(f"pixels must be (h, w, 3) uint8 RGB, got {self.pixels.shape} {self.pixels.dtype}")


@dataclass(frozen=True)
class CameraInfo:
    """What a camera says of itself. width, height: pixels of its frames."""

    name: str
    driver: str
    serial: str
    width: int
    height: int
    um_per_px: float | None = None


@dataclass(frozen=True)
class SeenCamera:
    """A camera that a driver sees, whether or not it is free. address: how to ask for it."""

    address: str
    title: str


class Control(StrEnum):
    """What may be set on a camera."""

    EXPOSURE_MS = "exposure_ms"
    GAIN = "gain"
    """Linear factor; 1 is none."""
    RED = "red"
    """White balance: linear factor on the red channel; green stays 1."""
    BLUE = "blue"


@dataclass(frozen=True)
class Range:
    """What a control accepts."""

    low: float
    high: float

    def clamp(self, value: float) -> float:
        """The nearest value inside."""
        return min(max(value, self.low), self.high)


@runtime_checkable
class Camera(Protocol):
    """A camera; open while its context is entered. Opening one that is not there raises CameraLost.

    One thread reads frames; controls may be read and set from another.
    """

    @property
    def info(self) -> CameraInfo:
        """What it is. Valid while open."""
        ...

    @property
    def controls(self) -> dict[Control, Range]:
        """The controls that it offers; empty where the driver has none (software then corrects)."""
        ...

    def get(self, control: Control) -> float:
        """The value in force. NotOffered where `controls` lacks it."""
        ...

    def set(self, control: Control, value: float) -> float:
        """Ask for a value; it is clamped to the range, and the value then in force is returned. NotOffered as `get`."""
        ...

    def frames(self) -> Iterator[Frame]:
        """The newest frame, again and again: a slow reader misses frames and never gets an old one.

        Ends only when the camera is closed. CameraLost where no frame comes within the driver's timeout (2 s at
        most); the camera then has to be closed and opened again.
        """
        ...

    def snap(self) -> Frame:
        """A frame exposed after this call. FrameDropped or CameraLost where it did not arrive whole."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
