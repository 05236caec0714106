"""Fields that overlap: the same cell is found again in spite of errors of place, and neighbours are told apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.specimen import Box
from marrowscope.station.overlap import NEAR, Pair, View, assign, same_cells

WIDTH, HEIGHT, SCALE = 1920, 1080, 0.069
"""A field of 132 x 75 um."""


def view(x_um: float = 0, y_um: float = 0) -> View:
    return View(x_um, y_um, WIDTH, HEIGHT, SCALE)


def glass(rng: np.random.Generator, cells: int, *, apart: float = 1.0, side: float = 200) -> np.ndarray:
    """Round cells (x, y, size in um) whose edges may touch but not overlap, where `apart` is 1."""
    placed: list[tuple[float, float, float]] = []
    while len(placed) < cells:
        x, y, size = *rng.uniform(-side, side, 2), rng.uniform(8, 18)
        if all(np.hypot(x - a, y - b) >= apart * (size + s) / 2 for a, b, s in placed):
            placed.append((x, y, size))
    return np.asarray(placed)


def seen(cells: np.ndarray, at: View) -> tuple[list[Box], list[int]]:
    """Boxes of the cells in the field, cut at its border; slivers under 2 um are not detected."""
    boxes, ids = [], []
    for number, (x, y, size) in enumerate(cells):
        px = np.asarray([x - size / 2, y - size / 2, x + size / 2, y + size / 2])
        px = (px - np.tile(at.edges[:2], 2)) / SCALE
        cut = np.clip(px, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
        if min(cut[2] - cut[0], cut[3] - cut[1]) * SCALE >= 2:
            boxes.append(tuple(float(v) for v in cut))
            ids.append(number)
    return boxes, ids


def pairs(cells: np.ndarray, first: View, second: View, told: View | None = None) -> tuple[set[tuple[int, int]], int]:
    """What is matched, by the true numbers; and how many cells both really show. told: where `first` thinks it is."""
    a, a_ids = seen(cells, first)
    b, b_ids = seen(cells, second)
    found = same_cells(told or first, a, second, b)
    return {(a_ids[p.first], b_ids[p.second]) for p in found}, len(set(a_ids) & set(b_ids))


@given(st.integers(0, 10_000), st.floats(-100, 100), st.floats(-60, 60), st.floats(0, 2 * np.pi), st.floats(0, 3))
def test_the_same_cells_are_found_again_however_the_place_errs_by_a_few_micrometres(
    seed: int, x: float, y: float, angle: float, error: float
) -> None:
    cells = glass(np.random.default_rng(seed), 50, side=90)
    first, second = view(x, y), view()
    told = view(x + error * np.cos(angle), y + error * np.sin(angle))
    matched, both = pairs(cells, first, second, told)
    assert all(i == j for i, j in matched)
    # What both see of a cell at the very edge may be too little to be sure of.
    assert len(matched) >= both - 2


def test_without_an_error_of_place_every_cell_that_both_show_is_found() -> None:
    cells = glass(np.random.default_rng(5), 90, side=110)
    for x, y in ((0, 0), (30, 10), (-60, 30), (90, -40)):
        matched, both = pairs(cells, view(x, y), view())
        assert matched == {(i, i) for i, _ in matched}
        assert len(matched) == both > 2


def test_a_large_common_error_is_found_where_several_cells_agree_on_it() -> None:
    cells = glass(np.random.default_rng(2), 60, side=100)
    matched, both = pairs(cells, view(20, 0), view(), told=view(26, 3))
    assert both > 10
    assert matched == {(i, i) for i, _ in matched}
    assert len(matched) >= both - 2


def test_a_single_pair_proves_no_shift() -> None:
    a, b = [(100.0, 100.0, 200.0, 200.0)], [(200.0, 100.0, 300.0, 200.0)]
    # Neighbours of 7 um that touch: they are 7 um apart, which a shift of the whole field would explain.
    assert same_cells(view(), a, view(), b) == []


def test_cells_of_fields_that_do_not_meet_are_never_the_same() -> None:
    box = [(100.0, 100.0, 200.0, 200.0)]
    assert same_cells(view(), box, view(500, 0), box) == []
    assert same_cells(view(), [], view(), box) == []


def test_a_cell_cut_by_the_border_is_the_whole_cell_of_the_next_field() -> None:
    whole = (0.0, 400.0, 150.0, 550.0)
    # The other field lies 4 um to the left, so that its right border runs through the cell.
    left = view(-(WIDTH - 60) * SCALE, 0)
    cut = (1860.0, 400.0, 1920.0, 550.0)
    assert same_cells(view(), [whole], left, [cut]) == [Pair(0, 0, 0.0)]


def test_a_small_cell_in_front_of_a_large_one_is_another_cell() -> None:
    large, small = (500.0, 300.0, 1100.0, 900.0), (750.0, 550.0, 860.0, 660.0)
    assert same_cells(view(), [small], view(), [large]) == []


@given(st.floats(0, 2))
def test_two_cells_are_the_same_exactly_up_to_a_fraction_of_their_size(sizes: float) -> None:
    size = 150.0
    a = (800.0, 400.0, 800 + size, 400 + size)
    shift = sizes * size
    b = (800 + shift, 400.0, 800 + shift + size, 400 + size)
    found = same_cells(view(), [a], view(), [b])
    assert bool(found) == (sizes <= NEAR) or sizes == pytest.approx(NEAR)


@given(st.lists(st.lists(st.floats(0, 1) | st.just(float("inf")), min_size=3, max_size=3), max_size=5))
def test_assignment_is_one_to_one_never_forbidden_and_as_large_as_can_be(rows: list[list[float]]) -> None:
    apart = np.asarray(rows).reshape(len(rows), 3)
    chosen = assign(apart)
    assert len({p.first for p in chosen}) == len({p.second for p in chosen}) == len(chosen)
    assert all(np.isfinite(apart[p.first, p.second]) for p in chosen)
    assert len(chosen) == _largest(np.isfinite(apart).tolist(), set())


def _largest(allowed: list[list[bool]], taken: set[int]) -> int:
    """The largest matching, by trying everything."""
    if not allowed:
        return 0
    first, *rest = allowed
    options = [1 + _largest(rest, taken | {j}) for j, ok in enumerate(first) if ok and j not in taken]
    return max([_largest(rest, taken), *options])
