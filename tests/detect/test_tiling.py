"""Laws of tiles: a slide in tiles has the cells of the slide in one piece, each once."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from marrowscope.cells.boxes import iou_matrix
from marrowscope.detect.tiling import Tile, TileGrid, inside, middles, near_a_seam, settle_seams
from marrowscope.slide.regions import Rectangle

LARGEST = 60
"""Side of the largest cell of these tests."""
SOME = settings(max_examples=20)


class Shape(NamedTuple):
    grid: TileGrid
    width: int
    height: int


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """A grid that keeps the promises of `tiling` for cells of LARGEST, and a slide of any size."""
    band = draw(st.integers(LARGEST // 6 + 1, 24))
    margin = draw(st.integers(band + LARGEST // 2 + 1, 120))
    core = draw(st.integers(max(2 * band, 40), 300))
    return Shape(TileGrid(core, margin, band), draw(st.integers(1, 1500)), draw(st.integers(1, 1200)))


def scattered(seed: int, width: int, height: int, most: int = 250) -> np.ndarray:
    """Boxes of cells that may touch and overlap, but are no two finds of one: none overlaps another by half."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, (width, height), (most, 2))
    halves = rng.uniform(LARGEST / 5, LARGEST / 2, (most, 2))
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    overlaps = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for i in range(most):
        # Well below one half: with jitter they are to stay two.
        if not (overlaps[i, kept] > 0.3).any():
            kept.append(i)
    return boxes[kept]


def found_in_tiles(shape: Shape, cells: np.ndarray, jitter: float = 0.0, seed: int = 0):
    """What a local detector says of each tile: every cell whose box lies within it, a hair off; and which it is."""
    grid, width, height = shape
    rng = np.random.default_rng(seed)
    tiles, boxes, which = [], [], []
    for tile in grid.tiles([Rectangle(0, 0, width, height)]):
        x, y = grid.corner(tile)
        seen = ((cells[:, :2] > (x, y)) & (cells[:, 2:] < (x + grid.side, y + grid.side))).all(axis=1)
        here = cells[seen] + rng.uniform(-jitter, jitter, (seen.sum(), 4))
        held = grid.candidates(tile, here)
        boxes.append(here[held])
        which.append(np.flatnonzero(seen)[held])
        tiles.append(np.tile(np.asarray(tile), (held.sum(), 1)))
    return np.concatenate(tiles), np.concatenate(boxes), np.concatenate(which)


@SOME
@given(shapes(), st.integers(0, 2**31))
def test_every_point_of_a_slide_lies_in_exactly_one_core(shape: Shape, seed: int) -> None:
    grid, width, height = shape
    points = np.random.default_rng(seed).uniform(0, (width, height), (40, 2))
    points = np.concatenate([points, np.floor(points), np.round(points / grid.core) * grid.core])
    points = points[(points < (width, height)).all(axis=1)]
    tiles = grid.tiles([Rectangle(0, 0, width, height)])
    corners = np.asarray([grid.corner(tile) for tile in tiles]) + grid.margin
    held = ((points[:, None] >= corners) & (points[:, None] < corners + grid.core)).all(axis=2)
    assert (held.sum(axis=1) == 1).all()
    assert_array_equal(grid.owner(points), np.asarray(tiles)[held.argmax(axis=1)])


@SOME
@given(shapes(), st.lists(st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 300)] * 2), min_size=1, max_size=5))
def test_places_that_overlap_are_looked_at_once_and_wholly(shape: Shape, corners: list[tuple[int, ...]]) -> None:
    places = [Rectangle(*corner) for corner in corners]
    tiles = shape.grid.tiles(places)
    assert len(set(tiles)) == len(tiles)
    for place in places:
        for x in (place.x, place.x + place.width - 1):
            for y in (place.y, place.y + place.height - 1):
                point = np.asarray([[x, y]], float)
                assert Tile(*shape.grid.owner(point)[0].tolist()) in tiles
                assert inside(places, point).all()


@SOME
@given(shapes(), st.integers(0, 2**31))
def test_tiles_find_what_the_whole_slide_shows(shape: Shape, seed: int) -> None:
    cells = scattered(seed, shape.width, shape.height)
    tiles, boxes, _ = found_in_tiles(shape, cells)
    kept = boxes[settle_seams(shape.grid, tiles, boxes)]
    assert_array_equal(kept[np.lexsort(kept.T)], cells[np.lexsort(cells.T)])


