"""Cameras that OpenCV reads: USB video class (UVC) by number or device file, and network streams by URL."""

import sys
import threading
from pathlib import Path
from typing import Any

import cv2

from marrowscope.errors import CameraLost
from marrowscope.instrument.camera import CameraInfo, Control, Range, SeenCamera
from marrowscope.instrument.grabbing import Grabbed, GrabbingCamera, as_rgb

# What V4L2 calls them, and the unit: exposure there is in steps of 0.1 ms. OpenCV tells no range, so ours are those
# that UVC devices commonly have; a device clamps for itself, and `set` returns what came of it.
_PROPERTIES = {Control.EXPOSURE_MS: (cv2.CAP_PROP_EXPOSURE, 10.0), Control.GAIN: (cv2.CAP_PROP_GAIN, 1.0)}
_RANGES = {Control.EXPOSURE_MS: Range(0.1, 500.0), Control.GAIN: Range(0.0, 255.0)}
_MANUAL_EXPOSURE = 1.0


class OpencvCamera(GrabbingCamera):
    """source: `0` (first camera), `/dev/video2`, or a URL such as `rtsp://...`.

    width, height: asked of the camera, which may give another size; 0 leaves it as it is.
    """

    def __init__(
        self, source: str, *, width: int = 0, height: int = 0, fps: float = 0.0, um_per_px: float | None = None
    ) -> None:
        super().__init__(f"uvc:{source}", um_per_px=um_per_px)
        self._source = source
        self._asked = {
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
        }
        self._capture: Any = None
        # OpenCV does not say that a property may be set while a frame is read, so it is not tried.
        self._device = threading.Lock()

    def _open(self) -> CameraInfo:
        source = int(self._source) if self._source.isdigit() else self._source
        capture = cv2.VideoCapture(source)
        if not capture.isOpened():
            capture.release()
            raise CameraLost(
                f"camera '{self.address}' cannot be opened. Check that it is plugged in, that no other program uses "
                "it, and the number: `marrowscope doctor` lists the cameras that are seen."
            )
        for name, value in self._asked.items():
            if value:
                capture.set(name, value)
        if isinstance(source, int) or str(source).startswith("/dev/"):
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE)
        self._capture = capture
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        return CameraInfo(f"video {self._source}", "uvc", self._source, width, height, self.um_per_px)

    def _close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _grab(self, timeout_s: float) -> Grabbed | None:
        with self._device:
            arrived, pixels = self._capture.read()
        if not arrived:
            raise CameraLost("it delivers no more pictures")
        return Grabbed(as_rgb(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels))

    def _ranges(self) -> dict[Control, Range]:
        if self._capture is None:
            return {}
        # A property that the device lacks reads as 0 or -1.
        return {c: _RANGES[c] for c, (name, _) in _PROPERTIES.items() if self._value(name) > 0}

    def _value(self, name: int) -> float:
        with self._device:
            return float(self._capture.get(name))

    def _read(self, control: Control) -> float:
        name, steps = _PROPERTIES[control]
        return self._value(name) / steps

    def _write(self, control: Control, value: float) -> None:
        name, steps = _PROPERTIES[control]
        with self._device:
            self._capture.set(name, value * steps)


def find() -> list[SeenCamera]:
    """The video devices of this machine; where they are no files (Windows, macOS), the first four numbers are tried."""
    if sys.platform == "linux":
        devices = sorted(Path("/dev").glob("video*"), key=lambda p: (len(p.name), p.name))
        return [SeenCamera(f"uvc:{device}", _name_of(device)) for device in devices]
    seen = []
    for number in range(4):
        capture = cv2.VideoCapture(number)
        if capture.isOpened():
            seen.append(SeenCamera(f"uvc:{number}", f"video device {number}"))
        capture.release()
    return seen


def _name_of(device: Path) -> str:
    try:
        return Path(f"/sys/class/video4linux/{device.name}/name").read_text(encoding="utf-8").strip()
    except OSError:
        return device.name
