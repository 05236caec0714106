"""Reports: what a person writes before signing, and the signed versions."""

from typing import Annotated

from pydantic import Field

from marrowscope.cells.specimen import SpecimenState
from marrowscope.report.content import Language
from marrowscope.web.schemas.common import TEXT, Answer, Body, Id, Moment, Stated
from marrowscope.web.schemas.people import AnyPassword

Prose = Annotated[str, Field(max_length=20_000, pattern=TEXT)]


class ReportDraft(Body):
    """What a person writes: words, and which pictures go in. fields: ids of fields. gallery: ids of cells."""

    conclusion: Prose = ""
    comments: Prose = ""
    language: Language = Language.ENGLISH
    fields: Annotated[list[Id], Field(max_length=50, default_factory=list)]
    gallery: Annotated[list[Id], Field(max_length=500, default_factory=list)]


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
    """Where the report of a case stands. seen: digest of what the draft says now; it is sent back when signing."""

    state: SpecimenState
    draft: ReportDraft
    seen: str
    warnings: list[str]
    versions: list[ReportVersion]


class Sign(Body):
    """The password is asked for again. meaning: what the signature says, such as "reviewed and approved".

    seen: of the draft that the signer looked at; where the case says something else by now, signing is refused (409).
    """

    password: AnyPassword
    meaning: Stated
    seen: Annotated[str, Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]+$")] | None = None


class Amend(Body):
    """Why a signed report is opened again."""

    reason: Stated
