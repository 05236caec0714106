"""Is the station up, and the first person: the admin is made on the station itself, while nobody is known yet."""

import threading

from fastapi import APIRouter, Depends, Request, Response

from marrowscope import __version__
from marrowscope.cells.specimen import Role
from marrowscope.errors import Conflict, NotAllowed
from marrowscope.web.permissions import refuse_foreign
from marrowscope.web.routes.people import sign_in
from marrowscope.web.schemas.people import MIN_PASSWORD, Health, Me, Setup, SetupState
from marrowscope.web.services import Works
from marrowscope.web.sessions import from_loopback

router = APIRouter(tags=["people"])
_once = threading.Lock()


@router.get("/health")
async def health() -> Health:
    """The station answers."""
    return Health(status="ok", version=__version__)


@router.get("/setup")
def setup_state(request: Request, works: Works) -> SetupState:
    """Whether the first person is still to be made, and whether this browser may do it."""
    return SetupState(needed=not works.store.has_users(), here=from_loopback(request), min_password=MIN_PASSWORD)


@router.post("/setup", dependencies=[Depends(refuse_foreign)])
def set_up(body: Setup, request: Request, response: Response, works: Works) -> Me:
    """Make the first person, an admin, and sign in. Only on the station itself; 409 once somebody is known."""
    if not from_loopback(request):
        raise NotAllowed("The first person is made on the station itself: open http://127.0.0.1 there.")
    if works.store.has_users():
        raise Conflict("This station is set up already. Sign in; an admin adds more people.")
    hashed = works.passwords.hash(body.password)
    with _once:
        if works.store.has_users():
            raise Conflict("This station is set up already. Sign in; an admin adds more people.")
        user = works.store.add_user(body.name, body.full_name, Role.ADMIN, hashed, by=body.name)
    return sign_in(works, request, response, user)
