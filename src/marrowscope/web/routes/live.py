"""The microscope: choose it, start it, look, steer, keep fields."""

import threading

from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.responses import StreamingResponse

from marrowscope.cells.specimen import SpecimenState
from marrowscope.errors import BadSetting, Locked
from marrowscope.web import stream
from marrowscope.web.live_views import live_counts, live_map, live_state
from marrowscope.web.microscope import slide_for
from marrowscope.web.permissions import Admin, Reader, Technician
from marrowscope.web.schemas.cases import KeptField
from marrowscope.web.schemas.live import (
    CameraChoice,
    Controls,
    Counts,
    Fault,
    FocusSweep,
    LiveStart,
    LiveState,
    Move,
    SlideMap,
    WhiteBalance,
)
from marrowscope.web.services import Works
from marrowscope.web.sessions import SESSION_COOKIE
from marrowscope.web.views import field_view

router = APIRouter(tags=["live"])
_looking = threading.Lock()


@router.get("/cameras")
def cameras(works: Works, who: Reader, look: bool = False) -> list[CameraChoice]:
    """The microscopes of this station. look: also ask every driver what it sees now; takes seconds."""
    found = {camera.address: camera for camera in works.cameras}
    if look:
        with _looking:
            found |= {camera.address: camera for camera in works.look() if camera.address not in found}
        works.cameras = list(found.values())
    return list(found.values())


@router.get("/live")
def live(works: Works, who: Reader) -> LiveState:
    """The microscope as it stands."""
    return live_state(works)


@router.post("/live/start")
def start_live(body: LiveStart, works: Works, who: Technician) -> LiveState:
    """Put a slide under one of the microscopes of `GET /api/cameras`. One that runs already is stopped first."""
    if body.address not in {camera.address for camera in works.cameras}:
        raise BadSetting(
            f"camera address '{body.address}' is none of this station's. An admin lists it in station.toml."
        )
    if works.store.specimen(body.specimen_id).state is SpecimenState.SIGNED:
        raise Locked(f"specimen {body.specimen_id} is signed. Amend its report to add fields.")
    slide = slide_for(works.store, body.specimen_id, body.slide_id, by=who.name)
    works.microscope.start(body.address, slide, kept=works.store.summary(body.specimen_id).fields)
    return live_state(works)


@router.post("/live/stop")
def stop_live(works: Works, who: Technician) -> LiveState:
    """Close the camera. Nothing happens where none runs."""
    works.microscope.stop()
    return live_state(works)


@router.post("/live/keep", status_code=201)
def keep_field(works: Works, who: Technician) -> KeptField:
    """Keep what is under the lens now: a whole frame taken after this call, detected itself. 503: nothing was kept."""
    return field_view(works, works.microscope.keep(works.desk, by=who.name))


@router.put("/live/controls")
def set_controls(body: Controls, works: Works, who: Technician) -> LiveState:
    """Exposure, gain, white balance by hand."""
    works.microscope.set_controls(body.model_dump(exclude_none=True))
    return live_state(works)


@router.post("/live/white-balance")
def white_balance(body: WhiteBalance, works: Works, who: Technician) -> LiveState:
    """Balance on empty glass at x, y, or on the whole picture."""
    session = works.microscope.running().session
    if body.x is None or body.y is None:
        session.white_balance_grey_world()
    else:
        session.white_balance_at(body.x, body.y)
    return live_state(works)


@router.post("/live/exposure")
def auto_exposure(works: Works, who: Technician) -> LiveState:
    """Let the camera find its exposure once."""
    works.microscope.running().session.auto_exposure()
    return live_state(works)


@router.post("/live/focus")
def autofocus(works: Works, who: Technician) -> FocusSweep:
    """Sweep the focus drive and stop at the sharpest height. 409 without a focus drive."""
    found = works.microscope.running().session.autofocus()
    return FocusSweep(z_um=list(found.z_um), scores=list(found.scores), best_z_um=found.best_z_um)


@router.post("/live/move")
def move(body: Move, works: Works, who: Technician) -> LiveState:
    """Move the stage and wait until it has arrived. 409 without a stage, or beyond its limits."""
    works.microscope.running().session.move(body.x_um, body.y_um, body.z_um, relative=body.relative)
    return live_state(works)


@router.post("/live/faults")
def inject_fault(body: Fault, works: Works, who: Admin) -> LiveState:
    """Let something go wrong, on the simulated microscope alone: to see that the station stands it."""
    works.microscope.fault(body.kind, body.value)
    return live_state(works)


@router.get("/live/map")
def slide_map(works: Works, who: Reader) -> SlideMap:
    """Where the lens has been on this slide; empty where no microscope runs."""
    return live_map(works)


@router.get("/live/counts")
def live_counts_now(works: Works, who: Reader) -> Counts:
    """The cells of this visit, each once, and those of the kept fields; with intervals."""
    return live_counts(works)


@router.get(
    "/live/mjpeg",
    response_class=StreamingResponse,
    responses={200: {"content": {"multipart/x-mixed-replace": {}}, "description": "JPEG pictures without boxes"}},
)
async def mjpeg(request: Request, works: Works, who: Reader) -> Response:
    """The live picture for whatever shows MJPEG. 409 where no microscope runs."""
    return stream.mjpeg(works, request.cookies.get(SESSION_COOKIE))


@router.websocket("/live/stream")
async def live_stream(socket: WebSocket, works: Works) -> None:
    """The live picture with its boxes; see `StreamHeader`."""
    await stream.serve(socket, works)
