"""Reports: what a person writes before signing, and the signed versions."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from marrowscope.cells.specimen import SpecimenState
from marrowscope.web.schemas.common import TEXT, Answer, Body, Id, Moment
from marrowscope.web.schemas.people import AnyPassword

Prose = Annotated[str, Field(max_length=20_000, pattern=TEXT)]


class Language(StrEnum):
    """In which tongue the report speaks."""

    ENGLISH = "en"
    CHINESE = "zh"
    BOTH = "en+zh"


class ReportDraft(Body):
    """What a person writes: words, and which pictures go in. fields: ids of fields. gallery: ids of cells."""

    conclusion: Prose = ""
    comments: Prose = ""
    language: Language = Language.ENGLISH
    fields: Annotated[list[Id], Field(max_length=50)] = []
    gallery: Annotated[list[Id], Field(max_length=500)] = []


class ReportVersion(Answer):
    """A signed version; it never changes. amends: id of the one before it. signer: printed name."""

    id: int
    specimen_id: int
    version: int
    signed_at: Moment
    signed_by: str
    signer: str
    meaning: str
    amends: int | None
    reason: str


class ReportView(Answer):
    """Where the report of a case stands."""

    state: SpecimenState
    draft: ReportDraft
    warnings: list[str]
    versions: list[ReportVersion]


class Sign(Body):
    """The password is asked for again. meaning: what the signature says, such as "reviewed and approved"."""

    password: AnyPassword
    meaning: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class Amend(Body):
    """Why a signed report is opened again."""

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class ReportFormat(StrEnum):
    """As what a signed report is fetched. fhir: R4 DiagnosticReport in JSON."""

    PDF = "pdf"
    HTML = "html"
    JSON = "json"
    CSV = "csv"
    FHIR = "fhir"
