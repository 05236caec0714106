"""Cells, what people do to them, and what they add up to."""

from enum import StrEnum
from typing import Annotated

from pydantic import AllowInfNan, Field, Strict

from marrowscope.cells.specimen import Cell as ArchiveCell
from marrowscope.cells.specimen import EditKind
from marrowscope.web.schemas.common import Answer, Body, Code, Id, Line, Moment, Number

Edge = Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=1_000_000)]
Share = Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=1)]
Corners = Annotated[list[Edge], Field(min_length=4, max_length=4)]
"""x1, y1, x2, y2 in pixels of the field."""


class CellOrder(StrEnum):
    """doubt: most doubtful and rarest first. number: as they lie in the fields."""

    DOUBT = "doubt"
    NUMBER = "number"


class Cell(Answer):
    """A cell. code: its name now. called, score: what the model said. doubt: 0 certain .. 1 a guess."""

    id: int
    field_id: int
    box: list[float]
    code: str
    called: str | None
    score: float | None
    doubt: float
    reviewed: bool
    removed: bool
    same_as: int | None

    @classmethod
    def of(cls, cell: ArchiveCell) -> "Cell":
        """As the archive has it."""
        return cls(
            id=cell.id,
            field_id=cell.field_id,
            box=[round(float(edge), 2) for edge in cell.box],
            code=cell.code,
            called=cell.called,
            score=cell.score,
            doubt=cell.doubt,
            reviewed=cell.reviewed,
            removed=cell.removed,
            same_as=cell.same_as,
        )


class CellPage(Answer):
    """Some of the cells; total: of all that match."""

    items: list[Cell]
    total: int


class Edit(Body):
    """One wish. cell_id: all but `add`. field_id: `add`. code: `rename`, `add`. box: `move`, `add`.

    expected: the code that was on the screen; where the cell is called otherwise by now, all edits are refused (409).
    """

    kind: EditKind
    cell_id: Id | None = None
    field_id: Id | None = None
    code: Code | None = None
    box: Corners | None = None
    expected: Code | None = None


class Edits(Body):
    """Done together or not at all, and undone together."""

    edits: Annotated[list[Edit], Field(min_length=1, max_length=2000)]
    why: Line = ""


class EditedCells(Answer):
    """The cells as they are now."""

    cells: list[Cell]


class Accept(Body):
    """Confirm every unreviewed cell whose model score is at least `above`; codes: of these classes only."""

    above: Share
    codes: Annotated[list[Code], Field(max_length=200)] | None = None


class Accepted(Answer):
    """How many cells that confirmed."""

    accepted: int


class Correction(Answer):
    """One edit as it was done. group: undone together. undoes: the group that this one undid."""

    id: int
    specimen_id: int
    cell_id: int
    group: int
    at: Moment
    by: str
    kind: EditKind
    old_code: str | None
    new_code: str | None
    old_box: list[float] | None
    new_box: list[float] | None
    why: str
    undoes: int | None


class ClassShare(Answer):
    """A class in a count: percent of the total (null where that is 0) and its exact 95 % interval."""

    code: str
    name: str
    lineage: str
    count: int
    percent: float | None
    low: float
    high: float


class ReferenceRange(Answer):
    """What a healthy marrow has, in percent (an index: the ratio). text: as printed. source: name of the set."""

    low: float | None
    high: float | None
    typical: float | None
    text: str
    source: str


class Flagging(StrEnum):
    """On which side of the reference range a value lies."""

    LOW = "low"
    HIGH = "high"


class DifferentialClass(ClassShare):
    """A class beside its reference range. flag: where it lies outside; certain: so does its whole interval.

    reviewed: of `count`, by a person.
    """

    reviewed: int
    reference: ReferenceRange | None
    flag: Flagging | None
    certain: bool


class GroupShare(Answer):
    """Several classes together, because a reference range speaks of them so."""

    codes: list[str]
    lineage: str
    count: int
    percent: float | None
    low: float
    high: float
    reference: ReferenceRange | None
    flag: Flagging | None
    certain: bool


class LineageShare(Answer):
    """A lineage in the differential."""

    lineage: str
    count: int
    percent: float | None
    low: float
    high: float
    reference: ReferenceRange | None
    flag: Flagging | None
    certain: bool


class Index(Answer):
    """A ratio such as M:E. high is null where the interval has no upper end. formula: what is counted."""

    key: str
    name: str
    formula: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    source: str
    reference: ReferenceRange | None
    flag: Flagging | None
    certain: bool


class CutOff(Answer):
    """A share against a clinical cut-off. clear: the interval does not touch it. text: in one sentence."""

    name: str
    percent: float | None
    low: float
    high: float
    at: float
    clear: bool
    text: str


class Verdict(Answer):
    """Whether enough was counted, and why (not)."""

    stop: bool
    reasons: list[str]
    cutoffs: list[CutOff]


class DifferentialView(Answer):
    """The differential of a case, as it stands. reviewed: of `total`, by a person."""

    total: int
    reviewed: int
    classes: list[DifferentialClass]
    groups: list[GroupShare]
    lineages: list[LineageShare]
    uncounted: dict[str, int]
    indices: list[Index]
    verdict: Verdict
    warnings: list[str]


class ReadingOf(Body):
    """What one reader calls a cell."""

    cell_id: Id
    code: Code


class Readings(Body):
    """Names given blindly: without sight of what others said."""

    readings: Annotated[list[ReadingOf], Field(min_length=1, max_length=5000)]


class Reading(Answer):
    """A reading as it was kept."""

    cell_id: int
    reader: str
    code: str
    at: Moment


class Estimate(Answer):
    """A figure with its 95 % interval; null where it cannot be computed."""

    value: float | None
    low: float | None
    high: float | None


class AgreementRow(Answer):
    """Agreement on one class or lineage. first, second: cells that each reader called so; both: that both did.

    positive: 2 both / (first + second), how often the other says the same when one says this class.
    """

    code: str
    name: str
    first: int
    second: int
    both: int
    kappa: Estimate
    positive: Estimate


class MaturationAgreement(Answer):
    """Weighted kappa over the stages of a lineage: neighbours are half a mistake. n: cells that both put there."""

    lineage: str
    n: int
    kappa: Estimate


class Confused(Answer):
    """Cells that are `first` (a code) to one reader and `second` to the other."""

    first: str
    second: str
    count: int


class Agreement(Answer):
    """How far two readers agree on the n cells that both have named. observed: share called the same."""

    first: str
    second: str
    n: int
    observed: float | None
    kappa: Estimate
    lineage_kappa: Estimate
    maturation: list[MaturationAgreement]
    classes: list[AgreementRow]
    lineages: list[AgreementRow]
    confusions: list[Confused]


class Effort(Body):
    """What a stretch of review took."""

    seconds: Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=86_400)]
    keystrokes: Annotated[Number, Field(ge=0, le=1_000_000)]
    clicks: Annotated[Number, Field(ge=0, le=1_000_000)]


class EffortOf(Answer):
    """What one person has spent on a case."""

    who: str
    seconds: float
    keystrokes: int
    clicks: int


class EffortSum(Answer):
    """What the review of the case has taken so far, of all people together, and of each."""

    seconds: float
    keystrokes: int
    clicks: int
    people: list[EffortOf]
