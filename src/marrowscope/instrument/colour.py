"""White balance, against the camera seam alone: by the camera where it can, by software where it cannot.

A balance is two factors, on red and on blue; green stays. Both measures look at a picture as it is shown now, so their
answer multiplies whatever balance made that picture; `balance` does that.
"""

import threading
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BadInput
from marrowscope.instrument.camera import Camera, Control, Range

Pixels = NDArray[np.uint8]

_CLIPPED = 250
_LIMITS = Range(0.25, 4.0)
_GAIN_LIMITS = Range(0.1, 16.0)
# Every so many pixels in both directions are looked at: colour needs no more.
_STRIDE = 4


class Gains(NamedTuple):
    """Factors on red and blue that make grey grey."""

    red: float
    blue: float


def grey_world(pixels: Pixels) -> Gains:
    """The balance that makes the empty background of a picture grey, wherever it is.

    A smear as a whole is no grey world: it is violet. Its brightest fifth is what lies between the cells, and that is.
    BadInput where the picture is clipped or dark, so that no colour can be told.
    """
    seen = pixels[::_STRIDE, ::_STRIDE].reshape(-1, 3)
    seen = seen[seen.max(axis=1) < _CLIPPED]
    if 20 * len(seen) < len(pixels[::_STRIDE, ::_STRIDE].reshape(-1, 3)):
        raise BadInput("the picture is too bright to tell its colour. Lower the exposure, then balance again.")
    brightness = seen.sum(axis=1, dtype=np.int32)
    return _gains(seen[brightness >= np.percentile(brightness, 80)].mean(axis=0))


def background_white(pixels: Pixels, x: float, y: float, *, radius_px: int = 12) -> Gains:
    """The balance that makes the place around (x, y), which somebody says is empty, grey.

    BadInput where it lies outside, is clipped, or is plainly no background: darker than the picture's bright parts.
    """
    height, width = pixels.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise BadInput(f"({x:g}, {y:g}) is not in the picture of {width} x {height} px. Click inside it.")
    left, top = max(int(x) - radius_px, 0), max(int(y) - radius_px, 0)
    patch = pixels[top : int(y) + radius_px + 1, left : int(x) + radius_px + 1].reshape(-1, 3)
    colour = np.asarray(np.median(patch, axis=0), np.float64)
    if colour.max() >= _CLIPPED:
        raise BadInput("that place is clipped: its colour cannot be told. Lower the exposure, then click again.")
    bright = np.percentile(pixels[::_STRIDE, ::_STRIDE, 1], 95)
    if colour[1] < 0.8 * bright:
        raise BadInput("that place is no empty background: there are brighter ones. Click on bare glass between cells.")
    return _gains(colour)


def _gains(colour: NDArray[np.float64]) -> Gains:
    red, green, blue = colour.tolist()
    if min(red, green, blue) < 4:
        raise BadInput("the picture is too dark to tell its colour. Raise the exposure, then balance again.")
    return Gains(_LIMITS.clamp(green / red), _LIMITS.clamp(green / blue))


class SoftwareColour:
    """Balance and brightness for cameras that have no such controls. Any thread may set, any may apply.

    It scales grey levels, so what the camera clipped stays clipped, though no longer white.
    """

    def __init__(self) -> None:
        self._values = {Control.RED: 1.0, Control.BLUE: 1.0, Control.GAIN: 1.0}
        self._table: Pixels | None = None
        self._lock = threading.Lock()

    @property
    def controls(self) -> dict[Control, Range]:
        """Red, blue and gain."""
        return {Control.RED: _LIMITS, Control.BLUE: _LIMITS, Control.GAIN: _GAIN_LIMITS}

    def get(self, control: Control) -> float:
        """The value in force. KeyError for exposure, which no software changes."""
        return self._values[control]

    def set(self, control: Control, value: float) -> float:
        """Clamp, keep, and return the value in force. KeyError as `get`."""
        with self._lock:
            self._values[control] = self.controls[control].clamp(float(value))
            red, blue, gain = (self._values[c] for c in (Control.RED, Control.BLUE, Control.GAIN))
            factors = np.asarray([red * gain, gain, blue * gain])
            levels = np.clip(np.rint(np.arange(256)[:, None] * factors), 0, 255).astype(np.uint8)
            self._table = None if (factors == 1).all() else levels.reshape(1, 256, 3)
            return self._values[control]

    def apply(self, pixels: Pixels) -> Pixels:
        """The picture corrected; the same array where there is nothing to correct."""
        table = self._table
        return pixels if table is None else np.asarray(cv2.LUT(pixels, table), np.uint8)


def balance(camera: Camera, gains: Gains, software: SoftwareColour | None = None) -> Gains:
    """Multiply `gains` into the balance in force, and return what is then in force.

    Each factor goes to the camera where that offers it, else to `software`. NotOffered where neither is there.
    """
    return Gains(
        _multiply(camera, Control.RED, gains.red, software), _multiply(camera, Control.BLUE, gains.blue, software)
    )


def _multiply(camera: Camera, control: Control, factor: float, software: SoftwareColour | None) -> float:
    where = software if software is not None and control not in camera.controls else camera
    return where.set(control, where.get(control) * factor)
