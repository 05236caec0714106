"""Whole microscopes (camera, stage, focus drive) through Micro-Manager's device adapters and pymmcore-plus.

A configuration file (`.cfg`) made with Micro-Manager names the devices. Needs the extra `micromanager`, and the device
adapters of a Micro-Manager installation (`mmcore install`).
"""

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from marrowscope.errors import CameraLost, InstrumentError, MissingExtra
from marrowscope.instrument.camera import CameraInfo, Control, Range, SeenCamera
from marrowscope.instrument.grabbing import Grabbed, GrabbingCamera, as_rgb
from marrowscope.instrument.stage import Limits, Position

log = logging.getLogger(__name__)

_POLL_S = 0.002
_RGB = "32bitRGB"
# Micro-Manager knows no limits of a stage: those of an ordinary slide holder, and a focus drive about where it stood.
TRAVEL_UM = (-60_000.0, 60_000.0)
FOCUS_TRAVEL_UM = 5_000.0


def load_core(config: Path, adapters: Path | None = None) -> Any:
    """A core with all devices of a configuration. CameraLost where they do not answer.

    adapters: folder of the device adapters; None looks where Micro-Manager is installed.
    """
    try:
        from pymmcore_plus import CMMCorePlus
    except ImportError:
        raise MissingExtra(
            f"microscope 'micromanager:{config}' needs the package pymmcore-plus: "
            "pip install 'marrowscope[micromanager]'"
        ) from None
    if not config.is_file():
        raise CameraLost(f"{config}: no such Micro-Manager configuration. Make one with Micro-Manager's wizard.")
    core = CMMCorePlus()
    if adapters is not None:
        core.setDeviceAdapterSearchPaths([str(adapters)])
    try:
        core.loadSystemConfiguration(str(config))
    except (RuntimeError, OSError) as error:
        unload(core)
        raise CameraLost(
            f"microscope 'micromanager:{config}' does not answer: {error}. Check cables and power."
        ) from error
    return core


def unload(core: Any) -> None:
    """Let go of all devices. Without it the adapters' threads outlive the core, and the process ends noisily."""
    with suppress(RuntimeError):
        core.unloadAllDevices()
        core.reset()


class MicromanagerCamera(GrabbingCamera):
    """The camera of a configuration. properties: set on the camera before it starts, as Micro-Manager names them."""

    def __init__(
        self,
        config: Path,
        *,
        adapters: Path | None = None,
        properties: dict[str, str] | None = None,
        um_per_px: float | None = None,
    ) -> None:
        super().__init__(f"micromanager:{config}", um_per_px=um_per_px)
        self._config, self._adapters, self._properties = Path(config), adapters, properties or {}
        self._core: Any = None
        self._last: tuple[str, str] | None = None

    @property
    def core(self) -> Any:
        """Micro-Manager's core while the camera is open, for the stage that goes with it. CameraLost otherwise."""
        if self._core is None:
            raise CameraLost(f"microscope '{self.address}' is not open. Open its camera first.")
        return self._core

    def _open(self) -> CameraInfo:
        core = load_core(self._config, self._adapters)
        name = core.getCameraDevice()
        try:
            if not name:
                raise CameraLost(f"{self._config} names no camera. Choose one in Micro-Manager's wizard.")
            if core.hasProperty(name, "PixelType") and _RGB in core.getAllowedPropertyValues(name, "PixelType"):
                core.setProperty(name, "PixelType", _RGB)
            for key, value in self._properties.items():
                core.setProperty(name, key, value)
            core.startContinuousSequenceAcquisition(0)
        except RuntimeError as error:
            unload(core)
            raise CameraLost(f"camera '{self.address}' does not start: {error}. Check its properties.") from error
        except CameraLost:
            unload(core)
            raise
        self._core = core
        if self.um_per_px is None and (size := core.getPixelSizeUm()) > 0:
            self.um_per_px = float(size)
        library = core.getDeviceLibrary(name)
        size = core.getImageWidth(), core.getImageHeight()
        return CameraInfo(f"{library} {core.getDeviceName(name)}", "micromanager", name, *size, self.um_per_px)

    def _close(self) -> None:
        if self._core is not None:
            with suppress(RuntimeError):
                self._core.stopSequenceAcquisition()
            unload(self._core)
            self._core = None

    def _grab(self, timeout_s: float) -> Grabbed | None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not self._closing.is_set():
            if self._core.getRemainingImageCount():
                pixels, about = self._core.getLastImageAndMD()
                picture = str(about.get("ImageNumber", "")), str(about.get("ElapsedTime-ms", ""))
                if picture != self._last:
                    self._last = picture
                    return Grabbed(as_rgb(pixels), int(picture[0]) if picture[0].isdigit() else None)
            elif not self._core.isSequenceRunning():
                raise CameraLost("it stopped")
            time.sleep(_POLL_S)
        return None

    def _ranges(self) -> dict[Control, Range]:
        if self._core is None:
            return {}
        name = self._core.getCameraDevice()
        # Every adapter has an exposure; few tell its limits.
        found = {Control.EXPOSURE_MS: self._limits(name, "Exposure") or Range(0.01, 10_000.0)}
        if self._core.hasProperty(name, "Gain") and (gain := self._limits(name, "Gain")):
            found[Control.GAIN] = gain
        return found

    def _limits(self, name: str, key: str) -> Range | None:
        if not (self._core.hasProperty(name, key) and self._core.hasPropertyLimits(name, key)):
            return None
        return Range(self._core.getPropertyLowerLimit(name, key), self._core.getPropertyUpperLimit(name, key))

    def _read(self, control: Control) -> float:
        if control is Control.EXPOSURE_MS:
            return float(self._core.getExposure())
        return float(self._core.getProperty(self._core.getCameraDevice(), "Gain"))

    def _write(self, control: Control, value: float) -> None:
        if control is Control.EXPOSURE_MS:
            self._core.setExposure(value)
        else:
            # Many adapters take whole steps of gain alone.
            self._core.setProperty(self._core.getCameraDevice(), "Gain", round(value))


