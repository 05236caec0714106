"""TIFFs as programs write them: tiles, strips, planes, palettes, compressions; and those that are refused."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image

from helpers.slides import picture
from marrowscope.errors import BadSlide
from marrowscope.slide.tiff_slide import TiffSlide
from marrowscope.slide.tiff_tile import JPEG, RGB, YCBCR, TileTags, decode_tile

PIXELS = picture(75, 50)
GREY = PIXELS[..., 0]


def with_tifffile(pixels: np.ndarray, **how: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, metadata=None, **how)


def with_pillow(image: Image.Image, compression: str, **how: Any) -> Callable[[Path], None]:
    return lambda path: image.save(path, "TIFF", compression=compression, **how)


IMAGE = Image.fromarray(PIXELS)
EXACT: dict[str, tuple[Callable[[Path], None], np.ndarray]] = {
    "one uncompressed strip": (with_tifffile(PIXELS, photometric="rgb"), PIXELS),
    "strips": (with_tifffile(PIXELS, photometric="rgb", rowsperstrip=16), PIXELS),
    "strips, big-endian BigTIFF": (
        with_tifffile(PIXELS, photometric="rgb", rowsperstrip=16, byteorder=">", bigtiff=True),
        PIXELS,
    ),
    "deflated strips": (with_tifffile(PIXELS, photometric="rgb", rowsperstrip=16, compression="zlib"), PIXELS),
    "tiles": (with_tifffile(PIXELS, photometric="rgb", tile=(16, 32)), PIXELS),
    "tiles with a predictor": (
        with_tifffile(PIXELS, photometric="rgb", tile=(16, 32), compression="zlib", predictor=True),
        PIXELS,
    ),
    "planes": (
        with_tifffile(np.moveaxis(PIXELS, -1, 0), photometric="rgb", planarconfig="separate", rowsperstrip=16),
        PIXELS,
    ),
    "planes in deflated tiles": (
        with_tifffile(
            np.moveaxis(PIXELS, -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 32), compression="zlib"
        ),
        PIXELS,
    ),
    "grey": (with_tifffile(GREY, photometric="minisblack", tile=(32, 32)), np.dstack([GREY] * 3)),
    "LZW": (with_pillow(IMAGE, "tiff_lzw"), PIXELS),
    "PackBits": (with_pillow(IMAGE, "packbits"), PIXELS),
    "ZSTD": (with_pillow(IMAGE, "zstd"), PIXELS),
    "palette": (with_pillow(IMAGE.quantize(200), "tiff_lzw"), np.asarray(IMAGE.quantize(200).convert("RGB"))),
}


@pytest.mark.parametrize("kind", EXACT)
def test_pixels_are_those_that_were_written(kind: str, tmp_path: Path) -> None:
    write, expected = EXACT[kind]
    write(tmp_path / "s.tif")
    with TiffSlide(tmp_path / "s.tif") as slide:
        assert [tuple(level) for level in slide.levels] == [(75, 50, 1.0)]
        assert (slide.read(0, 0, 0, 75, 50) == expected).all()
        assert (slide.read(0, 30, 20, 20, 20) == expected[20:40, 30:50]).all()


def test_what_is_transparent_shows_the_background(tmp_path: Path) -> None:
    alpha = np.full((50, 75, 1), 255, np.uint8)
    alpha[:25] = 0
    with_tifffile(np.dstack([PIXELS, alpha]), photometric="rgb", tile=(16, 16), extrasamples=["unassalpha"])(
        tmp_path / "s.tif"
    )
    with TiffSlide(tmp_path / "s.tif") as slide:
        there = slide.read(0, 0, 0, 75, 50)
    assert (there[:25] == 255).all()
    assert (there[25:] == PIXELS[25:]).all()


def test_jpeg_strips_of_pillow_share_their_tables(tmp_path: Path) -> None:
    with_pillow(IMAGE, "jpeg", quality=95)(tmp_path / "s.tif")
    with tifffile.TiffFile(tmp_path / "s.tif") as tiff:
        assert tiff.pages.first.jpegtables  # else it is no test of them
    with TiffSlide(tmp_path / "s.tif") as slide:
        assert np.abs(slide.read(0, 0, 0, 75, 50).astype(int) - PIXELS).mean() < 4


def test_the_tag_says_whether_a_jpeg_is_rgb() -> None:
    """Aperio's tiles are RGB in a JPEG that does not say so."""
    plain = simplejpeg.encode_jpeg(np.ascontiguousarray(PIXELS), 95, "RGB", "444", False)
    # Without its JFIF marker the bytes do not tell what the components are.
    bare = plain[:2] + plain[4 + int.from_bytes(plain[4:6]) :]
    as_ycbcr = decode_tile(bare, 75, 50, TileTags(JPEG, YCBCR, 3))
    as_rgb = decode_tile(bare, 75, 50, TileTags(JPEG, RGB, 3))
    assert np.abs(as_ycbcr.astype(int) - PIXELS).mean() < 3
    assert np.abs(as_rgb.astype(int) - cv2.cvtColor(PIXELS, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]).mean() < 3


