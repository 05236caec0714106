"""Cameras of the GenICam standard (GigE Vision, USB3 Vision, CoaXPress) through their vendor's GenTL producer.

A producer is a `.cti` file that comes with the vendor's driver. Needs the extra `genicam` (harvesters).
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import CameraLost, MissingExtra
from marrowscope.instrument.camera import CameraInfo, Control, Range, SeenCamera
from marrowscope.instrument.grabbing import Grabbed, GrabbingCamera, as_rgb

# Names of the standard feature naming convention, and how many of its units make one of ours.
_NODES = {Control.EXPOSURE_MS: (("ExposureTime", "ExposureTimeAbs"), 1000.0), Control.GAIN: (("Gain",), 1.0)}
PRODUCERS = "GENICAM_GENTL64_PATH"
"""Where the standard says that producers are found."""
_RATIO, _SELECTOR = "BalanceRatio", "BalanceRatioSelector"
_COLOURS = {Control.RED: "Red", Control.BLUE: "Blue"}
_BAYER = {
    "BayerRG8": cv2.COLOR_BayerRGGB2RGB,
    "BayerGR8": cv2.COLOR_BayerGRBG2RGB,
    "BayerGB8": cv2.COLOR_BayerGBRG2RGB,
    "BayerBG8": cv2.COLOR_BayerBGGR2RGB,
}
_PREFERRED_FORMATS = ("RGB8", "RGB8Packed", "BGR8", "BGR8Packed", "RGBa8", *_BAYER)


def to_rgb(data: NDArray[np.uint8], kind: str, width: int, height: int) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) from a buffer of a named GenICam format of 8 bits a channel. CameraLost for another format."""
    channels = 4 if "a8" in kind else 3 if kind.startswith(("RGB", "BGR")) else 1
    if "8" not in kind or data.size != width * height * channels:
        raise CameraLost(f"its pixel format {kind} is not understood; set it to RGB8 or Bayer with 8 bits")
    picture = data.reshape(height, width, channels)
    if kind in _BAYER:
        return np.asarray(cv2.cvtColor(picture, _BAYER[kind]), np.uint8)
    return as_rgb(picture[:, :, [2, 1, 0]] if kind.startswith("BGR") else picture)


class GenicamCamera(GrabbingCamera):
    """producer: path of the .cti file. device: which of its cameras: a place in its list, a serial number or an id."""

    def __init__(self, producer: Path, device: str = "0", *, um_per_px: float | None = None) -> None:
        super().__init__(f"genicam:{producer}#{device}", um_per_px=um_per_px)
        self._producer, self._device = Path(producer), device
        self._harvester: Any = None
        self._acquirer: Any = None

    def _open(self) -> CameraInfo:
        try:
            from harvesters.core import Harvester
        except ImportError:
            raise MissingExtra(
                f"camera '{self.address}' needs the package harvesters: pip install 'marrowscope[genicam]'"
            ) from None
        if not self._producer.is_file():
            raise CameraLost(f"{self._producer}: no such GenTL producer. Install the camera vendor's driver.")
        self._harvester = Harvester()
        try:
            self._harvester.add_file(str(self._producer.resolve()))
            self._harvester.update()
            place = self._place([d.property_dict for d in self._harvester.device_info_list])
            self._acquirer = self._harvester.create(place)
            # A library that starts a thread of its own would take the pictures before us.
            self._acquirer.num_buffers = 3
            self._set_format()
            self._acquirer.start()
        except CameraLost:
            self._close()
            raise
        except Exception as error:
            self._close()
            raise CameraLost(f"camera '{self.address}' cannot be opened: {error}. Is it in use elsewhere?") from error
        about = self._harvester.device_info_list[place].property_dict
        nodes = self._acquirer.remote_device.node_map
        name = f"{about['vendor']} {about['model']}"
        serial = str(about["serial_number"])
        return CameraInfo(name, "genicam", serial, nodes.Width.value, nodes.Height.value, self.um_per_px)

    def _place(self, there: list[dict[str, Any]]) -> int:
        for place, about in enumerate(there):
            if self._device in (str(place), about["serial_number"], about["id_"]):
                return place
        seen = ", ".join(str(about["id_"]) for about in there) or "none"
        raise CameraLost(f"camera '{self.address}' is not there. Seen by this producer: {seen}.")

    def _set_format(self) -> None:
        node = self._node("PixelFormat")
        if node is not None and (wanted := [f for f in _PREFERRED_FORMATS if f in node.symbolics]):
            node.value = wanted[0]

    def _node(self, *names: str) -> Any:
        if self._acquirer is None:
            return None
        nodes = self._acquirer.remote_device.node_map
        return next((getattr(nodes, n) for n in names if hasattr(nodes, n)), None)

    def _close(self) -> None:
        if self._acquirer is not None:
            self._acquirer.stop()
            self._acquirer.destroy()
            self._acquirer = None
        if self._harvester is not None:
            self._harvester.reset()
            self._harvester = None

    def _grab(self, timeout_s: float) -> Grabbed | None:
        buffer = self._acquirer.try_fetch(timeout=timeout_s)
        if buffer is None:
            return None
        with buffer:  # the buffer goes back to the driver at the end: the pixels are copied before
            part = buffer.payload.components[0]
            pixels = to_rgb(part.data, part.data_format, part.width, part.height)
            return Grabbed(pixels, int(buffer.module.frame_id))

    def _ranges(self) -> dict[Control, Range]:
        found = {}
        for control, (names, units) in _NODES.items():
            if (node := self._node(*names)) is not None:
                found[control] = Range(node.min / units, node.max / units)
        if self._node(_RATIO) is not None and self._node(_SELECTOR) is not None:
            ratio = self._node(_RATIO)
            found |= {colour: Range(ratio.min, ratio.max) for colour in _COLOURS}
        return found

    def _read(self, control: Control) -> float:
        if control in _COLOURS:
            self._node(_SELECTOR).value = _COLOURS[control]
            return float(self._node(_RATIO).value)
        names, units = _NODES[control]
        return float(self._node(*names).value) / units

    def _write(self, control: Control, value: float) -> None:
        if control in _COLOURS:
            self._node(_SELECTOR).value = _COLOURS[control]
            self._node(_RATIO).value = value
            return
        names, units = _NODES[control]
        self._node(*names).value = value * units


def find() -> list[SeenCamera]:
    """The cameras of every producer on `GENICAM_GENTL64_PATH`, where vendors' drivers put themselves. MissingExtra."""
    try:
        from harvesters.core import Harvester
    except ImportError:
        raise MissingExtra("GenICam cameras need the package harvesters: pip install 'marrowscope[genicam]'") from None
    seen = []
    for folder in filter(None, os.environ.get(PRODUCERS, "").split(os.pathsep)):
        for producer in sorted(Path(folder).glob("*.cti")):
            harvester = Harvester()
            try:
                harvester.add_file(str(producer))
                harvester.update()
                devices = [d.property_dict for d in harvester.device_info_list]
            finally:
                harvester.reset()
            seen += [SeenCamera(f"genicam:{producer}#{d['id_']}", d["display_name"]) for d in devices]
    return seen
