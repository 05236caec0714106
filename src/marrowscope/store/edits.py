"""What people do to cells: rename, confirm, move, add, remove, restore; and undo.

Edits made together are a group: all of them are done, or none. Each leaves a correction that says how its cell stood
before and after; the model's call stands beside it, untouched. Undo is another group, which leads back: it takes a
person's newest group that was not taken back yet, and refuses (Conflict) where somebody has since edited one of its
cells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.orm import aliased

from marrowscope.cells.specimen import Cell, Correction, Edit, EditKind
from marrowscope.errors import BadInput, Conflict, NotFound
from marrowscope.store import intake, trail
from marrowscope.store.base import Base, Change, about, require_unlocked, state_of
from marrowscope.store.cellbook import CellState, cells_by_id, states_of
from marrowscope.store.counting import Counters, Standing, add_work
from marrowscope.store.fields import find_field
from marrowscope.store.tables import CellRow, CorrectionRow, EditGroupRow

SHOWN_IN_TRAIL = 50
"""Groups of up to so many edits are written out in the trail; larger ones by their number and seal."""

CORRECTION: tuple[Any, ...] = (
    CorrectionRow.id,
    CorrectionRow.specimen_id,
    CorrectionRow.cell_id,
    CorrectionRow.group_id,
    CorrectionRow.kind,
    CorrectionRow.old_code,
    CorrectionRow.old_x1,
    CorrectionRow.old_y1,
    CorrectionRow.old_x2,
    CorrectionRow.old_y2,
    CorrectionRow.old_reviewed,
    CorrectionRow.old_removed,
    CorrectionRow.new_code,
    CorrectionRow.new_x1,
    CorrectionRow.new_y1,
    CorrectionRow.new_x2,
    CorrectionRow.new_y2,
    CorrectionRow.new_reviewed,
    CorrectionRow.new_removed,
)
"""All of a correction: the columns that are sealed."""


@dataclass(frozen=True)
class Done:
    """One edit as it was done. old is None for a cell that came into being."""

    cell: CellState
    kind: EditKind
    old: Standing | None
    new: Standing


class Edits(Base):
    """The part of the archive that corrects."""

    def apply(
        self, specimen_id: int, edits: Sequence[Edit], *, by: str, why: str = "", now: datetime | None = None
    ) -> list[Cell]:
        """Do these edits as one group. Returns the cells that they touched, as they are now, each once.

        Locked where the specimen is signed. Conflict where a cell is not called as `expected`, or was removed (or
        restored) meanwhile. NotFound for a cell or field of another specimen. BadInput for an edit that lacks a value.
        """
        why = intake.text(why, "reason")
        with self._writing(by, now) as change:
            require_unlocked(change.connection, specimen_id)
            if not edits:
                raise BadInput("No edit was given.")
            states = states_of(change.connection, specimen_id, [e.cell_id for e in edits if e.cell_id is not None])
            done = []
            for edit in edits:
                one = _add(change, specimen_id, edit) if edit.kind is EditKind.ADD else _do(edit, specimen_id, states)
                states[one.cell.id] = replace(one.cell, now=one.new)
                done.append(one)
            _record(change, specimen_id, done, what="cells.edit", why=why)
            return cells_by_id(change.connection, [one.cell.id for one in done])

    def accept_above(
        self,
        specimen_id: int,
        score: float,
        codes: Sequence[str] | None = None,
        *,
        by: str,
        now: datetime | None = None,
    ) -> int:
        """Confirm every unreviewed cell with at least this score (of these codes only); one group. Returns how many."""
        score = intake.share(score, "score")
        with self._writing(by, now) as change:
            require_unlocked(change.connection, specimen_id)
            wanted = [CellRow.specimen_id == specimen_id, ~CellRow.removed, ~CellRow.reviewed, CellRow.score >= score]
            if codes is not None:
                wanted.append(CellRow.code.in_([intake.text(code, "code") for code in codes]))
            ids = list(change.connection.execute(select(CellRow.id).where(*wanted).order_by(CellRow.id)).scalars())
            states = states_of(change.connection, specimen_id, ids)
            done = [_do(Edit(EditKind.CONFIRM, cell_id=cell_id), specimen_id, states) for cell_id in ids]
            if done:
                _record(change, specimen_id, done, what="cells.accept", why=f"accepted at a score of {score:g} or more")
            else:
                change.empty = True
            return len(done)

    def undo(self, specimen_id: int, *, by: str, now: datetime | None = None) -> list[Cell]:
        """Take back this person's newest group that was not taken back yet. Returns its cells; none if there is none.

        A cell that the group added is removed. Conflict where somebody has since edited one of its cells.
        """
        with self._writing(by, now) as change:
            require_unlocked(change.connection, specimen_id)
            group = _newest_group(change.connection, specimen_id, by)
            if group is None:
                change.empty = True
                return []
            rows = change.connection.execute(
                select(*CORRECTION).where(CorrectionRow.group_id == group).order_by(CorrectionRow.id.desc())
            ).all()
            _require_untouched(change.connection, group, {row.cell_id for row in rows})
            states = states_of(change.connection, specimen_id, [row.cell_id for row in rows])
            done = []
            for row in rows:
                one = _taken_back(states[row.cell_id], row)
                states[one.cell.id] = replace(one.cell, now=one.new)
                done.append(one)
            _record(change, specimen_id, done, what="cells.undo", why="", undoes=group)
            return cells_by_id(change.connection, [one.cell.id for one in reversed(done)])

    def corrections(self, specimen_id: int, *, newest: int | None = None) -> list[Correction]:
        """Every correction of a case, or the newest so many, in the order in which they were made.

        NotFound without such a case.
        """
        told = select(*CORRECTION, EditGroupRow.at, EditGroupRow.who, EditGroupRow.why, EditGroupRow.undoes)
        told = told.join(EditGroupRow, EditGroupRow.id == CorrectionRow.group_id)
        with self._reading() as connection:
            state_of(connection, specimen_id)
            # Said of both tables, so that neither is read beyond this specimen.
            told = told.where(CorrectionRow.specimen_id == specimen_id, EditGroupRow.specimen_id == specimen_id)
            told = told.order_by(CorrectionRow.id.desc())
            rows = connection.execute(told if newest is None else told.limit(intake.page(newest, 0)[0])).all()
        return [_correction(row) for row in reversed(rows)]


def _correction(row: Any) -> Correction:
    old, new = standings(row)
    return Correction(
        row.id,
        row.specimen_id,
        row.cell_id,
        row.group_id,
        row.at,
        row.who,
        EditKind(row.kind),
        None if old is None else old.code,
        new.code,
        None if old is None else old.box,
        new.box,
        row.why,
        row.undoes,
    )


def standings(row: Any) -> tuple[Standing | None, Standing]:
    """How the cell stood before a correction, and after."""
    old = None
    if row.old_code is not None:
        box = (row.old_x1, row.old_y1, row.old_x2, row.old_y2)
        old = Standing(row.old_code, box, row.old_reviewed, row.old_removed)
    box = (row.new_x1, row.new_y1, row.new_x2, row.new_y2)
    return old, Standing(row.new_code, box, row.new_reviewed, row.new_removed)


def _do(edit: Edit, specimen_id: int, states: dict[int, CellState]) -> Done:
    """One edit of a cell that there is."""
    if edit.cell_id is None:
        raise BadInput(f"{edit.kind}: no cell was named.")
    cell = states.get(edit.cell_id)
    if cell is None:
        raise NotFound(f"Specimen {specimen_id} has no cell {edit.cell_id}.")
    old = cell.now
    if edit.expected is not None and edit.expected != old.code:
        raise Conflict(f"Cell {cell.id} is called {old.code} by now, not {edit.expected}. Look again.")
    if old.removed != (edit.kind is EditKind.RESTORE):
        is_so = "was removed" if old.removed else "is not removed"
        raise Conflict(f"Cell {cell.id} {is_so}: it cannot be treated so ({edit.kind}). Look again.")
    match edit.kind:
        case EditKind.RENAME:
            new = replace(old, code=intake.name(_given(edit.code, edit, "code"), "code"), reviewed=True)
        case EditKind.CONFIRM:
            new = replace(old, reviewed=True)
        case EditKind.MOVE:
            box = _given(edit.box, edit, "box")
            new = replace(old, box=intake.box_within(box, cell.width, cell.height, f"cell {cell.id}"))
        case EditKind.REMOVE:
            new = replace(old, removed=True)
        case EditKind.RESTORE:
            new = replace(old, removed=False)
        case _:
            raise BadInput(f"{edit.kind}: is no edit of a cell that there is.")
    return Done(cell, edit.kind, old, new)


def _given(value: Any, edit: Edit, what: str) -> Any:
    if value is None:
        raise BadInput(f"{edit.kind} of cell {edit.cell_id}: needs a {what}.")
    return value


def _add(change: Change, specimen_id: int, edit: Edit) -> Done:
    """A cell that the model has not seen. It has no call and no score, and nobody doubts it."""
    if edit.field_id is None or edit.code is None or edit.box is None:
        raise BadInput("add: needs a field, a code and a box.")
    field = find_field(change.connection, edit.field_id)
    if field.specimen_id != specimen_id:
        raise NotFound(f"Specimen {specimen_id} has no field {edit.field_id}.")
    box = intake.box_within(edit.box, field.width, field.height, f"new cell of field {field.number}")
    new = Standing(intake.name(edit.code, "code"), box, reviewed=True, removed=False)
    row = {
        "specimen_id": specimen_id,
        "field_id": field.id,
        "called": None,
        "score": None,
        "doubt": 0.0,
        "same_as": None,
        **{f"called_{edge}": at for edge, at in zip(("x1", "y1", "x2", "y2"), box, strict=True)},
        **new.columns(),
    }
    cell_id = change.connection.execute(insert(CellRow).values(row).returning(CellRow.id)).scalar_one()
    cell = CellState(cell_id, None, None, field.width, field.height, new)
    return Done(cell, EditKind.ADD, None, new)


def _taken_back(cell: CellState, row: Any) -> Done:
    """The edit that leads back from a correction. What was added is removed: rows are never deleted."""
    before, _ = standings(row)
    back_to = replace(cell.now, removed=True) if before is None else before
    kind = {EditKind.ADD: EditKind.REMOVE, EditKind.REMOVE: EditKind.RESTORE, EditKind.RESTORE: EditKind.REMOVE}
    was = EditKind(row.kind)
    return Done(cell, kind.get(was, was), cell.now, back_to)


def _newest_group(connection: Connection, specimen_id: int, who: str) -> int | None:
    """A person's newest group that is no undo and was not undone."""
    later = aliased(EditGroupRow)
    undone = select(later.id).where(later.undoes == EditGroupRow.id).exists()
    mine = select(EditGroupRow.id).where(EditGroupRow.specimen_id == specimen_id, EditGroupRow.who == who)
    mine = mine.where(EditGroupRow.undoes.is_(None), ~undone)
    return connection.execute(mine.order_by(EditGroupRow.id.desc()).limit(1)).scalar()


