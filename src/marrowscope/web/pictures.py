"""Pictures for pages: whole fields as they were kept, thumbnails, crops of cells.

A picture is named by the SHA-256 of its field, so it never changes: the browser keeps it, and asks at most whether it
may. Thumbnails are kept on disk, where they can be made again from the pixels. Crops are kept in memory: a gallery asks
for the cells of fifty fields in no order of fields, so when a field is decoded for one cell, all its cells are cut.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from marrowscope.cells.files import write_atomically
from marrowscope.cells.specimen import Box, Cell, KeptField
from marrowscope.data.images import read_image

if TYPE_CHECKING:
    from marrowscope.store.store import Store

THUMBNAIL_WIDTH = 320
FIELD_BYTES = 120 * 1024 * 1024
"""Decoded fields that are held; one of 4000 x 3000 takes 36 MB."""
CROP_BYTES = 96 * 1024 * 1024
"""Crops that are held; one of 128 pixels takes about 5 KB."""
GALLERY_PX = 256
"""Crops up to this size are cut for a whole field at once; larger ones are looked at one by one."""
IMMUTABLE = "private, max-age=31536000, immutable"
SURROUNDINGS = 1.35
"""A crop shows a square this much larger than the cell's longer side."""
LEAST_CROP_PX = 48

V = TypeVar("V")


class Latest(Generic[V]):
    """Keeps what was used last, up to a total weight."""

    def __init__(self, most: int, weigh: Callable[[V], int]) -> None:
        self._most, self._weigh = most, weigh
        self._kept: OrderedDict[object, V] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: object) -> V | None:
        """The value of this key, if it is still there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: object, value: V) -> None:
        """Keep this one, and let go of what was not used for longest."""
        with self._lock:
            if (before := self._kept.pop(key, None)) is not None:
                self._weight -= self._weigh(before)
            self._kept[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._most and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._weight -= self._weigh(dropped)


class Turns:
    """One lock a name, while anybody wants it: what two ask for at once is made once."""

    def __init__(self) -> None:
        self._turns: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Wait until nobody else has the turn of this name."""
        with self._lock:
            turn, waiting = self._turns.get(name, (threading.Lock(), 0))
            self._turns[name] = turn, waiting + 1
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, waiting = self._turns[name]
                if waiting == 1:
                    del self._turns[name]
                else:
                    self._turns[name] = turn, waiting - 1


class Pictures:
    """Pictures of one archive. cache: folder for thumbnails; what is in it can be made again."""

    def __init__(self, store: "Store", cache: Path) -> None:
        self._store, self._cache = store, cache
        self._fields: Latest[NDArray[np.uint8]] = Latest(FIELD_BYTES, lambda pixels: pixels.nbytes)
        self._crops: Latest[bytes] = Latest(CROP_BYTES, len)
        self._turns = Turns()

    def whole(self, request: Request, field: KeptField) -> Response:
        """The bytes of a field as they were kept."""
        path = self._store.image_path(field.image)
        with path.open("rb") as file:
            kind = "image/png" if file.read(4) == b"\x89PNG" else "image/jpeg"
        return _unchanged(request, field.image) or FileResponse(path, media_type=kind, headers=_lasting(field.image))

    def thumbnail(self, request: Request, field: KeptField) -> Response:
        """A small JPEG of the whole field."""
        tag = f"{field.image}-{THUMBNAIL_WIDTH}"
        return _unchanged(request, tag) or _jpeg(self._thumbnail(field), tag)

    def crop(self, request: Request, field: KeptField, cell: Cell, size: int) -> Response:
        """A square JPEG around a cell, `size` pixels a side; beyond the edge of the field lies the glass's colour."""
        tag = _crop_tag(field, cell, size)
        return _unchanged(request, tag) or _jpeg(self._crop(field, cell, size), tag, lasting=False)

    def _crop(self, field: KeptField, cell: Cell, size: int) -> bytes:
        tag = _crop_tag(field, cell, size)
        if (ready := self._crops.get(tag)) is not None:
            return ready
        with self._turns.of(field.image):
            if (ready := self._crops.get(tag)) is not None:
                return ready
            pixels = self._fields.get(field.image)
            if pixels is None:
                pixels = read_image(self._store.image_path(field.image)).pixels
                self._fields.put(field.image, pixels)
            beside = self._store.field_cells(field.id) if size <= GALLERY_PX else []
            for other in beside:
                if self._crops.get(key := _crop_tag(field, other, size)) is None:
                    self._crops.put(key, cut(pixels, other.box, size))
            made = cut(pixels, cell.box, size)
            self._crops.put(tag, made)
        return made

    def _thumbnail(self, field: KeptField) -> bytes:
        path = self._cache / field.image[:2] / f"{field.image[2:]}-{THUMBNAIL_WIDTH}.jpg"
        try:
            return path.read_bytes()
        except OSError:
            height = max(1, round(field.height * THUMBNAIL_WIDTH / field.width))
            small = read_image(self._store.image_path(field.image), at_least=(THUMBNAIL_WIDTH, height)).pixels
            data = _encode(
                np.asarray(cv2.resize(small, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
            )
            write_atomically(path, data)
            return data


def _crop_tag(field: KeptField, cell: Cell, size: int) -> str:
    return f"{field.image}-{'-'.join(f'{edge:.1f}' for edge in cell.box)}-{size}"


def cut(pixels: NDArray[np.uint8], box: Box, size: int) -> bytes:
    """A square JPEG of `size` pixels a side around a box; what lies beyond the field has the colour of empty glass."""
    x1, y1, x2, y2 = box
    side = max(1, round(max(SURROUNDINGS * max(x2 - x1, y2 - y1), LEAST_CROP_PX)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    square = np.full((side, side, 3), _GLASS, np.uint8)
    height, width = pixels.shape[:2]
    seen_x, seen_y = slice(max(left, 0), min(left + side, width)), slice(max(top, 0), min(top + side, height))
    if seen_x.stop > seen_x.start and seen_y.stop > seen_y.start:
        inside = slice(seen_y.start - top, seen_y.stop - top), slice(seen_x.start - left, seen_x.stop - left)
        square[inside] = pixels[seen_y, seen_x]
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return _encode(np.asarray(cv2.resize(square, (size, size), interpolation=how), np.uint8))


_GLASS = (235, 228, 234)


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=88, colorspace="RGB"))


def _lasting(tag: str) -> dict[str, str]:
    return {"etag": f'"{tag}"', "cache-control": IMMUTABLE}


def _jpeg(data: bytes, tag: str, *, lasting: bool = True) -> Response:
    # The box of a cell may be moved, so its crop is asked for again, and mostly answered with 304.
    headers = _lasting(tag) if lasting else {"etag": f'"{tag}"', "cache-control": "private, no-cache"}
    return Response(data, media_type="image/jpeg", headers=headers)


def _unchanged(request: Request, tag: str) -> Response | None:
    """304 where the browser has this very picture."""
    known = [t.strip().removeprefix("W/") for t in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers={"etag": f'"{tag}"'}) if f'"{tag}"' in known else None
