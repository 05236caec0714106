"""Coming in, going out, one's own password and keyboard; and the words everybody works with."""

from contextlib import suppress
from datetime import UTC, datetime

from fastapi import APIRouter, Depends, Request, Response

from marrowscope.cells.specimen import User
from marrowscope.detect.palette import LINEAGE_COLOURS
from marrowscope.errors import BadSetting, NotFound
from marrowscope.station.keyboards import builtin_keyboards, keyboard_of, keyboards
from marrowscope.web.permissions import Reader, refuse_foreign
from marrowscope.web.problems import Refused
from marrowscope.web.schemas.people import (
    Keyboard,
    KeyboardChoice,
    Login,
    Me,
    PasswordChange,
    Scheme,
    SchemeClass,
)
from marrowscope.web.services import Services, Works
from marrowscope.web.sessions import forget_cookies, give_cookies

router = APIRouter(tags=["people"])


def sign_in(works: Services, request: Request, response: Response, user: User) -> Me:
    """Open a session for this person and hand out its cookies."""
    opened = works.sessions.open(user)
    give_cookies(response, request, opened)
    return Me.model_validate(user)


def _known(works: Services, name: str) -> User | None:
    try:
        return works.store.user(name)
    except NotFound:
        return None


def check_password(works: Services, name: str, password: str) -> User:
    """The person with this name and password. Refused: 429 while the gate is closed for the name, 401 for all else.

    An unknown name, an inactive one and a wrong password are one and the same to whoever asks.
    """
    now = datetime.now(UTC)
    wait = works.gate.enter(name, now, works.store.failures_since)
    if wait > 0:
        raise Refused(
            429, "too_many", f"Too many failed attempts for '{name}'. Try again in {wait:.0f} s.", retry_after_s=wait
        )
    user = _known(works, name)
    right = works.passwords.check(works.store.password_hash(name) if user and user.active else None, password)
    if user is None or not right:
        works.store.note_login(name, False, now)
        raise Refused(401, "wrong_password", "Name or password is wrong. Type both again, or ask an admin.")
    works.gate.passed(name, now)
    works.store.note_login(name, True, now)
    return user


@router.post("/login", dependencies=[Depends(refuse_foreign)])
def login(body: Login, request: Request, response: Response, works: Works) -> Me:
    """Sign in: sets the session cookie and the readable CSRF cookie."""
    return sign_in(works, request, response, check_password(works, body.name, body.password))


@router.post("/logout", status_code=204)
def logout(request: Request, works: Works, who: Reader) -> Response:
    """Sign out here."""
    works.sessions.close(who.session)
    response = Response(status_code=204)
    forget_cookies(response, request)
    return response


@router.get("/me")
def me(who: Reader) -> Me:
    """Who is signed in."""
    return Me.model_validate(who.user)


@router.put("/me/keyboard")
def set_keyboard(body: KeyboardChoice, works: Works, who: Reader) -> Me:
    """Choose one's layout: a name of `GET /api/keyboards`."""
    layout = keyboard_of(body.layout, works.scheme)
    kept = layout.name if layout.name in builtin_keyboards() else layout.to_json()
    return Me.model_validate(works.store.set_keyboard(who.name, kept, by=who.name))


@router.put("/me/password", status_code=204)
def set_password(body: PasswordChange, request: Request, works: Works, who: Reader) -> Response:
    """Change one's password; every session of this person ends, and a new one begins here."""
    check_password(works, who.name, body.old)
    works.store.set_password_hash(who.name, works.passwords.hash(body.new), by=who.name)
    response = Response(status_code=204)
    sign_in(works, request, response, who.user)
    return response


@router.get("/scheme")
def scheme(works: Works, who: Reader) -> Scheme:
    """The classes in force, with their colours."""
    classes = [
        SchemeClass(
            code=c.code,
            name=c.name,
            chinese=c.chinese,
            lineage=c.lineage,
            stage=c.stage,
            counted=c.counted,
            colour="#{:02x}{:02x}{:02x}".format(*LINEAGE_COLOURS[c.lineage]),
        )
        for c in works.scheme
    ]
    return Scheme(name=works.scheme.name, other=works.scheme.other, classes=classes)


@router.get("/keyboards")
def keyboard_layouts(works: Works, who: Reader) -> list[Keyboard]:
    """The layouts for naming cells by key: those that come along, then one's own if there is one."""
    layouts = list(keyboards(works.scheme))
    if who.user.keyboard not in builtin_keyboards():
        # The scheme may have changed since it was kept.
        with suppress(BadSetting):
            layouts.append(keyboard_of(who.user.keyboard, works.scheme))
    return [Keyboard(name=k.name, title=k.title, keys=dict(k.keys)) for k in layouts]
