"""A picture that a client sends becomes a kept field: judged, detected, kept. Its file name is never looked at.

The picture is decoded from a private temporary file, so that size and format are judged from the header alone before
anything is decoded, by the same reader as everywhere. JPEG and PNG are kept byte for byte; TIFF is kept as PNG, which a
browser shows.
"""

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.field import FieldImage
from marrowscope.cells.specimen import KeptField, SpecimenState
from marrowscope.data.images import read_image
from marrowscope.errors import BadImage, BadInput, Locked
from marrowscope.web.services import Services

SMALLEST_PX = 32
_KEPT_AS_THEY_ARE = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}
_TIFF = (b"II*\x00", b"MM\x00*")


def keep_upload(works: Services, specimen_id: int, slide_id: int, file: BinaryIO, *, by: str) -> KeptField:
    """Detect in the picture and keep it. BadImage: no JPEG, PNG or TIFF, corrupt, too large or too small."""
    slides = {slide.id for slide in works.store.slides(specimen_id)}
    if slide_id not in slides:
        raise BadInput(f"slide {slide_id} is not one of specimen {specimen_id}. Choose one of its slides.")
    # Asked before the work of detection; the archive asks again when it keeps.
    if works.store.specimen(specimen_id).state is SpecimenState.SIGNED:
        raise Locked(f"specimen {specimen_id} is signed. Amend its report to add fields.")
    data, field = read_upload(file, max_pixels=int(works.settings.upload_megapixels * 1e6))
    detections, model_id = works.examine(field)
    return works.desk.keep_picture(
        slide_id, data, detections, width=field.width, height=field.height, model_id=model_id, by=by
    )


def read_upload(file: BinaryIO, *, max_pixels: int) -> tuple[bytes, FieldImage]:
    """The bytes to keep, and the pixels. BadImage as `keep_upload`."""
    data = file.read()
    is_tiff = data[:4] in _TIFF
    if not is_tiff and not any(data.startswith(magic) for magic in _KEPT_AS_THEY_ARE):
        raise BadImage("the upload is no JPEG, PNG or TIFF picture. Export the field as one of these.")
    handle, name = tempfile.mkstemp(prefix="marrowscope-upload-")
    try:
        with os.fdopen(handle, "wb") as private:
            private.write(data)
        field = _read(Path(name), max_pixels)
    finally:
        Path(name).unlink(missing_ok=True)
    if min(field.width, field.height) < SMALLEST_PX:
        raise BadImage(
            f"the upload has {field.width} x {field.height} pixels. A field has {SMALLEST_PX} a side at least."
        )
    return (_as_png(field.pixels) if is_tiff else data), field


def _read(path: Path, max_pixels: int) -> FieldImage:
    try:
        return read_image(path, max_pixels=max_pixels, name="upload")
    except BadImage as error:
        # The temporary path would tell the client nothing but where our files lie.
        raise type(error)(str(error).replace(str(path), "the upload")) from None


def _as_png(pixels: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise BadImage("the upload cannot be kept as PNG. Export it as JPEG or PNG.")
    return bytes(data.tobytes())
