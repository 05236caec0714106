"""Specimens and their slides. A patient is a code of the lab, in one column, and nowhere else."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, or_, select, update

from marrowscope.cells.specimen import Slide, Specimen, SpecimenState, SpecimenSummary
from marrowscope.errors import BadInput, Conflict, NotFound
from marrowscope.store import intake
from marrowscope.store.base import Base, about, require_unlocked, state_of
from marrowscope.store.tables import PatientRow, SlideRow, SpecimenRow

_SPECIMEN: tuple[Any, ...] = (
    SpecimenRow.id,
    SpecimenRow.code,
    PatientRow.code.label("patient_code"),
    SpecimenRow.material,
    SpecimenRow.taken_on,
    SpecimenRow.note,
    SpecimenRow.state,
    SpecimenRow.created_at,
    SpecimenRow.created_by,
)
_COUNTERS: tuple[Any, ...] = (
    SpecimenRow.slides,
    SpecimenRow.fields,
    SpecimenRow.cells,
    SpecimenRow.reviewed,
    SpecimenRow.reports,
)
_SLIDE: tuple[Any, ...] = (SlideRow.id, SlideRow.specimen_id, SlideRow.label, SlideRow.stain)


def _specimen(values: Sequence[Any]) -> Specimen:
    """A specimen from its nine columns."""
    key, code, patient_code, material, taken_on, note, state, created_at, created_by = values
    return Specimen(key, code, patient_code, material, taken_on, note, SpecimenState(state), created_at, created_by)


def _joined(*columns: Any) -> Select[Any]:
    return select(*columns).join(PatientRow, PatientRow.id == SpecimenRow.patient_id)


def find_specimen(connection: Connection, specimen_id: int) -> Specimen:
    """The specimen of this number. NotFound."""
    wanted = SpecimenRow.id == intake.number_of(specimen_id, "specimen")
    row = connection.execute(_joined(*_SPECIMEN).where(wanted)).one_or_none()
    if row is None:
        raise NotFound(f"There is no specimen {specimen_id}.")
    return _specimen(row)


def find_slide(connection: Connection, slide_id: int) -> Slide:
    """The slide of this number. NotFound."""
    row = connection.execute(select(*_SLIDE).where(SlideRow.id == intake.number_of(slide_id, "slide"))).one_or_none()
    if row is None:
        raise NotFound(f"There is no slide {slide_id}.")
    return Slide(*row)


def _patient_id(connection: Connection, code: str) -> int:
    """The patient of this code, made where there is none yet."""
    known = connection.execute(select(PatientRow.id).where(PatientRow.code == code)).scalar()
    if known is not None:
        return known
    return connection.execute(insert(PatientRow).values(code=code).returning(PatientRow.id)).scalar_one()


class Cases(Base):
    """The part of the archive that knows specimens and slides."""

    def add_specimen(
        self,
        code: str,
        patient_code: str,
        material: str = "marrow aspirate",
        taken_on: date | None = None,
        note: str = "",
        *,
        by: str,
        now: datetime | None = None,
    ) -> Specimen:
        """A new case. code: the lab's number of the specimen, unique (else Conflict). The patient may have others."""
        code, patient_code = intake.name(code, "specimen code"), intake.name(patient_code, "patient code")
        material, note = intake.name(material, "material"), intake.text(note, "note")
        with self._writing(by, now) as change:
            if change.connection.execute(select(SpecimenRow.id).where(SpecimenRow.code == code)).first():
                raise Conflict(f"There is a specimen {code!r} already. Give another code.")
            new = insert(SpecimenRow).values(
                code=code,
                patient_id=_patient_id(change.connection, patient_code),
                material=material,
                taken_on=taken_on,
                note=note,
                state=SpecimenState.OPEN.value,
                amending="",
                created_at=change.at,
                created_by=by,
                slides=0,
                fields=0,
                cells=0,
                reviewed=0,
                reports=0,
            )
            specimen_id = change.connection.execute(new.returning(SpecimenRow.id)).scalar_one()
            # A note may name a patient after all: it stays out of the trail.
            told = {"code": code, "material": material, "taken_on": taken_on and taken_on.isoformat()}
            change.tell("specimen.add", about("specimen", specimen_id), new=told)
            return find_specimen(change.connection, specimen_id)

    def specimen(self, specimen_id: int) -> Specimen:
        """A case. NotFound."""
        with self._reading() as connection:
            return find_specimen(connection, specimen_id)

    def summary(self, specimen_id: int) -> SpecimenSummary:
        """A case and its counters. NotFound."""
        wanted = SpecimenRow.id == intake.number_of(specimen_id, "specimen")
        with self._reading() as connection:
            row = connection.execute(_joined(*_SPECIMEN, *_COUNTERS).where(wanted)).one_or_none()
        if row is None:
            raise NotFound(f"There is no specimen {specimen_id}.")
        return SpecimenSummary(_specimen(row[:9]), *row[9:])

    def specimens(
        self, text: str = "", state: SpecimenState | str | None = None, limit: int = 50, offset: int = 0
    ) -> tuple[list[SpecimenSummary], int]:
        """Cases, newest first, and how many there are in all.

        text: part of the specimen's code, the patient's code or the note, in any case. state: only those.
        """
        limit, offset = intake.page(limit, offset)
        conditions = []
        if wanted := intake.text(text, "search text", longest=200).strip():
            searched = (SpecimenRow.code, PatientRow.code, SpecimenRow.note)
            conditions.append(or_(*(column.icontains(wanted, autoescape=True) for column in searched)))
        if state is not None:
            conditions.append(SpecimenRow.state == _state(state).value)
        with self._reading() as connection:
            listed = _joined(*_SPECIMEN, *_COUNTERS).where(*conditions).order_by(SpecimenRow.id.desc())
            rows = connection.execute(listed.limit(limit).offset(offset)).all()
            total = connection.execute(_joined(func.count(SpecimenRow.id)).where(*conditions)).scalar_one()
        return [SpecimenSummary(_specimen(row[:9]), *row[9:]) for row in rows], total

    def add_slide(
        self, specimen_id: int, label: str, stain: str = "Wright", *, by: str, now: datetime | None = None
    ) -> Slide:
        """A new glass of a case. Conflict where the specimen has one of this label, Locked where it is signed."""
        label, stain = intake.name(label, "slide label"), intake.name(stain, "stain")
        with self._writing(by, now) as change:
            require_unlocked(change.connection, specimen_id)
            same = select(SlideRow.id).where(SlideRow.specimen_id == specimen_id, SlideRow.label == label)
            if change.connection.execute(same).first():
                raise Conflict(f"Specimen {specimen_id} has a slide {label!r} already. Give another label.")
            new = insert(SlideRow).values(specimen_id=specimen_id, label=label, stain=stain).returning(SlideRow.id)
            slide_id = change.connection.execute(new).scalar_one()
            counted = update(SpecimenRow).where(SpecimenRow.id == specimen_id).values(slides=SpecimenRow.slides + 1)
            change.connection.execute(counted)
            told = {"slide": slide_id, "label": label, "stain": stain}
            change.tell("slide.add", about("specimen", specimen_id), new=told)
            return Slide(slide_id, specimen_id, label, stain)

    def slides(self, specimen_id: int) -> list[Slide]:
        """The glasses of a case, in the order in which they came. NotFound without such a case."""
        with self._reading() as connection:
            state_of(connection, specimen_id)
            rows = connection.execute(
                select(*_SLIDE).where(SlideRow.specimen_id == specimen_id).order_by(SlideRow.id)
            ).all()
        return [Slide(*row) for row in rows]

    def slide(self, slide_id: int) -> Slide:
        """A glass. NotFound."""
        with self._reading() as connection:
            return find_slide(connection, slide_id)


def _state(state: SpecimenState | str) -> SpecimenState:
    try:
        return SpecimenState(state)
    except ValueError:
        raise BadInput(f"{state!r} is no state of a specimen. There are {', '.join(SpecimenState)}.") from None
