"""What a report says: one frozen value, and its canonical JSON.

Everything on the page is in here, or is a picture named by its SHA-256; a renderer adds nothing but looks. The JSON is
canonical: the same content gives the same bytes (keys sorted, no spaces, UTF-8), so that it can be hashed and compared.
Times are UTC. Percentages and ratios are rounded to six decimals when the content is built; None stands for "cannot be
computed", or for no upper end.
"""

import hashlib
import json
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from marrowscope.cells.reference import Flag
from marrowscope.cells.stop_rule import Standing
from marrowscope.cells.taxonomy import Lineage
from marrowscope.errors import BadInput

Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Edges = tuple[Real, Real, Real, Real]
"""x1, y1, x2, y2 in pixels of the field."""


class Part(BaseModel):
    """Frozen, and knows no other entries than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Language(StrEnum):
    """In which tongue the report speaks."""

    ENGLISH = "en"
    CHINESE = "zh"
    BOTH = "en+zh"


class Letterhead(Part):
    """The laboratory, at the head and foot of the report. logo: PNG or JPEG as base64, or empty."""

    laboratory: str = ""
    department: str = ""
    address: str = ""
    telephone: str = ""
    email: str = ""
    accreditation: str = ""
    footer: str = ""
    logo: str = ""


class SlideLine(Part):
    """A glass of the specimen."""

    label: str
    stain: str


class SpecimenBlock(Part):
    """Which marrow; codes of the lab, no names. fields: kept; cells: that count; reviewed: of them, by a person."""

    id: int
    code: str
    patient_code: str
    material: str
    taken_on: date | None
    slides: tuple[SlideLine, ...]
    fields: Count
    cells: Count
    reviewed: Count


class UsualRange(Part):
    """A reference range as it held. source: name of its set, see `ReportContent.references`."""

    low: Real | None
    high: Real | None
    typical: Real | None
    text: str
    source: str


class Flagged(Part):
    """Outside the range. certain: with the whole interval."""

    flag: Flag
    certain: bool


class ShareLine(Part):
    """Cells of the total: percent, its exact 95 % interval, what is usual."""

    count: Count
    reviewed: Count
    percent: Percent | None
    low: Percent
    high: Percent
    usual: UsualRange | None
    flagged: Flagged | None


class ClassLine(Part):
    """A class of the differential."""

    code: str
    name: str
    chinese: str
    lineage: Lineage
    stage: int | None
    snomed_ct: str
    cell_ontology: str
    share: ShareLine


class GroupLine(Part):
    """Several classes together, because a reference range speaks of them so."""

    codes: tuple[str, ...]
    name: str
    chinese: str
    lineage: Lineage
    share: ShareLine


class LineageLine(Part):
    """A whole lineage."""

    lineage: Lineage
    share: ShareLine


class SeenLine(Part):
    """A class that is seen, and stands outside the differential."""

    code: str
    name: str
    chinese: str
    snomed_ct: str
    count: Count


class IndexLine(Part):
    """A ratio, top : bottom, with its exact 95 % interval."""

    key: str
    name: str
    formula: str
    source: str
    top: Count
    bottom: Count
    value: Real | None
    low: Real
    high: Real | None
    usual: UsualRange | None
    flagged: Flagged | None


class CutOffLine(Part):
    """A share against a clinical cut-off of `at` percent."""

    name: str
    at: Percent
    count: Count
    percent: Percent | None
    low: Percent
    high: Percent
    standing: Standing


class VerdictBlock(Part):
    """Whether enough was counted, by which rule. reasons: in English, as `cells.stop_rule` says them."""

    stop: bool
    reasons: tuple[str, ...]
    cutoffs: tuple[CutOffLine, ...]
    cells: Count
    fields: Count
    planned_cells: Count
    limit_cells: Count
    limit_fields: Count


class CautionKind(StrEnum):
    """What a reader must be warned of."""

    FEW_CELLS = "few cells"
    CLASS_UNREVIEWED = "class unreviewed"
    CELLS_UNREVIEWED = "cells unreviewed"
    MANY_UNIDENTIFIED = "many unidentified"
    ONE_SLIDE = "one slide"
    UNKNOWN_CLASS = "unknown class"
    UNPRINTABLE = "unprintable"
    SETTING = "setting"


class Caution(Part):
    """A warning. count: of `total` cells. about: class code, or what the kind asks for."""

    kind: CautionKind
    about: str = ""
    count: Count = 0
    total: Count = 0


class Marked(Part):
    """A box on a field picture, with the name that the cell has now. counted: not seen before in another field."""

    box: Edges
    code: str
    counted: bool


class FieldPicture(Part):
    """A kept field that is shown. image: SHA-256 of its bytes."""

    id: int
    number: int
    slide: str
    image: Digest
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    um_per_px: Real | None
    cells: tuple[Marked, ...]


class GalleryCell(Part):
    """A cell that is shown alone, cut from the field with this picture."""

    id: int
    code: str
    field_number: int
    image: Digest
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    um_per_px: Real | None
    box: Edges
    reviewed: bool


class ModelLine(Part):
    """A detector that looked at fields of this case. digest: SHA-256 of its weights. fields: how many."""

    name: str
    digest: str
    scheme: str
    fields: Count


class MethodBlock(Part):
    """How the cells were found and counted."""

    software: str
    version: str
    scheme: str
    models: tuple[ModelLine, ...]
    fields_without_model: Count


class SourceLine(Part):
    """A set of reference ranges that this report uses."""

    name: str
    source: str
    dated: str
    note: str


class Amendment(Part):
    """Which version is replaced, and why."""

    replaces: Annotated[int, Field(ge=1)]
    signed_at: AwareDatetime
    signer: str
    reason: str


class Signature(Part):
    """Who signed, as what, when, and what that means. local: the same moment on the laboratory's clock."""

    name: str
    user: str
    role: str
    at: AwareDatetime
    local: str
    meaning: str


