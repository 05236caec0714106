"""Zarr: OME-Zarr (NGFF multiscales, 0.4 and 0.5) and a plain array (h, w, 3)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from marrowscope.errors import BadSlide
from marrowscope.slide.tiled import TiledSlide, as_rgb, levels_of, naming, plausible_um

_UM = {"meter": 1e6, "centimeter": 1e4, "millimeter": 1e3, "micrometer": 1.0, "nanometer": 1e-3}


class ZarrSlide(TiledSlide):
    """A Zarr folder of uint8 in three colours, or grey. BadSlide for others, and damaged ones."""

    def __init__(self, path: Path) -> None:
        with naming(path):
            node = zarr.open(path, mode="r")
            if isinstance(node, zarr.Array):
                self._arrays, axes, um = [node], ["y", "x", "c"][: node.ndim], None
            else:
                self._arrays, axes, um = _multiscale(path, node)
            for array in self._arrays:
                _refuse_others(path, array, axes)
            sizes = [(a.shape[axes.index("x")], a.shape[axes.index("y")]) for a in self._arrays]
            tiles = [(a.chunks[axes.index("x")], a.chunks[axes.index("y")]) for a in self._arrays]
        self._axes = axes
        super().__init__(path, levels_of(sizes), tiles, um)

    def _read_tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        wide, high = self._tiles[level]
        spans = {"x": slice(column * wide, (column + 1) * wide), "y": slice(row * high, (row + 1) * high)}
        # The first of what a slide has once: time, focal plane.
        where = tuple(spans.get(axis, slice(None) if axis == "c" else 0) for axis in self._axes)
        pixels = np.asarray(self._arrays[level][where])
        if "c" in self._axes and self._axes.index("c") < self._axes.index("y"):
            pixels = np.moveaxis(pixels, 0, -1)
        return as_rgb(np.ascontiguousarray(pixels, np.uint8))

    def _release(self) -> None:
        """Chunks are opened and closed one by one."""


def _multiscale(path: Path, group: Any) -> tuple[list[Any], list[str], float | None]:
    """Its arrays finest first, the names of their axes, and micrometres a pixel."""
    about = dict(group.attrs)
    about = about.get("ome", about)
    # bioformats2raw puts each picture of a file into a group of its own.
    if "multiscales" not in about and "0" in group and not isinstance(group["0"], zarr.Array):
        return _multiscale(path, group["0"])
    if not about.get("multiscales"):
        raise BadSlide(f"{path}: is no OME-Zarr picture (no `multiscales`). Name the folder of the picture itself.")
    scales = about["multiscales"][0]
    arrays = [group[d["path"]] for d in scales["datasets"]]
    named = scales.get("axes") or ["t", "c", "z", "y", "x"]
    axes = [a if isinstance(a, str) else a["name"] for a in named]
    moves = [*scales["datasets"][0].get("coordinateTransformations", ()), *scales.get("coordinateTransformations", ())]
    return arrays, axes, _um_per_px(named, axes, moves)


def _um_per_px(named: Sequence[Any], axes: list[str], moves: Sequence[Any]) -> float | None:
    um: list[float | None] = []
    for name in "xy":
        at = axes.index(name)
        unit = named[at].get("unit") if isinstance(named[at], dict) else None
        size = float(np.prod([m["scale"][at] for m in moves if m["type"] == "scale"]))
        um.append(size * _UM[unit] if unit in _UM else None)
    return plausible_um(*um)


def _refuse_others(path: Path, array: Any, axes: list[str]) -> None:
    colours = array.shape[axes.index("c")] if "c" in axes else 1
    others = [n for n, axis in zip(array.shape, axes, strict=True) if axis not in ("c", "y", "x")]
    if array.dtype != np.uint8 or colours not in (1, 3, 4) or any(n != 1 for n in others):
        raise BadSlide(
            f"{path}: is no picture in RGB of 8 bits ({' x '.join(map(str, array.shape))} {array.dtype}). "
            f"Export one plane of the slide as RGB."
        )
