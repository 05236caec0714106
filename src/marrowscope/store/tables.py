"""The tables of the archive, as SQLAlchemy sees them. `migrations` makes them; a test holds both to be the same.

Three kinds. What happened (fields, corrections, reports, audit ...) is written once: triggers on both databases forbid
to change or delete it. What is so now (a cell's present name, the state of a specimen) follows from it. Counters
(`tallies`, `totals`, the numbers in `specimens`) make pages quick; they change in the same transaction, and the
integrity check counts again.
"""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Float, ForeignKey, Index, MetaData, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, to the microsecond. A time without a zone is refused: nobody could say which moment it is."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: SQLite has no zones and keeps UTC without saying so."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time needs its zone, got {value!r}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database: always with its zone."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Table(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {str: Text(), datetime: UtcDateTime(), float: Float(53)}  # noqa: RUF012 (as SQLAlchemy asks)


class UserRow(Table):
    """A person. The password is here as its Argon2 hash, and nowhere else."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    full_name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str]
    active: Mapped[bool]
    keyboard: Mapped[str]
    added_at: Mapped[datetime]


class LoginRow(Table):
    """One attempt to log in; lock-out counts them. The name may be nobody's."""

    __tablename__ = "logins"
    __table_args__ = (Index("ix_logins_name", "name", "at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    ok: Mapped[bool]
    at: Mapped[datetime]


class SessionRow(Table):
    """Somebody is logged in. token_digest: SHA-256 of the cookie, so that nobody can log in with a stolen backup."""

    __tablename__ = "sessions"
    token_digest: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    expires: Mapped[datetime]
    csrf: Mapped[str]


class PatientRow(Table):
    """A patient, known by the lab's code alone. The one place of that code."""

    __tablename__ = "patients"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)


class SpecimenRow(Table):
    """A case. slides, fields, cells, reviewed, reports: counters, as SpecimenSummary has them."""

    __tablename__ = "specimens"
    __table_args__ = (Index("ix_specimens_state", "state", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    material: Mapped[str]
    taken_on: Mapped[date | None]
    note: Mapped[str]
    state: Mapped[str]
    amending: Mapped[str]
    """Why the amendment that is under way was begun."""
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    slides: Mapped[int]
    fields: Mapped[int]
    cells: Mapped[int]
    reviewed: Mapped[int]
    reports: Mapped[int]


class SlideRow(Table):
    """One glass."""

    __tablename__ = "slides"
    __table_args__ = (UniqueConstraint("specimen_id", "label"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    label: Mapped[str]
    stain: Mapped[str]


class ModelRow(Table):
    """A model version. At most one is serving."""

    __tablename__ = "models"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scheme: Mapped[str]
    path: Mapped[str]
    about: Mapped[str]
    serving: Mapped[bool]
    added_at: Mapped[datetime]


class FieldRow(Table):
    """A kept field; written once. image: SHA-256 of a file that was on disk before this row was."""

    __tablename__ = "fields"
    __table_args__ = (UniqueConstraint("specimen_id", "number"), Index("ix_fields_image", "image"))
    id: Mapped[int] = mapped_column(primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    slide_id: Mapped[int] = mapped_column(ForeignKey("slides.id"), index=True)
    number: Mapped[int]
    image: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    um_per_px: Mapped[float | None]
    visit: Mapped[str | None]
    x_um: Mapped[float | None]
    y_um: Mapped[float | None]
    focus: Mapped[float | None]
    model_id: Mapped[int | None] = mapped_column(ForeignKey("models.id"))
    kept_at: Mapped[datetime]
    kept_by: Mapped[str]


class CellRow(Table):
    """A cell. called, score, doubt, same_as, called_*: as it was found, written once. The rest: what is so now.

    For a cell that a person added, `called` and `score` are null, and called_* is the box as it was drawn.
    """

    __tablename__ = "cells"
    __table_args__ = (
        Index("ix_cells_doubt", "specimen_id", "removed", "doubt"),
        Index("ix_cells_class", "specimen_id", "code", "removed", "doubt", "reviewed", "same_as"),
        Index("ix_cells_specimen", "specimen_id", "id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    field_id: Mapped[int] = mapped_column(ForeignKey("fields.id"), index=True)
    called: Mapped[str | None]
    score: Mapped[float | None]
    doubt: Mapped[float]
    same_as: Mapped[int | None] = mapped_column(ForeignKey("cells.id"))
    called_x1: Mapped[float]
    called_y1: Mapped[float]
    called_x2: Mapped[float]
    called_y2: Mapped[float]
    x1: Mapped[float]
    y1: Mapped[float]
    x2: Mapped[float]
    y2: Mapped[float]
    code: Mapped[str]
    reviewed: Mapped[bool]
    removed: Mapped[bool]


class EditGroupRow(Table):
    """Edits made together; written once. undoes: the group that this one took back, each at most once."""

    __tablename__ = "edit_groups"
    __table_args__ = (Index("ix_edit_groups_who", "specimen_id", "who", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    at: Mapped[datetime]
    who: Mapped[str]
    why: Mapped[str]
    undoes: Mapped[int | None] = mapped_column(ForeignKey("edit_groups.id"), unique=True)


class CorrectionRow(Table):
    """One edit of one cell: all that it changed, before and after; written once."""

    __tablename__ = "corrections"
    __table_args__ = (
        Index("ix_corrections_cell", "cell_id", "id"),
        Index("ix_corrections_specimen", "specimen_id", "id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("edit_groups.id"), index=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    cell_id: Mapped[int] = mapped_column(ForeignKey("cells.id"))
    kind: Mapped[str]
    old_code: Mapped[str | None]
    old_x1: Mapped[float | None]
    old_y1: Mapped[float | None]
    old_x2: Mapped[float | None]
    old_y2: Mapped[float | None]
    old_reviewed: Mapped[bool]
    old_removed: Mapped[bool]
    new_code: Mapped[str]
    new_x1: Mapped[float]
    new_y1: Mapped[float]
    new_x2: Mapped[float]
    new_y2: Mapped[float]
    new_reviewed: Mapped[bool]
    new_removed: Mapped[bool]


class TallyRow(Table):
    """How many cells of a specimen the model called so and are named so now. called: '' where a person added them.

    counting: neither removed nor seen before; reviewed: counting, and a person has looked.
    """

    __tablename__ = "tallies"
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"), primary_key=True)
    called: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    counting: Mapped[int]
    reviewed: Mapped[int]


class TotalRow(Table):
    """The same over all specimens: for statistics, which would read a hundred thousand tallies."""

    __tablename__ = "totals"
    called: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    counting: Mapped[int]
    reviewed: Mapped[int]


class WorkRow(Table):
    """How many edits of a kind a person has made, undone ones included."""

    __tablename__ = "work"
    who: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    edits: Mapped[int]


class ReadingRow(Table):
    """What one reader calls a cell in a reading of their own."""

    __tablename__ = "readings"
    __table_args__ = (Index("ix_readings_specimen", "specimen_id", "reader"),)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cells.id"), primary_key=True, autoincrement=False)
    reader: Mapped[str] = mapped_column(primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    code: Mapped[str]
    at: Mapped[datetime]


class EffortRow(Table):
    """Seconds, keystrokes and clicks that somebody spent on a case."""

    __tablename__ = "effort"
    id: Mapped[int] = mapped_column(primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"), index=True)
    who: Mapped[str]
    at: Mapped[datetime]
    seconds: Mapped[float]
    keystrokes: Mapped[int]
    clicks: Mapped[int]


class DraftRow(Table):
    """What the next report of a specimen is to say."""

    __tablename__ = "drafts"
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"), primary_key=True, autoincrement=False)
    content: Mapped[str]
    at: Mapped[datetime]
    who: Mapped[str]


class ReportRow(Table):
    """A signed report; written once. pdf: SHA-256 of a file that was on disk before this row was."""

    __tablename__ = "reports"
    __table_args__ = (UniqueConstraint("specimen_id", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    specimen_id: Mapped[int] = mapped_column(ForeignKey("specimens.id"))
    version: Mapped[int]
    content: Mapped[str]
    pdf: Mapped[str]
    signed_at: Mapped[datetime]
    signed_by: Mapped[str]
    signer: Mapped[str]
    meaning: Mapped[str]
    amends: Mapped[int | None] = mapped_column(ForeignKey("reports.id"))
    reason: Mapped[str]


class SettingRow(Table):
    """A setting of the station, as JSON."""

    __tablename__ = "settings"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class AuditRow(Table):
    """One entry of the audit trail; written once. ids run 1, 2, 3 ... without a gap."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "subject", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    who: Mapped[str]
    what: Mapped[str]
    subject: Mapped[str]
    old: Mapped[str]
    new: Mapped[str]
    why: Mapped[str]
    previous: Mapped[str]
    digest: Mapped[str]


class AuditHeadRow(Table):
    """The newest entry of the trail, so that a trail which lost its end is noticed. One row, id 1."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entries: Mapped[int]
    digest: Mapped[str]
