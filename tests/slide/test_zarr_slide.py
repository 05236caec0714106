"""Zarr as programs write it: OME-Zarr 0.4 and 0.5, axes in any order, groups in groups."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from helpers.slides import picture, written
from marrowscope.errors import BadSlide
from marrowscope.slide.zarr_slide import ZarrSlide

PIXELS = picture(75, 50)


def multiscales(axes: str, scale: list[float], unit: str = "micrometer") -> list[dict[str, Any]]:
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": a, "type": kinds.get(a, "space")} | ({"unit": unit} if a in "zyx" else {}) for a in axes]
    move = [{"type": "scale", "scale": scale}]
    return [{"version": "0.4", "axes": named, "datasets": [{"path": "0", "coordinateTransformations": move}]}]


def put(group: zarr.Group, pixels: np.ndarray, chunks: tuple[int, ...]) -> None:
    group.create_array("0", shape=pixels.shape, chunks=chunks, dtype=pixels.dtype)[:] = pixels


def test_version_0_5_with_time_and_depth_and_nanometres(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=3)
    put(group, np.moveaxis(PIXELS, -1, 0)[None, :, None], (1, 1, 1, 20, 30))
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales("tczyx", [1, 1, 1, 300, 200], "nanometer")}
    with ZarrSlide(tmp_path / "s.zarr") as slide:
        assert slide.um_per_px == pytest.approx(0.25)
        assert (slide.read(0, 0, 0, 75, 50) == PIXELS).all()


def test_colours_may_come_last_and_the_picture_in_a_group_of_its_own(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=2)
    inner = root.create_group("0")
    put(inner, PIXELS, (20, 30, 3))
    inner.attrs["multiscales"] = multiscales("yxc", [0.5, 0.5, 1])
    with ZarrSlide(tmp_path / "s.zarr") as slide:
        assert slide.um_per_px == 0.5
        assert (slide.read(0, 10, 5, 40, 40) == PIXELS[5:45, 10:50]).all()


def test_a_grey_array_is_grey(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "s.zarr", shape=(50, 75), chunks=(20, 30), dtype=np.uint8)[:] = PIXELS[..., 1]
    with ZarrSlide(tmp_path / "s.zarr") as slide:
        assert (slide.read(0, 0, 0, 75, 50) == PIXELS[..., 1:2]).all()


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "deep.zarr", shape=(50, 75, 3), chunks=(20, 30, 3), dtype=np.uint16)
    with pytest.raises(BadSlide, match=r"deep\.zarr.*8 bits.*uint16"):
        ZarrSlide(tmp_path / "deep.zarr")
    zarr.open_group(tmp_path / "table.zarr", mode="w")
    with pytest.raises(BadSlide, match=r"table\.zarr.*multiscales"):
        ZarrSlide(tmp_path / "table.zarr")


def test_a_chunk_that_would_explode_in_memory_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "s.zarr", shape=(10**5, 10**5, 3), chunks=(10**5, 10**4, 3), dtype=np.uint8)
    with pytest.raises(BadSlide, match="1000 megapixels"):
        ZarrSlide(tmp_path / "s.zarr")


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "s.zarr", PIXELS)
    chunk = path / "0" / "0" / "0" / "1"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with ZarrSlide(path) as slide:
        assert (slide.read(0, 0, 0, 32, 32) == PIXELS[:32, :32]).all()
        with pytest.raises(BadSlide, match=r"s\.zarr \(level 0, tile 1, 0\)"):
            slide.read(0, 40, 0, 5, 5)
