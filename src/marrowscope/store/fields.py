"""Kept fields: the picture first, then its row and those of its cells, in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, case, func, insert, select, update

from marrowscope.cells.specimen import FoundCell, KeptField
from marrowscope.errors import BadInput, NotFound
from marrowscope.store import intake, trail
from marrowscope.store.base import Base, Change, about, require_unlocked, state_of
from marrowscope.store.cases import find_slide
from marrowscope.store.counting import Counters, Standing
from marrowscope.store.pixels import require_picture
from marrowscope.store.tables import CellRow, FieldRow, ModelRow, SpecimenRow

_FIELD: tuple[Any, ...] = (
    FieldRow.id,
    FieldRow.specimen_id,
    FieldRow.slide_id,
    FieldRow.number,
    FieldRow.image,
    FieldRow.width,
    FieldRow.height,
    FieldRow.um_per_px,
    FieldRow.visit,
    FieldRow.x_um,
    FieldRow.y_um,
    FieldRow.focus,
    FieldRow.model_id,
    FieldRow.kept_at,
    FieldRow.kept_by,
)
CALL: tuple[Any, ...] = (
    CellRow.id,
    CellRow.called,
    CellRow.score,
    CellRow.doubt,
    CellRow.same_as,
    CellRow.called_x1,
    CellRow.called_y1,
    CellRow.called_x2,
    CellRow.called_y2,
)
"""What the model said of a cell: the columns that are sealed."""


def field_seal(field: KeptField, calls: Sequence[Sequence[Any]]) -> str:
    """The digest that holds a field and the model's calls in it to the audit trail. calls: `CALL`, by id."""
    about_field = [
        field.image,
        field.specimen_id,
        field.slide_id,
        field.number,
        field.width,
        field.height,
        field.um_per_px,
        field.visit,
        field.x_um,
        field.y_um,
        field.focus,
        field.model_id,
        trail.stamp(field.kept_at),
        field.kept_by,
    ]
    return trail.seal([about_field, [list(call) for call in calls]])


def find_field(connection: Connection, field_id: int) -> KeptField:
    """The field of this number. NotFound."""
    row = connection.execute(select(*_FIELD).where(FieldRow.id == intake.number_of(field_id, "field"))).one_or_none()
    if row is None:
        raise NotFound(f"There is no field {field_id}.")
    return KeptField(*row)


def fields_after(connection: Connection, last: int, limit: int) -> list[KeptField]:
    """The next fields of the whole archive, by id."""
    rows = connection.execute(select(*_FIELD).where(FieldRow.id > last).order_by(FieldRow.id).limit(limit))
    return [KeptField(*row) for row in rows]


class Fields(Base):
    """The part of the archive that keeps fields."""

    def keep_field(
        self,
        slide_id: int,
        image: bytes,
        *,
        width: int,
        height: int,
        um_per_px: float | None = None,
        visit: str | None = None,
        x_um: float | None = None,
        y_um: float | None = None,
        focus: float | None = None,
        model_id: int | None = None,
        found: Sequence[FoundCell] = (),
        by: str,
        now: datetime | None = None,
    ) -> KeptField:
        """Keep a picture and what the model found in it. On return both are on disk to stay.

        image: JPEG or PNG bytes, kept as they are. Boxes are cut at the edges of the field. Locked where the specimen
        is signed; NotFound for an unknown slide, model or `same_as`, which must be a cell of the same specimen.
        """
        require_picture(image)
        if not (0 < width <= intake.LARGEST and 0 < height <= intake.LARGEST):
            raise BadInput(f"A field must have a width and a height, got {width} x {height}.")
        standings = [_standing(cell, width, height, number) for number, cell in enumerate(found, start=1)]
        place = {
            "um_per_px": intake.finite(um_per_px, "um_per_px"),
            "visit": None if visit is None else intake.name(visit, "visit"),
            "x_um": intake.finite(x_um, "x_um"),
            "y_um": intake.finite(y_um, "y_um"),
            "focus": intake.finite(focus, "focus"),
        }
        digest = self._pixels.keep(image)
        with self._writing(by, now) as change:
            slide = find_slide(change.connection, slide_id)
            require_unlocked(change.connection, slide.specimen_id)
            _require_model(change.connection, model_id)
            _require_seen(change.connection, slide.specimen_id, found)
            values: dict[str, Any] = {
                "specimen_id": slide.specimen_id,
                "slide_id": slide_id,
                "number": _next_number(change.connection, slide.specimen_id),
                "image": digest,
                "width": width,
                "height": height,
                **place,
                "model_id": model_id,
                "kept_at": change.at,
                "kept_by": by,
            }
            field_id = change.connection.execute(insert(FieldRow).values(values).returning(FieldRow.id)).scalar_one()
            field = KeptField(id=field_id, **values)
            calls = _insert_cells(change, field, found, standings)
            told = {"field": field.id, "number": field.number, "image": digest, "cells": len(calls)}
            told["seal"] = field_seal(field, calls)
            change.tell("field.keep", about("specimen", slide.specimen_id), new=told)
        return field

    def fields(self, specimen_id: int) -> list[KeptField]:
        """The fields of a case, in the order in which they were kept. NotFound without such a case."""
        with self._reading() as connection:
            state_of(connection, specimen_id)
            query = select(*_FIELD).where(FieldRow.specimen_id == specimen_id).order_by(FieldRow.number)
            return [KeptField(*row) for row in connection.execute(query)]

    def newest_fields(self, model_id: int, limit: int) -> list[KeptField]:
        """The last fields that a model version has looked at, of all cases, the newest first."""
        mine = select(*_FIELD).where(FieldRow.model_id == intake.number_of(model_id, "model"))
        with self._reading() as connection:
            rows = connection.execute(mine.order_by(FieldRow.id.desc()).limit(limit))
            return [KeptField(*row) for row in rows]

    def field(self, field_id: int) -> KeptField:
        """A field. NotFound."""
        with self._reading() as connection:
            return find_field(connection, field_id)

    def field_counts(self, specimen_id: int) -> dict[int, tuple[int, int]]:
        """Field -> (cells that count, those of them that were reviewed); fields without such a cell are left out."""
        reviewed = func.sum(case((CellRow.reviewed, 1), else_=0))
        counting = select(CellRow.field_id, func.count(), reviewed).where(
            CellRow.specimen_id == specimen_id, ~CellRow.removed, CellRow.same_as.is_(None)
        )
        with self._reading() as connection:
            state_of(connection, specimen_id)
            rows = connection.execute(counting.group_by(CellRow.field_id))
            return {field_id: (int(cells), int(seen)) for field_id, cells, seen in rows}

    def image_path(self, digest: str) -> Path:
        """The file of a picture. NotFound where there is none."""
        path = self._pixels.path(digest)
        if not path.is_file():
            raise NotFound(f"There is no picture {digest[:12]}...")
        return path

    def image(self, digest: str) -> bytes:
        """The bytes of a picture, verified. ArchiveDamaged where they are gone or are others by now."""
        return self._pixels.read(digest)


