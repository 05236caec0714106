"""One tile or strip of a TIFF, decoded. JPEG goes to simplejpeg, all other compressions to libtiff by way of Pillow.

Pillow opens files, not tiles: so a tile is handed to it as a TIFF of its own, made of the tile's bytes and the tags
that say how to read them.
"""

import io
import struct
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from marrowscope.slide.slide import BACKGROUND
from marrowscope.slide.tiled import as_rgb

NONE, JPEG = 1, 7
_JPEG_2000 = (33004, 33005, 34712)
MINISBLACK, RGB, PALETTE, YCBCR = 1, 2, 3, 6
_SHORT, _LONG = 3, 4
# Adobe's marker, whose last byte says whether the three components are RGB (0) or YCbCr (1).
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


@dataclass(frozen=True)
class TileTags:
    """How the tiles of a page are stored, in TIFF's own numbers. samples: a pixel, in one tile."""

    compression: int
    photometric: int
    samples: int
    predictor: int = 1
    fill_order: int = 1
    extra_samples: tuple[int, ...] = ()
    jpeg_tables: bytes | None = None
    colour_map: tuple[int, ...] = ()


def decode_tile(data: bytes, width: int, height: int, tags: TileTags) -> NDArray[np.uint8]:
    """(h, w, 3) RGB, or (h, w, 1) where a tile holds one of three colours. ValueError or OSError for damaged bytes.

    Bytes of no length are a tile that the scanner left out: `BACKGROUND`.
    """
    if not data:
        return np.full((height, width, 3), BACKGROUND, np.uint8)
    if tags.compression == NONE and tags.photometric in (MINISBLACK, RGB):
        pixels = np.frombuffer(data, np.uint8, height * width * tags.samples)
        return as_rgb(pixels.reshape(height, width, tags.samples))
    if tags.compression == JPEG:
        return _decode_jpeg(data, width, height, tags)
    file = data if tags.compression in _JPEG_2000 else _tiff_of(data, width, height, tags)
    with Image.open(io.BytesIO(file), formats=("TIFF", "JPEG2000")) as image:
        if image.size != (width, height):
            raise ValueError(f"holds {image.width} x {image.height} pixels, not {width} x {height}")
        return as_rgb(np.asarray(image.convert("RGBA" if tags.samples in (2, 4) else "RGB")))


def _decode_jpeg(data: bytes, width: int, height: int, tags: TileTags) -> NDArray[np.uint8]:
    """Tables that all tiles share are put back in front of the tile, and whether it is RGB is told to the decoder."""
    tables = (tags.jpeg_tables or b"")[2:-2]
    # A JFIF marker, where there is one, says YCbCr and is believed first; so it is in libtiff.
    colour = bytes([tags.photometric == YCBCR])
    whole = data[:2] + _ADOBE + colour + tables + data[2:] if tags.samples == 3 else data[:2] + tables + data[2:]
    found_high, found_wide, *_ = simplejpeg.decode_jpeg_header(whole)
    if found_wide != width or found_high > height:
        raise ValueError(f"holds {found_wide} x {found_high} pixels, not {width} x {height}")
    return np.asarray(simplejpeg.decode_jpeg(whole, colorspace="RGB"), np.uint8)


def _tiff_of(data: bytes, width: int, height: int, tags: TileTags) -> bytes:
    """The tile as a TIFF of one strip, little-endian."""
    samples = tags.samples
    entries: list[tuple[int, int, tuple[int, ...]]] = [
        (256, _LONG, (width,)),
        (257, _LONG, (height,)),
        (258, _SHORT, (8,) * samples),
        (259, _SHORT, (tags.compression,)),
        (262, _SHORT, (tags.photometric,)),
        (266, _SHORT, (tags.fill_order,)),
        (273, _LONG, (8,)),
        (277, _SHORT, (samples,)),
        (278, _LONG, (height,)),
        (279, _LONG, (len(data),)),
        (284, _SHORT, (1,)),
        (317, _SHORT, (tags.predictor,)),
        (320, _SHORT, tags.colour_map),
        (338, _SHORT, tags.extra_samples),
    ]
    entries = [e for e in entries if e[2]]
    body = data + b"\0" * (len(data) % 2)
    table_at = 8 + len(body)
    rest_at = table_at + 2 + 12 * len(entries) + 4
    table, rest = [struct.pack("<H", len(entries))], b""
    for code, kind, values in entries:
        packed = struct.pack(f"<{len(values)}{'H' if kind == _SHORT else 'L'}", *values)
        if len(packed) > 4:
            packed, rest = struct.pack("<L", rest_at + len(rest)), rest + packed
        table.append(struct.pack("<HHL", code, kind, len(values)) + packed.ljust(4, b"\0"))
    return b"II*\0" + struct.pack("<L", table_at) + body + b"".join(table) + struct.pack("<L", 0) + rest
