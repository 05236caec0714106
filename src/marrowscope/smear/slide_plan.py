"""Where everything lies on a slide of centimetres: decided block by block, the same in whatever order one asks.

The glass is cut into blocks of `BLOCK_UM`. A block knows what lies in the blocks around it that were laid before, and
keeps clear of that; which was before is a matter of its colour, one of four as on a patterned floor: no two blocks
of one colour touch, so a block never depends on the order in which people look. No block farther than three away has
any say. Nothing is painted here: a cell is its class, its place, its outline's size, and the seed that paints it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.smear.cell import morphology_of, outline_of
from marrowscope.smear.plan import CELLS_PER_FIELD, FIELD_AREA_UM2
from marrowscope.smear.red_cells import RED_CELL_UM
from marrowscope.smear.sampler import class_weights

BLOCK_UM = 70.0
# Farther than any cell of the table reaches from its middle.
REACH_UM = 20.0
# A block holds about five nucleated cells; its number times this gives room for the ids of all.
IDS_PER_BLOCK = 64
_KNOT_UM = 700.0

Block = tuple[int, int]
Value = TypeVar("Value")


@dataclass(frozen=True)
class GlassCell:
    """A nucleated cell of the slide. x_um, y_um: middle. box_um: x1, y1, x2, y2 on the slide. seed: of its painter."""

    id: int
    label: int
    x_um: float
    y_um: float
    radius_um: float
    box_um: tuple[float, float, float, float]
    seed: tuple[int, ...]


class Extra(NamedTuple):
    """Something unlabelled that is painted: a platelet or a smudged nucleus."""

    smudge: bool
    x_um: float
    y_um: float
    seed: tuple[int, ...]


class Lru(Generic[Value]):
    """The `most` values that were asked for last. Threads may share it; two may then make the same value at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[object, Value] = OrderedDict()
        self._lock = RLock()

    def peek(self, key: object) -> Value | None:
        """The value, if it is at hand."""
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return found

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        """The value, made where it is not at hand."""
        if (found := self.peek(key)) is None:
            found = make()
            with self._lock:
                self._kept[key] = found
                self._kept.move_to_end(key)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return found

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._kept

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)


