"""Basler cameras through pypylon, which brings Basler's own runtime. Needs the extra `basler`.

`PYLON_CAMEMU=2` in the environment gives two emulated cameras.
"""

from typing import Any

import numpy as np

from marrowscope.errors import CameraLost, MissingExtra
from marrowscope.instrument.camera import CameraInfo, Control, Range, SeenCamera
from marrowscope.instrument.grabbing import Grabbed, GrabbingCamera, as_rgb

_NODES = {Control.EXPOSURE_MS: ("ExposureTime", "ExposureTimeAbs")}
_MICROSECONDS = 1000.0
_COLOURS = {Control.RED: "Red", Control.BLUE: "Blue"}
_FORMATS = ("RGB8", "RGB8Packed", "BGR8", "BGR8Packed", "BayerRG8", "BayerGB8", "BayerGR8", "BayerBG8")


def decibels(factor: float) -> float:
    """A linear gain as the camera counts it."""
    return float(20 * np.log10(max(factor, 1e-6)))


def factor(gain_db: float) -> float:
    """The camera's gain as a linear factor."""
    return float(10 ** (gain_db / 20))


class BaslerCamera(GrabbingCamera):
    """serial: the number on the camera's label; empty takes the first one. fps: 0 leaves the camera's own rate."""

    def __init__(
        self, serial: str = "", *, width: int = 0, height: int = 0, fps: float = 0.0, um_per_px: float | None = None
    ) -> None:
        super().__init__(f"basler:{serial}", um_per_px=um_per_px)
        self._serial, self._size, self._fps = serial, (width, height), fps
        self._camera: Any = None
        self._converter: Any = None

    def _open(self) -> CameraInfo:
        try:
            from pypylon import genicam, pylon
        except ImportError:
            raise MissingExtra(
                f"camera '{self.address}' needs the package pypylon: pip install 'marrowscope[basler]'"
            ) from None
        factory = pylon.TlFactory.GetInstance()
        devices = [d for d in factory.EnumerateDevices() if self._serial in ("", d.GetSerialNumber())]
        if not devices:
            seen = ", ".join(d.GetSerialNumber() for d in factory.EnumerateDevices()) or "none"
            raise CameraLost(f"camera '{self.address}' is not there. Serial numbers seen: {seen}.")
        try:
            self._camera = pylon.InstantCamera(factory.CreateDevice(devices[0]))
            self._camera.Open()
            self._set_up()
            self._converter = pylon.ImageFormatConverter()
            self._converter.OutputPixelFormat = pylon.PixelType_RGB8packed
            # Newest wins inside the driver as well: its queue holds one picture.
            self._camera.StartGrabbing(pylon.GrabStrategy_LatestImageOnly)
        except genicam.GenericException as error:
            self._close()
            raise CameraLost(f"camera '{self.address}' cannot be opened: {error}. Is it in use elsewhere?") from error
        about = self._camera.GetDeviceInfo()
        size = self._camera.Width.Value, self._camera.Height.Value
        return CameraInfo(about.GetFriendlyName(), "basler", about.GetSerialNumber(), *size, self.um_per_px)

    def _set_up(self) -> None:
        offered = self._camera.PixelFormat.Symbolics
        if wanted := [f for f in _FORMATS if f in offered]:
            self._camera.PixelFormat.Value = wanted[0]
        for name, value in zip(("Width", "Height"), self._size, strict=True):
            node = getattr(self._camera, name)
            node.Value = min(value or node.Max, node.Max)
        if self._fps:
            self._node("AcquisitionFrameRateEnable").Value = True
            self._node("AcquisitionFrameRate", "AcquisitionFrameRateAbs").Value = self._fps

    def _node(self, *names: str) -> Any:
        """The first of these nodes that the camera has and lets us read; None where it has none."""
        if self._camera is None:
            return None
        from pypylon import genicam

        nodes = self._camera.GetNodeMap()
        for name in names:
            node = nodes.GetNode(name)
            if node is not None and genicam.IsReadable(node):
                return getattr(self._camera, name)
        return None

    def _close(self) -> None:
        if self._camera is not None:
            self._camera.StopGrabbing()
            self._camera.Close()
            self._camera = None

    def _grab(self, timeout_s: float) -> Grabbed | None:
        from pypylon import pylon

        result = self._camera.RetrieveResult(int(1000 * timeout_s), pylon.TimeoutHandling_Return)
        if result is None or not result.IsValid():
            return None
        try:
            if not result.GrabSucceeded():
                return None
            return Grabbed(as_rgb(self._converter.Convert(result).GetArray()), int(result.ImageNumber))
        finally:
            result.Release()

    def _ranges(self) -> dict[Control, Range]:
        found = {}
        if (node := self._node(*_NODES[Control.EXPOSURE_MS])) is not None:
            found[Control.EXPOSURE_MS] = Range(node.Min / _MICROSECONDS, node.Max / _MICROSECONDS)
        if (node := self._node("Gain")) is not None:
            found[Control.GAIN] = Range(factor(node.Min), factor(node.Max))
        if self._node("BalanceRatioSelector") is not None and (ratio := self._node("BalanceRatio")) is not None:
            found |= {colour: Range(ratio.Min, ratio.Max) for colour in _COLOURS}
        return found

    def _read(self, control: Control) -> float:
        if control in _COLOURS:
            self._node("BalanceRatioSelector").Value = _COLOURS[control]
            return float(self._node("BalanceRatio").Value)
        if control is Control.GAIN:
            return factor(self._node("Gain").Value)
        return float(self._node(*_NODES[control]).Value) / _MICROSECONDS

    def _write(self, control: Control, value: float) -> None:
        if control in _COLOURS:
            self._node("BalanceRatioSelector").Value = _COLOURS[control]
            self._node("BalanceRatio").Value = value
        elif control is Control.GAIN:
            node = self._node("Gain")
            node.Value = min(max(decibels(value), node.Min), node.Max)
        else:
            self._node(*_NODES[control]).Value = value * _MICROSECONDS


def find() -> list[SeenCamera]:
    """The Basler cameras that are seen. MissingExtra without pypylon."""
    try:
        from pypylon import pylon
    except ImportError:
        raise MissingExtra("Basler cameras need the package pypylon: pip install 'marrowscope[basler]'") from None
    devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    return [SeenCamera(f"basler:{d.GetSerialNumber()}", d.GetFriendlyName()) for d in devices]
