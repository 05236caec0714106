"""Auto-exposure, against the camera seam alone: bright, and hardly anything clipped."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import NotOffered
from marrowscope.instrument.camera import Camera, Control, Range
from marrowscope.instrument.colour import SoftwareColour

CLIPPED = 255
# Every so many pixels in both directions are looked at.
_STRIDE = 4


@dataclass(frozen=True)
class Exposed:
    """How an auto-exposure ended. exposure_ms, gain: in force, None where not offered (gain: the software's then).

    bright: grey level below which 99 % of the picture lies. clipped: share of pixels with a channel at 255. frames:
    pictures that it took. settled: it is as bright as was asked; otherwise the controls do not reach.
    """

    exposure_ms: float | None
    gain: float | None
    bright: float
    clipped: float
    frames: int
    settled: bool


def clipped_share(pixels: NDArray[np.uint8]) -> float:
    """Share of pixels that have a channel at 255."""
    return float((pixels[::_STRIDE, ::_STRIDE].max(axis=2) >= CLIPPED).mean())


def brightness(pixels: NDArray[np.uint8]) -> float:
    """Grey level of the brightest channel below which 99 % of the pixels lie."""
    return float(np.percentile(pixels[::_STRIDE, ::_STRIDE].max(axis=2), 99))


def auto_exposure(
    camera: Camera,
    software: SoftwareColour | None = None,
    *,
    target: float = 225.0,
    tolerance: float = 8.0,
    most_clipped: float = 0.005,
    longest_ms: float = 30.0,
    most_frames: int = 12,
) -> Exposed:
    """Bring the brightest parts to `target`, within `tolerance` grey levels, clipping at most `most_clipped`.

    Exposure first, up to `longest_ms` so that the picture stays live; then gain. Where the camera offers neither, the
    gain of `software`. Pictures are judged as they are shown, after `software`. NotOffered where there is no control
    at all. Errors of `camera.snap` pass through.
    """
    light = _Light(camera, software, longest_ms)
    bright = clipped = 0.0
    # As bright as it is, but with the right share of exposure and gain.
    light.scale(1.0)
    for frames in range(1, most_frames + 1):
        pixels = camera.snap().pixels
        shown = pixels if software is None else software.apply(pixels)
        bright, clipped = brightness(shown), clipped_share(shown)
        too_much = clipped > most_clipped
        if not too_much and abs(bright - target) <= tolerance:
            return light.report(bright, clipped, frames, settled=True)
        # Of a clipped picture nobody knows how much too bright it is; of a black one, how much too dark.
        factor = min(0.6, 1 - clipped * 0.8) if too_much else min(target / max(bright, 1.0), 16.0)
        if not light.scale(factor):
            return light.report(bright, clipped, frames, settled=False)
    return light.report(bright, clipped, most_frames, settled=False)


class _Light:
    """The controls that make a picture brighter, turned as one."""

    def __init__(self, camera: Camera, software: SoftwareColour | None, longest_ms: float) -> None:
        self._camera, self._software = camera, software
        offered = camera.controls
        self._exposure, self._gain = offered.get(Control.EXPOSURE_MS), offered.get(Control.GAIN)
        if self._exposure is not None:
            self._exposure = Range(self._exposure.low, max(min(self._exposure.high, longest_ms), self._exposure.low))
        if self._exposure is None and self._gain is None and software is None:
            raise NotOffered(
                f"{camera.info.name} has neither exposure nor gain to set. Turn the lamp, or correct in software."
            )

    def scale(self, factor: float) -> bool:
        """Make it brighter by a factor, as far as the controls go. Whether anything changed."""
        before = self._now()
        wanted = before[0] * before[1] * factor
        if self._exposure is not None:
            lowest = self._gain.clamp(1.0) if self._gain is not None else 1.0
            exposure = self._camera.set(Control.EXPOSURE_MS, self._exposure.clamp(wanted / lowest))
            wanted /= exposure
        if self._gain is not None:
            self._camera.set(Control.GAIN, self._gain.clamp(wanted))
        elif self._exposure is None and self._software is not None:
            self._software.set(Control.GAIN, wanted)
        after = self._now()
        return abs(after[0] * after[1] / (before[0] * before[1]) - 1) > 0.002

    def _now(self) -> tuple[float, float]:
        exposure = self._camera.get(Control.EXPOSURE_MS) if self._exposure is not None else 1.0
        if self._gain is not None:
            return exposure, self._camera.get(Control.GAIN)
        in_software = self._exposure is None and self._software is not None
        return exposure, self._software.get(Control.GAIN) if in_software and self._software is not None else 1.0

    def report(self, bright: float, clipped: float, frames: int, *, settled: bool) -> Exposed:
        exposure, gain = self._now()
        has_gain = self._gain is not None or self._exposure is None
        return Exposed(
            exposure if self._exposure is not None else None,
            gain if has_gain else None,
            bright,
            clipped,
            frames,
            settled,
        )
