"""A slide of centimetres with known truth, drawn where somebody looks.

    slide = SmearSlide(seed=3)
    pixels = slide.view(10_000, 10_000, 1920, 1080, 0.069)     # sharp, draws what it needs
    pixels, sharp = slide.glance(...)                          # waits for nothing: coarse where not yet drawn

The corner of the slide is (0, 0), x to the right, y down, in um. The same seed gives the same glass, whatever was
looked at before and in which order. A thread draws ahead for `glance`; `close` ends it.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.smear.slide_plan import REACH_UM, GlassCell, Lru, SlidePlan
from marrowscope.smear.slide_tile import TILE_PX, TileKey, TilePainter
from marrowscope.smear.stain import Stain

_COARSEST = 4
# So few tiles are drawn sharply at once, rather than coarsely first.
_FEW = 2
_BARE_GLASS = np.full((TILE_PX, TILE_PX, 3), (251, 247, 252), np.uint8)


@dataclass(frozen=True, eq=False)
class SlideCells:
    """Nucleated cells of a slide. ids: (n,) int64, unique on the slide and always the same. boxes_um: (n, 4) x1, y1,
    x2, y2 on the slide, whole even where a view would cut them. labels: (n,) int64 of `taxonomy`.
    """

    ids: NDArray[np.int64]
    boxes_um: NDArray[np.float64]
    labels: NDArray[np.int64]
    taxonomy: Taxonomy

    def __len__(self) -> int:
        return len(self.ids)


class SmearSlide:
    """One stained smear. Threads may share it.

    um_per_px: of the finest drawing; views at this scale cost least. memory_mb: what drawn tiles may take.
    """

    def __init__(
        self,
        seed: int,
        *,
        width_um: float = 20_000,
        height_um: float = 20_000,
        taxonomy: Taxonomy | None = None,
        um_per_px: float = 0.069,
        memory_mb: float = 96,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        if min(width_um, height_um) < 100:
            raise ValueError(f"a slide must be at least 100 x 100 um, got {width_um} x {height_um}")
        if not 0.02 <= um_per_px <= 1:
            raise ValueError(f"um_per_px must lie in 0.02..1, got {um_per_px}")
        self.seed, self.width_um, self.height_um, self.um_per_px = seed, width_um, height_um, um_per_px
        self.taxonomy = taxonomy or load_taxonomy("liu2022")
        self.stain = Stain.of_specimen(np.random.default_rng([seed, 1]))
        self._plan = SlidePlan(seed, width_um, height_um, self.taxonomy)
        self._painter = TilePainter(self._plan, self.stain, um_per_px)
        most = max(int(memory_mb * 2**20 / (TILE_PX * TILE_PX * 3)), 48)
        self._tiles: Lru[NDArray[np.uint8]] = Lru(most)
        self._drafts: Lru[NDArray[np.uint8]] = Lru(48)
        self._wanted: list[tuple[bool, TileKey]] = []
        self._news = threading.Condition()
        self._worker: threading.Thread | None = None
        self._closed = False
        self._looked_at = (width_um / 2, height_um / 2)

    def view(self, x_um: float, y_um: float, width_px: int, height_px: int, um_per_px: float) -> NDArray[np.uint8]:
        """The light through the slide around (x, y): (height_px, width_px, 3) uint8 RGB, 255 the bare lamp.

        Draws whatever is missing before it returns.
        """
        return self._look(x_um, y_um, width_px, height_px, um_per_px, self._sharp)

    def glance(
        self, x_um: float, y_um: float, width_px: int, height_px: int, um_per_px: float
    ) -> tuple[NDArray[np.uint8], bool]:
        """As `view`, but without waiting; and whether all of it is sharp.

        What is not yet drawn is shown four times as coarse, the same cells in the same places, or for a moment as bare
        glass. A thread draws it: first all of it coarsely, then sharply, nearest to the middle first; and after that
        what lies in the direction of travel.
        """
        missing: list[TileKey] = []

        def at_hand(key: TileKey) -> NDArray[np.uint8]:
            if (tile := self._tiles.peek(key)) is not None:
                return tile
            missing.append(key)
            draft = self._drafts.peek(key)
            return _BARE_GLASS if draft is None else draft

        pixels = self._look(x_um, y_um, width_px, height_px, um_per_px, at_hand)
        self._order(missing, x_um, y_um, width_px * um_per_px, height_px * um_per_px, um_per_px)
        return pixels, not missing

    def is_drawn(self, x_um: float, y_um: float, width_px: int, height_px: int, um_per_px: float) -> bool:
        """Whether a `view` there would find everything drawn."""
        found = True

        def look(key: TileKey) -> NDArray[np.uint8]:
            nonlocal found
            found = found and key in self._tiles
            return _BARE_GLASS

        self._look(x_um, y_um, width_px, height_px, um_per_px, look)
        return found

    @property
    def tiles_kept(self) -> int:
        """Sharp tiles in memory."""
        return len(self._tiles)

    def cells_in(self, x_um: float, y_um: float, width_um: float, height_um: float) -> SlideCells:
        """The truth: every nucleated cell whose box reaches into the rectangle around (x, y), by id."""
        x1, y1, x2, y2 = x_um - width_um / 2, y_um - height_um / 2, x_um + width_um / 2, y_um + height_um / 2
        found: list[GlassCell] = []
        for block in self._plan.blocks_in(x1 - REACH_UM, y1 - REACH_UM, x2 + REACH_UM, y2 + REACH_UM):
            for cell in self._plan.cells(block):
                left, top, right, bottom = cell.box_um
                if left < x2 and right > x1 and top < y2 and bottom > y1:
                    found.append(cell)
        found.sort(key=lambda c: c.id)
        return SlideCells(
            np.asarray([c.id for c in found], np.int64),
            np.asarray([c.box_um for c in found], np.float64).reshape(-1, 4),
            np.asarray([c.label for c in found], np.int64),
            self.taxonomy,
        )

    def close(self) -> None:
        """End the drawing thread. The slide can still be viewed."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._worker is not None:
            self._worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(
        self,
        x_um: float,
        y_um: float,
        width_px: int,
        height_px: int,
        um_per_px: float,
        tile_of: Callable[[TileKey], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:
        level = self._level(um_per_px)
        scale = self._painter.scale(level)
        zoom = um_per_px / scale
        width, height = max(round(width_px * zoom), 1), max(round(height_px * zoom), 1)
        left, top = round(x_um / scale - width / 2), round(y_um / scale - height / 2)
        pixels = np.empty((height, width, 3), np.uint8)
        for row in range(top // TILE_PX, (top + height - 1) // TILE_PX + 1):
            y1, y2 = max(row * TILE_PX, top), min((row + 1) * TILE_PX, top + height)
            for column in range(left // TILE_PX, (left + width - 1) // TILE_PX + 1):
                x1, x2 = max(column * TILE_PX, left), min((column + 1) * TILE_PX, left + width)
                tile = tile_of((level, column, row))
                inner = tile[y1 - row * TILE_PX : y2 - row * TILE_PX, x1 - column * TILE_PX : x2 - column * TILE_PX]
                pixels[y1 - top : y2 - top, x1 - left : x2 - left] = inner
        if (width, height) != (width_px, height_px):
            method = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
            pixels = np.asarray(cv2.resize(pixels, (width_px, height_px), interpolation=method), np.uint8)
        return pixels

    def _level(self, um_per_px: float) -> int:
        if not um_per_px > 0:
            raise ValueError(f"um_per_px must be above 0, got {um_per_px}")
        return min(max(int(math.log2(um_per_px / self.um_per_px) + 1e-6), 0), _COARSEST)

    def _sharp(self, key: TileKey) -> NDArray[np.uint8]:
        return self._tiles.get(key, lambda: self._painter.paint(key))

    def _draft(self, key: TileKey) -> NDArray[np.uint8]:
        return self._drafts.get(key, lambda: self._painter.draft(key))

    def _order(
        self, missing: list[TileKey], x_um: float, y_um: float, width_um: float, height_um: float, um_per_px: float
    ) -> None:
        """Tell the drawing thread what is wanted now; whatever was wanted before is not."""
        level = self._level(um_per_px)
        tile_um = TILE_PX * self._painter.scale(level)
        moved = (x_um - self._looked_at[0], y_um - self._looked_at[1])
        self._looked_at = (x_um, y_um)
        missing.sort(key=lambda k: math.hypot((k[1] + 0.5) * tile_um - x_um, (k[2] + 0.5) * tile_um - y_um))
        length = math.hypot(*moved)
        ahead: list[TileKey] = []
        if length > 0:
            x, y = x_um + moved[0] / length * tile_um, y_um + moved[1] / length * tile_um
            columns = range(int((x - width_um / 2) // tile_um), int((x + width_um / 2) // tile_um) + 1)
            rows = range(int((y - height_um / 2) // tile_um), int((y + height_um / 2) // tile_um) + 1)
            ahead = [k for r in rows for c in columns if (k := (level, c, r)) not in self._tiles and k not in missing]
        if not missing and not ahead:
            return
        coarse = [k for k in missing if k not in self._drafts] if len(missing) > _FEW else []
        with self._news:
            self._wanted = [(True, k) for k in coarse] + [(False, k) for k in missing + ahead]
            if self._worker is None and not self._closed:
                self._worker = threading.Thread(target=self._draw_ahead, name="smear-slide", daemon=True)
                self._worker.start()
            self._news.notify_all()

    def _draw_ahead(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._wanted or self._closed)
                if self._closed:
                    return
                is_draft, key = self._wanted.pop(0)
            self._draft(key) if is_draft else self._sharp(key)
