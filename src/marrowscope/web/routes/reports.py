"""The report of a case: written, looked at, signed, amended, fetched."""

from typing import Any

from fastapi import APIRouter, Response

from marrowscope.report.build import Words
from marrowscope.report.content import Language
from marrowscope.report.words import cautions_text
from marrowscope.station.signout import ReportFormat
from marrowscope.web.headers import DOCUMENT_POLICY
from marrowscope.web.permissions import Haematologist, Reader, Technician
from marrowscope.web.routes.parts import PathId
from marrowscope.web.routes.people import check_password
from marrowscope.web.schemas.reports import Amend, ReportDraft, ReportVersion, ReportView, Sign
from marrowscope.web.services import Services, Works

router = APIRouter(tags=["report"])

TYPES = {
    ReportFormat.PDF: "application/pdf",
    ReportFormat.HTML: "text/html",
    ReportFormat.JSON: "application/json",
    ReportFormat.CSV: "text/csv",
    ReportFormat.FHIR: "application/fhir+json",
    ReportFormat.HL7: "application/hl7-v2",
    ReportFormat.DICOM_SR: "application/dicom",
}
_SUFFIX = {ReportFormat.FHIR: "fhir.json", ReportFormat.DICOM_SR: "dcm"}


def _documents(*types: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {} for kind in types}, "description": "The report"}}


def _document(data: bytes | str, kind: ReportFormat, name: str, *, lasting: bool = False) -> Response:
    """A report that a browser shows, in a frame of our page or alone, and saves under this name."""
    headers = {
        # A PDF is shown by the browser's own viewer, which a stricter policy would stop.
        "content-security-policy": "frame-ancestors 'self'" if kind is ReportFormat.PDF else DOCUMENT_POLICY,
        "content-disposition": f'inline; filename="{name}.{_SUFFIX.get(kind, kind.value)}"',
        "cache-control": "private, max-age=31536000, immutable" if lasting else "no-store",
    }
    return Response(data, media_type=TYPES[kind], headers=headers)


def _view(works: Services, specimen_id: int) -> ReportView:
    content = works.signout.draft(specimen_id)
    return ReportView(
        state=works.store.specimen(specimen_id).state,
        draft=ReportDraft(
            conclusion=content.conclusion,
            comments=content.comments,
            language=content.language,
            fields=[picture.id for picture in content.pictures],
            gallery=[cell.id for cell in content.gallery],
        ),
        seen=content.substance,
        warnings=[said.en for said in cautions_text(content)],
        versions=[ReportVersion.model_validate(version) for version in works.signout.versions(specimen_id)],
    )


@router.get("/specimens/{specimen_id}/report")
def report(specimen_id: PathId, works: Works, who: Reader) -> ReportView:
    """The draft, what it lacks, and the signed versions. Where nothing was written yet, pictures are suggested."""
    return _view(works, specimen_id)


@router.put("/specimens/{specimen_id}/report")
def save_report(specimen_id: PathId, body: ReportDraft, works: Works, who: Technician) -> ReportView:
    """Save the draft. 423 where the case is signed."""
    said = Words(body.conclusion, body.comments, Language(body.language), tuple(body.fields), tuple(body.gallery))
    works.signout.save_words(specimen_id, said, by=who.name)
    return _view(works, specimen_id)


@router.get(
    "/specimens/{specimen_id}/report/preview.pdf", response_class=Response, responses=_documents("application/pdf")
)
def preview_pdf(specimen_id: PathId, works: Works, who: Reader) -> Response:
    """The report as it would be signed now, marked as a draft."""
    return _document(works.signout.preview_pdf(specimen_id), ReportFormat.PDF, f"draft-{specimen_id}")


@router.get("/specimens/{specimen_id}/report/preview.html", response_class=Response, responses=_documents("text/html"))
def preview_html(specimen_id: PathId, works: Works, who: Reader) -> Response:
    """The same as a page to print."""
    return _document(works.signout.preview_html(specimen_id), ReportFormat.HTML, f"draft-{specimen_id}")


@router.post("/specimens/{specimen_id}/report/sign", status_code=201)
def sign(specimen_id: PathId, body: Sign, works: Works, who: Haematologist) -> ReportVersion:
    """Sign: the report is made, kept, and the case locked. 423 where it is signed already; 409 where the case is no
    more what `seen` was.
    """
    # Nothing is said of the case to somebody who cannot give the password.
    check_password(works, who.name, body.password)
    signed = works.signout.sign(specimen_id, by=who.name, meaning=body.meaning, seen=body.seen)
    return ReportVersion.model_validate(signed)


@router.post("/specimens/{specimen_id}/report/amend")
def amend(specimen_id: PathId, body: Amend, works: Works, who: Haematologist) -> ReportView:
    """Open a signed case again; signing it makes a new version. 409 where it is not signed."""
    works.signout.amend(specimen_id, body.reason, by=who.name)
    return _view(works, specimen_id)


@router.get("/reports/{report_id}.{kind}", response_class=Response, responses=_documents(*TYPES.values()))
def signed_report(report_id: PathId, kind: ReportFormat, works: Works, who: Reader) -> Response:
    """A signed version, as it was signed."""
    return _document(works.signout.fetch(report_id, kind), kind, f"report-{report_id}", lasting=True)
