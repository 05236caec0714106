"""How pictures look, in a few numbers a field: colour, contrast, sharpness; no detector, no labels.

All is measured on the field fitted inside `SIDE` x `SIDE` pixels (never enlarged), so that a reduced decode gives
what the whole one gives. Blur finer than a pixel of that picture is not seen.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from marrowscope.cells.field import FieldImage
from marrowscope.cells.fields_seen import MOST_FIELDS, MOST_PIXELS, FieldsSeen, Swatch, sampled
from marrowscope.data.images import read_image
from marrowscope.errors import BadImage

SIDE = 1024
LOOKS = ("lightness", "green to red", "blue to yellow", "contrast", "spread of red", "spread of blue", "sharpness")
"""Means of CIE L*, a*, b* over the field, their standard deviations, and the logarithm of the variance of the
Laplacian over that of the lightness."""
_FROM_A_FIELD = 4096
_A_TRACE = 1e-3
"""Added to both variances, so that a blank field has a sharpness, too."""


def looks_of(field: FieldImage) -> tuple[float, ...]:
    """The values of `LOOKS` for one field."""
    # Of 8 bits, as that is quick: L* 0..255, a* and b* moved by 128.
    lab = cv2.cvtColor(_fitted(field), cv2.COLOR_RGB2Lab)
    means, spreads = (values.ravel() for values in cv2.meanStdDev(lab))
    _, edges = cv2.meanStdDev(cv2.Laplacian(cv2.extractChannel(lab, 0), cv2.CV_16S))
    sharpness = np.log((edges[0, 0] ** 2 + _A_TRACE) / (spreads[0] ** 2 + _A_TRACE))
    lightness, red, blue = (means * [1 / 2.55, 1, 1] - [0, 128, 128]).tolist()
    contrast, of_red, of_blue = (spreads * [1 / 2.55, 1, 1]).tolist()
    return lightness, red, blue, contrast, of_red, of_blue, float(sharpness)


def swatch_of(fields: Iterable[FieldImage]) -> Swatch:
    """Pixels (n, 3) spread evenly over all fields, at most `MOST_PIXELS`, in which every field has the same part."""
    return joined([pixels_of(field) for field in fields])


def joined(parts: Sequence[Swatch]) -> Swatch:
    """One swatch of many: the same number of pixels of each."""
    if not parts:
        return np.zeros((0, 3), np.uint8)
    each = max(1, MOST_PIXELS // len(parts))
    whole = [part[np.linspace(0, len(part) - 1, min(each, len(part))).round().astype(int)] for part in parts]
    return np.concatenate(whole)


def pixels_of(field: FieldImage) -> Swatch:
    """Some thousand pixels (n, 3) of one field, spread evenly."""
    pixels = _fitted(field).reshape(-1, 3)
    # A prime step meets no column of pixels again and again.
    return pixels[:: max(1, len(pixels) // _FROM_A_FIELD) | 1]


def fields_seen(fields: Iterable[FieldImage]) -> FieldsSeen:
    """How fields look; what is found in them is for a detector to say (`FieldsSeen.with_found`)."""
    return gathered([(looks_of(field), pixels_of(field)) for field in fields])


def gathered(measured: Sequence[tuple[tuple[float, ...], Swatch]]) -> FieldsSeen:
    """The same of fields whose `looks_of` and `pixels_of` are known."""
    columns = {name: tuple(looks[i] for looks, _ in measured) for i, name in enumerate(LOOKS)}
    return FieldsSeen(looks=columns, swatch=joined([pixels for _, pixels in measured]))


def pictures(
    paths: Sequence[Path], *, most: int = MOST_FIELDS, on_field: Callable[[], None] = lambda: None
) -> Iterator[FieldImage]:
    """At most `most` of the pictures, evenly spread, as small as will do; what cannot be read is passed over."""
    for path in sampled(paths, most):
        try:
            yield read_image(path, at_least=(SIDE, SIDE))
        except BadImage:
            continue
        finally:
            on_field()


def _fitted(field: FieldImage) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    height, width = field.pixels.shape[:2]
    shrink = SIDE / max(width, height)
    if shrink >= 1:
        return field.pixels
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    return np.asarray(cv2.resize(field.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
