"""Image files -> pixels: the one home of decoding.

The header is read first, and an image beyond `max_pixels` is refused before a byte of it is decoded. JPEG is decoded
by simplejpeg (libjpeg-turbo), at a reduced scale where `at_least` permits; other formats by Pillow, and 16-bit colour
TIFF, which Pillow cannot open, by OpenCV.

EXIF orientation is ignored: boxes are drawn on, and written in, stored pixels. 16-bit samples keep their top byte.
Transparent pixels are laid over white, the colour of an empty slide.
"""

import os
import shutil
from enum import Enum
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from marrowscope.cells.field import FieldImage, Origin
from marrowscope.cells.files import replacing
from marrowscope.errors import BadImage

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MAX_PIXELS = 200_000_000
"""Default limit, width x height. A 4000 x 3000 field has 12 million; a decoded pixel takes three bytes."""

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_COLOUR_TIFF_16 = "colour TIFF of 16 bits"


class ImageTooLarge(BadImage):
    """An image beyond the limit of pixels: it was not decoded."""


def image_size(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of the stored pixels, from the header alone. BadImage: missing, no image, or too large."""
    try:
        with path.open("rb") as file:
            _, width, height, _ = _header(path, file, max_pixels)
    except OSError as e:
        raise _unreadable(path, e) from e
    return width, height


def read_image(
    path: Path, *, at_least: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> FieldImage:
    """Decode a field to RGB; its name is the file's stem unless given.

    at_least: (width, height) that the pixels must reach; a JPEG is then decoded at the smallest scale (1, 1/2, 1/4,
    1/8) that does, at a fraction of the time. `width` and `height` are those of the original all the same.
    BadImage: missing, truncated, corrupt, of an unknown format, or too large.
    """
    try:
        with path.open("rb") as file:
            kind, width, height, image = _header(path, file, max_pixels)
            if kind == "JPEG" and image.mode != "CMYK":
                file.seek(0)
                pixels = _decode_jpeg(path, file.read(), at_least)
            elif kind == _COLOUR_TIFF_16:
                file.seek(0)
                pixels = _decode_with_opencv(path, file.read())
            else:
                pixels = pillow_pixels(path, image)
    except OSError as e:
        raise _unreadable(path, e) from e
    return FieldImage(pixels, name or path.stem, width, height, origin=Origin(path))


def _unreadable(path: Path, error: OSError) -> BadImage:
    if isinstance(error, FileNotFoundError):
        return BadImage(f"{path}: no such image. Restore the file, or take its name out of the list.")
    return BadImage(f"{path}: cannot be read ({error}). Export the image again, or leave the field out.")


def _header(path: Path, file: IO[bytes], max_pixels: int) -> tuple[str, int, int, Any]:
    """Format, size and Pillow's lazy image (None for a 16-bit colour TIFF).

    Pillow's factories are called directly: `Image.open` has a limit of its own, global and by way of warnings.
    """
    Image.preinit()
    Image.init()
    prefix = file.read(16)
    kind = next((f for f in _FORMATS if (accept := Image.OPEN[f][1]) is None or accept(prefix)), None)
    if kind is None:
        raise BadImage(f"{path}: is no image that is understood. Save it as JPEG, PNG or TIFF.")
    file.seek(0)
    image: Any = None
    try:
        image = Image.OPEN[kind][0](file, str(path))
        width, height = image.size
    except Exception as e:  # Pillow's parsers let struct, index and syntax errors through on bad input.
        if kind != "TIFF" or "unknown pixel mode" not in str(e):
            raise BadImage(f"{path}: its header is corrupt ({e}). Export the image again.") from e
        kind, (width, height) = _COLOUR_TIFF_16, _tiff_size(path, file)
    # A file much longer than its own pixels is no image either; reading it whole would fill the memory.
    length = path.stat().st_size
    if width * height > max_pixels or length > 16 * max_pixels:
        raise ImageTooLarge(
            f"{path}: {width} x {height} pixels, {length} bytes, is more than the limit of {max_pixels} pixels. "
            "Cut the image into fields, or raise the limit."
        )
    if width <= 0 or height <= 0:
        raise BadImage(f"{path}: has no pixels ({width} x {height}). Export the image again.")
    return kind, int(width), int(height), image


def _tiff_size(path: Path, file: IO[bytes]) -> tuple[int, int]:
    try:
        file.seek(0)
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        return int(directory[TiffImagePlugin.IMAGEWIDTH]), int(directory[TiffImagePlugin.IMAGELENGTH])
    except Exception as e:
        raise BadImage(f"{path}: its header is corrupt ({e}). Export the image again.") from e


def _decode_jpeg(path: Path, data: bytes, at_least: tuple[int, int] | None) -> NDArray[np.uint8]:
    min_width, min_height = at_least or (0, 0)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", min_width=min_width, min_height=min_height)
    except ValueError as e:
        raise BadImage(f"{path}: the JPEG is truncated or corrupt ({e}). Export the image again.") from e
    return pixels


def pillow_pixels(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB of an image that Pillow opened. BadImage, naming `path`, where it cannot be had."""
    try:
        if image.mode.startswith("I;16"):
            grey = (np.asarray(image) // 256).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if image.mode in ("I", "F"):
            raise BadImage(f"{path}: has 32-bit samples ({image.mode}). Save the image with 8 or 16 bits a channel.")
        if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
            above = image.convert("RGBA")
            white = Image.new("RGBA", above.size, "white")
            image = Image.alpha_composite(white, above)
        return np.array(image.convert("RGB"), dtype=np.uint8)
    except BadImage:
        raise
    except Exception as e:  # truncated files surface as OSError, SyntaxError, EOFError, struct.error, ...
        raise BadImage(f"{path}: the image is truncated or corrupt ({e}). Export the image again.") from e


def _decode_with_opencv(path: Path, data: bytes) -> NDArray[np.uint8]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise BadImage(f"{path}: the TIFF is truncated, corrupt or of a rare kind. Save it as 8-bit PNG or TIFF.")
    return np.ascontiguousarray((pixels[:, :, ::-1] // 256).astype(np.uint8))


class ImageTransfer(Enum):
    """How an image file comes along when labels are written elsewhere."""

    COPY = "copy"
    LINK = "link"
    """A hard link: no time, no space, but one file under two names. Copied where the disk differs."""


def transfer_image(source: Path, target: Path, how: ImageTransfer = ImageTransfer.COPY) -> None:
    """Put the image file at `target`, bytes unchanged; nothing happens where it is there already."""
    if not source.is_file():
        raise BadImage(f"{source}: no such image. Restore it, or leave the field out.")
    if target.exists() and target.samefile(source):
        return
    if how is ImageTransfer.LINK and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), target)
        except OSError:
            pass
        else:
            return
    with replacing(target) as aside:
        shutil.copyfile(source, aside)
