"""Optical density: what light through a stained smear says, whatever the lamp.

Densities of things that lie on one another add (Beer-Lambert), and brightness of the lamp or of the camera cancels once
the white of bare glass is known.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Density = NDArray[np.float32]
"""(h, w, 3): minus the decimal logarithm of the light that comes through, of R, G, B; 0 is bare glass."""

# Of a picture's pixels so many must be as bright as glass: below it are the gaps between cells, above it noise.
_BRIGHT = 98
_DARKEST = 1 / 255


def white_of(pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Colour of bare glass, (3,) in 0..255, from pictures (h, w, 3) of places of one slide.

    Pure white does not count: scanners and formats fill with it what was never scanned.
    """
    whites = []
    for picture in pictures:
        seen = picture.reshape(-1, 3)[~(picture.reshape(-1, 3) == 255).all(axis=1)]
        # A few pixels between the scan and the filling are neither.
        if len(seen) >= 64:
            whites.append(np.percentile(seen, _BRIGHT, axis=0))
    if not whites:
        return np.full(3, 255, np.float32)
    # Places without any gap are darker than glass; a bright speck must not decide for the whole slide.
    return np.asarray(np.maximum(np.percentile(whites, 90, axis=0), 1), np.float32)


def density(pixels: NDArray[np.uint8], white: NDArray[np.float32]) -> Density:
    """Optical density of pixels (h, w, 3) against white (3,), never below 0."""
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = -np.log10(np.clip(levels / white, _DARKEST, 1)).astype(np.float32)
    return np.stack([table[:, channel][pixels[..., channel]] for channel in range(3)], axis=2)


def purple(od: Density) -> NDArray[np.bool_]:
    """Where stained nuclei are, (h, w).

    Haemoglobin and eosin absorb blue more than red, and layers of them stay so; the azure of nuclei absorbs red more.
    """
    red, blue = od[..., 0], od[..., 2]
    return np.asarray(((red > 0.13) & (red - blue > 0.03)) | ((red > 0.4) & (red - blue > -0.03)))


def ink(od: Density) -> NDArray[np.bool_]:
    """Where something coloured like no stained cell lies, (h, w): pen marks, labels, what was never scanned.

    Every stain of Romanowsky's kind absorbs green most. Blue, green and black pens absorb red as much; orange ones
    blue; a red pen lets red through as no cell does.
    """
    red, green, blue = od[..., 0], od[..., 1], od[..., 2]
    grey = (od.min(axis=2) > 0.5) & (od.max(axis=2) < 1.2 * od.min(axis=2))
    return np.asarray((red > green + 0.1) | (blue > green + 0.25) | ((green > 0.35) & (red < 0.15 * green)) | grey)
