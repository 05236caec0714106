"""Sessions: a random token in a cookie, of which the archive knows the SHA-256 alone.

A session ends after so long without a request, and after so long whatever happens. Unsafe requests must bring the
session's CSRF token twice, as cookie and as header: a foreign site can make a browser send the one, never the other.
"""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from marrowscope.cells.specimen import User
from marrowscope.web.headers import is_loopback
from marrowscope.web.problems import Refused

if TYPE_CHECKING:
    from marrowscope.store.store import Store

SESSION_COOKIE = "marrowscope_session"
CSRF_COOKIE = "marrowscope_csrf"
CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Opened:
    """A session as it is handed to a browser. seconds: until it ends whatever happens."""

    token: str
    csrf: str
    seconds: int


@dataclass(frozen=True)
class Found:
    """A session that is in force."""

    user: User
    digest: str
    csrf: str


class Sessions:
    """The sessions of one station. When each was last used is known in memory: a restart begins that count anew."""

    def __init__(
        self, store: "Store", *, idle: timedelta, longest: timedelta, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._store, self._idle, self._longest, self._now = store, idle, longest, now
        self._used: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def open(self, user: User) -> Opened:
        """A new session for this person."""
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        now = self._now()
        self._store.open_session(digest_of(token), user.name, now + self._longest, csrf)
        self._touch(digest_of(token), now)
        return Opened(token, csrf, int(self._longest.total_seconds()))

    def find(self, token: str | None) -> Found | None:
        """The session behind a token, if it is in force; using it keeps it alive."""
        if not token or len(token) > 200:
            return None
        digest, now = digest_of(token), self._now()
        with self._lock:
            used = self._used.get(digest, now)
        kept = self._store.session(digest, now=now)
        if kept is None:
            return None
        if now - used > self._idle or not kept.user.active:
            self.close(digest)
            return None
        self._touch(digest, now)
        return Found(kept.user, digest, kept.csrf)

    def check_csrf(self, session: Found, *, cookie: str | None, header: str | None) -> None:
        """Refused unless both carry the session's own token."""
        wanted = session.csrf.encode()
        given = [(value or "").encode("utf-8", "surrogatepass") for value in (cookie, header)]
        if not all(hmac.compare_digest(wanted, value) for value in given):
            raise Refused(403, "csrf", f"The header {CSRF_HEADER} is missing or wrong. Reload the page and try again.")

    def close(self, digest: str) -> None:
        """End one session."""
        with self._lock:
            self._used.pop(digest, None)
        self._store.close_session(digest)

    def _touch(self, digest: str, now: datetime) -> None:
        with self._lock:
            self._used[digest] = now
            if len(self._used) > 10_000:
                self._used = {d: t for d, t in self._used.items() if now - t <= self._idle}


def give_cookies(response: Response, request: Request, opened: Opened) -> None:
    """Hand a session to the browser: the token hidden from scripts, the CSRF token readable by ours."""
    secure = request.url.scheme == "https"
    for name, value, hidden in ((SESSION_COOKIE, opened.token, True), (CSRF_COOKIE, opened.csrf, False)):
        response.set_cookie(
            name, value, max_age=opened.seconds, path="/", secure=secure, httponly=hidden, samesite="strict"
        )


def forget_cookies(response: Response, request: Request) -> None:
    """Let the browser forget them."""
    secure = request.url.scheme == "https"
    for name, hidden in ((SESSION_COOKIE, True), (CSRF_COOKIE, False)):
        response.delete_cookie(name, path="/", secure=secure, httponly=hidden, samesite="strict")


def from_loopback(connection: HTTPConnection) -> bool:
    """Whether the request comes from this machine, to this machine, and was handed on by no proxy."""
    client = connection.client
    handed_on = any(name in connection.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    return client is not None and is_loopback(client.host) and not handed_on


def own_origin(connection: HTTPConnection, *, required: bool = False) -> bool:
    """Whether a browser says that the request comes from a page of this station.

    Programs that are no browsers send no Origin: allowed unless `required`. A browser always does for a WebSocket and
    for unsafe methods.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return not required and connection.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    host = connection.headers.get("host", "")
    scheme = {"ws": "http", "wss": "https"}.get(connection.url.scheme, connection.url.scheme)
    try:
        said = urlsplit(origin)
    except ValueError:
        return False
    return said.scheme == scheme and said.netloc.lower() == host.lower()