def _standing(cell: FoundCell, width: int, height: int, number: int) -> Standing:
    what = f"found cell {number}"
    intake.share(cell.score, f"{what}, score")
    intake.share(cell.doubt, f"{what}, doubt")
    box = intake.box_within(cell.box, width, height, what)
    return Standing(intake.name(cell.code, f"{what}, code"), box, reviewed=False, removed=False)


def _require_model(connection: Connection, model_id: int | None) -> None:
    if model_id is None:
        return
    wanted = ModelRow.id == intake.number_of(model_id, "model")
    if connection.execute(select(ModelRow.id).where(wanted)).first() is None:
        raise NotFound(f"There is no model {model_id}.")


def _require_seen(connection: Connection, specimen_id: int, found: Sequence[FoundCell]) -> None:
    """Every cell that was seen before is one of this specimen."""
    seen = {intake.number_of(cell.same_as, "cell") for cell in found if cell.same_as is not None}
    for portion in intake.portions(sorted(seen)):
        mine = select(CellRow.id).where(CellRow.id.in_(portion), CellRow.specimen_id == specimen_id)
        seen -= set(connection.execute(mine).scalars())
    if seen:
        raise NotFound(f"Specimen {specimen_id} has no cell {min(seen)} that could have been seen before.")


def _next_number(connection: Connection, specimen_id: int) -> int:
    """Count the field in, and give it its number: 1, 2, 3 ... within the specimen."""
    counted = update(SpecimenRow).where(SpecimenRow.id == specimen_id).values(fields=SpecimenRow.fields + 1)
    return connection.execute(counted.returning(SpecimenRow.fields)).scalar_one()


def _insert_cells(
    change: Change, field: KeptField, found: Sequence[FoundCell], standings: Sequence[Standing]
) -> list[tuple[Any, ...]]:
    """Write the rows of the cells, and return what is sealed of them."""
    counters = Counters(field.specimen_id)
    rows = []
    for cell, standing in zip(found, standings, strict=True):
        counters.move(cell.code, cell.same_as, None, standing)
        rows.append(
            {
                "specimen_id": field.specimen_id,
                "field_id": field.id,
                "called": cell.code,
                "score": float(cell.score),
                "doubt": float(cell.doubt),
                "same_as": cell.same_as,
                **{f"called_{edge}": at for edge, at in zip(("x1", "y1", "x2", "y2"), standing.box, strict=True)},
                **standing.columns(),
            }
        )
    counters.write(change.connection)
    if not rows:
        return []
    ids = change.connection.execute(insert(CellRow).returning(CellRow.id, sort_by_parameter_order=True), rows).scalars()
    # Not read back: what SQLite returns from an INSERT has lost the difference between 1 and 1.0.
    return sorted((key, *(row[column.key] for column in CALL[1:])) for key, row in zip(ids, rows, strict=True))