class ReportContent(Part):
    """The whole report. made_at: when it was put together; for a signed one the moment of the signature."""

    form: Literal["marrowscope-report-1"] = "marrowscope-report-1"
    language: Language
    version: Annotated[int, Field(ge=1)]
    made_at: AwareDatetime
    amendment: Amendment | None
    letterhead: Letterhead
    specimen: SpecimenBlock
    total: Count
    classes: tuple[ClassLine, ...]
    groups: tuple[GroupLine, ...]
    lineages: tuple[LineageLine, ...]
    uncounted: tuple[SeenLine, ...]
    indices: tuple[IndexLine, ...]
    verdict: VerdictBlock
    cautions: tuple[Caution, ...]
    pictures: tuple[FieldPicture, ...]
    gallery: tuple[GalleryCell, ...]
    conclusion: str
    comments: str
    method: MethodBlock
    references: tuple[SourceLine, ...]
    signature: Signature | None

    @property
    def signed(self) -> bool:
        """Whether somebody signed it; else it is a draft."""
        return self.signature is not None

    def to_json(self) -> str:
        """Canonical JSON."""
        values = self.model_dump(mode="json")
        return json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ReportContent":
        """Read what `to_json` wrote. BadInput names the first entry that is wrong."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the report"
            raise BadInput(f"stored report, {where}: {first['msg']}. It was written by another version.") from None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON: two reports with the same digest say the same."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def names(self) -> dict[str, tuple[str, str]]:
        """Class code -> its English and its Chinese name."""
        counted = {x.code: (x.name, x.chinese) for x in self.classes}
        return counted | {x.code: (x.name, x.chinese) for x in self.uncounted}

    @property
    def substance(self) -> str:
        """SHA-256 (hex) of what it says, whenever it was made and whoever signs it."""
        values = self.model_dump(mode="json", exclude={"made_at", "signature"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def typed(self) -> str:
        """Everything that people wrote by hand, run together; not the signature."""
        s = self.specimen
        parts = [s.code, s.patient_code, s.material, self.conclusion, self.comments]
        parts += [text for slide in s.slides for text in (slide.label, slide.stain)]
        parts += [text for key, text in self.letterhead.model_dump().items() if key != "logo"]
        parts += [text for line in self.classes for text in (line.name, line.chinese)]
        if self.amendment:
            parts += [self.amendment.signer, self.amendment.reason]
        return "".join(parts)

    @property
    def images(self) -> tuple[str, ...]:
        """SHA-256 of every picture that a renderer needs, each once."""
        return tuple(dict.fromkeys([p.image for p in self.pictures] + [c.image for c in self.gallery]))


def local_time(moment: datetime) -> str:
    """A moment of a zone as `2026-05-04 11:30:00 +02:00`."""
    return moment.isoformat(sep=" ", timespec="seconds")[:19] + " " + moment.isoformat(timespec="seconds")[19:]
