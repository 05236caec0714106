"""DICOM slides: a folder, or one file of it; and what is missing there is said."""

import shutil
from pathlib import Path

import pydicom
import pytest

from helpers.slides import picture, written
from marrowscope.errors import BadSlide
from marrowscope.slide.dicom_slide import DicomSlide

PIXELS = picture(96, 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "s.dicom", PIXELS)


def test_any_of_its_files_stands_for_the_slide(folder: Path) -> None:
    for name in ("level_0.dcm", "level_1.dcm"):
        with DicomSlide(folder / name) as slide:
            assert (slide.levels[0].width, len(slide.levels)) == (96, 3)
            assert (slide.read(0, 0, 0, 96, 64) == PIXELS).all()


def test_of_two_slides_in_a_folder_a_file_says_which(folder: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other.dicom", picture(64, 64, seed=1))
    for file in other.iterdir():
        shutil.copy(file, folder / f"other_{file.name}")
    with pytest.raises(BadSlide, match="holds 2 slides"):
        DicomSlide(folder)
    with DicomSlide(folder / "other_level_0.dcm") as slide:
        assert slide.levels[0].width == 64


def test_a_finest_level_that_cannot_be_read_is_not_passed_over(folder: Path) -> None:
    """Else the next level would be taken for it, and every cell for half its size."""
    data = (folder / "level_0.dcm").read_bytes()
    plain, runs = (str(uid).encode() for uid in (pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.RLELossless))
    assert data.count(plain) == 1
    (folder / "level_0.dcm").write_bytes(data.replace(plain, runs))
    with pytest.raises(BadSlide, match=r"level_0\.dcm cannot be read"):
        DicomSlide(folder)


def test_a_level_whose_pixels_end_early_is_named(folder: Path) -> None:
    file = folder / "level_0.dcm"
    file.write_bytes(file.read_bytes()[:-9000])
    with DicomSlide(folder) as slide, pytest.raises(BadSlide, match=r"s\.dicom \(level 0, tile 0, 1\)"):
        slide.read(0, 0, 0, 96, 64)