class SlidePlan:
    """What lies where on one slide. Everything follows from `seed`."""

    def __init__(self, seed: int, width_um: float, height_um: float, taxonomy: Taxonomy) -> None:
        self.seed, self.width_um, self.height_um, self.taxonomy = seed, width_um, height_um, taxonomy
        self.across, self.down = int(np.ceil(width_um / BLOCK_UM)), int(np.ceil(height_um / BLOCK_UM))
        self._weights = class_weights(taxonomy)
        self._cells: Lru[tuple[GlassCell, ...]] = Lru(4096)
        self._reds: Lru[NDArray[np.float64]] = Lru(1024)
        self._extras: Lru[tuple[Extra, ...]] = Lru(1024)
        rng = np.random.default_rng([seed, 10])
        shape = (int(height_um / _KNOT_UM) + 4, int(width_um / _KNOT_UM) + 4)
        self._lumps = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 1.0).astype(np.float32) * np.float32(0.35)

    def thickness(self, x_um: NDArray[np.float64], y_um: NDArray[np.float64]) -> NDArray[np.float32]:
        """How thick the smear lies at places of any shape: 0 open glass, 0.5 a good monolayer, 1 and more crowded.

        It was drawn out from left to right, so it thins that way, unevenly, and ends before the glass does.
        """
        x, y = np.asarray(x_um, np.float64), np.asarray(y_um, np.float64)
        column = np.clip(x / _KNOT_UM + 1, 0, self._lumps.shape[1] - 1.001)
        row = np.clip(y / _KNOT_UM + 1, 0, self._lumps.shape[0] - 1.001)
        i, j = row.astype(int), column.astype(int)
        upper = self._lumps[i, j] + (column - j) * (self._lumps[i, j + 1] - self._lumps[i, j])
        lower = self._lumps[i + 1, j] + (column - j) * (self._lumps[i + 1, j + 1] - self._lumps[i + 1, j])
        lumps = upper + (row - i) * (lower - upper)
        slope = np.clip(0.5 + 2.2 * (0.5 - x / self.width_um) ** 3 + 0.25 * (0.5 - x / self.width_um), 0.12, 1.1)
        edge = np.minimum(np.minimum(x, self.width_um - x), np.minimum(y, self.height_um - y))
        margin = min(300.0, min(self.width_um, self.height_um) / 20)
        taper = np.clip((edge - margin) / (2 * margin), 0, 1)
        return np.asarray(np.maximum(slope + lumps * 0.6, 0.05) * taper**0.5, np.float32)

    def blocks_in(self, x1: float, y1: float, x2: float, y2: float) -> list[Block]:
        """Blocks that a rectangle on the slide meets, row by row."""
        columns = range(max(int(x1 // BLOCK_UM), 0), min(int(x2 // BLOCK_UM) + 1, self.across))
        rows = range(max(int(y1 // BLOCK_UM), 0), min(int(y2 // BLOCK_UM) + 1, self.down))
        return [(column, row) for row in rows for column in columns]

    def cells(self, block: Block) -> tuple[GlassCell, ...]:
        """Nucleated cells with their middle in a block, in painting order."""
        return self._cells.get(block, lambda: self._lay_cells(block))

    def red_cells(self, block: Block) -> NDArray[np.float64]:
        """Red cells with their middle in a block, (n, 4): x, y in um, 0..1 to pick a sprite, 0..7 its turn."""
        return self._reds.get(block, lambda: self._lay_red_cells(block))

    def extras(self, block: Block) -> tuple[Extra, ...]:
        """Platelets and smudges of a block."""
        return self._extras.get(block, lambda: self._lay_extras(block))

    def _lay_cells(self, block: Block) -> tuple[GlassCell, ...]:
        rng = np.random.default_rng([self.seed, 11, *block])
        before = [(c.x_um, c.y_um, c.radius_um) for b in self._before(block) for c in self.cells(b)]
        thick = self._thickness_of(block)
        mean = CELLS_PER_FIELD * BLOCK_UM**2 / FIELD_AREA_UM2 * min(thick / 0.5, 1.5)
        wanted = min(int(rng.poisson(mean)), IDS_PER_BLOCK)
        number = block[1] * self.across + block[0]
        laid: list[GlassCell] = []
        for n, label in enumerate(rng.choice(len(self.taxonomy), size=wanted, p=self._weights).tolist()):
            seed = (self.seed, 12, *block, n)
            outline = outline_of(morphology_of(self.taxonomy[label].code), np.random.default_rng(seed))
            radius = float(np.sqrt(outline.area / np.pi))
            others = np.asarray(before).reshape(-1, 3)
            place = self._find_place(rng, block, radius, outline.reach, others)
            if place is None:
                continue
            x, y = place
            before.append((x, y, radius))
            angle = np.arange(len(outline.radii)) * (2 * np.pi / len(outline.radii))
            xs, ys = outline.radii * np.cos(angle), outline.radii * np.sin(angle)
            box = (x + float(xs.min()), y + float(ys.min()), x + float(xs.max()), y + float(ys.max()))
            laid.append(GlassCell(number * IDS_PER_BLOCK + n, int(label), x, y, radius, box, seed))
        return tuple(laid)

    def _find_place(
        self, rng: np.random.Generator, block: Block, radius: float, reach: float, others: NDArray[np.float64]
    ) -> tuple[float, float] | None:
        low = np.maximum(np.asarray(block) * BLOCK_UM, reach)
        high = np.minimum((np.asarray(block) + 1) * BLOCK_UM, np.asarray((self.width_um, self.height_um)) - reach)
        if (low >= high).any():
            return None
        for attempt in range(60):
            x, y = rng.uniform(low, high).tolist()
            # As in `plan`: mostly free, some touch; the fuller it is, the closer they are let.
            closeness = 1.12 if attempt < 4 else 1.0 if attempt < 30 else 0.88
            if (np.hypot(others[:, 0] - x, others[:, 1] - y) >= closeness * (others[:, 2] + radius)).all():
                return float(x), float(y)
        return None

    def _lay_red_cells(self, block: Block) -> NDArray[np.float64]:
        rng = np.random.default_rng([self.seed, 13, *block])
        thick, half = self._thickness_of(block), RED_CELL_UM / 2
        crowding = min(max(0.8 * thick, 0.0), 0.8) * rng.uniform(0.85, 1.15)
        wanted = int(crowding * BLOCK_UM**2 / (np.pi * half**2))
        before = [self.red_cells(b)[:, :2] for b in self._before(block)]
        laid = np.concatenate([*before, np.full((wanted, 2), np.inf)])
        start = count = len(laid) - wanted
        discs = np.asarray([(c.x_um, c.y_um, c.radius_um) for b in self._around(block) for c in self.cells(b)])
        discs = discs.reshape(-1, 3)
        low = np.asarray(block) * BLOCK_UM
        high = np.minimum(low + BLOCK_UM, np.asarray((self.width_um, self.height_um)) - RED_CELL_UM)
        tries = 4 * wanted
        spots, boldness = rng.uniform(low, np.maximum(high, low), (tries, 2)), rng.random(tries)
        squeeze = 1.0 - 0.35 * min(max(thick - 0.6, 0.0) / 0.4, 1.0)
        from_cell = np.full(tries, np.inf)
        if len(discs):
            from_cell = (np.hypot(*(spots[:, None] - discs[None, :, :2]).transpose(2, 0, 1)) - discs[:, 2]).min(axis=1)
        free = from_cell >= half * (0.55 + 0.35 * boldness)
        free &= self.thickness(spots[:, 0], spots[:, 1]) > 0.02
        apart = RED_CELL_UM * squeeze * np.minimum(1.0, 0.45 + 1.2 * boldness)
        for spot, far in zip(spots[free], apart[free].tolist(), strict=True):
            if count == len(laid):
                break
            gaps = laid[:count] - spot
            if not (np.einsum("ij,ij->i", gaps, gaps) < far * far).any():
                laid[count] = spot
                count += 1
        made = count - start
        return np.column_stack([laid[start:count], rng.random(made), rng.integers(8, size=made)])

    def _lay_extras(self, block: Block) -> tuple[Extra, ...]:
        rng = np.random.default_rng([self.seed, 14, *block])
        share = BLOCK_UM**2 / FIELD_AREA_UM2 * min(self._thickness_of(block) / 0.5, 1.5)
        smudges, platelets = int(rng.poisson(0.35 * share)), int(rng.poisson(rng.uniform(2, 14) * share))
        discs = np.asarray([(c.x_um, c.y_um, c.radius_um) for b in self._around(block) for c in self.cells(b)])
        discs = discs.reshape(-1, 3)
        laid = []
        for n in range(smudges + platelets):
            x, y = ((np.asarray(block) + rng.random(2)) * BLOCK_UM).tolist()
            clear = 6.0 if n < smudges else 1.2
            inside = clear < x < self.width_um - clear and clear < y < self.height_um - clear
            if inside and (np.hypot(discs[:, 0] - x, discs[:, 1] - y) > discs[:, 2] + clear).all():
                laid.append(Extra(n < smudges, x, y, (self.seed, 15, *block, n)))
        return tuple(laid)

    def _thickness_of(self, block: Block) -> float:
        middle = (np.asarray(block) + 0.5) * BLOCK_UM
        return float(self.thickness(middle[:1], middle[1:])[0])

    def _around(self, block: Block) -> list[Block]:
        """The block and those that touch it, as far as there is glass."""
        column, row = block
        columns = range(max(column - 1, 0), min(column + 2, self.across))
        rows = range(max(row - 1, 0), min(row + 2, self.down))
        return [(c, r) for r in rows for c in columns]

    def _before(self, block: Block) -> list[Block]:
        """Those around a block that are laid before it."""
        return [b for b in self._around(block) if _colour(b) < _colour(block)]


def _colour(block: Block) -> int:
    return block[0] % 2 + 2 * (block[1] % 2)
