"""The report of a case: written, looked at, signed, amended, fetched."""

from typing import Any

from fastapi import APIRouter, Response

from marrowscope.web.permissions import Haematologist, Reader, Technician
from marrowscope.web.routes.parts import PathId
from marrowscope.web.schemas.reports import Amend, ReportDraft, ReportFormat, ReportVersion, ReportView, Sign
from marrowscope.web.services import Works

router = APIRouter(tags=["report"])


def _document(*types: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {t: {} for t in types}, "description": "The report"}}


@router.get("/specimens/{specimen_id}/report")
def report(specimen_id: PathId, works: Works, who: Reader) -> ReportView:
    """The draft, what it lacks, and the signed versions."""
    raise NotImplementedError


@router.put("/specimens/{specimen_id}/report")
def save_report(specimen_id: PathId, body: ReportDraft, works: Works, who: Technician) -> ReportView:
    """Save the draft. 423 where the case is signed."""
    raise NotImplementedError


@router.get(
    "/specimens/{specimen_id}/report/preview.pdf", response_class=Response, responses=_document("application/pdf")
)
def preview_pdf(specimen_id: PathId, works: Works, who: Reader) -> Response:
    """The report as it would be signed now, marked as a draft."""
    raise NotImplementedError


@router.get("/specimens/{specimen_id}/report/preview.html", response_class=Response, responses=_document("text/html"))
def preview_html(specimen_id: PathId, works: Works, who: Reader) -> Response:
    """The same as a page to print."""
    raise NotImplementedError


@router.post("/specimens/{specimen_id}/report/sign", status_code=201)
def sign(specimen_id: PathId, body: Sign, works: Works, who: Haematologist) -> ReportVersion:
    """Sign: the report is made, kept, and the case locked. 423 where it is signed already."""
    raise NotImplementedError


@router.post("/specimens/{specimen_id}/report/amend")
def amend(specimen_id: PathId, body: Amend, works: Works, who: Haematologist) -> ReportView:
    """Open a signed case again; signing it makes a new version. 409 where it is not signed."""
    raise NotImplementedError


@router.get(
    "/reports/{report_id}.{kind}",
    response_class=Response,
    responses=_document("application/pdf", "text/html", "application/json", "text/csv", "application/fhir+json"),
)
def signed_report(report_id: PathId, kind: ReportFormat, works: Works, who: Reader) -> Response:
    """A signed version, as it was signed."""
    raise NotImplementedError
