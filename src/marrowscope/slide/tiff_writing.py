"""A pyramid as a TIFF: OME-TIFF with its levels in SubIFDs, or plain BigTIFF with one page a level."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage, TiffWriter

from marrowscope.slide.encoding import Coding, EncodedTile, Packing, Spool

_SUBSAMPLING = 530


def write_tiff(
    path: Path,
    tiles: Iterator[EncodedTile],
    sizes: Sequence[tuple[int, int]],
    coding: Coding,
    um_per_px: float | None,
    *,
    ome: bool,
) -> None:
    """Write tiles of all levels, each level's in reading order, to one file. Coarser levels wait beside it."""
    with ExitStack() as open_files:
        spools = [open_files.enter_context(closing(Spool(path.parent))) for _ in sizes[1:]]
        tiff = open_files.enter_context(TiffWriter(path, bigtiff=True, ome=ome))
        below = len(sizes) - 1 if ome else 0
        about = {"axes": "YXS", **_physical(um_per_px)} if ome else None
        tiff.write(
            _finest(tiles, spools),
            **_page(sizes[0], coding, um_per_px),
            subifds=below,
            metadata=about,
            software="marrowscope",
        )
        for tile in tiles:  # coarser ones, that the last row completed
            spools[tile.level - 1].add(tile.data)
        for n, (size, spool) in enumerate(zip(sizes[1:], spools, strict=True), 1):
            um = None if um_per_px is None else um_per_px * 2**n
            tiff.write(iter(spool), **_page(size, coding, um), subfiletype=1, metadata=None)
    if coding.packing is Packing.JPEG:
        _say_jpeg(path)


def _finest(tiles: Iterator[EncodedTile], spools: Sequence[Spool]) -> Iterator[bytes]:
    for tile in tiles:
        if tile.level:
            spools[tile.level - 1].add(tile.data)
        else:
            yield tile.data


def _page(size: tuple[int, int], coding: Coding, um_per_px: float | None) -> dict[str, Any]:
    """What is said of a page."""
    page: dict[str, Any] = {"shape": (size[1], size[0], 3), "dtype": np.uint8, "tile": (coding.tile_px,) * 2}
    page |= {"photometric": "rgb", "compression": "adobe_deflate"}
    if coding.packing is Packing.JPEG:
        page["extratags"] = [(_SUBSAMPLING, "H", 2, (2, 1), True)]
    else:
        page["predictor"] = "horizontal"
    if um_per_px is not None:
        page |= {"resolution": (1e4 / um_per_px,) * 2, "resolutionunit": "centimeter"}
    return page


def _say_jpeg(path: Path) -> None:
    """Tell what the tiles really are. tifffile writes tiles that are compressed already, but the word JPEG only where
    another package, which we have no need of, could compress them.
    """
    with TiffFile(path, mode="r+") as tiff:
        for page in (p for series in tiff.series for level in series.levels for p in level):
            if isinstance(page, TiffPage):
                page.tags["Compression"].overwrite(COMPRESSION.JPEG)
                page.tags["PhotometricInterpretation"].overwrite(PHOTOMETRIC.YCBCR)


def _physical(um_per_px: float | None) -> dict[str, Any]:
    if um_per_px is None:
        return {}
    return {f"PhysicalSize{axis}{what}": v for axis in "XY" for what, v in (("", um_per_px), ("Unit", "µm"))}
