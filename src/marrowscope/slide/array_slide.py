"""The fake in the tree: a slide that lies in memory."""

from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from marrowscope.slide.pyramid import halved
from marrowscope.slide.slide import BACKGROUND, Level


class ArraySlide:
    """A `WholeSlide` of pixels (h, w, 3) uint8 RGB at hand; each further level halves the one before by area.

    levels: how many scales to keep, as far as there are pixels.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], name: str = "slide", *, um_per_px: float | None = None, levels: int = 4
    ) -> None:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise ValueError(f"pixels must be (h, w, 3) uint8 RGB, got {pixels.shape} {pixels.dtype}")
        self.name = name
        self.um_per_px = um_per_px
        self._pixels = [pixels]
        while len(self._pixels) < levels and min(self._pixels[-1].shape[:2]) > 1:
            self._pixels.append(halved(self._pixels[-1]))
        self.levels = tuple(Level(p.shape[1], p.shape[0], float(2**i)) for i, p in enumerate(self._pixels))

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `WholeSlide.read`."""
        pixels = self._pixels[level]
        out = np.full((height, width, 3), BACKGROUND, np.uint8)
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, pixels.shape[1]), min(y + height, pixels.shape[0])
        if left < right and top < bottom:
            out[top - y : bottom - y, left - x : right - x] = pixels[top:bottom, left:right]
        return out

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
