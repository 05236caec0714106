"""How sharp a picture is, and where the stage has to stand for the sharpest: against the seams alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import InstrumentError, NotOffered
from marrowscope.instrument.camera import Camera
from marrowscope.instrument.stage import Stage

# Details of 2, 4, 8 ... pixels. Fine ones decide near focus; far from it only coarse ones are left to show the way.
_BANDS = 7
# A peak stands out from the rest of a sweep by so much, or there is nothing to focus on.
_LEAST_PEAK = 1.15


def focus_score(pixels: NDArray[np.uint8]) -> float:
    """Contrast in fine and coarse detail, in percent of the brightness: the higher, the sharper this same place.

    Does not depend on exposure; camera noise is measured and taken off. Pictures of different places cannot be
    compared: more cells, more contrast.
    """
    grey = np.asarray(pixels[..., 1], np.float32)
    mean = max(float(grey.mean()), 1.0)
    noise = _noise_variance(grey)
    energy = 0.0
    for band in range(_BANDS):
        if min(grey.shape) < 16:
            break
        half = np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
        # The finest band is mostly noise, the next the finest detail that a lens resolves.
        if band:
            smooth = cv2.GaussianBlur(grey, (5, 5), 1.1)
            detail = float(np.mean(np.square(grey - smooth)))
            # A Gaussian of 1.1 px leaves so much of white noise, which every halving makes a quarter.
            energy += max(detail - 0.75 * noise / 4**band, 0.0) * 2.0 ** (1 - band)
        grey = half
    return 100 * float(np.sqrt(energy)) / mean


def _noise_variance(grey: NDArray[np.float32]) -> float:
    """Variance of the noise of single pixels, by the median so that edges do not count, after:

    J. Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64(2), 1996.
    """
    kernel = np.asarray([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    left = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))[::3, ::3]
    return float(np.median(left) / 0.6745) ** 2


@dataclass(frozen=True)
class FocusSweep:
    """Scores at heights, lowest first, and the height that is sharpest: it may lie between them."""

    z_um: tuple[float, ...]
    scores: tuple[float, ...]
    best_z_um: float


def sweep(camera: Camera, stage: Stage | None, z_um: Sequence[float]) -> FocusSweep:
    """Take a picture at each height, and return the stage to where it stood, whatever happens.

    NotOffered where nothing moves the focus. InstrumentError for a height beyond the limits.
    """
    stage = _with_focus_drive(stage)
    stood = stage.position_um.z_um
    try:
        return _result(_measure(camera, stage, z_um))
    finally:
        stage.move_to_um(z=stood)


def autofocus(
    camera: Camera, stage: Stage | None, *, reach_um: float = 25.0, finest_um: float = 0.2, steps: int = 15
) -> FocusSweep:
    """Find the sharpest height within `reach_um` above and below, and stay there.

    First the whole reach in `steps` steps, then around the best in steps a fifth as wide, until these are `finest_um`.
    NotOffered where nothing moves the focus. InstrumentError where no height is sharper than the others: there is
    nothing under the lens; the stage then stands where it stood, as after any error.
    """
    stage = _with_focus_drive(stage)
    stood = stage.position_um.z_um
    low, high = stage.limits_um.low.z_um, stage.limits_um.high.z_um
    measured: dict[float, float] = {}
    middle, reach, count = stood, reach_um, steps
    try:
        while True:
            heights = np.linspace(max(middle - reach, low), min(middle + reach, high), count)
            measured |= _measure(camera, stage, [float(h) for h in heights if float(h) not in measured])
            scores = np.asarray(list(measured.values()))
            if scores.max() < _LEAST_PEAK * scores.min() or not scores.max() > 0:
                raise InstrumentError(
                    "autofocus found no height sharper than the others: nothing but glass lies under the lens, or the "
                    f"plane is more than {reach_um:g} um away. Move to a place with cells and try again."
                )
            middle = _best(measured)
            if count == 9 and reach <= 4 * finest_um:
                break
            # Nine heights over a little more than the gap in which the best lies.
            reach, count = max(1.2 * 2 * reach / (count - 1), 4 * finest_um), 9
        # Drives have play: the last stretch is always travelled upwards, as the sweeps were.
        stage.move_to_um(z=max(middle - 2 * finest_um, low))
        stage.move_to_um(z=middle)
    except BaseException:
        stage.move_to_um(z=stood)
        raise
    return _result(measured)


def _with_focus_drive(stage: Stage | None) -> Stage:
    if stage is None:
        raise NotOffered("this microscope has no motorised stage. Focus by hand; the score shows how sharp it is.")
    if stage.limits_um.low.z_um >= stage.limits_um.high.z_um:
        raise NotOffered("this stage has no focus drive. Focus by hand; the score shows how sharp it is.")
    return stage


def _measure(camera: Camera, stage: Stage, heights: Sequence[float]) -> dict[float, float]:
    measured = {}
    for z in heights:
        stage.move_to_um(z=z)
        measured[float(z)] = focus_score(camera.snap().pixels)
    return measured


def _result(measured: dict[float, float]) -> FocusSweep:
    heights = tuple(sorted(measured))
    return FocusSweep(heights, tuple(measured[z] for z in heights), _best(measured))


def _best(measured: dict[float, float]) -> float:
    """The top of a parabola through the logarithm of the best score and of up to two on either side."""
    heights = sorted(measured)
    best = max(range(len(heights)), key=lambda n: measured[heights[n]])
    aside = min(2, best, len(heights) - 1 - best)
    if aside == 0:
        return heights[best]
    z = np.asarray(heights[best - aside : best + aside + 1])
    logs = np.log([max(measured[h], 1e-9) for h in z.tolist()])
    bend, slope, _ = np.polyfit(z - heights[best], logs, 2)
    if bend >= 0:
        return heights[best]
    return float(np.clip(heights[best] - slope / (2 * bend), z[0], z[-1]))
