"""A slide at any integer reduction r, on one grid: pixel (i, j) averages r x r pixels of level 0 from (r i, r j).

So the same place has the same pixels whichever tile asks, and tiles that overlap see the same cells in them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.slide.slide import Level, WholeSlide


def read_reduced(slide: WholeSlide, reduction: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
    """A rectangle of the slide as (height, width, 3) uint8 RGB; x, y, width, height in pixels of the reduced grid.

    Read from the coarsest stored level that divides the reduction, so that few pixels are decoded. What lies outside
    the slide is background. BadSlide as `WholeSlide.read`.
    """
    level, stored = stored_reduction(slide.levels, reduction)
    more = reduction // stored
    pixels = slide.read(level, x * more, y * more, width * more, height * more)
    if more == 1:
        return pixels
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def stored_reduction(levels: tuple[Level, ...], reduction: int) -> tuple[int, int]:
    """The coarsest level whose own integer reduction divides `reduction`: its number, and that reduction."""
    usable = [(r, n) for n, r in enumerate(whole_reductions(levels)) if r and reduction % r == 0]
    stored, number = max(usable, key=lambda pair: (pair[0], -pair[1]))
    return number, stored


def whole_reductions(levels: tuple[Level, ...]) -> list[int]:
    """Of each level the integer that it reduces level 0 by; 0 where that is none, and its pixels lie on another grid.

    Formats derive `downsample` from sizes that were rounded, so 4.0003 may mean 4. It does if the sizes agree: else the
    far end of a slide would lie several pixels off.
    """
    first = levels[0]
    found = []
    for level in levels:
        whole = max(round(level.downsample), 1)
        agrees = abs(first.width - whole * level.width) < whole and abs(first.height - whole * level.height) < whole
        found.append(whole if agrees else 0)
    return found
