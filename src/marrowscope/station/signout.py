"""Sign-out: the cells of a case become a report; a haematologist signs it; the case is locked; an amendment opens it.

What is signed is exactly what is stored: the content is built once, its PDF is set from that very content, and both go
into the archive in one step. A reprint is the stored PDF, byte for byte. All else (print page, CSV, FHIR, HL7 v2, DICOM
SR) is made from the stored content.

Who signs has looked at a draft. `seen` carries its `substance` back: where somebody has changed the case since, signing
is refused rather than done over their heads.

Letterhead, reference ranges and stop rule are settings of the archive (`letterhead`, `references`, `stop-rule`, as
JSON), read anew each time; a signed report keeps those that held.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from marrowscope.cells.indices import Myeloid
from marrowscope.cells.reference import ReferenceRanges, ReferenceSets, default_references
from marrowscope.cells.specimen import Cell, Role, SignedReport, SpecimenState, User
from marrowscope.cells.stop_rule import StopRule
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import ArchiveDamaged, BadInput, Conflict, Locked, MissingExtra, NotAllowed, NotFound
from marrowscope.report import fonts, tables, words
from marrowscope.report.build import CaseFacts, Rules, Words, build_content
from marrowscope.report.content import (
    Amendment,
    Caution,
    CautionKind,
    Letterhead,
    ReportContent,
    Signature,
    local_time,
)
from marrowscope.report.draft import suggest, words_from_json, words_to_json
from marrowscope.report.fhir import diagnostic_report
from marrowscope.report.hl7 import oru_message
from marrowscope.report.html import html
from marrowscope.report.pdf import pdf
from marrowscope.report.pictures import Assets

if TYPE_CHECKING:
    from marrowscope.store.store import Store

_AT_ONCE = 1000

_log = logging.getLogger(__name__)


class ReportFormat(StrEnum):
    """As what a signed report is fetched."""

    PDF = "pdf"
    HTML = "html"
    JSON = "json"
    CSV = "csv"
    FHIR = "fhir"
    HL7 = "hl7"
    DICOM_SR = "dicom-sr"


@dataclass(frozen=True)
class CaseSummary:
    """A case as it stands: every number of its report, and the warnings in English."""

    content: ReportContent
    warnings: tuple[str, ...]


class SignOut:
    """Reports of the cases of `store`; `scheme`: the classes in force.

    software: version of marrowscope that a report names. zone: of the laboratory's clock, None for the machine's.
    """

    def __init__(
        self,
        store: "Store",
        scheme: Taxonomy,
        *,
        software: str | None = None,
        zone: tzinfo | None = None,
        myeloid: Myeloid = Myeloid.GRANULOCYTES,
    ) -> None:
        self.store, self.scheme, self.zone, self.myeloid = store, scheme, zone, myeloid
        self.software = software or _installed()

    def rules(self) -> Rules:
        """What the laboratory has set; a setting that cannot be used is left out and complained of."""
        complaints: list[str] = []
        return Rules(
            letterhead=self._set("letterhead", Letterhead.model_validate, Letterhead, complaints),
            references=self._set("references", _reference_sets, default_references, complaints),
            stop_rule=self._set("stop-rule", StopRule.from_dict, StopRule, complaints),
            myeloid=self.myeloid,
            complaints=tuple(complaints),
        )

    def _set(self, key: str, read: Callable[[Any], Any], unset: Callable[[], Any], complaints: list[str]) -> Any:
        text = self.store.setting(key)
        if text is None:
            return unset()
        try:
            return read(json.loads(text))
        except (BadInput, ValidationError, ValueError, TypeError, AttributeError) as error:
            _log.warning("setting %s cannot be used: %s", key, error)
            complaints.append(key)
            return ReferenceSets() if key == "references" else unset()

    def summary(self, specimen_id: int, *, now: datetime | None = None) -> CaseSummary:
        """What the cells add up to at this moment, without pictures. NotFound."""
        content = self._build(self._facts(specimen_id, Words()), Words(), now=now)
        return CaseSummary(content, tuple(said.en for said in words.cautions_text(content)))

    def words(self, specimen_id: int) -> Words:
        """What was written for the next report, and which pictures were chosen; a suggestion where nothing was yet.

        An amendment begins with the words of the report that it amends. NotFound.
        """
        text = self.store.draft(specimen_id)
        if text is not None:
            return words_from_json(text)
        if signed := self.store.reports(specimen_id):
            before = ReportContent.from_json(signed[-1].content)
            chosen = tuple(p.id for p in before.pictures), tuple(cell.id for cell in before.gallery)
            return Words(before.conclusion, before.comments, before.language, *chosen)
        return suggest(self.store.fields(specimen_id), self._counting(specimen_id), self.scheme)

    def save_words(self, specimen_id: int, said: Words, *, by: str, now: datetime | None = None) -> None:
        """Keep them for the next report. Locked where the case is signed; BadInput for a field or cell not its own."""
        unknown = set(said.fields) - {f.id for f in self.store.fields(specimen_id)}
        own = {cell.id for cell in self.store.cells_by_id(said.gallery) if cell.specimen_id == specimen_id}
        unknown_cells = set(said.gallery) - own
        if unknown or unknown_cells:
            what = f"field {min(unknown)}" if unknown else f"cell {min(unknown_cells)}"
            raise BadInput(f"{what} is not of specimen {specimen_id}. Choose pictures of this case.")
        self.store.save_draft(specimen_id, words_to_json(said), by=by, now=now)

    def draft(self, specimen_id: int, *, now: datetime | None = None) -> ReportContent:
        """The report as it would be signed now, unsigned; of a signed case, the report as it was signed. NotFound."""
        if self.store.specimen(specimen_id).state is SpecimenState.SIGNED:
            return ReportContent.from_json(self.store.reports(specimen_id)[-1].content)
        said = self.words(specimen_id)
        return self._build(self._facts(specimen_id, said), said, now=now)

    def preview_pdf(self, specimen_id: int, *, now: datetime | None = None) -> bytes:
        """`draft` as a PDF: marked as a draft, or the signed one as it is kept."""
        content = self.draft(specimen_id, now=now)
        if content.signed:
            return self.store.report_pdf(self.store.reports(specimen_id)[-1].id)
        return pdf(content, self._assets(content))

    def preview_html(self, specimen_id: int, *, now: datetime | None = None) -> str:
        """`draft` as a page to print."""
        content = self.draft(specimen_id, now=now)
        return html(content, self._assets(content))

    def sign(
        self, specimen_id: int, *, by: str, meaning: str, now: datetime | None = None, seen: str | None = None
    ) -> SignedReport:
        """Sign as `by`, whose password was asked for by the caller. On return the report is kept and the case locked.

        meaning: what the signature says. seen: `substance` of the draft that the signer looked at.
        NotAllowed: `by` is no active haematologist. Locked: signed already. Conflict: the case changed since.
        """
        user = self._haematologist(by)
        if self.store.specimen(specimen_id).state is SpecimenState.SIGNED:
            raise Locked(f"Specimen {specimen_id} is signed. Begin an amendment to change it.")
        moment = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
        signature = Signature(
            name=user.full_name,
            user=user.name,
            role=user.role.value,
            at=moment,
            local=local_time(moment.astimezone(self.zone)),
            meaning=meaning.strip(),
        )
        said = self.words(specimen_id)
        facts = self._facts(specimen_id, said)
        content = self._build(facts, said, now=moment, signature=signature)
        if seen is not None and content.substance != seen:
            raise Conflict(
                f"Specimen {specimen_id} was changed since the draft was opened. Look at it again, then sign."
            )
        made = pdf(content, self._assets(content))
        reason = content.amendment.reason if content.amendment else ""
        return self.store.sign(
            specimen_id,
            content.to_json(),
            made,
            by=by,
            meaning=meaning.strip(),
            reason=reason,
            counts=facts.counts,
            now=moment,
        )

    def amend(self, specimen_id: int, reason: str, *, by: str, now: datetime | None = None) -> None:
        """Open a signed case; its next signature makes a new version. NotAllowed, Conflict where it is not signed."""
        self._haematologist(by)
        said = self.words(specimen_id)
        self.store.begin_amendment(specimen_id, reason.strip(), by=by, now=now)
        if self.store.draft(specimen_id) is None:
            self.store.save_draft(specimen_id, words_to_json(said), by=by, now=now)

    def versions(self, specimen_id: int) -> list[SignedReport]:
        """Every signed version, the first one first. NotFound without such a case."""
        return self.store.reports(specimen_id)

    def fetch(self, report_id: int, kind: ReportFormat | str) -> bytes:
        """A signed report; text is UTF-8 (CSV with the mark by which spreadsheets know it). NotFound.

        MissingExtra: DICOM SR needs highdicom.
        """
        kind = ReportFormat(kind)
        if kind is ReportFormat.PDF:
            return self.store.report_pdf(report_id)
        content = ReportContent.from_json(self.store.report(report_id).content)
        if kind is ReportFormat.HTML:
            return html(content, self._assets(content)).encode()
        if kind is ReportFormat.CSV:
            return tables.csv_table(content).encode("utf-8-sig")
        if kind is ReportFormat.FHIR:
            bundle = diagnostic_report(content, self.store.report_pdf(report_id))
            return json.dumps(bundle, ensure_ascii=False).encode()
        if kind is ReportFormat.HL7:
            return oru_message(content, self.store.report_pdf(report_id)).encode()
        if kind is ReportFormat.DICOM_SR:
            return _structured_report(content)
        return tables.json(content).encode()

    def reprint(self, report_id: int) -> bytes:
        """The PDF set anew from the stored content: the same bytes, as long as this version of marrowscope sets it."""
        content = ReportContent.from_json(self.store.report(report_id).content)
        return pdf(content, self._assets(content))

    def _haematologist(self, name: str) -> User:
        user = self.store.user(name)
        if not user.active or user.role is not Role.HAEMATOLOGIST:
            raise NotAllowed(f"{name} may not sign or amend reports. A haematologist does.")
        return user

    def _assets(self, content: ReportContent) -> Assets:
        def read(digest: str) -> bytes:
            try:
                return self.store.image(digest)
            except (NotFound, ArchiveDamaged):
                _log.error("picture %s of a report is gone or damaged; the report says so", digest[:12])
                return b""

        return Assets.read(content, read)

    def _facts(self, specimen_id: int, said: Words) -> CaseFacts:
        """The case as the archive has it, with the cells of the chosen pictures."""
        specimen = self.store.specimen(specimen_id)
        fields = self.store.fields(specimen_id)
        own = {f.id for f in fields}
        return CaseFacts(
            specimen=specimen,
            slides=self.store.slides(specimen_id),
            fields=fields,
            counts=self.store.counts(specimen_id),
            models=self.store.models(),
            field_cells={i: self.store.field_cells(i) for i in said.fields if i in own},
            gallery_cells=self.store.cells_by_id(said.gallery),
        )

    def _build(
        self, facts: CaseFacts, said: Words, *, now: datetime | None, signature: Signature | None = None
    ) -> ReportContent:
        specimen_id = facts.specimen.id
        signed = self.store.reports(specimen_id)
        content = build_content(
            facts,
            said,
            self.rules(),
            self.scheme,
            made_at=(now or datetime.now(UTC)).astimezone(UTC),
            software=self.software,
            version=len(signed) + 1,
            amendment=_amendment(signed, self.store.amendment_reason(specimen_id)) if signed else None,
            signature=signature,
        )
        if strange := fonts.unprintable(content.typed):
            more = Caution(kind=CautionKind.UNPRINTABLE, about=strange)
            content = content.model_copy(update={"cautions": (*content.cautions, more)})
        return content

    def _counting(self, specimen_id: int) -> list[Cell]:
        """Every cell that counts, the most doubtful first."""
        found: list[Cell] = []
        while True:
            cells, total = self.store.cells(specimen_id, counting=True, limit=_AT_ONCE, offset=len(found))
            found += cells
            if not cells or len(found) >= total:
                return found


def _structured_report(content: ReportContent) -> bytes:
    try:
        from marrowscope.report.dicom_sr import structured_report
    except ImportError:
        raise MissingExtra(
            "report as DICOM SR: highdicom is not installed. pip install 'marrowscope[hospital]'."
        ) from None
    return structured_report(content)


def _amendment(signed: Sequence[SignedReport], reason: str) -> Amendment:
    last = signed[-1]
    return Amendment(replaces=last.version, signed_at=last.signed_at, signer=last.signer, reason=reason)


def _reference_sets(values: Mapping[str, Any]) -> ReferenceSets:
    """One set as the admin page keeps it; without ranges there is none."""
    if not values.get("ranges"):
        return ReferenceSets()
    return ReferenceSets((ReferenceRanges.from_dict(values, "reference ranges of the laboratory"),))


def _installed() -> str:
    try:
        return installed_version("marrowscope")
    except PackageNotFoundError:
        return "unknown"
