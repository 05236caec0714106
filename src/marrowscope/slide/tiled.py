"""What the drivers of slides share: rectangles out of tiles, the tiles asked for last, errors that name the file.

Every pixel is read as part of its own tile of a fixed grid, so that the same place gives the same pixels whatever
rectangle asks for it, and reading a rectangle takes memory for its tiles alone.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BadSlide, MarrowscopeError
from marrowscope.slide.slide import BACKGROUND, Level

MAX_TILE_PX = 80_000_000
"""A tile or strip that holds more pixels is not decoded: it would take hundreds of megabytes for any rectangle."""
_KEPT_BYTES = 64 * 2**20
# Finer or coarser than any microscope: a printer's resolution, or none.
_FINEST_UM, _COARSEST_UM = 0.01, 20.0


class TiledSlide(ABC):
    """A `WholeSlide` whose pixels lie in tiles. A driver gives `_read_tile`, and `_release` to let go of its file.

    tiles: (width, height) of a tile, for each level. BadSlide where a tile would take too much memory.
    """

    def __init__(
        self, path: Path, levels: Sequence[Level], tiles: Sequence[tuple[int, int]], um_per_px: float | None
    ) -> None:
        if (largest := max(w * h for w, h in tiles)) > MAX_TILE_PX:
            raise BadSlide(
                f"{path}: is stored in pieces of {largest / 1e6:.0f} megapixels, each of which would have to be "
                f"decoded whole. Store it in tiles (for example `vips tiffsave IN OUT.tif --tile --pyramid --bigtiff`)."
            )
        self.path, self.name = path, path.name
        self.levels, self.um_per_px = tuple(levels), um_per_px
        self._tiles = tuple(tiles)
        self._closed = False
        self._tile = lru_cache(max(_KEPT_BYTES // (largest * 3), 4))(self._checked_tile)

    @abstractmethod
    def _read_tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        """A tile, (h, w, 3) RGB: whole, or cut where the level ends. Threads call it at the same time."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the file. Called once."""

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `WholeSlide.read`."""
        if self._closed:
            raise ValueError(f"{self.path}: was closed; nothing can be read of it")
        out = np.full((height, width, 3), BACKGROUND, np.uint8)
        wide, high = self._tiles[level]
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, self.levels[level].width), min(y + height, self.levels[level].height)
        if left >= right or top >= bottom:
            return out
        for row in range(top // high, (bottom - 1) // high + 1):
            y1, y2 = max(row * high, top), min((row + 1) * high, bottom)
            for column in range(left // wide, (right - 1) // wide + 1):
                x1, x2 = max(column * wide, left), min((column + 1) * wide, right)
                tile = self._tile(level, column, row)
                inner = tile[y1 - row * high : y2 - row * high, x1 - column * wide : x2 - column * wide]
                out[y1 - y : y2 - y, x1 - x : x2 - x] = inner
        return out

    def _checked_tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        size, (wide, high) = self.levels[level], self._tiles[level]
        with naming(self.path, f" (level {level}, tile {column}, {row})"):
            pixels = self._read_tile(level, column, row)
            needed = min(high, size.height - row * high), min(wide, size.width - column * wide)
            if pixels.shape[0] < needed[0] or pixels.shape[1] < needed[1]:
                raise ValueError(f"holds {pixels.shape[1]} x {pixels.shape[0]} pixels, not {needed[1]} x {needed[0]}")
        return pixels

    def close(self) -> None:
        """See `WholeSlide.close`."""
        if not self._closed:
            self._closed = True
            self._tile.cache_clear()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def naming(path: Path, where: str = "") -> Iterator[None]:
    """Whatever a format's library raises on a damaged file becomes a BadSlide that names it."""
    try:
        yield
    except MarrowscopeError:
        raise
    except Exception as error:  # a damaged file can make a decoder raise anything
        what = str(error).strip(" .\n") or type(error).__name__
        raise BadSlide(f"{path}{where}: cannot be read: {what}. Copy or scan it again.") from error


def quiet(library: str) -> None:
    """Keep a library's log from the terminal of whoever has not asked for it: what went wrong is raised as BadSlide."""
    log = logging.getLogger(library)
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def levels_of(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels of these (width, height), finest first. Where one was halved, its downsample is that power of two, though
    odd sizes do not divide by it.
    """
    width, height = sizes[0]
    return tuple(Level(w, h, _downsample(width, height, w, h)) for w, h in sizes)


def _downsample(width: int, height: int, w: int, h: int) -> float:
    ratio = (width / w + height / h) / 2
    for whole in (2 ** round(np.log2(ratio)), round(ratio)):
        # Some writers drop the odd row or column, some keep it.
        if width // whole <= w <= -(-width // whole) and height // whole <= h <= -(-height // whole):
            return float(whole)
    return ratio


def plausible_um(x: float | None, y: float | None) -> float | None:
    """Micrometres a pixel of what a file says in x and y; None where it says nothing, or nothing of a microscope."""
    if x is None or y is None or not (_FINEST_UM <= x <= _COARSEST_UM and _FINEST_UM <= y <= _COARSEST_UM):
        return None
    return (x + y) / 2


def as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w), (h, w, 1), (h, w, 3) or (h, w, 4) -> (h, w, 3); what is transparent shows the `BACKGROUND`."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(colour)
    share = alpha.astype(np.uint16)
    mixed = (colour * share + np.asarray(BACKGROUND, np.uint16) * (255 - share) + 127) // 255
    return mixed.astype(np.uint8)
