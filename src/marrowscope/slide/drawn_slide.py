"""The synthetic smear as a whole slide: drawn where one looks, with known truth. Slides without a scanner."""

from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.detections import GroundTruth
from marrowscope.slide.slide import BACKGROUND, Level
from marrowscope.smear.slide import SmearSlide

# The smear is drawn at five scales, each half the one before.
_SCALES = 5


class DrawnSlide:
    """A `WholeSlide` of a `SmearSlide`, which stays the caller's to close. Whole pixels that lie on it count.

    Coarser levels are drawn anew at their scale, rather than averaged: the same cells in the same places.
    """

    def __init__(self, smear: SmearSlide, name: str | None = None) -> None:
        self._smear = smear
        self.name = name or f"smear_{smear.seed}"
        self.um_per_px = smear.um_per_px
        # A hair more, lest 300 um / 0.1 um be 2999 pixels.
        width, height = (int(um / smear.um_per_px + 1e-6) for um in (smear.width_um, smear.height_um))
        sizes = ((width >> n, height >> n, 2.0**n) for n in range(_SCALES))
        self.levels = tuple(Level(*size) for size in sizes if min(size[:2]) > 0)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `WholeSlide.read`."""
        out = np.full((height, width, 3), BACKGROUND, np.uint8)
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, self.levels[level].width), min(y + height, self.levels[level].height)
        if left < right and top < bottom:
            um = self.um_per_px * self.levels[level].downsample
            middle = (left + right) / 2 * um, (top + bottom) / 2 * um
            out[top - y : bottom - y, left - x : right - x] = self._smear.view(*middle, right - left, bottom - top, um)
        return out

    def cells(self) -> GroundTruth:
        """Every nucleated cell, in pixels of level 0. Boxes end at the border; a cell beyond it is left out."""
        width, height, _ = self.levels[0]
        um = self.um_per_px
        found = self._smear.cells_in(width * um / 2, height * um / 2, width * um, height * um)
        boxes = (found.boxes_um / um).clip(0, (width, height, width, height))
        seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return GroundTruth(boxes[seen].astype(np.float32), found.labels[seen], found.taxonomy)

    def close(self) -> None:
        """Nothing to let go of: the smear belongs to whoever made it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
