"""The cells of a slide, each once, however often it comes into view.

Two sightings are of one cell when they agree in place and size, compared in the part of the glass that both views
show: so a cell cut by the border of one view meets itself in the next. A cell cut in every view so far waits: it is
shown, and not counted until it was seen whole. Its class is what most sightings say, weighed by their scores.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import iou_matrix

Floats = NDArray[np.float64]

SAME = 0.4
"""Overlap (IoU) from which two sightings are of one cell; neighbours that touch stay below 0.2."""
NEW_LOOK = 0.02
"""Share of its width by which a view must have moved for its opinion to be new: one picture says one thing."""
GONE = 0.5
"""Share of looks that must have found a cell for it to be one."""


class Rect(NamedTuple):
    """A part of the slide, micrometres: left, top, right, bottom."""

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def around(cls, x_um: float, y_um: float, width_um: float, height_um: float) -> "Rect":
        """The part of this size with its middle here."""
        return cls(x_um - width_um / 2, y_um - height_um / 2, x_um + width_um / 2, y_um + height_um / 2)


@dataclass(eq=False)
class AtlasCell:
    """What is known of one cell. view: what was seen of the glass when `box` was measured.

    votes: by class index, the sum of scores. best: by class index, the best score. looks: views that showed its place
    whole; found: those in which it was found.
    """

    id: int
    box: Rect
    view: Rect
    whole: bool
    votes: dict[int, float] = field(default_factory=dict)
    best: dict[int, float] = field(default_factory=dict)
    looks: int = 0
    found: int = 0
    last_look: tuple[float, float] = (math.inf, math.inf)

    @property
    def label(self) -> int:
        """Its class."""
        return max(self.votes, key=lambda k: (self.votes[k], -k))

    @property
    def score(self) -> float:
        """The best score that its class got."""
        return self.best[self.label]

    @property
    def believed(self) -> bool:
        """Whether it was found in most views that showed its place."""
        return self.found >= GONE * self.looks

    @property
    def counted(self) -> bool:
        """Whether it is one of the unique cells."""
        return self.whole and self.believed


class Atlas:
    """The cells of one visit. Not for several threads at once."""

    def __init__(self, first_id: int = 1) -> None:
        self._cells: dict[int, AtlasCell] = {}
        self._ids = np.zeros(0, np.int64)
        self._boxes = np.zeros((0, 4))
        self._stale = False
        self.next_id = first_id

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[AtlasCell]:
        return iter(self._cells.values())

    def cell(self, cell_id: int) -> AtlasCell:
        """The cell with this id; KeyError where there is none."""
        return self._cells[cell_id]

    def within(self, view: Rect) -> list[AtlasCell]:
        """The cells of which a part lies in this view."""
        self._tidy()
        boxes = self._boxes
        meets = (boxes[:, 0] < view.x2) & (boxes[:, 2] > view.x1) & (boxes[:, 1] < view.y2) & (boxes[:, 3] > view.y1)
        return [self._cells[i] for i in self._ids[meets].tolist()]

    def add(
        self, view: Rect, boxes: Floats, labels: Sequence[int], scores: Sequence[float], *, edge_um: float = 0.25
    ) -> list[int]:
        """Enter what was found in a view; returns the id of every cell, in order.

        boxes: (n, 4) micrometres on the slide, cut at the view. edge_um: a box that comes so near the border of the
        view is taken to be cut by it.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        known = self.within(view)
        matches = _match(view, boxes, known)
        ids: list[int] = []
        for n, box in enumerate(boxes.tolist()):
            rect = Rect(*box)
            whole = _inside(rect, view, edge_um)
            if n in matches:
                cell = known[matches[n]]
                self._see_again(cell, rect, view, whole)
            else:
                cell = AtlasCell(self.next_id, rect, view, whole)
                self.next_id += 1
                self._cells[cell.id] = cell
                self._stale = True
            _vote(cell, int(labels[n]), float(scores[n]), view, whole)
            ids.append(cell.id)
        self._miss([cell for k, cell in enumerate(known) if k not in set(matches.values())], view, edge_um)
        return ids

    def absorb(self, other: "Atlas", dx_um: float, dy_um: float) -> None:
        """Take over the cells of another visit that lies (dx_um, dy_um) away; those known here already are one cell."""
        for cell in list(other):
            box, view = _moved(cell.box, dx_um, dy_um), _moved(cell.view, dx_um, dy_um)
            known = self.within(box)
            match = _match(view, np.asarray([box]), known)
            if match:
                mine = known[match[0]]
                self._see_again(mine, box, view, cell.whole)
                for label, votes in cell.votes.items():
                    mine.votes[label] = mine.votes.get(label, 0.0) + votes
                    mine.best[label] = max(mine.best.get(label, 0.0), cell.best[label])
                mine.looks += cell.looks
                mine.found += cell.found
            else:
                cell.box, cell.view = box, view
                cell.id = max(cell.id, self.next_id)
                self.next_id = cell.id + 1
                self._cells[cell.id] = cell
                self._stale = True

    def _see_again(self, cell: AtlasCell, box: Rect, view: Rect, whole: bool) -> None:
        if whole or (not cell.whole and _area(box) >= _area(cell.box)):
            cell.box, cell.view, cell.whole = box, view, whole or cell.whole
            self._stale = True

    def _miss(self, missed: Sequence[AtlasCell], view: Rect, edge_um: float) -> None:
        for cell in missed:
            if not _inside(cell.box, view, edge_um):
                continue
            if not cell.whole:
                # Seen in part at a border, and now that its place is in the open there is nothing: it was another's.
                del self._cells[cell.id]
                self._stale = True
            elif _new_look(cell, view):
                cell.looks += 1

    def _tidy(self) -> None:
        if self._stale:
            self._ids = np.fromiter(self._cells, np.int64, len(self._cells))
            self._boxes = np.asarray([c.box for c in self._cells.values()]).reshape(-1, 4)
            self._stale = False


