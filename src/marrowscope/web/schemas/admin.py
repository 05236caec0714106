"""What an admin sees and sets: people, the audit trail, models, settings, figures; and the eyepiece."""

from typing import Annotated

from pydantic import Field

from marrowscope.cells.taxonomy import Lineage
from marrowscope.web.schemas.common import LINE, TEXT, Answer, Body, Code, Id, Line, Moment, Number, Real, Stated

Prose = Annotated[str, Field(max_length=4000, pattern=TEXT)]


class AuditEntry(Answer):
    """One line of the audit trail. digest: SHA-256 over the previous digest and this entry."""

    id: int
    at: Moment
    who: str
    what: str
    subject: str
    old: str
    new: str
    why: str
    previous: str
    digest: str


class AuditPage(Answer):
    """Some of the trail, newest first. total: of all that match. more: there are older ones."""

    items: list[AuditEntry]
    total: int
    more: bool


class Integrity(Answer):
    """Whether pixels, rows and the audit chain agree. problems: what does not. checked: what was looked at -> how many.

    orphans: picture files that no row names; left by a crash, and harmless. digest: of the newest audit entry.
    """

    ok: bool
    problems: list[str]
    checked: dict[str, int]
    orphans: int
    digest: str


class ModelVersion(Answer):
    """A detector. digest: SHA-256 of its weights. serving: looks at new fields now."""

    id: int
    name: str
    digest: str
    scheme: str
    about: str
    serving: bool
    added_at: Moment


class Promotion(Body):
    """Why this model is to serve."""

    why: Stated


class Teachable(Answer):
    """A class that the model in service does not know. cells: named so by people. enough: it can be taught."""

    code: str
    name: str
    cells: int
    enough: bool


class Lesson(Body):
    """code: of the class to teach."""

    code: Code


class RetrainingWish(Body):
    """specimens: ids of the cases whose reviewed fields are written; left out, all."""

    specimens: Annotated[list[Id], Field(min_length=1, max_length=10_000)] | None = None


class RetrainingSet(Answer):
    """What was written. folder: on the station's disk."""

    folder: str
    fields: int
    cells: int


class CountOf(Answer):
    """Cells of a class."""

    code: str
    name: str
    cells: int


class Renaming(Answer):
    """How often people renamed what the model called `called` to `renamed`."""

    called: str
    renamed: str
    count: int


class WorkOf(Answer):
    """What one person did. edits: kind of edit -> how many."""

    user: str
    edits: dict[str, int]


class Statistics(Answer):
    """The archive in figures; cells are those that count. renamings: reviewed cells, confirmed ones too."""

    patients: int
    specimens: int
    slides: int
    fields: int
    cells: int
    reviewed: int
    reports: int
    by_code: list[CountOf]
    renamings: list[Renaming]
    people: list[WorkOf]


class Letterhead(Body):
    """What stands at the head and foot of every report. logo: a PNG as base64, or empty."""

    laboratory: Line = ""
    department: Line = ""
    address: Prose = ""
    telephone: Line = ""
    email: Line = ""
    accreditation: Line = ""
    footer: Prose = ""
    logo: Annotated[str, Field(max_length=700_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")] = ""


class ReferenceEntry(Body):
    """What a healthy marrow has of these classes together, or of a lineage, or of an index (exactly one of the three).

    In percent of the counted cells; an index as the ratio itself. typical: mean or median. name, chinese: what several
    classes together are called.
    """

    codes: Annotated[list[Code], Field(max_length=50, default_factory=list)]
    lineage: Lineage | None = None
    index: Annotated[str, Field(max_length=20, pattern=LINE)] = ""
    low: Annotated[Real, Field(ge=0, le=1000)] | None = None
    high: Annotated[Real, Field(ge=0, le=1000)] | None = None
    typical: Annotated[Real, Field(ge=0, le=1000)] | None = None
    name: Line = ""
    chinese: Line = ""


class References(Body):
    """A set of reference ranges, with its source. dated: year or day of the source. note: what a reader must know."""

    name: Stated
    source: Annotated[str, Field(min_length=1, max_length=2000, pattern=TEXT)]
    dated: Stated
    note: Prose = ""
    ranges: Annotated[list[ReferenceEntry], Field(min_length=1, max_length=200)]


class CutOffRule(Body):
    """A clinical cut-off: the share of these classes together against `at` percent."""

    name: Stated
    codes: Annotated[list[Code], Field(min_length=1, max_length=50)]
    at: Annotated[Real, Field(gt=0, lt=100)]


class StopRule(Body):
    """When enough was counted: `fields` fields or `at_most` cells, whatever is open; `cells` cells and every cut-off
    clear; or `at_least` cells and every cut-off clear beyond doubt.
    """

    fields: Annotated[Number, Field(ge=1, le=100_000)]
    cells: Annotated[Number, Field(ge=1, le=1_000_000)]
    at_most: Annotated[Number, Field(ge=1, le=1_000_000)]
    at_least: Annotated[Number, Field(ge=1, le=1_000_000)]
    cutoffs: Annotated[list[CutOffRule], Field(max_length=50)]


class StationPreferences(Body):
    """name: of this microscope, as the head of the page shows it. camera: address that the live page offers first.
    accept_above: score that accept-all offers first.
    """

    name: Line = "Microscope"
    camera: Line = "simulated"
    material: Line = "marrow aspirate"
    stain: Line = "Wright"
    accept_above: Annotated[Real, Field(ge=0, le=1)] = 0.9


class Calibration(Body):
    """How the picture lies on the eyepiece display. homography: 3 x 3, row by row, frame pixels -> display pixels.
    target: name of the target on which it was made.
    """

    homography: Annotated[list[Annotated[Real, Field(ge=-1e9, le=1e9)]], Field(min_length=9, max_length=9)]
    target: Line


class EyepieceCalibration(Answer):
    """A calibration as it was kept, one an objective."""

    objective: str
    homography: list[float]
    target: str
    saved_at: Moment
    saved_by: str
