"""Key frames: what the glass looks like at places already visited, so that a place is known when it comes again.

One `VisitMap` a visit: the places of its key frames in micrometres, all relative to one another. What a visit does not
know is where it lies relative to another visit; `Tracker` joins two when it sees that they show the same glass.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from marrowscope.station.tracking_shift import Glance, Prepared

_CACHED = 8


@dataclass(eq=False)
class KeyFrame:
    """One remembered picture. x_um, y_um: its middle in the visit. Its glance is kept at one byte a pixel."""

    x_um: float
    y_um: float
    width_um: float
    height_um: float
    scale: float
    contrast: float
    codes: NDArray[np.int8]
    step: float

    @classmethod
    def of(cls, glance: Glance, x_um: float, y_um: float, width_um: float, height_um: float) -> "KeyFrame":
        """Remember this glance as seen at this place."""
        step = max(float(np.abs(glance.pixels).max()), 1e-6) / 127
        codes = np.round(glance.pixels / np.float32(step)).astype(np.int8)
        return cls(x_um, y_um, width_um, height_um, glance.scale, glance.contrast, codes, step)

    def glance(self) -> Glance:
        """The glance again, to a part in 127."""
        return Glance(self.codes.astype(np.float32) * np.float32(self.step), self.scale)

    def overlap(self, x_um: float, y_um: float) -> float:
        """Share of a picture of the same size, seen at this place, that lies on this one."""
        across = max(0.0, 1 - abs(x_um - self.x_um) / self.width_um)
        return across * max(0.0, 1 - abs(y_um - self.y_um) / self.height_um)


@dataclass(eq=False)
class VisitMap:
    """The key frames of one visit. word: its name in the archive."""

    word: str
    frames: list[KeyFrame] = field(default_factory=list)

    def overlapping(self, x_um: float, y_um: float, at_least: float) -> list[KeyFrame]:
        """Those that share at least this part of a picture seen here; the most first."""
        if not self.frames:
            return []
        places = np.asarray([(f.x_um, f.y_um, f.width_um, f.height_um) for f in self.frames])
        apart = np.abs(places[:, :2] - (x_um, y_um)) / places[:, 2:]
        shared = np.prod(np.maximum(0, 1 - apart), axis=1)
        order = np.argsort(-shared, kind="stable")
        return [self.frames[i] for i in order.tolist() if shared[i] >= at_least]

    def nearest(self, x_um: float, y_um: float) -> list[KeyFrame]:
        """All, the nearest first."""
        return sorted(self.frames, key=lambda f: (f.x_um - x_um) ** 2 + (f.y_um - y_um) ** 2)

    def move(self, dx_um: float, dy_um: float) -> None:
        """Shift every place."""
        for frame in self.frames:
            frame.x_um += dx_um
            frame.y_um += dy_um


class PreparedFrames:
    """Key frames made ready for comparison; the few last used stay ready."""

    def __init__(self, cached: int = _CACHED) -> None:
        self._cached = cached
        self._ready: OrderedDict[int, tuple[KeyFrame, Prepared]] = OrderedDict()

    def of(self, frame: KeyFrame, *, keep: bool = True) -> Prepared:
        """A key frame, ready. keep: False for one that is looked at once, in a search."""
        found = self._ready.get(id(frame))
        if found is not None:
            self._ready.move_to_end(id(frame))
            return found[1]
        prepared = Prepared(frame.glance())
        if keep:
            # The key frame is kept beside its work, so that its id cannot be given to another.
            self._ready[id(frame)] = (frame, prepared)
            while len(self._ready) > self._cached:
                self._ready.popitem(last=False)
        return prepared
