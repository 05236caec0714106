"""The atlas of cells: laws on glass whose cells are known to the hundredth of a micrometre."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from marrowscope.station.atlas import Atlas, Rect

WIDTH, HEIGHT = 132.0, 74.0


def glass(seed: int, cells: int = 60, side: float = 300.0) -> NDArray[np.float64]:
    """Cells of 9-16 um that do not overlap, as boxes."""
    rng = np.random.default_rng(seed)
    boxes: list[tuple[float, float, float, float]] = []
    while len(boxes) < cells:
        x, y = rng.uniform(0, side, 2)
        r = rng.uniform(4.5, 8)
        if all(np.hypot(x - (b[0] + b[2]) / 2, y - (b[1] + b[3]) / 2) > r + (b[2] - b[0]) / 2 for b in boxes):
            boxes.append((x - r, y - r, x + r, y + r))
    return np.asarray(boxes)


def look(
    atlas: Atlas, cells: NDArray[np.float64], x: float, y: float, *, rng: np.random.Generator | None = None
) -> Rect:
    """Show the atlas what a perfect detector sees from here, with a little error of place. Returns the view."""
    view = Rect.around(x, y, WIDTH, HEIGHT)
    cut = np.clip(cells, (view.x1, view.y1) * 2, (view.x2, view.y2) * 2)
    area = np.prod(cells[:, 2:] - cells[:, :2], axis=1)
    left = np.prod(cut[:, 2:] - cut[:, :2], axis=1)
    seen = left > 0.25 * area
    error = rng.normal(0, 0.15, (int(seen.sum()), 4)) if rng is not None else 0.0
    shown = np.clip(cut[seen] + error, (view.x1, view.y1) * 2, (view.x2, view.y2) * 2)
    atlas.add(view, shown, [0] * len(shown), [0.9] * len(shown), edge_um=0.8)
    return view


def inside(cells: NDArray[np.float64], view: Rect, by_um: float) -> NDArray[np.bool_]:
    """Which cells lie so deep within a view."""
    x1, y1, x2, y2 = cells.T
    within = (x1 > view.x1 + by_um) & (y1 > view.y1 + by_um) & (x2 < view.x2 - by_um) & (y2 < view.y2 - by_um)
    return np.asarray(within)


def counted(atlas: Atlas) -> int:
    return sum(cell.counted for cell in atlas)


@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.floats(40, 260), st.floats(30, 270)), min_size=1, max_size=25),
)
def test_each_cell_counts_once_however_often_it_is_seen(seed: int, path: list[tuple[float, float]]) -> None:
    cells, atlas = glass(seed), Atlas()
    rng = np.random.default_rng(seed)
    views = [look(atlas, cells, x, y, rng=rng) for x, y in path]
    # Next to the border it is a matter of taste whether a cell is whole.
    surely = np.any([inside(cells, view, 1.6) for view in views], axis=0)
    perhaps = np.any([inside(cells, view, -0.1) for view in views], axis=0)
    assert surely.sum() <= counted(atlas) <= perhaps.sum()


@given(st.integers(0, 50), st.permutations([(60, 60), (120, 60), (120, 100), (200, 100), (60, 100)]))
def test_the_count_does_not_depend_on_the_way(seed: int, path: list[tuple[float, float]]) -> None:
    cells = glass(seed)
    one, other = Atlas(), Atlas()
    for x, y in path:
        look(one, cells, x, y)
    for x, y in sorted(path):
        look(other, cells, x, y)
    assert counted(one) == counted(other)


def test_a_cell_cut_by_the_border_waits_until_it_is_seen_whole() -> None:
    atlas, cell = Atlas(), np.asarray([[100.0, 40.0, 112.0, 52.0]])
    look(atlas, cell, 40, 40)  # the view ends at x = 106
    assert [c.counted for c in atlas] == [False]
    look(atlas, cell, 90, 40)
    assert [c.counted for c in atlas] == [True]
    (known,) = atlas
    assert known.box == pytest.approx((100, 40, 112, 52))
    look(atlas, cell, 40, 40)
    assert [c.counted for c in atlas] == [True]
    assert known.box == pytest.approx((100, 40, 112, 52)), "a cut sighting must not shrink what was seen whole"


def test_a_part_that_turns_out_to_be_nothing_is_forgotten() -> None:
    atlas = Atlas()
    look(atlas, np.asarray([[100.0, 40.0, 112.0, 52.0]]), 40, 40)
    look(atlas, np.zeros((0, 4)), 100, 40)
    assert len(atlas) == 0


def test_the_same_picture_looked_at_often_has_one_vote() -> None:
    atlas = Atlas()
    view, box = Rect.around(0, 0, WIDTH, HEIGHT), np.asarray([[-5.0, -5.0, 5.0, 5.0]])
    for _ in range(50):
        atlas.add(view, box, [3], [0.6])
    for dx in (10, 20, 30):
        atlas.add(Rect.around(dx, 0, WIDTH, HEIGHT), box, [7], [0.9])
    (cell,) = atlas
    assert cell.label == 7
    assert cell.score == pytest.approx(0.9)


def test_what_is_said_of_half_a_cell_does_not_outvote_the_whole() -> None:
    atlas = Atlas()
    whole = np.asarray([[60.0, -5.0, 70.0, 5.0]])
    for x in (-2, -1.0, 0):  # the view ends at 64, 65, 66
        view = Rect.around(x, 0, WIDTH, HEIGHT)
        atlas.add(view, np.asarray([[60.0, -5.0, view.x2, 5.0]]), [1], [0.99])
    atlas.add(Rect.around(40, 0, WIDTH, HEIGHT), whole, [2], [0.6])
    (cell,) = atlas
    assert cell.label == 2


def test_what_most_looks_do_not_find_is_no_cell() -> None:
    atlas, box = Atlas(), np.asarray([[-5.0, -5.0, 5.0, 5.0]])
    atlas.add(Rect.around(0, 0, WIDTH, HEIGHT), box, [0], [0.55])
    assert counted(atlas) == 1
    for dx in (10, 20, 30):
        atlas.add(Rect.around(dx, 0, WIDTH, HEIGHT), np.zeros((0, 4)), [], [])
    assert counted(atlas) == 0


@given(st.integers(0, 30), st.floats(-500, 500), st.floats(-500, 500))
def test_two_visits_that_become_one_count_common_cells_once(seed: int, dx: float, dy: float) -> None:
    cells = glass(seed)
    first, second, both = Atlas(), Atlas(first_id=1000), Atlas()
    for x, y in ((70, 60), (120, 60)):
        look(first, cells, x, y)
        look(both, cells, x, y)
    away = np.asarray([dx, dy, dx, dy])
    for x, y in ((150, 70), (200, 80)):
        look(second, cells - away, x - dx, y - dy)
        look(both, cells, x, y)
    first.absorb(second, dx, dy)
    assert counted(first) == counted(both)
    assert len({cell.id for cell in first}) == len(first)


def test_touching_cells_are_two() -> None:
    atlas = Atlas()
    pair = np.asarray([[0.0, 0.0, 12.0, 12.0], [11.0, 0.0, 23.0, 12.0]])
    for x in (0, 10, 20):
        look(atlas, pair, x, 5)
    assert counted(atlas) == 2
