"""A small known picture, and slides made of it."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.writing import write_slide

UM_PER_PX = 0.25
TILE_PX = 32


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3): colours that pass into one another, so that JPEG keeps them."""
    coarse = np.random.default_rng(seed).integers(40, 230, (5, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def written(path: Path, pixels: NDArray[np.uint8], *, quality: int | None = None) -> Path:
    """The picture as a slide with a pyramid, at 0.25 um a pixel."""
    write_slide(ArraySlide(pixels, um_per_px=UM_PER_PX), path, quality=quality, tile_px=TILE_PX, workers=2)
    return path


def aperio(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """A TIFF that OpenSlide takes for Aperio's."""
    about = f"Aperio Image Library v12\r\n{pixels.shape[1]}x{pixels.shape[0]} |AppMag = 40|MPP = {UM_PER_PX}"
    tifffile.imwrite(path, pixels, tile=(TILE_PX, TILE_PX), description=about, metadata=None, photometric="rgb")
    return path
