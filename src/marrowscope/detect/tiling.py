"""A slide as tiles that overlap, and which tile a cell belongs to.

    |<------------------- tile ------------------->|
    |  margin  |<------------ core ------------>|  margin  |
                         cores lie side by side, without gap or overlap, from the slide's corner

Each tile is looked at whole; the tile whose core holds a cell's centre owns the cell. The margin shows the cell whole,
with what lies around it. Two laws make a slide in tiles equal to a slide in one piece:

1. Every point lies in exactly one core, and cores lie at multiples of the network's coarsest stride, so a convolution
   computes the same numbers of the same place in both tiles that see it.
2. Yet numbers near a tile's edge differ a little, and a box may jitter across a seam, where both tiles or neither would
   claim it. So a tile also keeps the *candidates* whose centre lies within a band outside its core, and `settle_seams`
   decides once all tiles are in: finds of two tiles that overlap by half are one cell, said by the tile in which it
   lies deepest. That does not depend on the order of tiles, or on which of them is asked first.

A cell counts once as long as its centre jitters by less than the band, and two neighbouring cells stay two as long as
the band is at least a sixth of a cell's side: then a find of the one tile and one of the other, each seen by its own
tile alone, lie too far apart to overlap by half. All lengths are pixels of level 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from marrowscope.detect.detector import SAME_CELL
from marrowscope.slide.regions import Rectangle

STRIDE = 64
"""The coarsest stride of any network here; `model.config` has none above."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Tile(NamedTuple):
    """A tile by its row and column."""

    row: int
    column: int


@dataclass(frozen=True)
class TileGrid:
    """Where tiles lie: the side of a core, the margin around it, and the band of the margin that keeps candidates."""

    core: int
    margin: int
    band: int

    def __post_init__(self) -> None:
        if not 0 <= self.band <= self.margin or not 2 * self.band <= self.core:
            raise ValueError(f"a band of {self.band} does not fit a margin of {self.margin} and a core of {self.core}")

    @property
    def side(self) -> int:
        """Side of a tile."""
        return self.core + 2 * self.margin

    def corner(self, tile: Tile) -> tuple[int, int]:
        """Top left corner (x, y) of the tile; at the slide's own edge it lies outside, where there is background."""
        return tile.column * self.core - self.margin, tile.row * self.core - self.margin

    def tiles(self, places: Sequence[Rectangle]) -> list[Tile]:
        """Tiles whose core holds a pixel of any of the places, by row and column, each once."""
        found = {tile for place in places for tile in self._touching(place)}
        return sorted(found)

    def _touching(self, place: Rectangle) -> Iterator[Tile]:
        if place.width <= 0 or place.height <= 0:
            return
        for row in range(place.y // self.core, (place.y + place.height - 1) // self.core + 1):
            for column in range(place.x // self.core, (place.x + place.width - 1) // self.core + 1):
                yield Tile(row, column)

    def owner(self, centres: Floats) -> Ints:
        """(n, 2) row and column of the tiles whose cores hold the centres (n, 2) as x, y."""
        return np.floor(centres[:, ::-1] / self.core).astype(np.int64)

    def depth(self, tiles: Ints, centres: Floats) -> Floats:
        """(n,) how deep centres (n, 2) lie in the cores of tiles (n, 2): distance to the nearest edge, below 0 outside.

        Of a point outside it is the larger of its distances in x and y.
        """
        low = centres - tiles[:, ::-1] * self.core
        return np.asarray(np.minimum(low, self.core - low).min(axis=1))

    def candidates(self, tile: Tile, boxes: Floats) -> NDArray[np.bool_]:
        """(n,) which boxes (n, 4) the tile keeps: those whose centre lies in its core or the band around it."""
        here = np.broadcast_to(np.asarray(tile, np.int64), (len(boxes), 2))
        return self.depth(here, middles(boxes)) >= -self.band


def middles(boxes: Floats) -> Floats:
    """Centres (n, 2) as x, y of boxes (n, 4), in float64: on a slide float32 is off by hundredths of a pixel."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def inside(places: Sequence[Rectangle], centres: Floats) -> NDArray[np.bool_]:
    """(n,) whether each centre (n, 2) lies in any of the places."""
    held = np.zeros(len(centres), bool)
    for place in places:
        low = centres - (place.x, place.y)
        held |= ((low >= 0) & (low < (place.width, place.height))).all(axis=1)
    return held


def near_a_seam(grid: TileGrid, tiles: Ints, boxes: Floats) -> NDArray[np.bool_]:
    """(n,) which candidates (their tiles (n, 2), boxes (n, 4)) another tile may have found too; the others are settled.

    A find deeper than this has its double, if it jittered by less than the band, outside what the neighbour keeps.
    """
    return grid.depth(tiles, middles(boxes)) <= 2 * grid.band


def settle_seams(grid: TileGrid, tiles: Ints, boxes: Floats) -> NDArray[np.bool_]:
    """(n,) which candidates near seams stand for a cell, each cell once, whatever the order of the rows.

    tiles: (n, 2) row and column of the tile that found each. boxes: (n, 4). Finds of different tiles are one cell where
    they overlap by half, the closest pairs first, and a tile says a cell only once. A cell that one tile alone has
    found counts, also outside its core: its owner was a hair less sure of it.
    """
    if not len(boxes):
        return np.zeros(0, bool)
    first, second, overlap = _pairs_across(tiles, boxes)
    # What is equal is taken in an order that the finds have of their own, not that of their rows.
    place = np.empty(len(boxes), np.int64)
    place[np.lexsort((*boxes.T, tiles[:, 1], tiles[:, 0]))] = np.arange(len(boxes))
    low, high = np.minimum(place[first], place[second]), np.maximum(place[first], place[second])
    cells: dict[int, list[int]] = {}
    for pair in np.lexsort((high, low, -overlap)).tolist():
        a, b = int(first[pair]), int(second[pair])
        one, other = cells.get(a, [a]), cells.get(b, [b])
        if one is other or {tuple(tiles[i]) for i in one} & {tuple(tiles[i]) for i in other}:
            continue
        for i in (joined := one + other):
            cells[i] = joined
    stands = np.ones(len(boxes), bool)
    centres = middles(boxes)
    depth = grid.depth(tiles, centres)
    owned = (grid.owner(centres) == tiles).all(axis=1)
    for cell in {id(members): members for members in cells.values()}.values():
        stands[cell] = False
        stands[max(cell, key=lambda i: (depth[i], owned[i], -place[i]))] = True
    return stands


def _pairs_across(tiles: Ints, boxes: Floats) -> tuple[Ints, Ints, Floats]:
    """Pairs of finds of different tiles that overlap by half (`SAME_CELL`): both rows, and the overlap."""
    # Boxes that overlap by half have their centres within half of the larger side.
    reach = float((boxes[:, 2:] - boxes[:, :2]).max()) / 2
    pairs = cKDTree(middles(boxes)).query_pairs(reach, p=np.inf, output_type="ndarray")
    first, second = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    across = (tiles[first] != tiles[second]).any(axis=1)
    first, second = first[across], second[across]
    a, b = boxes[first], boxes[second]
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    shared = sides.prod(axis=1)
    whole = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    overlap = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    same = overlap >= SAME_CELL
    return first[same], second[same], overlap[same]