def _match(view: Rect, boxes: Floats, known: Sequence[AtlasCell]) -> dict[int, int]:
    """Which of the known cells each box is, the most alike first: index of box -> index of cell."""
    if not len(boxes) or not known:
        return {}
    theirs = np.asarray([c.box for c in known])
    their_views = np.asarray([c.view for c in known])
    # Around the view's corner, so that float32 keeps its hundredths of a micrometre far out on the slide.
    corner = np.asarray([view.x1, view.y1, view.x1, view.y1])
    alike = np.zeros((len(boxes), len(known)))
    shown = _cut(theirs, np.asarray(view))
    for k in range(len(known)):
        seen = _cut(boxes, their_views[k])
        alike[:, k] = iou_matrix((seen - corner).astype(np.float32), (shown[k : k + 1] - corner).astype(np.float32))[
            :, 0
        ]
    pairs = np.argwhere(alike >= SAME)
    order = np.argsort(-alike[alike >= SAME], kind="stable")
    matches: dict[int, int] = {}
    taken: set[int] = set()
    for n, k in pairs[order].tolist():
        if n not in matches and k not in taken:
            matches[n] = k
            taken.add(k)
    return matches


def _vote(cell: AtlasCell, label: int, score: float, view: Rect, whole: bool) -> None:
    if cell.whole and not whole and cell.votes:
        return  # half a cell does not outvote a whole one
    if whole and not cell.found:
        # The first whole sighting: what was said of a part is forgotten.
        cell.votes.clear()
        cell.best.clear()
    if not cell.votes or _new_look(cell, view):
        cell.votes[label] = cell.votes.get(label, 0.0) + score
        if whole:
            cell.looks += 1
            cell.found += 1
            cell.last_look = _middle(view)
    cell.votes.setdefault(label, 0.0)
    cell.best[label] = max(cell.best.get(label, 0.0), score)


def _new_look(cell: AtlasCell, view: Rect) -> bool:
    x, y = _middle(view)
    return math.hypot(x - cell.last_look[0], y - cell.last_look[1]) >= NEW_LOOK * (view.x2 - view.x1)


def _middle(rect: Rect) -> tuple[float, float]:
    return (rect.x1 + rect.x2) / 2, (rect.y1 + rect.y2) / 2


def _inside(box: Rect, view: Rect, edge_um: float) -> bool:
    return (
        box.x1 > view.x1 + edge_um
        and box.y1 > view.y1 + edge_um
        and box.x2 < view.x2 - edge_um
        and box.y2 < view.y2 - edge_um
    )


def _area(box: Rect) -> float:
    return max(box.x2 - box.x1, 0.0) * max(box.y2 - box.y1, 0.0)


def _moved(rect: Rect, dx: float, dy: float) -> Rect:
    return Rect(rect.x1 + dx, rect.y1 + dy, rect.x2 + dx, rect.y2 + dy)


def _cut(boxes: Floats, view: Floats) -> Floats:
    low = np.concatenate([view[:2], view[:2]])
    high = np.concatenate([view[2:], view[2:]])
    return np.clip(boxes, low, high)
