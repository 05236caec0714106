"""Slides to files: any `WholeSlide` as a pyramid, in one pass and in bounded memory.

    NAME.ome.tiff     OME-TIFF, tiled, levels in SubIFDs
    NAME.tiff         BigTIFF, tiled, levels as pages that follow one another
    NAME.zarr         OME-Zarr 0.4, always without loss
    NAME.dicom        a folder of DICOM VL Whole Slide Microscopy images, one a level

Each is written aside and renamed: one that is there is whole.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from marrowscope.cells.files import replacing, replacing_folder
from marrowscope.errors import BadInput, MissingExtra
from marrowscope.slide.encoding import Coding, EncodedTile, Packing
from marrowscope.slide.pyramid import Tile, pyramid_sizes, pyramid_tiles
from marrowscope.slide.slide import WholeSlide

Progress = Callable[[int, int], None]
"""Called with (tiles of the finest level that are done, of all)."""


class SlideForm(Enum):
    """What can be written, by the endings of its name."""

    OME_TIFF = (".ome.tiff", ".ome.tif")
    TIFF = (".tiff", ".tif", ".btf")
    OME_ZARR = (".zarr",)
    DICOM = (".dicom",)


def form_of(path: Path) -> SlideForm:
    """What a name asks for. BadInput for others."""
    for form in SlideForm:
        if path.name.lower().endswith(form.value):
            return form
    known = ", ".join(ending for form in SlideForm for ending in form.value)
    raise BadInput(f"{path}: does not say how to write the slide. End its name with one of {known}.")


def write_slide(
    slide: WholeSlide,
    path: Path,
    *,
    quality: int | None = 90,
    tile_px: int = 512,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write the finest level of `slide` and a pyramid over it; the name says in which form.

    quality: of JPEG, 1-100; None writes without loss. workers: threads that read and compress.
    BadInput: an unknown name; a folder that is there; what the form cannot hold. MissingExtra.
    """
    form = form_of(path)
    if form in (SlideForm.OME_ZARR, SlideForm.DICOM) and path.exists():
        raise BadInput(f"{path}: exists already. Give another name, or delete it first.")
    sizes = pyramid_sizes(slide.levels[0].width, slide.levels[0].height, tile_px)
    if quality is not None:
        coding = Coding(tile_px, Packing.JPEG, quality)
    else:
        coding = Coding(tile_px, Packing.PLAIN if form is SlideForm.DICOM else Packing.DEFLATED)
    with _library_of(form), _threads(workers or min(os.cpu_count() or 1, 8)) as pool:
        tiles = pyramid_tiles(lambda *place: slide.read(0, *place), sizes, tile_px, pool)
        counted = _counted(tiles, sizes[0], tile_px, progress)
        if form is SlideForm.OME_ZARR:
            from marrowscope.slide.zarr_writing import write_zarr

            with replacing_folder(path) as aside:
                write_zarr(aside, counted, sizes, tile_px, slide.um_per_px, path.name)
        elif form is SlideForm.DICOM:
            from marrowscope.slide.dicom_writing import write_dicom

            with replacing_folder(path) as aside:
                write_dicom(aside, _encoded(counted, coding, pool), sizes, coding, slide.um_per_px, path.stem)
        else:
            from marrowscope.slide.tiff_writing import write_tiff

            is_ome = form is SlideForm.OME_TIFF
            with replacing(path) as aside:
                write_tiff(aside, _encoded(counted, coding, pool), sizes, coding, slide.um_per_px, ome=is_ome)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that drop what they have not begun when the work is given up: a row of tiles may be long."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="slide")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _library_of(form: SlideForm) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtra(
            f"writing {form.value[0]}: {error.name} is not installed. pip install 'marrowscope[slides]'."
        ) from error


def _counted(tiles: Iterator[Tile], size: tuple[int, int], tile_px: int, progress: Progress) -> Iterator[Tile]:
    total = -(-size[0] // tile_px) * -(-size[1] // tile_px)
    done = 0
    for tile in tiles:
        yield tile
        if tile.level == 0:
            done += 1
            progress(done, total)


def _encoded(tiles: Iterator[Tile], coding: Coding, pool: ThreadPoolExecutor) -> Iterator[EncodedTile]:
    """The tiles compressed, in order; a few are on their way at any time."""
    under_way: deque[Future[EncodedTile]] = deque()
    for tile in tiles:
        under_way.append(pool.submit(coding.encode, tile))
        if len(under_way) > 16:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
