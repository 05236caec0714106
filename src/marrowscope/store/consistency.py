"""Whether rows agree with the audit trail and with each other: seals, histories, counters, references.

Each function yields what does not agree, the first difference first, and stops where there is too much of it to read.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, and_, case, func, select, tuple_

from marrowscope.cells.specimen import AuditEntry, SpecimenState
from marrowscope.store import database
from marrowscope.store.counting import Standing, recount
from marrowscope.store.edits import CORRECTION, corrections_seal, standings
from marrowscope.store.fields import CALL, field_seal, fields_after
from marrowscope.store.reports import all_reports, report_seal
from marrowscope.store.tables import (
    CellRow,
    CorrectionRow,
    EditGroupRow,
    FieldRow,
    ModelRow,
    ReportRow,
    SlideRow,
    SpecimenRow,
    Table,
    TallyRow,
    TotalRow,
    WorkRow,
)

SHOWN = 5
"""How many differences of one kind are told."""
FIELDS_AT_ONCE = 200
GROUPS_AT_ONCE = 500

Standings = tuple[Standing | None, Standing]
Counted = dict[tuple[int, str, str], tuple[int, int]]
"""(specimen, called, code) -> (cells that count, reviewed ones)."""


@dataclass
class Told:
    """What the audit trail says of rows: seals of fields, groups and reports, states of specimens, the model."""

    fields: dict[int, str] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)
    reports: dict[int, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    serving: int | None = None

    def read(self, entry: AuditEntry) -> None:
        """The next entry of the trail."""
        match entry.what:
            case "field.keep":
                new = json.loads(entry.new)
                self.fields[new["field"]] = new["seal"]
            case "cells.edit" | "cells.accept" | "cells.undo":
                new = json.loads(entry.new)
                self.groups[new["group"]] = new["seal"]
            case "report.sign":
                new = json.loads(entry.new)
                self.reports[new["report"]] = new["seal"]
                self.states[entry.subject] = SpecimenState.SIGNED.value
            case "report.amend":
                self.states[entry.subject] = SpecimenState.AMENDING.value
            case "specimen.add":
                self.states[entry.subject] = SpecimenState.OPEN.value
            case "model.promote":
                self.serving = json.loads(entry.new)


def first(problems: Iterable[str]) -> list[str]:
    """As many as are told."""
    return list(islice(problems, SHOWN))


def _sealed(kind: str, expected: dict[int, str], found: Iterable[tuple[int, str]]) -> Iterator[str]:
    """Every row has its entry in the trail and is as it was sealed; every entry has its row."""
    missing = set(expected)
    for key, seal in found:
        if key not in expected:
            yield f"{kind} {key} is not in the audit trail"
        elif seal != expected[key]:
            yield f"{kind} {key} is not as it was when it was written"
        missing.discard(key)
    for key in sorted(missing):
        yield f"{kind} {key} is in the audit trail, and its row is missing"


def fields_differ(connection: Connection, told: Told) -> Iterator[str]:
    """Fields, and what the model called the cells in them."""
    return _sealed("field", told.fields, _field_seals(connection))


def _field_seals(connection: Connection) -> Iterator[tuple[int, str]]:
    last = 0
    while fields := fields_after(connection, last, FIELDS_AT_ONCE):
        last = fields[-1].id
        calls: dict[int, list[Any]] = {}
        query = select(CellRow.field_id, *CALL).where(CellRow.field_id.in_([f.id for f in fields]))
        # What a person added is held by the correction that added it.
        for field_id, *call in connection.execute(query.where(CellRow.called.is_not(None)).order_by(CellRow.id)):
            calls.setdefault(field_id, []).append(call)
        yield from ((f.id, field_seal(f, calls.get(f.id, []))) for f in fields)


def groups_differ(connection: Connection, told: Told) -> Iterator[str]:
    """Groups of edits, and their corrections."""
    return _sealed("group of edits", told.groups, _group_seals(connection))


def _group_seals(connection: Connection) -> Iterator[tuple[int, str]]:
    last = 0
    while True:
        ids = connection.execute(
            select(EditGroupRow.id).where(EditGroupRow.id > last).order_by(EditGroupRow.id).limit(GROUPS_AT_ONCE)
        )
        groups = list(ids.scalars())
        if not groups:
            return
        last = groups[-1]
        found: dict[int, list[Any]] = {group: [] for group in groups}
        rows = select(*CORRECTION).where(CorrectionRow.group_id.in_(groups)).order_by(CorrectionRow.id)
        for row in connection.execute(rows):
            found[row.group_id].append(row)
        yield from ((group, corrections_seal(rows)) for group, rows in found.items())


def reports_differ(connection: Connection, told: Told) -> Iterator[str]:
    """Signed reports."""
    return _sealed("report", told.reports, ((r.id, report_seal(r)) for r in all_reports(connection)))


def states_differ(connection: Connection, told: Told) -> Iterator[str]:
    """Whether a specimen is locked, and which model serves."""
    states = {f"specimen/{key}": state for key, state in connection.execute(select(SpecimenRow.id, SpecimenRow.state))}
    for subject in sorted(states.keys() | told.states.keys()):
        if states.get(subject) != told.states.get(subject):
            said = told.states.get(subject, "not there")
            yield f"{subject} is {states.get(subject, 'missing')}; the audit trail says {said}"
    serving = connection.execute(select(ModelRow.id).where(ModelRow.serving)).scalars().all()
    if list(serving) != ([] if told.serving is None else [told.serving]):
        yield f"models serving: {list(serving)}; the audit trail says {told.serving}"


def histories_differ(connection: Connection) -> Iterator[str]:
    """Every cell stands where its corrections lead from the model's call."""
    corrected = select(CorrectionRow.id).where(CorrectionRow.cell_id == CellRow.id).exists()
    as_called = [CellRow.code == CellRow.called, ~CellRow.reviewed, ~CellRow.removed]
    as_called += [getattr(CellRow, e) == getattr(CellRow, f"called_{e}") for e in ("x1", "y1", "x2", "y2")]
    # A null (a cell without a call) equals nothing: it must be found too.
    same = case((and_(*as_called), 1), else_=0)
    strays = select(CellRow.id).where(same == 0, ~corrected).order_by(CellRow.id).limit(SHOWN)
    for cell_id in connection.execute(strays).scalars():
        yield f"cell {cell_id} is not as the model called it, and nobody has corrected it"
    for cell_id, corrections, called, now in _histories(connection):
        stands: Standing | None = called
        for before, after in corrections:
            if before != stands:
                yield f"cell {cell_id}: its corrections do not follow from each other"
                break
            stands = after
        else:
            if stands != now:
                yield f"cell {cell_id} is {now.code}, and its corrections lead to {stands and stands.code}"