def _require_untouched(connection: Connection, group: int, cell_ids: Iterable[int]) -> None:
    """Nobody has edited these cells since, or has taken it back."""
    later = aliased(EditGroupRow)
    undone = select(later.id).where(later.undoes == EditGroupRow.id).exists()
    since = select(CorrectionRow.cell_id, EditGroupRow.who)
    since = since.join(EditGroupRow, EditGroupRow.id == CorrectionRow.group_id)
    since = since.where(CorrectionRow.group_id > group, EditGroupRow.undoes.is_(None), ~undone)
    for portion in intake.portions(sorted(cell_ids)):
        found = connection.execute(since.where(CorrectionRow.cell_id.in_(portion)).limit(1)).first()
        if found is not None:
            raise Conflict(f"Cell {found.cell_id} was edited by {found.who} since. Undo that first, or edit it again.")


def _record(
    change: Change, specimen_id: int, done: Sequence[Done], *, what: str, why: str, undoes: int | None = None
) -> None:
    """Write a group: corrections, the cells as they stand now, counters, and the audit entry that seals it."""
    group = insert(EditGroupRow).values(specimen_id=specimen_id, at=change.at, who=change.by, why=why, undoes=undoes)
    group_id = change.connection.execute(group.returning(EditGroupRow.id)).scalar_one()
    counters = Counters(specimen_id)
    rows = []
    for one in done:
        counters.move(one.cell.called, one.cell.same_as, one.old, one.new)
        nothing = dict.fromkeys(("old_code", "old_x1", "old_y1", "old_x2", "old_y2"))
        before = nothing | {"old_reviewed": False, "old_removed": False}
        rows.append(
            {
                "group_id": group_id,
                "specimen_id": specimen_id,
                "cell_id": one.cell.id,
                "kind": one.kind.value,
                **(before if one.old is None else one.old.columns("old_")),
                **one.new.columns("new_"),
            }
        )
    inserting = insert(CorrectionRow).returning(CorrectionRow.id, sort_by_parameter_order=True)
    ids = change.connection.execute(inserting, rows).scalars()
    written = sorted((key, *(row[column.key] for column in CORRECTION[1:])) for key, row in zip(ids, rows, strict=True))
    _update_cells(change.connection, done)
    counters.write(change.connection)
    add_work(change.connection, change.by, (one.kind.value for one in done if undoes is None))
    told: dict[str, Any] = {"group": group_id, "corrections": len(done), "seal": corrections_seal(written)}
    old: dict[str, Any] | None = None
    if undoes is not None:
        told["undoes"] = undoes
    if len(done) <= SHOWN_IN_TRAIL:
        old = {"cells": [[one.cell.id, *_shown(one.old)] for one in done if one.old is not None]}
        told["cells"] = [[one.cell.id, one.kind.value, *_shown(one.new)] for one in done]
    change.tell(what, about("specimen", specimen_id), old=old, new=told, why=why)


