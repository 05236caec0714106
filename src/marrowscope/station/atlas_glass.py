"""The glass under the lens: where the view is on it, and which cells lie there. Any thread may ask."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from marrowscope.cells.specimen import FoundCell
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.instrument.camera import Frame
from marrowscope.station.atlas import Atlas, AtlasCell, Rect
from marrowscope.station.live_view import MapCell, OverlayCell, Sight, SlideMap
from marrowscope.station.tracking import Joined, Tracker

UNCALIBRATED = 1.0
"""Where a camera was not calibrated, places on the glass are in pixels: one "micrometre" each."""
EDGE_PX = 6.0
"""A box that comes so near the border of its frame is taken to be cut by it: no detector is right to the pixel."""
LEAST_SEEN = 0.25
"""Share of a cell that must lie in the view for it to be drawn."""


class Glass:
    """Follows one slide and keeps the atlas of its cells, one for every visit.

    `see` is for the one thread that has the frames; everything else is for all.
    """

    def __init__(
        self,
        scheme: Taxonomy,
        *,
        origin: Callable[[], tuple[float, float]] | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        """origin: asked where a visit is to begin; else at (0, 0)."""
        self._scheme = scheme
        self._index = {c.code: k for k, c in enumerate(scheme)}
        self._origin = origin
        self._tracker = tracker or Tracker()
        self._lock = threading.Lock()
        self._atlases: dict[str, Atlas] = {}
        self._joined: dict[str, Joined] = {}
        self._kept: list[Sight] = []
        self._newest: Sight | None = None
        self._visited: dict[str, tuple[Rect, ...]] = {}
        self._next_id = 1

    def see(self, frame: Frame) -> Sight:
        """Find the place of the next frame."""
        um_per_px = frame.um_per_px or UNCALIBRATED
        fix = self._tracker.see(frame.pixels, um_per_px, origin=self._origin)
        height, width = frame.pixels.shape[:2]
        sight = Sight(
            frame.number,
            frame.captured_at,
            fix.visit,
            fix.x_um,
            fix.y_um,
            width,
            height,
            um_per_px,
            fix.agreement,
            fix.placed,
        )
        with self._lock:
            if fix.joined is not None:
                self._join(fix.joined)
            if fix.charted:
                self._visited = {
                    word: tuple(Rect.around(*place) for place in places)
                    for word, places in self._tracker.visited.items()
                }
            self._newest = sight
        return sight

    def claim(self) -> None:
        """The newest frame is about to be looked at or kept: its visit stands. For the thread of `see`."""
        self._tracker.claim()

    def forget(self) -> None:
        """Another slide lies there. For the thread of `see`."""
        self._tracker.forget()
        with self._lock:
            self._next_id = max((a.next_id for a in self._atlases.values()), default=self._next_id)
            self._atlases.clear()
            self._joined.clear()
            self._kept.clear()
            self._visited = {}
            self._newest = None

    def add(self, sight: Sight, found: Sequence[FoundCell]) -> None:
        """Enter what was found in a frame, which may be of a while ago. found: codes of the scheme, pixels of it."""
        if not sight.placed:
            return
        with self._lock:
            sight = self._now_called(sight)
            atlas = self._atlas(sight.visit)
            boxes = np.asarray([c.box for c in found], np.float64).reshape(-1, 4) * sight.um_per_px
            corner = np.asarray([sight.view.x1, sight.view.y1] * 2)
            labels, scores = [self._index[c.code] for c in found], [c.score for c in found]
            atlas.add(sight.view, boxes + corner, labels, scores, edge_um=EDGE_PX * sight.um_per_px)

    def keep(self, sight: Sight) -> Sight:
        """Mark a frame as kept on the map. Returns its place as it is called now."""
        with self._lock:
            self._kept.append(sight)
            return self._now_called(sight)

    def overlay(self, sight: Sight) -> tuple[OverlayCell, ...]:
        """The cells that lie in this view, in its pixels."""
        with self._lock:
            sight = self._now_called(sight)
            atlas = self._atlases.get(sight.visit)
            if atlas is None or not sight.placed:
                return ()
            view = sight.view
            drawn = []
            for cell in atlas.within(view):
                box = _in_pixels(cell.box, view, sight)
                if cell.believed and box is not None:
                    named = self._scheme[cell.label]
                    drawn.append(OverlayCell(cell.id, box, named.code, cell.score, cell.counted and named.counted))
            return tuple(drawn)

    def counts(self) -> dict[str, int]:
        """Unique cells by code, of all visits: what is not known to be the same glass is taken to be other glass."""
        with self._lock:
            labels = Counter(c.label for a in self._atlases.values() for c in a if c.counted)
        return {self._scheme[label].code: count for label, count in sorted(labels.items())}

    def map(self) -> SlideMap:
        """The present visit."""
        with self._lock:
            here = self._newest
            if here is None:
                return SlideMap(None, (), (), (), "")
            here = self._now_called(here)
            atlas = self._atlases.get(here.visit, Atlas())
            kept = (self._now_called(s) for s in self._kept)
            return SlideMap(
                here.view,
                self._visited.get(here.visit, ()),
                tuple(s.view for s in kept if s.visit == here.visit),
                tuple(self._map_cell(c) for c in atlas if c.believed),
                here.visit,
            )

    def _map_cell(self, cell: AtlasCell) -> MapCell:
        x, y = (cell.box.x1 + cell.box.x2) / 2, (cell.box.y1 + cell.box.y2) / 2
        named = self._scheme[cell.label]
        return MapCell(x, y, named.code, cell.counted and named.counted)

    def _atlas(self, visit: str) -> Atlas:
        if visit not in self._atlases:
            # Numbers of cells are never used twice, also not in two visits: each visit counts in a million of its own.
            self._atlases[visit] = Atlas(self._next_id)
            self._next_id += 1_000_000
        return self._atlases[visit]

    def _now_called(self, sight: Sight) -> Sight:
        """The same place, in the visit that its own has become part of since."""
        while (joined := self._joined.get(sight.visit)) is not None:
            sight = replace(sight, visit=joined.new, x_um=sight.x_um + joined.dx_um, y_um=sight.y_um + joined.dy_um)
        return sight

    def _join(self, joined: Joined) -> None:
        self._joined[joined.old] = joined
        atlas = self._atlases.pop(joined.old, None)
        if atlas is not None:
            self._atlas(joined.new).absorb(atlas, joined.dx_um, joined.dy_um)


def _in_pixels(box: Rect, view: Rect, sight: Sight) -> tuple[float, float, float, float] | None:
    """The box in pixels of the frame, cut at its border; None where too little of it is left."""
    scale = 1 / sight.um_per_px
    x1, x2 = (box.x1 - view.x1) * scale, (box.x2 - view.x1) * scale
    y1, y2 = (box.y1 - view.y1) * scale, (box.y2 - view.y1) * scale
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(sight.width)), min(y2, float(sight.height)))
    left = max(cut[2] - cut[0], 0.0) * max(cut[3] - cut[1], 0.0)
    return cut if left >= LEAST_SEEN * max((x2 - x1) * (y2 - y1), 1e-9) and left > 0 else None