def _histories(connection: Connection) -> Iterator[tuple[int, list[Standings], Standing | None, Standing]]:
    """Cells that were corrected: (cell, corrections before and after, as the model called it, as it stands)."""
    cell = (CellRow.called, CellRow.code, CellRow.reviewed, CellRow.removed)
    boxes: tuple[Any, ...] = (CellRow.called_x1, CellRow.called_y1, CellRow.called_x2, CellRow.called_y2)
    boxes += (CellRow.x1, CellRow.y1, CellRow.x2, CellRow.y2)
    columns: tuple[Any, ...] = (*CORRECTION, *cell, *boxes)
    place = (CorrectionRow.cell_id, CorrectionRow.id)
    query = select(*columns).join(CellRow, CellRow.id == CorrectionRow.cell_id).order_by(*place)

    def rows() -> Iterator[Any]:
        last = (0, 0)
        while found := connection.execute(query.where(tuple_(*place) > last).limit(5000)).all():
            yield from found
            last = (found[-1].cell_id, found[-1].id)

    for cell_id, history in groupby(rows(), key=lambda row: row.cell_id):
        corrections = list(history)
        row = corrections[0]
        called = None
        if row.called is not None:
            box = (row.called_x1, row.called_y1, row.called_x2, row.called_y2)
            called = Standing(row.called, box, reviewed=False, removed=False)
        now = Standing(row.code, (row.x1, row.y1, row.x2, row.y2), row.reviewed, row.removed)
        yield cell_id, [standings(one) for one in corrections], called, now


