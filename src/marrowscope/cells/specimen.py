"""What a laboratory keeps of a patient's marrow: specimens, slides, kept fields, cells, and who said what of them.

Plain values. The archive returns them, the desk works on them, pages show them; none of them knows a database. The
model's call is never changed: a person's word stands beside it. Times are UTC.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Role(StrEnum):
    """What a person may do. Each may do what those before it may, except that only a haematologist signs."""

    READER = "reader"
    """Sees everything, changes nothing."""
    TECHNICIAN = "technician"
    """Makes cases, keeps fields, corrects cells."""
    HAEMATOLOGIST = "haematologist"
    """Also signs and amends reports."""
    ADMIN = "admin"
    """Users, settings, models, archive. Signs nothing."""


@dataclass(frozen=True)
class User:
    """A person who works here."""

    id: int
    name: str
    full_name: str
    role: Role
    active: bool
    keyboard: str = "default"


class SpecimenState(StrEnum):
    """Where a case stands."""

    OPEN = "open"
    SIGNED = "signed"
    AMENDING = "amending"
    """Signed before, opened again for an amendment."""


@dataclass(frozen=True)
class Specimen:
    """One marrow of one patient; a case. Patients are known by the lab's code alone, never by name.

    code: the lab's number of this specimen, unique.
    """

    id: int
    code: str
    patient_code: str
    material: str
    taken_on: date | None
    note: str
    state: SpecimenState
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class SpecimenSummary:
    """A case as a list shows it. cells: those that count (not removed, not seen before)."""

    specimen: Specimen
    slides: int
    fields: int
    cells: int
    reviewed: int
    reports: int


@dataclass(frozen=True)
class Slide:
    """One glass of a specimen."""

    id: int
    specimen_id: int
    label: str
    stain: str


@dataclass(frozen=True)
class KeptField:
    """A field that was kept. image: SHA-256 (hex) of its JPEG or PNG bytes. number: 1.. within the specimen.

    x_um, y_um: middle of the view on the slide, in the coordinates of one visit (`visit`: a random word, new whenever
    the place on the glass is unknown again); None for an uploaded picture. model_id: the model version that looked at
    it, None where none did.
    """

    id: int
    specimen_id: int
    slide_id: int
    number: int
    image: str
    width: int
    height: int
    um_per_px: float | None
    visit: str | None
    x_um: float | None
    y_um: float | None
    focus: float | None
    model_id: int | None
    kept_at: datetime
    kept_by: str


Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of the field, as `cells.boxes` has it."""


@dataclass(frozen=True)
class FoundCell:
    """A cell on its way into the archive, as the model saw it.

    code: class code of the scheme in force. doubt: 0 certain .. 1 a guess. same_as: id of the cell in the archive
    that this one is, seen again in an overlapping field: it is kept, and not counted twice.
    """

    box: Box
    code: str
    score: float
    doubt: float
    same_as: int | None = None


@dataclass(frozen=True)
class Cell:
    """A cell of a kept field. code: its name now; called, score: what the model said, None where a person added it.

    reviewed: a person has confirmed or named it. removed: a person said that it is no cell. same_as: see FoundCell.
    """

    id: int
    specimen_id: int
    field_id: int
    box: Box
    code: str
    called: str | None
    score: float | None
    doubt: float
    reviewed: bool
    removed: bool
    same_as: int | None

    @property
    def counts(self) -> bool:
        """Whether it enters the differential (if its class does)."""
        return not self.removed and self.same_as is None


class EditKind(StrEnum):
    """What a person does to a cell."""

    RENAME = "rename"
    CONFIRM = "confirm"
    MOVE = "move"
    ADD = "add"
    REMOVE = "remove"
    RESTORE = "restore"


@dataclass(frozen=True)
class Edit:
    """One wish of a person. cell_id: all but ADD. field_id: ADD. code: RENAME, ADD. box: MOVE, ADD.

    expected: the code that the person saw; where the cell is called otherwise by now, the edit is a Conflict.
    """

    kind: EditKind
    cell_id: int | None = None
    field_id: int | None = None
    code: str | None = None
    box: Box | None = None
    expected: str | None = None


@dataclass(frozen=True)
class Correction:
    """One edit as it was done. group: edits made together, undone together. undoes: the group that this one undid."""

    id: int
    specimen_id: int
    cell_id: int
    group: int
    at: datetime
    by: str
    kind: EditKind
    old_code: str | None
    new_code: str | None
    old_box: Box | None
    new_box: Box | None
    why: str
    undoes: int | None = None


@dataclass(frozen=True)
class Reading:
    """What one reader calls a cell, in a reading of their own (blind to others)."""

    cell_id: int
    reader: str
    code: str
    at: datetime


@dataclass(frozen=True)
class ModelVersion:
    """A detector that has looked at fields. digest: SHA-256 (hex) of its weights. serving: looks at new fields now."""

    id: int
    name: str
    digest: str
    scheme: str
    path: str
    about: str
    serving: bool
    added_at: datetime


@dataclass(frozen=True)
class SignedReport:
    """A version of a signed report; it never changes. content: canonical JSON of `report.content.ReportContent`."""

    id: int
    specimen_id: int
    version: int
    content: str
    pdf: str
    signed_at: datetime
    signed_by: str
    signer: str
    meaning: str
    amends: int | None
    reason: str


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit trail. digest: SHA-256 over the previous digest and this entry (see `store.audit`)."""

    id: int
    at: datetime
    who: str
    what: str
    subject: str
    old: str
    new: str
    why: str
    previous: str
    digest: str
