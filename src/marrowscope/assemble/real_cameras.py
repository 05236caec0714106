"""Addresses of real cameras, and how each becomes a microscope.

uvc:0 | uvc:/dev/video2 | uvc:rtsp://HOST/PATH    ?width=1920&height=1080&fps=30&um_per_px=0.069
genicam:PRODUCER.cti#DEVICE                       ?um_per_px=0.069
basler:SERIAL                                     ?width=1920&height=1200&fps=30&um_per_px=0.069
micromanager:CONFIG.cfg                           ?adapters=FOLDER&um_per_px=0.069&PROPERTY=VALUE of its camera
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marrowscope.assemble.microscope import Microscope, read_options
from marrowscope.errors import BadSetting

_SIZE: dict[str, Callable[[Any], Any]] = {"width": int, "height": int, "fps": float, "um_per_px": float}


def open_uvc(address: str, rest: str, options: Mapping[str, object]) -> Microscope:
    """See the table above. BadSetting where the address names no device."""
    from marrowscope.instrument.opencv_camera import OpencvCamera

    _need(address, rest, "uvc:0")
    return Microscope(OpencvCamera(rest, **read_options(address, options, _SIZE)))


def open_genicam(address: str, rest: str, options: Mapping[str, object]) -> Microscope:
    """See the table above. BadSetting where the address names no producer."""
    from marrowscope.instrument.genicam import GenicamCamera

    _need(address, rest, "genicam:/opt/vendor/producer.cti#0")
    producer, _, device = rest.partition("#")
    values = read_options(address, options, {"um_per_px": float})
    return Microscope(GenicamCamera(Path(producer), device or "0", **values))


def open_basler(address: str, rest: str, options: Mapping[str, object]) -> Microscope:
    """See the table above; without a serial number the first camera is taken."""
    from marrowscope.instrument.basler import BaslerCamera

    return Microscope(BaslerCamera(rest, **read_options(address, options, _SIZE)))


def open_micromanager(address: str, rest: str, options: Mapping[str, object]) -> Microscope:
    """See the table above. BadSetting where the address names no configuration."""
    from marrowscope.instrument.micromanager import MicromanagerCamera, MicromanagerStage

    _need(address, rest, "micromanager:MMConfig.cfg")
    own = {"adapters": Path, "um_per_px": float}
    values = read_options(address, {k: v for k, v in options.items() if k in own}, own)
    properties = {k: str(v) for k, v in options.items() if k not in own}
    camera = MicromanagerCamera(Path(rest), properties=properties, **values)
    return Microscope(camera, MicromanagerStage(camera))


def _need(address: str, rest: str, example: str) -> None:
    if not rest:
        raise BadSetting(f"camera address '{address}': say which one, as in {example}.")
