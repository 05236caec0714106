"""TIFF: OME-TIFF, and any big TIFF of a brightfield picture, with or without a pyramid. BigTIFF too.

tifffile reads what is where; the tiles or strips of the rectangle alone are then read and decoded. A pyramid may lie
in SubIFDs, as series of levels, or as plain pages that shrink by the same factor in width and height.
"""

import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPageSeries

from marrowscope.errors import BadSlide
from marrowscope.slide.tiff_tile import JPEG, MINISBLACK, NONE, RGB, YCBCR, TileTags, decode_tile
from marrowscope.slide.tiled import TiledSlide, levels_of, naming, plausible_um, quiet

_PLANAR = 2
# Bytes of a value, by TIFF's types.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# Rows of uncompressed strips, which need not be read whole.
_BAND_ROWS = 128
_UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3}
_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0, 4: 1000.0, 5: 1.0}


class TiffSlide(TiledSlide):
    """A TIFF of 8 bits a colour: RGB, RGBA, YCbCr, grey or with a palette. BadSlide for others, and damaged ones."""

    def __init__(self, path: Path) -> None:
        quiet("tifffile")
        with naming(path):
            self._tiff = TiffFile(path)
        try:
            with naming(path):
                self._scales = [_Scale(path, series) for series in _pyramid(self._tiff)]
                um = _um_per_px(self._tiff, self._scales[0].page)
            levels = levels_of([(s.width, s.height) for s in self._scales])
            super().__init__(path, levels, [s.tile for s in self._scales], um)
        except BadSlide:
            self._tiff.close()
            raise

    def _read_tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        return self._scales[level].read(column, row)

    def _release(self) -> None:
        self._tiff.close()


