"""A pyramid from one pass over a picture of any size: every level is the exact 2 x 2 mean of the one before.

The finest level is read a row of tiles at a time. Its half waits until it, with the next one, fills a row of tiles of
the coarser level, and so on up: memory holds a few rows of tiles, whatever the height of the slide.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Read = Callable[[int, int, int, int], NDArray[np.uint8]]
"""(x, y, width, height) of the finest level -> (height, width, 3) uint8."""


class Tile(NamedTuple):
    """A piece of one level; at the right and lower border it is smaller than others. pixels: (h, w, 3)."""

    level: int
    column: int
    row: int
    pixels: NDArray[np.uint8]


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of every 2 x 2 pixels, rounded half up; an odd last row or column is left out."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    if not (height and width):
        return np.zeros((height, width, 3), np.uint8)
    even = pixels[: height * 2, : width * 2]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def pyramid_sizes(width: int, height: int, tile_px: int) -> list[tuple[int, int]]:
    """(width, height) of every level, until one tile holds it."""
    sizes = [(width, height)]
    while max(sizes[-1]) > tile_px and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def pyramid_tiles(read: Read, sizes: Sequence[tuple[int, int]], tile_px: int, pool: Executor) -> Iterator[Tile]:
    """Every tile of every level, each level's in reading order. Tiles of a row are read in `pool`.

    sizes: see `pyramid_sizes`. tile_px: even.
    """
    if tile_px % 2 or tile_px < 2:
        raise ValueError(f"tile_px must be even, got {tile_px}")
    width, height = sizes[0]
    cascade = _Cascade(sizes, tile_px)
    for y in range(0, height, tile_px):
        yield from cascade.push(0, _read_row(read, y, width, min(tile_px, height - y), tile_px, pool))


def _read_row(read: Read, y: int, width: int, high: int, tile_px: int, pool: Executor) -> NDArray[np.uint8]:
    """A row of tiles, each read by whichever thread is free."""
    band = np.empty((high, width, 3), np.uint8)

    def fill(x: int) -> None:
        wide = min(tile_px, width - x)
        band[:, x : x + wide] = read(x, y, wide, high)

    deque(pool.map(fill, range(0, width, tile_px)), maxlen=0)
    return band


class _Cascade:
    """Rows of each level on their way to a full row of tiles."""

    def __init__(self, sizes: Sequence[tuple[int, int]], tile_px: int) -> None:
        self._sizes, self._tile_px = sizes, tile_px
        self._waiting: list[list[NDArray[np.uint8]]] = [[] for _ in sizes]
        self._rows_done = [0] * len(sizes)

    def push(self, level: int, rows: NDArray[np.uint8]) -> Iterator[Tile]:
        """More rows of a level: the tiles that they complete, here and above."""
        waiting = self._waiting[level]
        waiting.append(rows)
        ready = sum(len(r) for r in waiting)
        is_last = self._rows_done[level] + ready == self._sizes[level][1]
        if not ready or (ready < self._tile_px and not is_last):
            return
        band = np.concatenate(waiting)
        waiting.clear()
        row = self._rows_done[level] // self._tile_px
        self._rows_done[level] += ready
        for column, x in enumerate(range(0, band.shape[1], self._tile_px)):
            yield Tile(level, column, row, band[:, x : x + self._tile_px])
        if level + 1 < len(self._sizes):
            yield from self.push(level + 1, halved(band))
