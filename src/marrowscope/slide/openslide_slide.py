"""Slides of scanners that OpenSlide knows: Aperio, Hamamatsu, Leica, MIRAX, Philips, Sakura, Trestle, Ventana, Zeiss.

OpenSlide asks for a place in pixels of level 0 even where pixels of a coarser level are wanted, and blends neighbours
where that place falls between them. Everything is read in blocks of a fixed grid, so that it always blends alike.
"""

from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from marrowscope.errors import BadSlide
from marrowscope.slide.tiled import TiledSlide, as_rgb, levels_of, naming, plausible_um

_BLOCK_PX = 1024
GENERIC_TIFF = "generic-tiff"


def vendor_of(path: Path) -> str | None:
    """Whose format it is, as OpenSlide names it (`aperio`, ..., `generic-tiff`); None where OpenSlide knows none.

    BadSlide where OpenSlide knows the format and cannot read the file.
    """
    with naming(path):
        return openslide.OpenSlide.detect_format(path)


class OpenslideSlide(TiledSlide):
    """A file that OpenSlide can read. BadSlide where it cannot."""

    def __init__(self, path: Path) -> None:
        with naming(path):
            self._slide = openslide.OpenSlide(path)
        try:
            levels = levels_of(self._slide.level_dimensions)
            um = [_number(self._slide.properties.get(f"openslide.mpp-{axis}")) for axis in "xy"]
            super().__init__(path, levels, [(_BLOCK_PX, _BLOCK_PX)] * len(levels), plausible_um(*um))
        except BadSlide:
            self._slide.close()
            raise

    def _read_tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        x, y = column * _BLOCK_PX, row * _BLOCK_PX
        size = min(_BLOCK_PX, self.levels[level].width - x), min(_BLOCK_PX, self.levels[level].height - y)
        # OpenSlide's own idea of the downsample, as it is this that it divides by.
        scale = self._slide.level_downsamples[level]
        return as_rgb(np.asarray(self._slide.read_region((round(x * scale), round(y * scale)), level, size)))

    def _release(self) -> None:
        self._slide.close()


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