class _Scale:
    """One level: where its tiles, strips or rows lie, and how they are packed.

    tile: (width, height) of what is read at once. Three pages, or three planes of a page, are the three colours.
    """

    def __init__(self, path: Path, series: TiffPageSeries) -> None:
        self.page: Any = series.keyframe
        page = self.page
        self.width, self.height = int(page.imagewidth), int(page.imagelength)
        self._pages: list[Any] = [p for p in series if p is not None]
        _refuse_others(path, series, len(self._pages))
        self._planes = page.samplesperpixel if page.planarconfig == _PLANAR else 1
        self._tags = _tags(page, page.samplesperpixel // self._planes)
        for one in self._pages:
            _refuse_cut_short(path, one)
        self._row_bytes = self.width * self._tags.samples
        self._in_rows = not page.is_tiled and page.compression == NONE and self._contiguous()
        if page.is_tiled:
            self.tile = int(page.tilewidth), int(page.tilelength)
        else:
            self.tile = self.width, _BAND_ROWS if self._in_rows else min(int(page.rowsperstrip), self.height)
        self._across, self._down = -(-self.width // self.tile[0]), -(-self.height // self.tile[1])
        self._lock = threading.Lock()

    def read(self, column: int, row: int) -> NDArray[np.uint8]:
        """The tile, (h, w, 3)."""
        colours = [self._decode(p, plane, column, row) for p in self._pages for plane in range(self._planes)]
        return colours[0] if len(colours) == 1 else np.dstack([c[..., 0] for c in colours[:3]])

    def _decode(self, page: Any, plane: int, column: int, row: int) -> NDArray[np.uint8]:
        wide, high = self.tile
        if not self.page.is_tiled:
            high = min(high, self.height - row * high)  # strips end with the picture, tiles do not
        if self._in_rows:
            start = page.dataoffsets[0] + (plane * self.height + row * self.tile[1]) * self._row_bytes
            length = high * self._row_bytes
        else:
            piece = (plane * self._down + row) * self._across + column
            start, length = page.dataoffsets[piece], page.databytecounts[piece]
        # The handle of the page's own file: an OME-TIFF may be spread over several. Its place is shared by all threads.
        file = page.parent.filehandle
        with self._lock:
            file.seek(start)
            data = file.read(length) if start else b""
        if len(data) != length and start:
            raise ValueError("the file ends before its pixels do")
        return decode_tile(data, wide, high, self._tags)

    def _contiguous(self) -> bool:
        """Whether rows follow one another from strip to strip, in every page."""
        for page in self._pages:
            ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
            whole = sum(page.databytecounts) >= self._row_bytes * self.height * self._planes
            if not whole or ends[:-1] != list(page.dataoffsets[1:]):
                return False
        return True


def _refuse_others(path: Path, series: TiffPageSeries, pages: int) -> None:
    """BadSlide for what is no brightfield picture of 8 bits."""
    page: Any = series.keyframe
    bits = page.bitspersample
    bits = set(bits) if isinstance(bits, tuple) else {bits}
    if bits != {8} or page.sampleformat not in (1, None) or page.imagedepth != 1:
        raise BadSlide(f"{path}: has pixels of {sorted(bits)} bits. Convert it to RGB of 8 bits a colour.")
    if page.samplesperpixel > 4 or pages not in (1, 3) or (pages == 3 and page.samplesperpixel != 1):
        shape = " x ".join(f"{n} {a}" for a, n in zip(series.axes, series.shape, strict=True))
        raise BadSlide(f"{path}: is no picture in RGB ({shape}). Export one plane of the slide as RGB.")


def _refuse_cut_short(path: Path, page: Any) -> None:
    """BadSlide where pixels or tags would lie beyond the end of the file: tifffile passes over such tags."""
    file, form = page.parent.filehandle, page.parent.tiff
    ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
    file.seek(page.offset)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    entries = file.read(count * form.tagsize)
    for at in range(0, len(entries) - form.tagsize + 1, form.tagsize):
        _, kind, number = struct.unpack_from(form.byteorder + ("HHQ" if form.is_bigtiff else "HHI"), entries, at)
        length = number * _SIZES.get(kind, 0)
        room = 8 if form.is_bigtiff else 4
        if length > room:
            (start,) = struct.unpack_from(form.offsetformat, entries, at + form.tagsize - room)
            ends.append(start + length)
    if max(ends, default=0) > file.size:
        raise BadSlide(f"{path}: ends before its pixels do; it was cut short. Copy or scan it again.")


def _tags(page: Any, samples: int) -> TileTags:
    photometric = int(page.photometric)
    if samples == 1 and photometric in (RGB, YCBCR):
        photometric = MINISBLACK  # one plane of the three
    tables = page.jpegtables if page.compression == JPEG else None
    colours = page.colormap
    return TileTags(
        int(page.compression),
        photometric,
        samples,
        predictor=int(page.predictor),
        fill_order=int(page.fillorder),
        extra_samples=tuple(int(e) for e in page.extrasamples) if samples > 1 else (),
        jpeg_tables=tables,
        colour_map=() if colours is None else tuple(int(c) for c in np.ravel(colours)),
    )


def _pyramid(tiff: TiffFile) -> Iterator[TiffPageSeries]:
    """The largest picture of the file, and its smaller copies, finest first."""
    largest = max(tiff.series, key=_area)
    levels = list(largest.levels)
    if len(levels) == 1:
        levels += [s for s in tiff.series if s is not largest]
    width, height = _size(largest)
    last = None
    for series in sorted(levels, key=_area, reverse=True):
        w, h = _size(series)
        # Labels and pictures of the whole glass have another shape. A pixel of rounding is allowed.
        same_shape = abs(width / w * h - height) <= width / w and abs(height / h * w - width) <= height / h
        if last is None or (same_shape and w < last and not series.axes.startswith(("Z", "T"))):
            yield series
            last = w


def _size(series: TiffPageSeries) -> tuple[int, int]:
    page: Any = series.keyframe
    return int(page.imagewidth), int(page.imagelength)


def _area(series: TiffPageSeries) -> int:
    width, height = _size(series)
    return width * height


def _um_per_px(tiff: TiffFile, page: Any) -> float | None:
    """What OME-XML says, else Aperio's description, else ImageJ or the resolution of the page."""
    if tiff.ome_metadata and (um := _of_ome(tiff, page)):
        return um
    if found := re.search(r"\bMPP\s*=\s*([\d.]+)", page.description):
        return plausible_um(float(found[1]), float(found[1]))
    unit = _UM_PER_UNIT.get(int(page.resolutionunit))
    if tiff.imagej_metadata:
        unit = _UM.get(str(tiff.imagej_metadata.get("unit", "")).replace("\\u00B5", "µ"))
    x, y = page.resolution
    return plausible_um(unit / x, unit / y) if unit and x and y else None


def _of_ome(tiff: TiffFile, page: Any) -> float | None:
    """`PhysicalSizeX` and its unit, of the picture whose page it is."""
    at = next(n for n, series in enumerate(tiff.series) if series.keyframe is page)
    # Searched, not parsed: nothing else is wanted of a text from outside.
    pictures = re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", tiff.ome_metadata or "")
    if at >= len(pictures):
        return None
    sizes = []
    for axis in "XY":
        found = re.search(rf'\bPhysicalSize{axis}="([\d.eE+-]+)"', pictures[at])
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', pictures[at])
        sizes.append(float(found[1]) * _UM.get(unit[1] if unit else "µm", 0.0) if found else None)
    return plausible_um(*sizes)
