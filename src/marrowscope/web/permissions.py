"""Who may do what: a handler names the kind of person that it serves, and gets that person, signed in.

Reader: anybody who is signed in. Technician: whoever makes and corrects (technician, haematologist, admin).
Haematologist: signs; nobody else does. Admin: users, settings, models. A route that names none is open to the world;
`tests/web/test_permissions.py` lists every route with its kind and fails for one that is not listed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie

from marrowscope.cells.specimen import Role, User
from marrowscope.errors import NotAllowed
from marrowscope.web.problems import Refused
from marrowscope.web.services import Works
from marrowscope.web.sessions import CSRF_COOKIE, CSRF_HEADER, SAFE_METHODS, SESSION_COOKIE, own_origin

_cookie = APIKeyCookie(
    name=SESSION_COOKIE,
    auto_error=False,
    scheme_name="session",
    description="From POST /api/login. Unsafe methods also need the header X-CSRF-Token = the cookie marrowscope_csrf.",
)


@dataclass(frozen=True)
class SignedIn:
    """Who asks. session: digest of the token. csrf: the token that unsafe methods must bring."""

    user: User
    session: str
    csrf: str

    @property
    def name(self) -> str:
        """The user name, as the archive writes it down."""
        return self.user.name


def refuse_foreign(request: Request) -> None:
    """Refused where a browser says that the request was made by a page which is not ours."""
    if not own_origin(request):
        raise Refused(403, "foreign_origin", "This request was made by a page of another site. Use the station's own.")


def _signed_in(request: Request, works: Works, token: Annotated[str | None, Security(_cookie)]) -> SignedIn:
    """The person behind the session cookie, unsafe methods only with the right CSRF token.

    Runs in the thread pool: the archive is asked.
    """
    if request.method not in SAFE_METHODS:
        refuse_foreign(request)
    found = works.sessions.find(token)
    if found is None:
        raise Refused(401, "not_signed_in", "You are not signed in, or your session has ended. Sign in again.")
    if request.method not in SAFE_METHODS:
        works.sessions.check_csrf(
            found, cookie=request.cookies.get(CSRF_COOKIE), header=request.headers.get(CSRF_HEADER)
        )
    return SignedIn(found.user, found.digest, found.csrf)


def _only(*roles: Role) -> Callable[[SignedIn], Awaitable[SignedIn]]:
    async def check(who: Annotated[SignedIn, Depends(_signed_in)]) -> SignedIn:
        if who.user.role not in roles:
            wanted = " or ".join(roles)
            raise NotAllowed(f"Your role ({who.user.role}) does not permit this; it takes a {wanted}.")
        return who

    return check


Reader = Annotated[SignedIn, Depends(_signed_in)]
Technician = Annotated[SignedIn, Depends(_only(Role.TECHNICIAN, Role.HAEMATOLOGIST, Role.ADMIN))]
Haematologist = Annotated[SignedIn, Depends(_only(Role.HAEMATOLOGIST))]
Admin = Annotated[SignedIn, Depends(_only(Role.ADMIN))]
