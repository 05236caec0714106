"""Cases: specimens, their slides, and the fields that were kept."""

from datetime import date
from typing import Annotated

from pydantic import Field

from marrowscope.cells.specimen import SpecimenState
from marrowscope.web.schemas.common import SAYING, Answer, Body, Code, Moment, Stated, Text
from marrowscope.web.schemas.review import Cell


class Specimen(Answer):
    """A case. code: the lab's number of it. patient_code: the lab's code of the patient, never a name."""

    id: int
    code: str
    patient_code: str
    material: str
    taken_on: date | None
    note: str
    state: SpecimenState
    created_at: Moment
    created_by: str


class SpecimenSummary(Answer):
    """A case in the list. cells: those that count."""

    specimen: Specimen
    slides: int
    fields: int
    cells: int
    reviewed: int
    reports: int


class SpecimenPage(Answer):
    """Some of the cases, newest first; total: of all that match."""

    items: list[SpecimenSummary]
    total: int


class NewSpecimen(Body):
    """A case to be opened."""

    code: Code
    patient_code: Code
    material: Stated = "marrow aspirate"
    taken_on: date | None = None
    note: Text = ""


class Slide(Answer):
    """A glass of a case."""

    id: int
    specimen_id: int
    label: str
    stain: str


class NewSlide(Body):
    """A glass to be added."""

    label: Annotated[str, Field(min_length=1, max_length=64, pattern=SAYING)]
    stain: Stated = "Wright"


class SpecimenDetail(Answer):
    """A case with its slides."""

    specimen: Specimen
    slides: list[Slide]
    summary: SpecimenSummary


class KeptField(Answer):
    """A kept field. number: 1.. within the case. cells: those that count; reviewed: of them, by a person."""

    id: int
    specimen_id: int
    slide_id: int
    number: int
    image_url: str
    thumbnail_url: str
    width: int
    height: int
    um_per_px: float | None
    visit: str | None
    x_um: float | None
    y_um: float | None
    focus: float | None
    model_id: int | None
    kept_at: Moment
    kept_by: str
    cells: int
    reviewed: int


class FieldDetail(Answer):
    """A field with all its cells, removed ones and ones seen before among them."""

    field: KeptField
    cells: list[Cell]
