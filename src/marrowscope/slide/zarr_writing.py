"""A pyramid as OME-Zarr 0.4, the version that most programs read: axes c, y, x; one chunk a tile; Blosc."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc

from marrowscope.slide.pyramid import Tile


def write_zarr(
    folder: Path,
    tiles: Iterator[Tile],
    sizes: Sequence[tuple[int, int]],
    tile_px: int,
    um_per_px: float | None,
    name: str,
) -> None:
    """Write tiles of all levels into a folder that is there."""
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    arrays = [
        group.create_array(
            str(n),
            shape=(3, height, width),
            chunks=(3, tile_px, tile_px),
            dtype=np.uint8,
            compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.SHUFFLE),
            fill_value=255,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        for n, (width, height) in enumerate(sizes)
    ]
    group.attrs["multiscales"] = [_multiscale(len(sizes), um_per_px, name)]
    for tile in tiles:
        y, x = tile.row * tile_px, tile.column * tile_px
        high, wide = tile.pixels.shape[:2]
        arrays[tile.level][:, y : y + high, x : x + wide] = np.moveaxis(tile.pixels, -1, 0)


def _multiscale(levels: int, um_per_px: float | None, name: str) -> dict[str, Any]:
    space: dict[str, str] = {"type": "space"} if um_per_px is None else {"type": "space", "unit": "micrometer"}
    finest = 1.0 if um_per_px is None else um_per_px
    return {
        "version": "0.4",
        "name": name,
        "type": "2 x 2 mean",
        "axes": [{"name": "c", "type": "channel"}, {"name": "y", **space}, {"name": "x", **space}],
        "datasets": [
            {
                "path": str(n),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0, finest * 2**n, finest * 2**n]},
                ],
            }
            for n in range(levels)
        ],
    }
