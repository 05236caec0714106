"""A path becomes a slide by what it holds; what is wrong with it is said with its name and a way out."""

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.slides import aperio, picture, written
from marrowscope.assemble.slides import find_slides, open_slide
from marrowscope.errors import BadSlide, MissingExtra

PIXELS = picture(96, 64)
FORMS = {"s.ome.tiff": "TiffSlide", "s.tiff": "TiffSlide", "s.zarr": "ZarrSlide", "s.dicom": "DicomSlide"}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one slide of every form. Read only."""
    folder = tmp_path_factory.mktemp("slides")
    for name in FORMS:
        written(folder / name, PIXELS)
    aperio(folder / "s.svs", PIXELS)
    return folder


@pytest.mark.parametrize("name", [*FORMS, "s.svs"])
def test_each_form_finds_its_driver(slides: Path, name: str) -> None:
    with open_slide(slides / name) as slide:
        assert type(slide).__name__ == FORMS.get(name, "OpenslideSlide")
        assert slide.name == name
        assert (slide.read(0, 0, 0, 96, 64) == PIXELS).all()


def test_a_name_does_not_deceive(slides: Path, tmp_path: Path) -> None:
    shutil.copy(slides / "s.ome.tiff", tmp_path / "slide.jpg")
    shutil.copy(slides / "s.svs", tmp_path / "slide.dcm")
    shutil.copytree(slides / "s.zarr", tmp_path / "slide")
    for name, driver in (("slide.jpg", "TiffSlide"), ("slide.dcm", "OpenslideSlide"), ("slide", "ZarrSlide")):
        with open_slide(str(tmp_path / name)) as slide:
            assert type(slide).__name__ == driver


def make_wrong(folder: Path) -> None:
    (folder / "text.tiff").write_text("Dear colleague, the slide is attached. " * 20)
    (folder / "nothing.svs").touch()
    (folder / "empty").mkdir()
    (folder / "papers").mkdir()
    (folder / "papers" / "letter.txt").write_text("x")
    (folder / "mark.tiff").write_bytes(b"II*\0")
    (folder / "noise.ndpi").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "noise.mrxs").write_bytes(b"MIRAX")
    (folder / "mark.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "noise.dcm").write_bytes(b"\0" * 128 + b"DICM" + np.random.default_rng(0).bytes(5000))
    (folder / "hollow.zarr").mkdir()
    (folder / "hollow.zarr" / "zarr.json").write_text("{")
    cv2.imwrite(str(folder / "field.png"), PIXELS)


WRONG = {
    "missing.svs": "is not there",
    "text.tiff": "no slide of a known format",
    "nothing.svs": "is empty",
    "empty": "an empty folder",
    "papers": "neither a DICOM slide nor Zarr",
    "mark.tiff": "cannot be read",
    "noise.ndpi": "no slide of a known format",
    "noise.mrxs": "no slide of a known format",
    "mark.dcm": "DICOM|cannot be read",
    "noise.dcm": "DICOM|cannot be read",
    "hollow.zarr": "cannot be read",
    "field.png": r"a picture \(PNG\).*marrowscope detect",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_opened_is_named_with_a_remedy(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_wrong(tmp_path)
    # A DICOM file stands for its series, so the others may not lie beside it.
    for other in tmp_path.glob("*.dcm"):
        if other.name != name:
            other.unlink()
    with pytest.raises(BadSlide, match=WRONG[name]) as caught:
        open_slide(tmp_path / name)
    assert name in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def read_all(path: Path) -> None:
    with open_slide(path) as slide:
        for n, level in enumerate(slide.levels):
            slide.read(n, 0, 0, level.width, level.height)


@pytest.mark.parametrize("name", ["s.ome.tiff", "s.tiff", "s.svs"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_slide_that_was_cut_short_is_a_bad_slide(slides: Path, name: str, keep: float, tmp_path: Path) -> None:
    data = (slides / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BadSlide, match=name):
        read_all(tmp_path / name)


@pytest.mark.parametrize(
    ("library", "driver", "name"),
    [
        ("tifffile", "tiff_slide", "s.tiff"),
        ("zarr", "zarr_slide", "s.zarr"),
        ("wsidicom", "dicom_slide", "s.dicom"),
        ("openslide", "openslide_slide", "s.svs"),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(
    slides: Path, library: str, driver: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"marrowscope.slide.{driver}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"{library}.*pip install 'marrowscope\[slides\]'"):
        open_slide(slides / name)


def names(found: list[Path]) -> list[str]:
    return [p.name for p in found]


def test_slides_are_found_in_folders_by_patterns_and_by_name(slides: Path, tmp_path: Path) -> None:
    for name in ("b_10.svs", "b_2.svs", "notes.txt", "._b_2.svs"):
        shutil.copy(slides / "s.svs", tmp_path / name)
    for name in ("c.zarr", "a"):
        shutil.copytree(slides / ("s.zarr" if name == "c.zarr" else "s.dicom"), tmp_path / name)
    whole = ["a", "b_2.svs", "b_10.svs", "c.zarr"]
    assert names(find_slides([tmp_path])) == whole
    assert names(find_slides([str(tmp_path / "*")])) == whole
    assert names(find_slides([str(tmp_path.parent / "**" / tmp_path.name / "**")])) == whole
    assert names(find_slides([tmp_path / "b_*"])) == ["b_2.svs", "b_10.svs"]
    assert names(find_slides([tmp_path / "c.zarr", tmp_path / "notes.txt", tmp_path])) == [
        "c.zarr",
        "notes.txt",
        *whole[:3],
    ]


def test_a_folder_that_is_a_slide_is_one_slide(slides: Path) -> None:
    assert find_slides([slides / "s.zarr", slides / "s.dicom"]) == [slides / "s.zarr", slides / "s.dicom"]


def test_a_pattern_of_dicom_files_names_their_slide_once(slides: Path) -> None:
    assert find_slides([slides / "s.dicom" / "*.dcm"]) == [slides / "s.dicom"]
    assert find_slides([slides / "s.dicom" / "level_1.dcm"]) == [slides / "s.dicom" / "level_1.dcm"]


def test_dicom_files_among_other_slides_hide_none_of_them(slides: Path, tmp_path: Path) -> None:
    shutil.copy(slides / "s.svs", tmp_path)
    shutil.copy(slides / "s.dicom" / "level_0.dcm", tmp_path)
    with pytest.raises(BadSlide, match=r"beside s\.svs.*its own folder"):
        find_slides([tmp_path])


def test_what_holds_no_slide_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadSlide, match="no slide in this folder"):
        find_slides([tmp_path])
    with pytest.raises(BadSlide, match=r"x\*\.svs: is not there"):
        find_slides([tmp_path / "x*.svs"])
    with pytest.raises(BadSlide, match="no slide was named"):
        find_slides([])
