import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.reporting import content, drawn_field, facts
from marrowscope.report.build import Words
from marrowscope.report.pictures import CELL_SIDE, FIELD_SIDE, Album, Assets, decode, windows

RED = (0, 0, 255)


def png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def with_square(x: int, y: int, side: int, width: int = 400, height: int = 300) -> bytes:
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[y : y + side, x : x + side] = RED
    return png(pixels)


def is_red(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 2] > 180) & (pixels[..., 1] < 90)


@given(st.integers(0, 360), st.integers(0, 260))
def test_the_middle_of_a_cell_is_the_middle_of_its_picture(x: int, y: int) -> None:
    album = Album(Assets({"a": with_square(x, y, 40)}))
    data = album.cell("a", (x, y, x + 40, y + 40), 80, (400, 300))
    assert data is not None
    found = decode(data)
    assert found is not None
    assert found.shape == (CELL_SIDE, CELL_SIDE, 3)
    rows, columns = np.nonzero(is_red(found))
    assert abs(rows.mean() - CELL_SIDE / 2) < 2
    assert abs(columns.mean() - CELL_SIDE / 2) < 2
    assert abs(len(rows) / CELL_SIDE**2 - 0.25) < 0.03  # half as wide and high as the window


def test_beyond_the_edge_of_the_field_is_paper() -> None:
    album = Album(Assets({"a": with_square(0, 0, 40)}))
    data = album.cell("a", (0, 0, 40, 40), 120, (400, 300))
    assert data is not None
    found = decode(data)
    assert found is not None
    assert found[:40, :40].min() > 240


def test_a_box_in_original_pixels_finds_its_cell_in_a_smaller_picture() -> None:
    album = Album(Assets({"a": with_square(100, 100, 40)}))
    data = album.cell("a", (1000, 1000, 1400, 1400), 800, (4000, 3000))
    assert data is not None
    found = decode(data)
    assert found is not None
    assert abs(is_red(found).mean() - 0.25) < 0.03


def test_a_large_field_is_made_small_enough_to_print_and_a_small_one_stays() -> None:
    big, small = np.full((3000, 4000, 3), 200, np.uint8), np.full((90, 120, 3), 200, np.uint8)
    album = Album(Assets({"big": png(big), "small": png(small)}))
    sizes = {}
    for name in ("big", "small"):
        data = album.field(name)
        assert data is not None
        pixels = decode(data)
        assert pixels is not None
        sizes[name] = pixels.shape
    assert sizes == {"big": (FIELD_SIDE * 3 // 4, FIELD_SIDE, 3), "small": (90, 120, 3)}


def test_what_is_no_picture_is_none() -> None:
    album = Album(Assets({"a": b"", "b": b"no picture", "c": b"\xff\xd8\xff cut"}))
    for name in ("a", "b", "c", "missing"):
        assert album.field(name) is None
        assert album.cell(name, (0, 0, 5, 5), 10, (10, 10)) is None


def test_cells_are_shown_at_one_scale_unless_one_is_a_giant() -> None:
    case = facts(seeds=(1,))[0]
    cells = content(case, words=Words(gallery=tuple(c.id for c in case.gallery_cells))).gallery
    giant = cells[0].model_copy(update={"box": (0.0, 0.0, 900.0, 800.0)})
    sizes = windows([*cells, giant])
    assert len(set(sizes[:-1])) < len(cells)
    assert sizes[-1] > 900
    for cell, size in zip([*cells, giant], sizes, strict=True):
        assert size > max(cell.box[2] - cell.box[0], cell.box[3] - cell.box[1])
    assert windows([]) == []


def test_the_pictures_of_a_report_are_read_by_their_digest() -> None:
    case, assets = facts(seeds=(1,))
    report = content(case, words=Words(fields=(1,)))
    read = Assets.read(report, lambda digest: assets.images[digest])
    assert list(read.images.values()) == [drawn_field(1)[0]]
