"""From what a person names to fields: order, patterns, prefetching, and what cannot be read."""

import io
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.field import FieldImage
from marrowscope.detect import sources
from marrowscope.detect.sources import Unreadable, find_images, natural_key, read_fields, unique_names
from marrowscope.errors import BadInput


def jpeg(path: Path, grey: int = 200, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(np.full((size[1], size[0], 3), grey, np.uint8)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("field_10.jpg", "field_2.jpg", "Field_1.JPG", "notes.txt", "._field_2.jpg", "deep/field_3.jpg"):
        jpeg(tmp_path / name)
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [p.name for p in paths]


def test_a_folder_is_read_in_the_order_a_person_counts(folder: Path) -> None:
    assert names(find_images([folder])) == ["Field_1.JPG", "field_2.jpg", "field_10.jpg"]


def test_folders_below_are_read_only_when_asked_for(folder: Path) -> None:
    assert names(find_images([folder], recursive=True))[0] == "field_3.jpg"
    assert len(find_images([folder], recursive=True)) == 4


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("field_*.jpg", ["field_2.jpg", "field_10.jpg"]),
        ("**/*.jpg", ["field_3.jpg", "field_2.jpg", "field_10.jpg"]),
        ("dee?", ["field_3.jpg"]),
        ("[Ff]ield_1.JPG", ["Field_1.JPG"]),
    ],
)
def test_patterns(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names(find_images([str(folder / pattern)])) == expected


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    odd = jpeg(tmp_path / "field[1].jpg")
    jpeg(tmp_path / "field1.jpg")
    assert find_images([odd]) == [odd]


def test_what_is_named_twice_is_read_once_at_its_first_place(folder: Path) -> None:
    ten = folder / "field_10.jpg"
    assert names(find_images([ten, folder, ten])) == ["field_10.jpg", "Field_1.JPG", "field_2.jpg"]


def test_a_list_on_stdin_keeps_its_order_and_its_missing_files(folder: Path) -> None:
    stdin = io.StringIO(f"{folder}/field_10.jpg\n\n{folder}/gone.jpg\n{folder}/field_2.jpg\n")
    assert names(find_images(["-"], stdin=stdin)) == ["field_10.jpg", "gone.jpg", "field_2.jpg"]


def test_results_of_an_earlier_run_are_no_fields(folder: Path) -> None:
    jpeg(folder / "out" / "overlays" / "field_2.jpg")
    assert len(find_images([folder], recursive=True)) == 5
    assert len(find_images([folder], recursive=True, leave_out=folder / "out")) == 4


@pytest.mark.parametrize("pattern", ["nothing/here.jpg", "*.tiff", "empty"])
def test_a_pattern_that_matches_nothing_is_named(folder: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(BadInput, match=pattern.replace("*", r"\*")):
        find_images([folder, pattern])


def test_nothing_named_at_all_is_said() -> None:
    with pytest.raises(BadInput, match="no image to read"):
        find_images(["-"], stdin=io.StringIO("\n"))


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_numbered_names_sort_as_numbers(numbers: list[int]) -> None:
    paths = [Path(f"slide/f{n}.jpg") for n in numbers]
    assert sorted(paths, key=natural_key) == [Path(f"slide/f{n}.jpg") for n in sorted(numbers)]


@given(st.lists(st.text("aA10²٣é细.-", min_size=1)))
def test_any_names_can_be_sorted(texts: list[str]) -> None:
    paths = [Path(t) for t in texts]
    assert sorted(sorted(paths, key=natural_key)) == sorted(paths)


part = st.text("aAb1.", min_size=1, max_size=3).filter(lambda t: t.strip("."))


@given(st.lists(st.lists(part, min_size=1, max_size=3).map(lambda p: Path("/data", *p)), unique=True, max_size=12))
def test_every_file_gets_a_name_of_its_own_whatever_the_case(paths: list[Path]) -> None:
    given_names = unique_names(paths)
    assert len({n.casefold() for n in given_names}) == len(paths)
    assert all("/" not in n and n for n in given_names)


def test_names_say_no_more_than_they_must() -> None:
    paths = [Path(p) for p in ("/d/a/1.jpg", "/d/b/1.jpg", "/d/b/2.jpg", "/d/b/3.jpg", "/d/b/3.png")]
    assert unique_names(paths) == ["a__1", "b__1", "2", "3.jpg", "3.png"]


def test_fields_come_in_order_and_a_bad_one_takes_its_place(tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg", grey=n) for n in range(30)]
    paths[7].write_bytes(paths[7].read_bytes()[:100])
    paths[20].unlink()
    found = list(read_fields(paths, ahead=3, threads=2))
    assert [n for n, f in enumerate(found) if isinstance(f, Unreadable)] == [7, 20]
    for n, field in enumerate(found):
        if isinstance(field, FieldImage):
            assert abs(int(field.pixels[0, 0, 0]) - n) <= 1
            assert field.origin.path == paths[n]
        else:
            assert field.path == paths[n]
            assert str(paths[n]) in field.reason


def test_no_more_than_a_few_are_decoded_ahead_of_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg") for n in range(40)]
    taken = 0
    most = 0
    read = 0
    lock = threading.Lock()
    original = sources.read_image

    def counting(path: Path, *, at_least: tuple[int, int] | None = None) -> FieldImage:
        nonlocal read, most
        with lock:
            read += 1
            most = max(most, read - taken)
        return original(path, at_least=at_least)

    monkeypatch.setattr(sources, "read_image", counting)
    for _ in read_fields(paths, ahead=4):
        taken += 1
    assert read == 40
    assert most <= 4 + 2  # those ahead, the one being handed over, and the one just asked for


def test_a_reader_that_stops_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg") for n in range(40)]
    before = threading.active_count()
    stream = read_fields(paths)
    assert len(list(islice(stream, 3))) == 3
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_reduced_decode_keeps_the_original_size(tmp_path: Path) -> None:
    (field,) = read_fields([jpeg(tmp_path / "a.jpg", size=(800, 600))], at_least=(200, 150))
    assert isinstance(field, FieldImage)
    assert (field.width, field.height) == (800, 600)
    assert field.pixels.shape[0] < 600
