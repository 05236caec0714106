"""What a picture says of itself: how sharp it is, how much is clipped, and whether it is a new picture at all."""

import math

import numpy as np
from numpy.typing import NDArray

from marrowscope.instrument.exposure import CLIPPED
from marrowscope.instrument.focus import focus_score

_EVERY = 3
_HEIGHT, _WIDTH = 480, 640


class Judge:
    """Looks at every picture of a live view. For one thread; the results may be read by all.

    focus: sharpness of the middle of the view. clipped: share of pixels with a channel at 255.
    """

    def __init__(self) -> None:
        self.focus = 0.0
        self.clipped = 0.0
        self._looked = 0
        self._fingerprint = b""
        self._changed_at = -math.inf

    def frozen_s(self, pixels: NDArray[np.uint8], now: float) -> float:
        """How long the picture as it came from the camera has been the same to the last bit."""
        sample = pixels[::48, ::48]
        fingerprint = sample.tobytes()
        # Black and white pictures are the same to the last bit by right.
        if fingerprint != self._fingerprint or sample.min() == sample.max():
            self._fingerprint, self._changed_at = fingerprint, now
        return now - self._changed_at

    def look(self, pixels: NDArray[np.uint8]) -> None:
        """Judge the picture as it is shown; every third is enough for the eye."""
        if self._looked % _EVERY == 0:
            height, width = pixels.shape[:2]
            top, left = max((height - _HEIGHT) // 2, 0), max((width - _WIDTH) // 2, 0)
            self.focus = focus_score(pixels[top : top + _HEIGHT, left : left + _WIDTH])
            self.clipped = float((pixels[::8, ::8] == CLIPPED).any(axis=2).mean())
        self._looked += 1
