"""Cases, slides and fields; pictures of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from marrowscope.cells.specimen import SpecimenState
from marrowscope.errors import BadInput
from marrowscope.web.permissions import Reader, Technician
from marrowscope.web.routes.parts import Limit, Offset, PathId
from marrowscope.web.schemas.cases import (
    FieldDetail,
    KeptField,
    NewSlide,
    NewSpecimen,
    Slide,
    Specimen,
    SpecimenDetail,
    SpecimenPage,
    SpecimenSummary,
)
from marrowscope.web.schemas.common import LINE, TOP_ID
from marrowscope.web.schemas.review import Cell
from marrowscope.web.services import Works
from marrowscope.web.uploads import keep_upload
from marrowscope.web.views import field_view, field_views

router = APIRouter(tags=["cases"])

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}, "image/png": {}}, "description": "The picture; it never changes"},
    304: {"description": "The client has it already"},
}
_UPLOAD = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary", "description": "JPEG, PNG or TIFF"}},
}
SlideQuery = Annotated[int, Query(ge=1, le=TOP_ID, description="the glass that the picture shows")]


@router.get("/specimens")
def specimens(
    works: Works,
    who: Reader,
    text: Annotated[str, Query(max_length=100, pattern=LINE)] = "",
    state: SpecimenState | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> SpecimenPage:
    """Cases whose codes or notes hold this text, newest first."""
    found, total = works.store.specimens(text, state, limit=limit, offset=offset)
    return SpecimenPage(items=[SpecimenSummary.model_validate(s) for s in found], total=total)


@router.post("/specimens", status_code=201)
def add_specimen(body: NewSpecimen, works: Works, who: Technician) -> Specimen:
    """Open a case. 409 where the code is taken."""
    made = works.store.add_specimen(body.code, body.patient_code, body.material, body.taken_on, body.note, by=who.name)
    return Specimen.model_validate(made)


@router.get("/specimens/{specimen_id}")
def specimen(specimen_id: PathId, works: Works, who: Reader) -> SpecimenDetail:
    """A case with its slides."""
    summary = SpecimenSummary.model_validate(works.store.summary(specimen_id))
    slides = [Slide.model_validate(slide) for slide in works.store.slides(specimen_id)]
    return SpecimenDetail(specimen=summary.specimen, slides=slides, summary=summary)


@router.post("/specimens/{specimen_id}/slides", status_code=201)
def add_slide(specimen_id: PathId, body: NewSlide, works: Works, who: Technician) -> Slide:
    """Add a glass to a case. 409 where the case has one of that label."""
    return Slide.model_validate(works.store.add_slide(specimen_id, body.label, body.stain, by=who.name))


@router.get("/specimens/{specimen_id}/fields")
def fields(specimen_id: PathId, works: Works, who: Reader) -> list[KeptField]:
    """The kept fields of a case, in the order of keeping."""
    return field_views(works, specimen_id)


@router.post(
    "/specimens/{specimen_id}/fields",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _UPLOAD}}}},
)
async def upload_field(
    specimen_id: PathId, works: Works, who: Technician, slide_id: SlideQuery, request: Request
) -> KeptField:
    """Detect in a picture and keep it as a field. `file` is JPEG, PNG or TIFF; its name is never used."""
    # The form is read here, and not by a parameter, so that nobody's bytes are read before who they are is known.
    async with request.form(max_files=1, max_fields=0) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise BadInput("the upload has no part `file`. Send the picture as multipart/form-data under that name.")
        kept = await run_in_threadpool(keep_upload, works, specimen_id, slide_id, part.file, by=who.name)
    return await run_in_threadpool(field_view, works, kept)


@router.get("/fields/{field_id}")
def field(field_id: PathId, works: Works, who: Reader) -> FieldDetail:
    """A field with all its cells."""
    kept = works.store.field(field_id)
    cells = [Cell.of(c) for c in works.store.field_cells(field_id)]
    return FieldDetail(field=field_view(works, kept), cells=cells)


@router.get("/fields/{field_id}/image", response_class=Response, responses=PICTURE)
def field_image(field_id: PathId, request: Request, works: Works, who: Reader) -> Response:
    """The pixels of a field, as they were kept."""
    return works.pictures.whole(request, works.store.field(field_id))


@router.get("/fields/{field_id}/thumbnail", response_class=Response, responses=PICTURE)
def field_thumbnail(field_id: PathId, request: Request, works: Works, who: Reader) -> Response:
    """A small JPEG of a field, 320 pixels wide."""
    return works.pictures.thumbnail(request, works.store.field(field_id))
