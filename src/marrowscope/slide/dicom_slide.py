"""DICOM whole slides: the instances of one series, read by wsidicom."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage
from wsidicom import Settings, WsiDicom

from marrowscope.errors import BadSlide
from marrowscope.slide.marks import dicom_files
from marrowscope.slide.tiled import TiledSlide, as_rgb, levels_of, naming, plausible_um, quiet

_HEADER = ["SOPClassUID", "SeriesInstanceUID", "ImageType"]

# Levels may be cut into tiles of their own size. Tiles are kept by `TiledSlide`, and not a second time.
_SETTINGS = Settings(strict_tile_size_check=False, decoded_frame_cache_size=0, encoded_frame_cache_size=0)


class DicomSlide(TiledSlide):
    """A slide as DICOM. path: the folder that holds its instances, or one of them.

    BadSlide where there is none, or where a folder holds more than one slide.
    """

    def __init__(self, path: Path) -> None:
        quiet("wsidicom")
        files = _files_of(path)
        with naming(path):
            self._slide = WsiDicom.open(files, settings=_SETTINGS)
        try:
            _refuse_unread(path, files, self._slide)
            with naming(path):
                self._groups = self._slide.pyramid.levels
                sizes = [(g.size.width, g.size.height) for g in self._groups]
                tiles = [(g.tile_size.width, g.tile_size.height) for g in self._groups]
                um = plausible_um(self._slide.mpp.width, self._slide.mpp.height)
            super().__init__(path, levels_of(sizes), tiles, um)
        except BadSlide:
            self._slide.close()
            raise

    def _read_tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        return as_rgb(self._slide.read_tile(self._groups[level].level, (column, row), as_array=True))

    def _release(self) -> None:
        self._slide.close()


def _refuse_unread(path: Path, files: list[Path], slide: WsiDicom) -> None:
    """BadSlide where a level was passed over: without its finest level a slide would seem whole, and be another."""
    read = {str(file) for file in slide.files or ()}
    for file in files:
        if (
            str(file) not in read
            and dcmread(file, stop_before_pixels=True, specific_tags=_HEADER).ImageType[2] == "VOLUME"
        ):
            raise BadSlide(f"{path}: {file.name} cannot be read; it is damaged, or of another slide. Export it again.")


def _files_of(path: Path) -> list[Path]:
    """The files of the slide's series."""
    folder = path if path.is_dir() else path.parent
    series: dict[str, list[Path]] = {}
    for file, header in _slides_in(folder):
        series.setdefault(str(header.SeriesInstanceUID), []).append(file)
    if path.is_dir():
        found = list(series.values())
        if len(found) > 1:
            raise BadSlide(f"{path}: holds {len(found)} slides. Name a file of the one that is meant.")
    else:
        found = [files for files in series.values() if path in files]
    if not found:
        raise BadSlide(f"{path}: is no DICOM whole slide image. Export the slide as VL Whole Slide Microscopy Image.")
    return found[0]


def _slides_in(folder: Path) -> Iterator[tuple[Path, FileDataset]]:
    for file in dicom_files(folder):
        with naming(file):
            header = dcmread(file, stop_before_pixels=True, specific_tags=_HEADER)
        if header.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage and "SeriesInstanceUID" in header:
            yield file, header
