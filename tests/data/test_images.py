import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from marrowscope.data.images import ImageTooLarge, ImageTransfer, image_size, read_image, transfer_image
from marrowscope.errors import BadImage

RED_OVER_BLUE = np.concatenate([np.full((40, 60, 3), (200, 10, 20)), np.full((40, 60, 3), (10, 20, 200))]).astype(
    np.uint8
)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg"])
def test_every_format_gives_the_same_red_over_blue(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"field{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {"quality": 98, "subsampling": 0} if suffix == ".jpg" else {}
    Image.fromarray(RED_OVER_BLUE).save(path, **options)
    field = read_image(path)
    assert image_size(path) == (field.width, field.height) == (60, 80)
    assert field.name == "field"
    assert field.origin.path == path
    assert np.abs(field.pixels.astype(int) - RED_OVER_BLUE).max() <= (6 if suffix == ".jpg" else 0)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    Image.fromarray(RED_OVER_BLUE).save(path, format="PNG")
    assert (read_image(path).pixels == RED_OVER_BLUE).all()


def test_a_reduced_decode_keeps_the_original_size_and_reaches_what_is_asked(make_jpeg, tmp_path: Path) -> None:
    path = make_jpeg(tmp_path / "a.jpg", 1600, 1200)
    field = read_image(path, at_least=(500, 375))
    assert (field.width, field.height) == (1600, 1200)
    height, width = field.pixels.shape[:2]
    assert width >= 500
    assert height >= 375
    assert width < 1600
    full = read_image(path)
    assert full.pixels.shape == (1200, 1600, 3)
    shrunk = cv2.resize(full.pixels, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - field.pixels).mean() < 3


def test_a_reduced_decode_is_never_an_enlargement(make_jpeg, tmp_path: Path) -> None:
    assert read_image(make_jpeg(tmp_path / "a.jpg", 160, 120), at_least=(999, 999)).pixels.shape == (120, 160, 3)


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    grey = np.arange(80, dtype=np.uint8).reshape(8, 10)
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png").pixels == grey[:, :, None]).all()
    (tmp_path / "a.jpg").write_bytes(simplejpeg.encode_jpeg(grey[:, :, None].copy(), 100, "GRAY"))
    pixels = read_image(tmp_path / "a.jpg").pixels
    assert pixels.shape == (8, 10, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_top_byte(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    path = tmp_path / f"deep{suffix}"
    assert cv2.imwrite(str(path), deep[:, :, ::-1])
    assert image_size(path) == (30, 20)
    assert (read_image(path).pixels == np.broadcast_to(deep >> 8, (20, 30, 3))).all()


def test_transparency_shows_white_and_palettes_their_colours(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[0] = (10, 20, 30, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png").pixels
    assert (read[0] == (10, 20, 30)).all()
    assert (read[1:] == 255).all()
    Image.fromarray(RED_OVER_BLUE).quantize(4).save(tmp_path / "p.png")
    assert np.abs(read_image(tmp_path / "p.png").pixels.astype(int) - RED_OVER_BLUE).max() < 4


def test_a_cmyk_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(RED_OVER_BLUE).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    assert np.abs(read_image(tmp_path / "a.jpg").pixels.astype(int) - RED_OVER_BLUE).max() < 12


def test_exif_orientation_is_ignored_as_boxes_are_about_stored_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(RED_OVER_BLUE).save(path, exif=exif)
        assert image_size(path) == (60, 80)
        assert read_image(path).pixels.shape == (80, 60, 3)


def test_names_outside_ascii_are_found(make_jpeg, tmp_path: Path) -> None:
    path = make_jpeg(tmp_path / "骨髓 №1" / "早幼红é🔬.jpg", 64, 48)
    assert read_image(path).name == "早幼红é🔬"
    assert image_size(path) == (64, 48)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.02])
def test_a_truncated_image_is_refused_by_name(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, format={".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper()))
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(out.getvalue()[: int(len(out.getvalue()) * share)])
    with pytest.raises(BadImage, match=f"cut{suffix}.*\\."):
        read_image(path)


def test_a_truncated_deep_tiff_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    noise = np.random.default_rng(0).integers(0, 65536, (60, 80, 3)).astype(np.uint16)
    assert cv2.imwrite(str(path), noise, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadImage, match=r"deep\.tif"):
        read_image(path)


def test_damage_in_the_middle_of_a_jpeg_is_refused(make_jpeg, tmp_path: Path) -> None:
    path = make_jpeg(tmp_path / "a.jpg", 320, 240)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd9" * 20
    path.write_bytes(data)
    with pytest.raises(BadImage, match=r"a\.jpg: the JPEG is truncated or corrupt"):
        read_image(path)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", bytes(range(1, 65))]
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for look in (image_size, read_image):
        with pytest.raises(BadImage, match=r"a\.png"):
            look(path)


def test_a_missing_image_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"no such image\. Restore"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(BadImage):
        image_size(tmp_path)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            _chunk(*c)
            for c in (
                (b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)),
                (b"IDAT", zlib.compress(bytes(9999))),
                (b"IEND", b""),
            )
        )
    )
    with pytest.raises(ImageTooLarge, match=r"30000 x 30000 pixels.*limit of 200000000"):
        image_size(path)
    with pytest.raises(ImageTooLarge):
        read_image(path)


def test_the_limit_is_the_callers(make_jpeg, tmp_path: Path) -> None:
    path = make_jpeg(tmp_path / "a.jpg", 100, 80)
    assert read_image(path, max_pixels=8000).width == 100
    with pytest.raises(ImageTooLarge):
        read_image(path, max_pixels=7999)


@pytest.mark.parametrize("how", list(ImageTransfer))
def test_an_image_comes_along_unchanged(make_jpeg: Callable[..., Path], tmp_path: Path, how: ImageTransfer) -> None:
    source = make_jpeg(tmp_path / "a.jpg", 32, 24)
    target = tmp_path / "deep" / "er" / "b.jpg"
    transfer_image(source, target, how)
    assert target.read_bytes() == source.read_bytes()
    transfer_image(source, target, how)
    transfer_image(source, source, how)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(BadImage, match="gone"):
        transfer_image(tmp_path / "gone.jpg", target, how)