def corrections_seal(rows: Sequence[Any]) -> str:
    """The digest that holds the corrections of a group to the audit trail. rows: `CORRECTION`, by id."""
    return trail.seal([list(row) for row in rows])


def _shown(standing: Standing | None) -> list[Any]:
    if standing is None:
        return []
    return [standing.code, [round(edge, 1) for edge in standing.box], standing.reviewed, standing.removed]


def _update_cells(connection: Connection, done: Sequence[Done]) -> None:
    """Let the cells stand as they do after the last edit of each."""
    before: dict[int, Standing | None] = {}
    after: dict[int, Standing] = {}
    for one in done:
        before.setdefault(one.cell.id, one.old)
        after[one.cell.id] = one.new
    reviewed: dict[bool, list[int]] = {True: [], False: []}
    others = []
    for cell_id, new in after.items():
        old = before[cell_id]
        if old is not None and replace(old, reviewed=new.reviewed) == new:
            reviewed[new.reviewed].append(cell_id)
        else:
            others.append({"cell": cell_id, **new.columns("to_")})
    # Thousands are confirmed at once, and few are changed otherwise.
    for value, ids in reviewed.items():
        for portion in intake.portions(ids):
            connection.execute(update(CellRow).where(CellRow.id.in_(portion)).values(reviewed=value))
    if others:
        columns = ("code", "x1", "y1", "x2", "y2", "reviewed", "removed")
        changing = update(CellRow).where(CellRow.id == bindparam("cell"))
        connection.execute(changing.values({column: bindparam(f"to_{column}") for column in columns}), others)
