"""Any place of a slide at any scale, whatever scales were stored, in bounded memory."""

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BadSlide
from marrowscope.slide.slide import WholeSlide

ASSUMED_UM_PER_PX = 0.25
"""Scale of a slide whose file does not say: that of the commonest scanners, with an objective of 40x."""

COARSEST_UM_PER_PX = 1.0
"""A red cell must span seven pixels, or nobody can tell whether it lies on another, or is sharp."""

# What is read at once: 12 MB of pixels.
_BLOCK_PX = 2048


def scale_of(slide: WholeSlide, um_per_px: float | None = None) -> float:
    """Micrometres a pixel of level 0: as given, else as the file says, else `ASSUMED_UM_PER_PX`.

    BadSlide where that is too coarse to judge by.
    """
    scale = um_per_px or slide.um_per_px or ASSUMED_UM_PER_PX
    if not scale <= COARSEST_UM_PER_PX:
        raise BadSlide(
            f"{slide.name}: its finest level has {scale:g} um a pixel, too coarse to see red cells apart. "
            f"Scan it at {COARSEST_UM_PER_PX:g} um a pixel or finer."
        )
    return scale


def view(slide: WholeSlide, x: float, y: float, width: float, height: float, out: tuple[int, int]) -> NDArray[np.uint8]:
    """A rectangle of level-0 pixels as a picture of `out` (width, height) pixels, (h, w, 3) uint8 RGB.

    Read from the coarsest level that is fine enough, and averaged from there.
    """
    wanted = width / out[0]
    level = max(n for n, stored in enumerate(slide.levels) if n == 0 or stored.downsample <= wanted * 1.001)
    zoom = slide.levels[level].downsample
    left, top = round(x / zoom), round(y / zoom)
    right, bottom = max(round((x + width) / zoom), left + 1), max(round((y + height) / zoom), top + 1)
    pixels = slide.read(level, left, top, right - left, bottom - top)
    if (right - left, bottom - top) == out:
        return pixels
    method = cv2.INTER_AREA if right - left >= out[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, out, interpolation=method), np.uint8)


def overview(slide: WholeSlide, downsample: float) -> NDArray[np.uint8]:
    """The whole slide, one pixel for `downsample` x `downsample` of level 0, (h, w, 3) uint8 RGB; read in blocks."""
    whole = slide.levels[0]
    columns, rows = max(int(whole.width / downsample), 1), max(int(whole.height / downsample), 1)
    finest = max(level.downsample for level in slide.levels if level.downsample <= max(downsample, 1) * 1.001)
    step = max(int(_BLOCK_PX * finest / downsample), 1)
    pixels = np.empty((rows, columns, 3), np.uint8)
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            wide, high = min(step, columns - left), min(step, rows - top)
            corner = left * downsample, top * downsample
            size = wide * downsample, high * downsample
            pixels[top : top + high, left : left + wide] = view(slide, *corner, *size, (wide, high))
    return pixels