def test_a_jpeg_of_another_size_than_its_tile_is_refused_before_it_is_decoded() -> None:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(PIXELS))
    with pytest.raises(ValueError, match="75 x 50 pixels, not 32 x 32"):
        decode_tile(data, 32, 32, TileTags(JPEG, YCBCR, 3))


def test_levels_may_be_plain_pages_and_other_pictures_are_none(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        for pixels in (PIXELS, PIXELS[::2, ::2][:25, :37], picture(30, 30), PIXELS[::4, ::4][:12, :18]):
            tiff.write(pixels, photometric="rgb", metadata=None)
    with TiffSlide(tmp_path / "s.tif") as slide:
        assert [tuple(level) for level in slide.levels] == [(75, 50, 1.0), (37, 25, 2.0), (18, 12, 4.0)]


SCALES: dict[str, tuple[dict[str, Any], float | None]] = {
    "centimetres": ({"resolution": (40_000, 40_000), "resolutionunit": "centimeter"}, 0.25),
    "inches": ({"resolution": (101_600, 101_600), "resolutionunit": "inch"}, 0.25),
    "Aperio": ({"description": "Aperio |AppMag = 40|MPP = 0.2520"}, 0.252),
    "a printer's": ({"resolution": (72, 72), "resolutionunit": "inch"}, None),
    "none": ({}, None),
}


@pytest.mark.parametrize("kind", SCALES)
def test_the_scale_is_what_the_file_says_and_a_microscope_can_have(kind: str, tmp_path: Path) -> None:
    how, expected = SCALES[kind]
    with_tifffile(PIXELS, photometric="rgb", **how)(tmp_path / "s.tif")
    with TiffSlide(tmp_path / "s.tif") as slide:
        assert slide.um_per_px == (expected and pytest.approx(expected))


def test_the_scale_of_imagej_and_of_ome_in_other_units(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    about = {"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 250}
    tifffile.imwrite(tmp_path / "o.ome.tif", PIXELS, photometric="rgb", metadata={**about, "PhysicalSizeYUnit": "nm"})
    for name in ("i.tif", "o.ome.tif"):
        with TiffSlide(tmp_path / name) as slide:
            assert slide.um_per_px == pytest.approx(0.25)
            assert (slide.read(0, 0, 0, 75, 50) == PIXELS).all()


def test_three_pages_of_an_ome_tiff_are_the_three_colours(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "s.ome.tif", np.moveaxis(PIXELS, -1, 0), photometric="minisblack", metadata={"axes": "CYX"}
    )
    with TiffSlide(tmp_path / "s.ome.tif") as slide:
        assert (slide.read(0, 0, 0, 75, 50) == PIXELS).all()


def test_rows_of_an_uncompressed_picture_are_read_without_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a picture of any height, in one strip without a pyramid, takes memory for a few rows."""
    path = tmp_path / "s.tif"
    with_tifffile(np.zeros((3000, 8, 3), np.uint8), photometric="rgb")(path)
    read: list[int] = []
    ask = tifffile.FileHandle.read

    def told(file: tifffile.FileHandle, size: int = -1, /) -> bytes:
        read.append(size)
        return ask(file, size)

    with TiffSlide(path) as slide:
        monkeypatch.setattr(tifffile.FileHandle, "read", told)
        slide.read(0, 0, 1500, 8, 10)
    assert 0 < sum(read) <= 2 * 128 * 8 * 3


def test_a_tile_that_was_left_out_is_background(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"

    def tiles() -> Any:
        yield PIXELS[:32, :32]
        yield None

    tifffile.imwrite(path, tiles(), shape=(32, 64, 3), dtype=np.uint8, tile=(32, 32), photometric="rgb", metadata=None)
    with TiffSlide(path) as slide:
        there = slide.read(0, 0, 0, 64, 32)
    assert (there[:, :32] == PIXELS[:32, :32]).all()
    assert (there[:, 32:] == 255).all()


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "16 bits": (with_tifffile(PIXELS.astype(np.uint16), photometric="rgb"), "RGB of 8 bits"),
    "real numbers": (with_tifffile(GREY.astype(np.float32)), "RGB of 8 bits"),
    "five channels": (
        lambda path: tifffile.imwrite(path, np.zeros((5, 40, 60), np.uint8), ome=True, metadata={"axes": "CYX"}),
        r"5 C x 40 Y x 60 X.*as RGB",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_brightfield_picture_is_refused(kind: str, tmp_path: Path) -> None:
    write, words = REFUSED[kind]
    write(tmp_path / "s.tif")
    with pytest.raises(BadSlide, match=words):
        TiffSlide(tmp_path / "s.tif")


def test_a_strip_that_would_explode_in_memory_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    with_tifffile(PIXELS, photometric="rgb", compression="zlib", rowsperstrip=50)(path)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag, value in (("ImageLength", 2_000_000), ("RowsPerStrip", 2_000_000)):
            tiff.pages.first.tags[tag].overwrite(value, dtype="I")
    with pytest.raises(BadSlide, match=r"150 megapixels.*--tile"):
        TiffSlide(path)


def test_a_damaged_tile_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    with_tifffile(PIXELS, photometric="rgb", tile=(32, 32), compression="zlib")(path)
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages.first.dataoffsets[1], tiff.pages.first.databytecounts[1]
    data = bytearray(path.read_bytes())
    data[start : start + length] = b"\xa5" * length
    path.write_bytes(data)
    with TiffSlide(path) as slide:
        assert (slide.read(0, 0, 0, 32, 32) == PIXELS[:32, :32]).all()
        with pytest.raises(BadSlide, match=r"s\.tif \(level 0, tile 1, 0\): cannot be read.*Copy or scan it again"):
            slide.read(0, 30, 0, 10, 10)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused_when_it_is_opened(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    with_tifffile(PIXELS, photometric="rgb", rowsperstrip=10)(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BadSlide, match=r"s\.tif"):
        TiffSlide(path)


@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_nonsense_in_the_tags_is_a_bad_slide_or_a_readable_one(byte: int, tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    with_tifffile(PIXELS, photometric="rgb", tile=(32, 32), compression="zlib")(path)
    data = path.read_bytes()
    (table,) = struct.unpack("<L", data[4:8])
    for at in range(table, table + 2 + 12 * 14, 11):
        path.write_bytes(data[:at] + bytes([byte]) + data[at + 1 :])
        try:
            with TiffSlide(path) as slide:
                slide.read(0, 0, 0, 64, 40)
        except BadSlide as error:
            assert "s.tif" in str(error)  # noqa: PT017 (both ends are right)
