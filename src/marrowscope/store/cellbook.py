"""Cells as they are now: one, those of a field, those of a case in the order of doubt; and how many of each class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from marrowscope.cells.specimen import Cell, FoundCell
from marrowscope.errors import BadInput, NotFound
from marrowscope.store import intake
from marrowscope.store.base import Base, state_of
from marrowscope.store.counting import Standing
from marrowscope.store.tables import CellRow, FieldRow, TallyRow

_CELL: tuple[Any, ...] = (
    CellRow.id,
    CellRow.specimen_id,
    CellRow.field_id,
    CellRow.x1,
    CellRow.y1,
    CellRow.x2,
    CellRow.y2,
    CellRow.code,
    CellRow.called,
    CellRow.score,
    CellRow.doubt,
    CellRow.reviewed,
    CellRow.removed,
    CellRow.same_as,
)


def _cell(row: Any) -> Cell:
    cell_id, specimen_id, field_id, x1, y1, x2, y2, *rest = row
    return Cell(cell_id, specimen_id, field_id, (x1, y1, x2, y2), *rest)


class CellName(NamedTuple):
    """What a cell is called. called: by the model, None where a person added it."""

    id: int
    called: str | None
    code: str
    reviewed: bool


@dataclass(frozen=True)
class CellState:
    """What an edit must know of a cell: what the model called it, the size of its field, and how it stands now."""

    id: int
    called: str | None
    same_as: int | None
    width: int
    height: int
    now: Standing


def states_of(connection: Connection, specimen_id: int, cell_ids: Iterable[int]) -> dict[int, CellState]:
    """The cells of these numbers in this specimen; others are left out."""
    query = select(*_CELL, FieldRow.width, FieldRow.height).join(FieldRow, FieldRow.id == CellRow.field_id)
    states: dict[int, CellState] = {}
    for portion in intake.portions(sorted({i for i in cell_ids if 0 < i <= intake.LARGEST})):
        rows = connection.execute(query.where(CellRow.id.in_(portion), CellRow.specimen_id == specimen_id))
        for row in rows:
            standing = Standing(row.code, (row.x1, row.y1, row.x2, row.y2), row.reviewed, row.removed)
            states[row.id] = CellState(row.id, row.called, row.same_as, row.width, row.height, standing)
    return states


def cells_by_id(connection: Connection, cell_ids: Sequence[int]) -> list[Cell]:
    """These cells, each once, in the order given; those that are not there are left out."""
    cells: dict[int, Cell] = {}
    for portion in intake.portions(sorted(set(cell_ids))):
        rows = connection.execute(select(*_CELL).where(CellRow.id.in_(portion)))
        cells |= {row.id: _cell(row) for row in rows}
    return [cells[cell_id] for cell_id in dict.fromkeys(cell_ids) if cell_id in cells]


def class_counts(connection: Connection, specimen_id: int) -> dict[str, tuple[int, int]]:
    """Class code -> (cells that count, those of them that were reviewed)."""
    summed = select(TallyRow.code, func.sum(TallyRow.counting), func.sum(TallyRow.reviewed))
    mine = summed.where(TallyRow.specimen_id == specimen_id).group_by(TallyRow.code).order_by(TallyRow.code)
    return {code: (int(n), int(reviewed)) for code, n, reviewed in connection.execute(mine) if n}


class Cells(Base):
    """The part of the archive that shows cells."""

    def cell(self, cell_id: int) -> Cell:
        """A cell. NotFound."""
        wanted = CellRow.id == intake.number_of(cell_id, "cell")
        with self._reading() as connection:
            row = connection.execute(select(*_CELL).where(wanted)).one_or_none()
        if row is None:
            raise NotFound(f"There is no cell {cell_id}.")
        return _cell(row)

    def cells_by_id(self, cell_ids: Iterable[int]) -> list[Cell]:
        """These cells, each once, in the order given; those that are not there are left out."""
        wanted = [i for i in cell_ids if 0 < i <= intake.LARGEST]
        with self._reading() as connection:
            return cells_by_id(connection, wanted)

    def field_cells(self, field_id: int) -> list[Cell]:
        """Every cell of a field, removed ones and those seen before too, by id. NotFound without such a field."""
        wanted = intake.number_of(field_id, "field")
        with self._reading() as connection:
            if connection.execute(select(FieldRow.id).where(FieldRow.id == wanted)).first() is None:
                raise NotFound(f"There is no field {field_id}.")
            rows = connection.execute(select(*_CELL).where(CellRow.field_id == wanted).order_by(CellRow.id)).all()
        return [_cell(row) for row in rows]

    def model_calls(self, field_id: int) -> list[FoundCell]:
        """What the model said of a field when it was kept, whatever people have said and moved since, by id."""
        columns: tuple[Any, ...] = (
            *(CellRow.called_x1, CellRow.called_y1, CellRow.called_x2, CellRow.called_y2),
            *(CellRow.called, CellRow.score, CellRow.doubt, CellRow.same_as),
        )
        wanted = CellRow.field_id == intake.number_of(field_id, "field"), CellRow.called.is_not(None)
        with self._reading() as connection:
            rows = connection.execute(select(*columns).where(*wanted).order_by(CellRow.id)).all()
        return [FoundCell((x1, y1, x2, y2), *said) for x1, y1, x2, y2, *said in rows]

    def cells(
        self,
        specimen_id: int,
        *,
        codes: Sequence[str] | None = None,
        reviewed: bool | None = None,
        removed: bool | None = False,
        counting: bool | None = None,
        order: Literal["doubt", "number"] = "doubt",
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[Cell], int]:
        """Cells of a case, and how many there are in all. None filters nothing.

        codes: named so now. counting: True leaves out cells seen before in an overlapping field (and removed ones).
        order: `doubt`, the most doubtful first, or `number`, as they came. NotFound without such a case.
        """
        limit, offset = intake.page(limit, offset)
        orders = {"doubt": (CellRow.doubt.desc(), CellRow.id), "number": (CellRow.id,)}
        if order not in orders:
            raise BadInput(f"{order!r} is no order of cells. There are {', '.join(orders)}.")
        wanted: list[ColumnElement[bool]] = [CellRow.specimen_id == specimen_id]
        if codes is not None:
            wanted.append(CellRow.code.in_([intake.text(code, "code") for code in codes]))
        if reviewed is not None:
            wanted.append(CellRow.reviewed == reviewed)
        if removed is not None:
            wanted.append(CellRow.removed == removed)
        if counting is not None:
            counts = ~CellRow.removed & CellRow.same_as.is_(None)
            wanted.append(counts if counting else ~counts)
        with self._reading() as connection:
            state_of(connection, specimen_id)
            listed = select(*_CELL).where(*wanted).order_by(*orders[order]).limit(limit).offset(offset)
            rows = connection.execute(listed).all()
            total = connection.execute(select(func.count()).select_from(CellRow).where(*wanted)).scalar_one()
        return [_cell(row) for row in rows], total

    def names(self, specimen_id: int) -> list[CellName]:
        """What the cells that count are and were called, by id: all of a case at once. NotFound without such a case."""
        counts = ~CellRow.removed & CellRow.same_as.is_(None)
        columns: tuple[Any, ...] = (CellRow.id, CellRow.called, CellRow.code, CellRow.reviewed)
        with self._reading() as connection:
            state_of(connection, specimen_id)
            rows = connection.execute(
                select(*columns).where(CellRow.specimen_id == specimen_id, counts).order_by(CellRow.id)
            )
            return [CellName(*row) for row in rows]

    def counts(self, specimen_id: int) -> dict[str, tuple[int, int]]:
        """Class code -> (cells that count, those of them that were reviewed). NotFound without such a case."""
        with self._reading() as connection:
            state_of(connection, specimen_id)
            return class_counts(connection, specimen_id)