@SOME
@given(shapes(), st.integers(0, 2**31), st.floats(0, 1))
def test_a_box_that_jitters_over_a_seam_is_counted_once(shape: Shape, seed: int, share: float) -> None:
    cells = scattered(seed, shape.width, shape.height)
    # Enough to move a centre over a seam, less than makes two finds of a small cell no longer overlap by half.
    tiles, boxes, which = found_in_tiles(shape, cells, jitter=share * LARGEST / 50, seed=seed)
    kept = which[settle_seams(shape.grid, tiles, boxes)]
    assert_array_equal(np.sort(kept), np.arange(len(cells)))


@SOME
@given(shapes(), st.integers(0, 2**31))
def test_the_order_of_the_tiles_does_not_matter(shape: Shape, seed: int) -> None:
    tiles, boxes, _ = found_in_tiles(shape, scattered(seed, shape.width, shape.height), jitter=1.0, seed=seed)
    shuffled = np.random.default_rng(seed).permutation(len(boxes))
    assert_array_equal(
        settle_seams(shape.grid, tiles[shuffled], boxes[shuffled]), settle_seams(shape.grid, tiles, boxes)[shuffled]
    )


@SOME
@given(shapes(), st.integers(0, 2**31))
def test_what_lies_deep_in_a_tile_needs_no_settling(shape: Shape, seed: int) -> None:
    tiles, boxes, _ = found_in_tiles(shape, scattered(seed, shape.width, shape.height), jitter=1.0, seed=seed)
    near = near_a_seam(shape.grid, tiles, boxes)
    whole = settle_seams(shape.grid, tiles, boxes)
    assert whole[~near].all()
    assert_array_equal(settle_seams(shape.grid, tiles[near], boxes[near]), whole[near])


@SOME
@given(shapes(), st.integers(0, 2**31), st.floats(0, 1))
def test_a_cell_that_one_tile_alone_is_sure_of_counts(shape: Shape, seed: int, share: float) -> None:
    cells = scattered(seed, shape.width, shape.height)
    tiles, boxes, which = found_in_tiles(shape, cells, jitter=1.0, seed=seed)
    heard = np.random.default_rng(seed).random(len(boxes)) < share
    tiles, boxes, which = tiles[heard], boxes[heard], which[heard]
    kept = which[settle_seams(shape.grid, tiles, boxes)]
    assert_array_equal(np.sort(kept), np.unique(which))


def test_two_cells_on_either_side_of_a_seam_stay_two() -> None:
    grid = TileGrid(core=100, margin=60, band=10)
    # Each seen by its own tile alone, as near as the band allows: 21 apart, of side 60, so they overlap by less.
    boxes = np.asarray([[59.5, 20, 119.5, 80], [80.5, 20, 140.5, 80]], float)
    tiles = np.asarray([[0, 0], [0, 1]])
    assert settle_seams(grid, tiles, boxes).all()


def test_of_a_cell_on_the_crossing_of_four_tiles_one_speaks() -> None:
    grid = TileGrid(core=100, margin=60, band=12)
    tiles = np.asarray([[r, c] for r in (0, 1) for c in (0, 1)])
    boxes = np.asarray([[80, 80, 120, 120]] * 4) + np.asarray([[0.3], [-0.2], [0.1], [-0.4]])
    # Its middle lies .3, .2, .1 and .4 outside of their cores: the third saw it deepest.
    assert_array_equal(settle_seams(grid, tiles, boxes), [False, False, True, False])


def test_a_cell_exactly_on_a_seam_belongs_to_the_tile_that_owns_the_point() -> None:
    grid = TileGrid(core=100, margin=60, band=12)
    boxes = np.asarray([[80.0, 20, 120, 60]] * 2)
    assert_array_equal(settle_seams(grid, np.asarray([[0, 0], [0, 1]]), boxes), [False, True])
    assert_array_equal(grid.owner(middles(boxes[:1])), [[0, 1]])


def test_no_find_gives_none() -> None:
    assert settle_seams(TileGrid(10, 5, 2), np.zeros((0, 2), np.int64), np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize("band", [-1, 31, 6])
def test_a_band_that_does_not_fit_is_refused(band: int) -> None:
    with pytest.raises(ValueError, match="band"):
        TileGrid(core=10, margin=30, band=band)
