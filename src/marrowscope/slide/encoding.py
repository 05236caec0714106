"""Tiles on their way to a file: compressed, and set aside until their level's turn comes."""

import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from marrowscope.slide.pyramid import Tile


class EncodedTile(NamedTuple):
    """A compressed tile of a level."""

    level: int
    data: bytes


class Packing(Enum):
    """JPEG, whose colour has half the width (4:2:2); deflated by TIFF's rules; or as it is."""

    JPEG = "jpeg"
    DEFLATED = "deflated"
    PLAIN = "plain"


@dataclass(frozen=True)
class Coding:
    """How tiles are stored. quality: of JPEG."""

    tile_px: int
    packing: Packing
    quality: int = 90

    def encode(self, tile: Tile) -> EncodedTile:
        """The bytes of a whole tile."""
        pixels = self.filled(tile.pixels)
        if self.packing is Packing.JPEG:
            data = simplejpeg.encode_jpeg(pixels, quality=self.quality, colorspace="RGB", colorsubsampling="422")
        elif self.packing is Packing.DEFLATED:
            along = pixels.copy()  # differences along a row deflate better than colours
            along[:, 1:] -= pixels[:, :-1]
            data = zlib.compress(along.tobytes())
        else:
            data = pixels.tobytes()
        return EncodedTile(tile.level, data)

    def filled(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A tile at the border made whole by repeating its last row and column: so JPEG draws no edge there."""
        short = self.tile_px - pixels.shape[0], self.tile_px - pixels.shape[1]
        return np.ascontiguousarray(np.pad(pixels, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge"))


class Spool:
    """Tiles set aside on the disk, in a file without a name that vanishes with its process."""

    def __init__(self, folder: Path) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)
        self.lengths: list[int] = []

    def add(self, data: bytes) -> None:
        """Set one more aside."""
        self.file.write(data)
        self.lengths.append(len(data))

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(0)
        for length in self.lengths:
            yield self.file.read(length)

    def close(self) -> None:
        """Let it vanish."""
        self.file.close()
