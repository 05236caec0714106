"""From a decoded field to the small image that a model sees: resize first, everything else on the small image.

torchvision's own order (to float, normalise, then resize) does its arithmetic on every pixel of a 12-megapixel field
and throws nine tenths of it away. Here the picture stays uint8 until it is small; `benchmarks/preprocess.py` measures
the difference. Normalisation belongs to the runtime, which does it on the small tensor.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.field import FieldImage


class Fit(NamedTuple):
    """The size in pixels that a field takes in the model, and model pixels per original pixel."""

    width: int
    height: int
    scale: float


def fit(width: int, height: int, box: tuple[int, int]) -> Fit:
    """The largest size of a `width` x `height` field that lies within `box` (width, height), its shape kept.

    A portrait field is fitted into the box turned on its side, so that its cells come out as large as in a landscape
    one. A field smaller than the box is enlarged: the model knows cells at one scale.
    """
    box_width, box_height = box if (width >= height) == (box[0] >= box[1]) else (box[1], box[0])
    scale = min(box_width / width, box_height / height)
    return fit_at(width, height, scale)


def fit_at(width: int, height: int, scale: float) -> Fit:
    """The size of a `width` x `height` field at this many model pixels per original pixel."""
    return Fit(max(1, round(width * scale)), max(1, round(height * scale)), scale)


def resize_to(field: FieldImage, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The field's pixels at `size` (width, height) as (h, w, 3) uint8 RGB; from a reduced decode as from a full one."""
    height, width = field.pixels.shape[:2]
    if (width, height) == size:
        return field.pixels
    # Averaging over areas does not alias on the way down; on the way up it would only repeat pixels.
    smaller = size[0] <= width and size[1] <= height
    resized = cv2.resize(field.pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
