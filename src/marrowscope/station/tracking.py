"""Where on the glass the microscope looks, from the pictures alone: the slide may be moved by hand.

Every picture is registered against the key frame that lies under it, not against the picture before it, so errors do
not add up while the slide is moved to and fro; a new key frame is placed by several old ones, so they hardly add up
over a long path. Where nothing agrees, the place is lost and a new *visit* begins. The glass is then compared with all
that was seen before, some key frames a picture, and when it is recognised the two visits become one again.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marrowscope.station.tracking_map import KeyFrame, PreparedFrames, VisitMap
from marrowscope.station.tracking_shift import Prepared, Shift, find_shift, glance_of, refine_shift

log = logging.getLogger(__name__)

AGREES = 0.45
CERTAIN = 5.0
"""Unrelated glass stays below 0.45 and 4; the same glass, 20 px out of focus and half seen, reaches 0.7 and 7."""
RECOGNISED = 0.6
RECOGNISED_CERTAIN = 6.0
"""To recognise one place among hundreds asks for more than to follow it."""
NEW_KEY_FRAME = 0.6
"""Overlap with every key frame below which a new one is made."""
SAME_PLACE = 0.85
SHARPER = 1.3
"""Contrast, relative to that of a key frame, with which a picture of the same place takes its place."""
EMPTY = 0.015
"""Contrast (of optical density) below which there is nothing to hold on to. A sharp field has 0.15."""
MOST_KEY_FRAMES = 1200


class Joined(NamedTuple):
    """Visit `old` turned out to be part of visit `new`: add (dx_um, dy_um) to its places."""

    old: str
    new: str
    dx_um: float
    dy_um: float


class Fix(NamedTuple):
    """Where the middle of a picture lies, in micrometres within a visit.

    agreement: of this picture with what was known of the glass, 0 where it is the first of its visit. placed: False on
    empty glass, where the place means nothing. lost: the place became unknown with this picture. joined: visits that
    became one with this picture. charted: the key frames are others than before.
    """

    visit: str
    x_um: float
    y_um: float
    agreement: float
    placed: bool = True
    lost: bool = False
    joined: Joined | None = None
    charted: bool = False


class _Seen(NamedTuple):
    """A picture that was placed."""

    prepared: Prepared
    x_um: float
    y_um: float


def _random_word() -> str:
    return secrets.token_hex(4)


class Tracker:
    """Follows one slide, picture after picture. For one thread."""

    def __init__(
        self,
        *,
        word: Callable[[], str] = _random_word,
        compared_at_once: int = 6,
        most_key_frames: int = MOST_KEY_FRAMES,
    ) -> None:
        """word: names a new visit. compared_at_once: key frames of other visits looked at a picture, while lost."""
        self._word = word
        self._compared_at_once = compared_at_once
        self._most = most_key_frames
        self._ready = PreparedFrames()
        self._visits: dict[str, VisitMap] = {}
        self._visit = self._new_visit()
        self._lost_at: tuple[VisitMap, float, float] | None = None
        self._last: _Seen | None = None
        self._claimed: set[str] = set()
        self._searched: KeyFrame | None = None
        self._to_search: deque[tuple[VisitMap, KeyFrame]] = deque()
        self._um_per_px = 0.0

    @property
    def visited(self) -> dict[str, tuple[tuple[float, float, float, float], ...]]:
        """(x, y, width, height) in micrometres of every key frame (x, y: its middle), by visit."""
        return {
            word: tuple((f.x_um, f.y_um, f.width_um, f.height_um) for f in visit.frames)
            for word, visit in self._visits.items()
        }

    def claim(self) -> None:
        """Something of the present visit was kept or is being looked for: its word can no longer be given up."""
        self._claimed.add(self._visit.word)

    def forget(self) -> None:
        """Another slide lies there: nothing that was seen is of use any more."""
        self._visits.clear()
        self._claimed.clear()
        self._last = self._searched = self._lost_at = None
        self._to_search.clear()
        self._visit = self._new_visit()

    def see(
        self, pixels: NDArray[np.uint8], um_per_px: float, *, origin: Callable[[], tuple[float, float]] | None = None
    ) -> Fix:
        """Place the next picture (h, w, 3) RGB. origin: asked for its place in case a visit begins with it."""
        glance = glance_of(pixels)
        prepared = Prepared(glance)
        size_um = (pixels.shape[1] * um_per_px, pixels.shape[0] * um_per_px)
        if not self._comparable(prepared, um_per_px):
            self.forget()
        self._um_per_px = um_per_px
        empty = glance.contrast < EMPTY
        found = None if empty else self._follow(prepared)
        lost = found is None
        if found is None:
            self._begin_visit()
            x_um, y_um = origin() if origin is not None else (0.0, 0.0)
            agreement = 0.0
        else:
            x_um, y_um, agreement = found
        joined, charted = None, False
        if not empty:
            (x_um, y_um), charted = self._remember(prepared, x_um, y_um, size_um)
            joined = self._search()
            if joined is not None:
                x_um, y_um = x_um + joined.dx_um, y_um + joined.dy_um
        self._last = None if empty else _Seen(prepared, x_um, y_um)
        return Fix(self._visit.word, x_um, y_um, agreement, not empty, lost, joined, charted or joined is not None)

    def _comparable(self, prepared: Prepared, um_per_px: float) -> bool:
        """Whether the picture has the size and scale of those before; another objective is another world."""
        last = self._last
        same_shape = last is None or last.prepared.shape == prepared.shape
        return same_shape and abs(um_per_px - (self._um_per_px or um_per_px)) < 1e-6 * um_per_px

    def _follow(self, now: Prepared) -> tuple[float, float, float] | None:
        """The place by the key frame beneath, else by the picture before, else by key frames near by."""
        last = self._last
        if last is None:
            return None
        beneath = self._visit.overlapping(last.x_um, last.y_um, 0.25)[:3]
        for frame in beneath[:1]:
            if placed := self._place(self._ready.of(frame), frame.x_um, frame.y_um, now):
                return placed
        if placed := self._place(last.prepared, last.x_um, last.y_um, now):
            return placed
        near = [f for f in self._visit.nearest(last.x_um, last.y_um)[:6] if f not in beneath[:1]]
        for frame in near:
            if placed := self._place(self._ready.of(frame, keep=False), frame.x_um, frame.y_um, now):
                return placed
        return None

    def _place(self, known: Prepared, x_um: float, y_um: float, now: Prepared) -> tuple[float, float, float] | None:
        shift = self._shift(known, now, AGREES, CERTAIN)
        if shift is None:
            return None
        return x_um + shift.dx * self._um_per_px, y_um + shift.dy * self._um_per_px, shift.agreement

    @staticmethod
    def _shift(known: Prepared, now: Prepared, agrees: float, certain: float) -> Shift | None:
        """How far `now` lies from `known`; None where they do not show the same glass."""
        if known.shape != now.shape:
            return None
        rough = find_shift(known, now)
        # Halved glances of a picture with fine grain agree a little less than whole ones.
        if rough.agreement < 0.8 * agrees or rough.certainty < 0.8 * certain:
            return None
        fine = refine_shift(known.glance, now.glance, rough)
        strayed = max(abs(fine.dx - rough.dx), abs(fine.dy - rough.dy)) > 3 * 2 * known.glance.scale
        return None if strayed or fine.agreement < agrees or fine.certainty < certain else fine

    def _new_visit(self) -> VisitMap:
        visit = VisitMap(self._word())
        self._visits[visit.word] = visit
        return visit

    def _begin_visit(self) -> None:
        visit, last = self._visit, self._last
        if not visit.frames:
            return
        # A visit of which nothing was used yet loses nothing: its word is used again, so that a hand that moves too
        # fast leaves no trail of visits of one blurred picture each.
        if visit.word not in self._claimed and len(visit.frames) == 1:
            visit.frames.clear()
            return
        if last is not None:
            self._lost_at = (visit, last.x_um, last.y_um)
        self._visit = self._new_visit()
        log.info("the place is unknown: visit %s begins", self._visit.word)

    def _remember(
        self, now: Prepared, x_um: float, y_um: float, size_um: tuple[float, float]
    ) -> tuple[tuple[float, float], bool]:
        """Make a key frame where there is none, placed by all that it overlaps. The place in force; whether it did."""
        around = self._visit.overlapping(x_um, y_um, 0.2)
        beneath = around[0] if around else None
        shared = beneath.overlap(x_um, y_um) if beneath is not None else 0.0
        if beneath is not None and shared >= SAME_PLACE and now.glance.contrast > SHARPER * beneath.contrast:
            # A picture out of focus, or of a moving slide, makes a poor key: the first good one takes its place.
            self._visit.frames.remove(beneath)
        elif shared >= NEW_KEY_FRAME:
            return (x_um, y_um), False
        places, weights = [(x_um, y_um)], [0.1]
        for frame in around[:4]:
            shift = self._shift(self._ready.of(frame), now, AGREES, CERTAIN)
            if shift is not None:
                places.append((frame.x_um + shift.dx * self._um_per_px, frame.y_um + shift.dy * self._um_per_px))
                weights.append(shift.overlap * shift.agreement)
        x_um, y_um = np.average(places, axis=0, weights=weights).tolist() if len(places) > 1 else (x_um, y_um)
        frame = KeyFrame.of(now.glance, x_um, y_um, *size_um)
        self._visit.frames.append(frame)
        self._make_room()
        self._plan_search(frame)
        return (x_um, y_um), True

    def _make_room(self) -> None:
        """Bounded memory: beyond the most, the oldest key frames go. Their cells stay on the map."""
        while sum(len(v.frames) for v in self._visits.values()) > self._most:
            oldest = next(v for v in self._visits.values() if v.frames)
            oldest.frames.pop(0)
            if not oldest.frames and oldest is not self._visit:
                del self._visits[oldest.word]

    def _plan_search(self, frame: KeyFrame) -> None:
        """Compare a new key frame with all other visits, over the next pictures.

        First with what lies near the place that was lost: most who lose it moved a little too fast.
        """
        self._searched = frame
        others = [v for v in reversed(self._visits.values()) if v is not self._visit]
        self._to_search = deque((v, f) for v in others for f in reversed(v.frames))
        if self._lost_at is not None:
            visit, x_um, y_um = self._lost_at
            near = visit.nearest(x_um, y_um)[: self._compared_at_once]
            self._to_search.extendleft((visit, f) for f in reversed(near))

    def _search(self) -> Joined | None:
        searched = self._searched
        if searched is None:
            return None
        for _ in range(min(self._compared_at_once, len(self._to_search))):
            visit, known = self._to_search.popleft()
            if visit is self._visit or self._visits.get(visit.word) is not visit:
                continue  # joined or forgotten since
            now = self._ready.of(searched)
            shift = self._shift(self._ready.of(known, keep=False), now, RECOGNISED, RECOGNISED_CERTAIN)
            if shift is not None:
                return self._join(visit, known, searched, shift)
        return None

    def _join(self, known_visit: VisitMap, known: KeyFrame, searched: KeyFrame, shift: Shift) -> Joined:
        """The present visit shows glass of `known_visit`: its key frames move over, and that visit goes on."""
        dx = known.x_um + shift.dx * self._um_per_px - searched.x_um
        dy = known.y_um + shift.dy * self._um_per_px - searched.y_um
        old = self._visit
        old.move(dx, dy)
        if searched not in old.frames:
            searched.x_um, searched.y_um = searched.x_um + dx, searched.y_um + dy
        for frame in old.frames:
            # Of glass that is known already one key frame is enough, however often the place is lost and found.
            around = known_visit.overlapping(frame.x_um, frame.y_um, NEW_KEY_FRAME)
            if not around or frame.contrast > SHARPER * around[0].contrast:
                known_visit.frames.append(frame)
        del self._visits[old.word]
        self._visit = known_visit
        self._lost_at = None
        # The search goes on: what was recognised here may have been another visit's glass before.
        if old.word in self._claimed:
            self._claimed.add(known_visit.word)
        log.info("visit %s is recognised as part of visit %s", old.word, known_visit.word)
        return Joined(old.word, known_visit.word, dx, dy)
