"""Pictures for a report: kept fields made small enough to print, cells cut out of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.report.content import Edges, GalleryCell, ReportContent

FIELD_SIDE = 1500
"""Longest side of a printed field in pixels: 17 cm at 220 dots an inch."""
CELL_SIDE = 200
_QUALITY = 88
_PAPER = (255, 255, 255)


@dataclass(frozen=True)
class Assets:
    """Bytes of pictures by SHA-256 (hex), as they lie in the archive. One that is gone is said to be gone."""

    images: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, content: ReportContent, read: Callable[[str], bytes]) -> "Assets":
        """Those that the report shows, each by `read(digest)`."""
        return cls({digest: read(digest) for digest in content.images})


def decode(data: bytes) -> NDArray[np.uint8] | None:
    """BGR pixels (h, w, 3) as stored (EXIF orientation ignored, as boxes are); None where it is no picture."""
    if not data:
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())


class Album:
    """The printed pictures of one report; each original is decoded once, the newest few are held."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        self._pixels = lru_cache(maxsize=4)(self._decoded)

    def _decoded(self, digest: str) -> NDArray[np.uint8] | None:
        return decode(self._assets.images.get(digest, b""))

    def field(self, digest: str) -> bytes | None:
        """The whole field as JPEG, at most `FIELD_SIDE` wide or high; None where it is not there."""
        pixels = self._pixels(digest)
        if pixels is None:
            return None
        scale = FIELD_SIDE / max(pixels.shape[:2])
        if scale < 1:
            size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        return _jpeg(pixels)

    def cell(self, digest: str, box: Edges, window: float, size: tuple[int, int]) -> bytes | None:
        """A square around the cell's middle as JPEG, `window` pixels of the field wide; paper beyond its edge.

        size: (width, height) in which the box is given; the stored picture may be smaller.
        """
        pixels = self._pixels(digest)
        if pixels is None:
            return None
        scale = pixels.shape[1] / size[0]
        x, y = (box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale
        half = max(window * scale / 2, 1.0)
        zoom = CELL_SIDE / (2 * half)
        move = np.asarray([[zoom, 0, zoom * (half - x)], [0, zoom, zoom * (half - y)]], np.float64)
        how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
        square = cv2.warpAffine(
            pixels, move, (CELL_SIDE, CELL_SIDE), flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=_PAPER
        )
        return _jpeg(np.asarray(square, np.uint8))


def windows(cells: Sequence[GalleryCell]) -> list[float]:
    """Side of the square that shows each cell: the same for all that fit, so that sizes compare; larger for giants."""
    sides = [max(c.box[2] - c.box[0], c.box[3] - c.box[1]) for c in cells]
    common = 1.5 * median(sides) if sides else 0.0
    return [max(common, 1.15 * side) for side in sides]
