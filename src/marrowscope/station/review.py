"""The review of a case: in which order a person sees the cells, what may be done to them, and what to be warned of.

Order: cells that nobody could name first, then class by class, the rarest class of the case first; within a class the
most doubtful first. A rare class is where a wrong call changes the report, and where there are few cells to look at.

Names are checked against the scheme and boxes against their field before anything is asked of the archive. Cells that
were seen before in an overlapping field (`same_as`) are not shown: their first view stands for them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from marrowscope.cells.boxes import as_boxes, iou_matrix
from marrowscope.cells.specimen import Box, Cell, Edit, EditKind
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadInput, BadTaxonomy, Conflict
from marrowscope.evaluation.agreement import Agreement, agreement
from marrowscope.station.desk import Desk, best_views, is_cut
from marrowscope.store.cellbook import CellName

if TYPE_CHECKING:
    from marrowscope.store.store import Store

MIN_SIDE = 6.0
"""Pixels; a smaller box is a slip of the hand."""
SAME_CELL = 0.5
"""IoU from which a new box lies on a cell that is there already."""
ENOUGH_CELLS = 500
"""Nucleated cells of a full marrow differential (WHO)."""
MANY_UNIDENTIFIED = 0.05
MODEL, CASE = "model", "case"
"""Readers that are no person: what the model called, and the names that the case has now."""
_AT_ONCE = 1000


@dataclass(frozen=True)
class Group:
    """The cells of one class in a gallery. first: position of its first cell, -1 if not asked for."""

    code: str
    count: int
    reviewed: int
    first: int


@dataclass(frozen=True)
class Gallery:
    """A page of the gallery: all groups of the case, and the cells asked for, in review order. total: in all pages.

    views: for a cell that the border of its field cuts, the same cell where a later field shows it whole, by id.
    """

    groups: tuple[Group, ...]
    cells: tuple[Cell, ...]
    total: int
    views: Mapping[int, Cell]


@dataclass(frozen=True)
class ReviewWarning:
    """Something that a person should know before signing. kind: a word to program by. code: the class, if it is one."""

    kind: str
    text: str
    code: str | None = None


def review_order(cells: Iterable[Cell], scheme: Taxonomy) -> list[Cell]:
    """Unidentified first, then the rarest class first; in a class the most doubtful first. Ties: scheme, then id."""
    cells = list(cells)
    counts = Counter(cell.code for cell in cells)
    place = {cell.code: number for number, cell in enumerate(scheme)}

    def key(cell: Cell) -> tuple[bool, int, int, float, int]:
        unknown = place.get(cell.code, len(place))
        return cell.code != scheme.other, counts[cell.code], unknown, -cell.doubt, cell.id

    return sorted(cells, key=key)


def check_box(box: Box, width: int, height: int) -> Box:
    """The box, if it lies in the field and is no slip of the hand. BadInput says which side is wrong."""
    if not all(math.isfinite(value) for value in box):
        raise BadInput("the box is not four numbers. Draw it again.")
    x1, y1, x2, y2 = box
    if min(x1, y1) < 0 or x2 > width or y2 > height:
        raise BadInput(
            f"the box ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}) leaves the field of {width} x {height} pixels. "
            "Draw it inside."
        )
    if x2 - x1 < MIN_SIDE or y2 - y1 < MIN_SIDE:
        raise BadInput(
            f"the box is {x2 - x1:.1f} x {y2 - y1:.1f} pixels, less than {MIN_SIDE:.0f} a side. Draw it anew."
        )
    return box


class Review:
    """What a person does to the cells of a case. `store` is the archive, `scheme` the classes in force."""

    def __init__(self, store: "Store", scheme: Taxonomy) -> None:
        self.store, self.scheme, self.desk = store, scheme, Desk(store, scheme)
        self._codes = {cell.code for cell in scheme}

    def counting_cells(self, specimen_id: int) -> list[Cell]:
        """Every cell that counts (its class may not), by id."""
        return self._all(specimen_id, counting=True)

    def _all(self, specimen_id: int, *, counting: bool) -> list[Cell]:
        found: list[Cell] = []
        while True:
            cells, total = self.store.cells(
                specimen_id, counting=counting, order="number", limit=_AT_ONCE, offset=len(found)
            )
            found += cells
            if not cells or len(found) >= total:
                return found

    def gallery(
        self,
        specimen_id: int,
        *,
        codes: Sequence[str] | None = None,
        reviewed: bool | None = None,
        limit: int = 40,
        offset: int = 0,
    ) -> Gallery:
        """A page of the cells in review order. codes, reviewed: only such cells; groups still tell of all."""
        everything = self.counting_cells(specimen_id)
        wanted = [
            cell
            for cell in everything
            if (codes is None or cell.code in codes) and (reviewed is None or cell.reviewed is reviewed)
        ]
        ordered = review_order(wanted, self.scheme)
        first: dict[str, int] = {}
        for position, cell in enumerate(ordered):
            first.setdefault(cell.code, position)
        done = Counter(cell.code for cell in everything if cell.reviewed)
        counts = Counter(cell.code for cell in everything)
        groups = [
            Group(code, counts[code], done[code], first.get(code, -1)) for code in _group_order(counts, self.scheme)
        ]
        shown = ordered[offset : offset + limit]
        return Gallery(tuple(groups), tuple(shown), len(ordered), self._better_views(specimen_id, shown))

    def _better_views(self, specimen_id: int, cells: Sequence[Cell]) -> dict[int, Cell]:
        fields = {field.id: field for field in self.store.fields(specimen_id)}
        cut = {c.id: c for c in cells if is_cut(c.box, fields[c.field_id].width, fields[c.field_id].height)}
        if not cut:
            return {}
        again = [cell for cell in self._all(specimen_id, counting=False) if cell.same_as in cut]
        best = best_views([*cut.values(), *again], fields.values())
        return {cell_id: view for cell_id, view in best.items() if view.id != cell_id}

    def unidentified(self, specimen_id: int) -> tuple[Cell, ...]:
        """The bucket of cells that nobody could name, most doubtful first."""
        bucket = self.scheme.other
        return tuple(review_order((c for c in self.counting_cells(specimen_id) if c.code == bucket), self.scheme))

    def edit(
        self, specimen_id: int, edits: Sequence[Edit], *, by: str, why: str = "", now: datetime | None = None
    ) -> list[Cell]:
        """Check and do the edits of one group, all or none; undone together.

        BadTaxonomy for a name that the scheme does not have, BadInput for a wrong box or an edit that lacks something,
        Conflict for a new box on a cell that is there, or on one that was counted in an overlapping field; and what the
        archive itself refuses (Locked, Conflict, NotFound).
        """
        if not edits:
            raise BadInput("no edit was given. Send at least one.")
        for edit in edits:
            self._check(specimen_id, edit)
        return self.store.apply(specimen_id, list(edits), by=by, why=why, now=now)

    def rename(
        self, specimen_id: int, cells: Sequence[Cell], code: str, *, by: str, why: str = "", now: datetime | None = None
    ) -> list[Cell]:
        """Give all these cells, as they were seen, one name; those that bear it already are confirmed."""
        edits = [
            Edit(EditKind.CONFIRM, cell.id, expected=cell.code)
            if cell.code == code
            else Edit(EditKind.RENAME, cell.id, code=code, expected=cell.code)
            for cell in cells
        ]
        return self.edit(specimen_id, edits, by=by, why=why, now=now)

    def confirm(self, specimen_id: int, cells: Sequence[Cell], *, by: str, now: datetime | None = None) -> list[Cell]:
        """Say that these cells are what they are called."""
        edits = [Edit(EditKind.CONFIRM, cell.id, expected=cell.code) for cell in cells]
        return self.edit(specimen_id, edits, by=by, now=now)

    def accept_above(
        self,
        specimen_id: int,
        score: float,
        *,
        codes: Sequence[str] | None = None,
        by: str,
        now: datetime | None = None,
    ) -> int:
        """Confirm every unreviewed cell whose score is at least this; how many. BadInput for a score outside 0..1."""
        if not 0 <= score <= 1:
            raise BadInput(f"the threshold must lie in 0..1, got {score}.")
        for code in codes or ():
            self._check_code(code)
        return self.store.accept_above(specimen_id, score, codes, by=by, now=now)

    def undo(self, specimen_id: int, *, by: str, now: datetime | None = None) -> list[Cell]:
        """Take back this person's newest group that stands; the cells as they are then."""
        return self.store.undo(specimen_id, by=by, now=now)

    def warnings(self, specimen_id: int, *, enough: int = ENOUGH_CELLS) -> tuple[ReviewWarning, ...]:
        """What to know before signing: few cells, classes that nobody looked at, many unidentified."""
        counts = self.store.counts(specimen_id)
        counted = {c.code: c for c in self.scheme if c.counted}
        total = sum(n for code, (n, _) in counts.items() if code in counted)
        warnings = []
        if total < enough:
            warnings.append(
                ReviewWarning("few cells", f"{total} cells counted; a full differential has {enough}: count more")
            )
        for code, (n, reviewed) in counts.items():
            if n and not reviewed and code in counted:
                name = counted[code].name
                text = f"{name}: none of {n} {'cell' if n == 1 else 'cells'} was reviewed"
                warnings.append(ReviewWarning("class unreviewed", text, code))
        left = sum(n - reviewed for code, (n, reviewed) in counts.items() if code in counted)
        if left:
            warnings.append(ReviewWarning("cells unreviewed", f"{left} of {total} cells were not reviewed by a person"))
        other = self.scheme.other
        nameless = counts.get(other, (0, 0))[0] if other is not None else 0
        if total and nameless / total > MANY_UNIDENTIFIED:
            share = 100 * nameless / total
            text = f"{nameless} of {total} cells ({share:.1f} %) are unidentified: every other percentage is too low"
            warnings.append(ReviewWarning("many unidentified", text, other))
        return tuple(warnings)

    def agreement(self, specimen_id: int, first: str, second: str) -> Agreement:
        """How far two readers agree on the cells that both have read.

        A reader is a person's user name, `model` (what the model called) or `case` (the names now, of reviewed cells).
        """
        cells = self.store.names(specimen_id) if {first, second} & {MODEL, CASE} else []
        a, b = (self._names_by(specimen_id, reader, cells) for reader in (first, second))
        both = sorted(set(a) & set(b))
        if not both:
            raise BadInput(f"{first} and {second} have read no cell in common. Let both read this case first.")
        labels = {code: self._label(code) for code in {*a.values(), *b.values()}}
        return agreement([labels[a[i]] for i in both], [labels[b[i]] for i in both], self.scheme)

    def _names_by(self, specimen_id: int, reader: str, cells: Sequence[CellName]) -> dict[int, str]:
        if reader == MODEL:
            return {c.id: c.called for c in cells if c.called is not None}
        if reader == CASE:
            return {c.id: c.code for c in cells if c.reviewed}
        return {r.cell_id: r.code for r in self.store.readings(specimen_id) if r.reader == reader}

    def _label(self, code: str) -> int:
        return self.scheme.index(code)

    def _check(self, specimen_id: int, edit: Edit) -> None:
        if edit.kind is EditKind.ADD:
            if edit.field_id is None or edit.code is None or edit.box is None:
                raise BadInput("a cell is added with a field, a box and a name. Give all three.")
        elif edit.cell_id is None:
            raise BadInput(f"{edit.kind.value}: says no cell. Give its number.")
        if edit.kind is EditKind.RENAME and edit.code is None:
            raise BadInput("rename: gives no name. Give the code of a class.")
        if edit.code is not None:
            self._check_code(edit.code)
        if edit.kind is EditKind.MOVE and edit.box is None:
            raise BadInput("move: gives no box. Give its four edges.")
        if edit.box is not None:
            field_id = edit.field_id if edit.kind is EditKind.ADD else self.store.cell(_known(edit.cell_id)).field_id
            field = self.store.field(_known(field_id))
            check_box(edit.box, field.width, field.height)
            if edit.kind is EditKind.ADD:
                self._check_new(specimen_id, field.id, edit.box)

    def _check_code(self, code: str) -> None:
        if code not in self._codes:
            raise BadTaxonomy(f"'{code}' is no class code of scheme '{self.scheme.name}'. Choose one of its classes.")

    def _check_new(self, specimen_id: int, field_id: int, box: Box) -> None:
        """A cell is counted once: a box drawn where one is counted already is told whose it is."""
        field = self.store.field(field_id)
        if field.specimen_id != specimen_id:
            raise BadInput(f"field {field_id} belongs to another case. Open that case.")
        here = [cell for cell in self.store.field_cells(field_id) if not cell.removed]
        if here:
            overlap = iou_matrix(as_boxes([box]), as_boxes([cell.box for cell in here]))[0]
            if overlap.max() >= SAME_CELL:
                on = here[int(np.argmax(overlap))]
                raise Conflict(f"the new box lies on cell {on.id} ({on.code}). Rename that one, or move its box.")
        if (seen := self.desk.counted_at(field, box)) is not None:
            cell, other = seen
            raise Conflict(
                f"this cell is counted already: cell {cell.id} ({cell.code}) of field {other.number}. Correct it there."
            )


def _group_order(counts: Counter[str], scheme: Taxonomy) -> list[str]:
    place = {cell.code: number for number, cell in enumerate(scheme)}
    return sorted(counts, key=lambda code: (code != scheme.other, counts[code], place.get(code, len(place))))


def _known(value: int | None) -> int:
    if value is None:
        raise BadInput("says no cell and no field. Give one.")
    return value