def counters_differ(connection: Connection) -> Iterator[str]:
    """Every kept counter is what counting gives."""
    counted = recount(connection)
    yield from _tallies_differ(connection, counted)
    for name, expected in _specimen_counters(connection, counted).items():
        numbers = connection.execute(select(SpecimenRow.id, getattr(SpecimenRow, name)).order_by(SpecimenRow.id))
        for specimen, number in numbers:
            yield from _unequal(f"specimen {specimen}, {name}", number, expected.get(specimen, 0))
    who_did = (EditGroupRow.who, CorrectionRow.kind)
    edits = select(*who_did, func.count()).join(EditGroupRow, EditGroupRow.id == CorrectionRow.group_id)
    edits = edits.where(EditGroupRow.undoes.is_(None)).group_by(*who_did)
    done = {(who, kind): number for who, kind, number in connection.execute(edits)}
    noted = {(row.who, row.kind): row.edits for row in connection.execute(select(*WorkRow.__table__.columns))}
    for person in sorted(done.keys() | noted.keys()):
        yield from _unequal(f"{person[1]} by {person[0]}", noted.get(person, 0), done.get(person, 0))


def _tallies_differ(connection: Connection, counted: Counted) -> Iterator[str]:
    """Cells by call and name, in each specimen and in all of them."""
    summed: dict[tuple[str, str], tuple[int, int]] = {}
    for (_, called, code), (cells, seen) in counted.items():
        before = summed.get((called, code), (0, 0))
        summed[called, code] = before[0] + cells, before[1] + seen
    kept = {tuple(row[:3]): tuple(row[3:]) for row in connection.execute(select(*TallyRow.__table__.columns))}
    totals = {tuple(row[:2]): tuple(row[2:]) for row in connection.execute(select(*TotalRow.__table__.columns))}
    for specimen, called, code in sorted(counted.keys() | kept.keys()):
        key = (specimen, called, code)
        what = f"specimen {specimen}, {called or 'added'} -> {code}"
        yield from _unequal(what, kept.get(key, (0, 0)), counted.get(key, (0, 0)))
    for called, code in sorted(summed.keys() | totals.keys()):
        what = f"all specimens, {called or 'added'} -> {code}"
        yield from _unequal(what, totals.get((called, code), (0, 0)), summed.get((called, code), (0, 0)))


def _unequal(what: str, kept: Any, counted: Any) -> Iterator[str]:
    if kept != counted:
        yield f"{what}: the counter says {kept}, counting {counted}"


def _specimen_counters(connection: Connection, counted: Counted) -> dict[str, dict[int, int]]:
    """The counters of specimens by name, from what they count."""
    expected: dict[str, dict[int, int]] = {"cells": {}, "reviewed": {}}
    for (specimen, _, _), numbers in counted.items():
        for name, number in zip(("cells", "reviewed"), numbers, strict=True):
            expected[name][specimen] = expected[name].get(specimen, 0) + number
    for name, column in (
        ("slides", SlideRow.specimen_id),
        ("fields", FieldRow.specimen_id),
        ("reports", ReportRow.specimen_id),
    ):
        rows = connection.execute(select(column, func.count()).group_by(column))
        expected[name] = {row[0]: row[1] for row in rows}
    return expected


def references_differ(connection: Connection) -> Iterator[str]:
    """Every row that another one names is there; SQLite's own pages are whole."""
    if database.is_sqlite(connection):
        for (words,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if words != "ok":
                yield f"SQLite: {words}"
    for table in Table.metadata.sorted_tables:
        for key in table.foreign_keys:
            parent = key.column.table.alias()
            there = select(parent.c[key.column.name]).where(parent.c[key.column.name] == key.parent)
            lost = select(*table.primary_key, key.parent).where(key.parent.is_not(None), ~there.exists())
            row = connection.execute(lost.limit(1)).first()
            if row is not None:
                yield f"{table.name} {row[0]} names {key.column.table.name} {row[-1]}, which is missing"


def pictures_of(connection: Connection) -> dict[str, str]:
    """Digest -> what names it, of every file that a row names."""
    rows = connection.execute(select(FieldRow.image, func.min(FieldRow.id)).group_by(FieldRow.image))
    named = {digest: f"field {field_id}" for digest, field_id in rows}
    rows = connection.execute(select(ReportRow.pdf, func.min(ReportRow.id)).group_by(ReportRow.pdf))
    return named | {digest: f"report {report_id}" for digest, report_id in rows}
