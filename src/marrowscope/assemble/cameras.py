"""The composition root of instruments: an address becomes a microscope; here alone a camera driver is imported.

simulated                          a drawn smear under a simulated microscope with a stage
simulated?seed=3&fps=20            the same with options, see `SIMULATED_OPTIONS`
replay:PATH                        a folder of pictures or a video file
replay:PATH?fps=10&loop=no&um_per_px=0.07
uvc:0, genicam:FILE.cti#0, ...     real cameras, see `assemble.real_cameras`
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from marrowscope.assemble.microscope import Microscope, read_options
from marrowscope.assemble.real_cameras import open_basler, open_genicam, open_micromanager, open_uvc
from marrowscope.errors import BadSetting


def open_microscope(address: str, **options: object) -> Microscope:
    """The microscope of an address. Options stand after `?` in the address or are given by name, which wins.

    BadSetting for an address or an option that is not known, or a value that cannot be.
    """
    place, _, query = address.partition("?")
    kind, _, rest = place.partition(":")
    written = dict(parse_qsl(query, keep_blank_values=True))
    if kind not in _DRIVERS:
        raise BadSetting(f"camera address '{address}' is not known. Known: {', '.join(_EXAMPLES)}.")
    return _DRIVERS[kind](address, rest, {**written, **options})


def _simulated(address: str, rest: str, options: Mapping[str, object]) -> Microscope:
    if rest:
        raise BadSetting(f"camera address '{address}': nothing may stand between 'simulated' and '?'.")
    from marrowscope.cells.taxonomy import load_taxonomy
    from marrowscope.instrument.simulated import SimulatedMicroscope
    from marrowscope.smear.slide import SmearSlide

    values = read_options(address, options, SIMULATED_OPTIONS)
    seed = int(values.get("seed", 0))
    about_slide = {k: values.pop(k) for k in ("width_um", "height_um", "memory_mb") if k in values}
    scheme = values.pop("scheme", None)
    try:
        slide = SmearSlide(
            seed,
            taxonomy=load_taxonomy(scheme) if scheme else None,
            um_per_px=values.get("um_per_px", 0.069),
            **about_slide,
        )
        microscope = SimulatedMicroscope(slide, **values)
    except ValueError as error:
        raise BadSetting(f"camera address '{address}': {error}.") from error
    return Microscope(microscope.camera, microscope.stage, microscope.faults, microscope, (slide.close,))


def _replay(address: str, rest: str, options: Mapping[str, object]) -> Microscope:
    if not rest:
        raise BadSetting(f"camera address '{address}': say what to replay, as in {_EXAMPLES[1]}.")
    from marrowscope.instrument.replay_camera import ReplayCamera

    return Microscope(ReplayCamera(rest, **read_options(address, options, _REPLAY_OPTIONS)))


def _yes_or_no(value: object) -> bool:
    text = str(value).strip().lower()
    if text not in ("yes", "no", "true", "false", "1", "0"):
        raise ValueError("yes or no")
    return text in ("yes", "true", "1")


SIMULATED_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "seed": int,
    "width": int,
    "height": int,
    "um_per_px": float,
    "fps": float,
    "vignetting": float,
    "noise": float,
    "latency_ms": float,
    "tilt_um_per_mm": float,
    "blur_um_per_um": float,
    "stage_um_per_s": float,
    "sharp": _yes_or_no,
    "width_um": float,
    "height_um": float,
    "memory_mb": float,
    "scheme": str,
    # Given by name only: no text makes them.
    "cast": tuple,
    "hand": lambda hand: hand,
    "clock": lambda clock: clock,
}
_REPLAY_OPTIONS: dict[str, Callable[[Any], Any]] = {"fps": float, "loop": _yes_or_no, "um_per_px": float}
_DRIVERS: dict[str, Callable[[str, str, Mapping[str, object]], Microscope]] = {
    "simulated": _simulated,
    "replay": _replay,
    "uvc": open_uvc,
    "genicam": open_genicam,
    "micromanager": open_micromanager,
    "basler": open_basler,
}
_EXAMPLES = ("simulated", "replay:PATH", "uvc:0", "genicam:FILE.cti#0", "micromanager:FILE.cfg", "basler:SERIAL")