class MicromanagerStage:
    """The XY stage and focus drive of the configuration whose camera is open."""

    def __init__(self, camera: MicromanagerCamera) -> None:
        self._camera = camera
        # One errand after the other: a second target would turn the motors away from the first.
        self._motors = threading.Lock()

    @property
    def position_um(self) -> Position:
        """See `Stage.position_um`."""
        core = self._camera.core
        try:
            x, y = core.getXYPosition() if core.getXYStageDevice() else (0.0, 0.0)
            z = core.getPosition() if core.getFocusDevice() else 0.0
        except RuntimeError as error:
            raise InstrumentError(f"the stage of '{self._camera.address}' does not answer: {error}.") from error
        return Position(float(x), float(y), float(z))

    @property
    def limits_um(self) -> Limits:
        """See `Stage.limits_um`; an axis that has no motor has no room."""
        core, here = self._camera.core, self.position_um
        low_xy, high_xy = TRAVEL_UM if core.getXYStageDevice() else (0.0, 0.0)
        reach = FOCUS_TRAVEL_UM if core.getFocusDevice() else 0.0
        return Limits(
            Position(low_xy, low_xy, min(-reach, here.z_um)), Position(high_xy, high_xy, max(reach, here.z_um))
        )

    def move_to_um(self, x: float | None = None, y: float | None = None, z: float | None = None) -> Position:
        """See `Stage.move_to_um`."""
        with self._motors:
            return self._move(x, y, z)

    def _move(self, x: float | None, y: float | None, z: float | None) -> Position:
        core, here, limits = self._camera.core, self.position_um, self.limits_um
        target = Position(*(now if wanted is None else wanted for now, wanted in zip(here, (x, y, z), strict=True)))
        for axis, value, low, high in zip("xyz", target, limits.low, limits.high, strict=True):
            if not low <= value <= high:
                raise InstrumentError(f"{axis} = {value:.1f} um is beyond the stage ({low:.0f} to {high:.0f} um).")
        try:
            if x is not None or y is not None:
                core.setXYPosition(target.x_um, target.y_um)
                core.waitForDevice(core.getXYStageDevice())
            if z is not None:
                core.setPosition(target.z_um)
                core.waitForDevice(core.getFocusDevice())
        except RuntimeError as error:
            raise InstrumentError(f"the stage of '{self._camera.address}' does not move: {error}.") from error
        return self.position_um


def find() -> list[SeenCamera]:
    """Micro-Manager is told its devices by a file and finds none by itself: empty, or MissingExtra."""
    try:
        import pymmcore_plus  # noqa: F401
    except ImportError:
        raise MissingExtra(
            "Micro-Manager needs the package pymmcore-plus: pip install 'marrowscope[micromanager]'"
        ) from None
    return []
