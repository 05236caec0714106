"""Errors as answers: one JSON shape, `{"error": word, "message": text}`, and a status that says whose turn it is.

What was raised on purpose keeps its message, which names the thing, the place and the remedy. What was not becomes
`fault`, with a reference under which the log holds the whole story, and not a word more.
"""

import logging
import secrets
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marrowscope import errors
from marrowscope.web.schemas.common import Problem

log = logging.getLogger(__name__)

STATUS: tuple[tuple[type[errors.MarrowscopeError], int], ...] = (
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Locked, 423),
    (errors.NotAllowed, 403),
    (errors.CameraLost, 503),
    (errors.FrameDropped, 503),
    (errors.NotOffered, 409),
    (errors.InstrumentError, 409),
    (errors.BadInput, 422),
    (errors.MissingExtra, 409),
    (errors.ArchiveDamaged, 500),
    (errors.ArchiveError, 503),
)
"""The first class that fits decides."""


class CatchFaults:
    """Middleware: a fault becomes an answer here, under the headers of the outer ones, and the connection lives on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            # Half an answer cannot be taken back, and a socket has no answer: the server ends these.
            if begun or scope["type"] != "http":
                raise
            await fault(error)(scope, receive, send)


class Refused(errors.MarrowscopeError):
    """A request that the HTTP interface itself turns down. status: of the answer; word: for programs."""

    def __init__(self, status: int, word: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.word, self.retry_after_s = status, word, retry_after_s


_WORDS = {
    400: "bad_request",
    401: "not_signed_in",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "wrong_type",
    422: "bad_input",
    423: "locked",
    429: "too_many",
    500: "fault",
    503: "instrument",
}

DECLARED: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The request cannot be read",
        401: "Not signed in",
        403: "The role does not permit it, or the request did not come from our own page",
        404: "No such thing",
        409: "Taken, changed meanwhile, or not possible now",
        413: "Larger than permitted",
        422: "A value cannot be used",
        423: "The case is signed: amend it instead",
        429: "Too many failed attempts; Retry-After says when",
        500: "A fault of the station; its log has the story",
        503: "The camera does not deliver",
    }.items()
}
"""Declared for every route: middleware, permission checks and the archive may answer any of them."""


def problem(status: int, message: str, word: str | None = None, headers: dict[str, str] | None = None) -> JSONResponse:
    """The one shape of an error."""
    content = {"error": word or _WORDS.get(status, "error"), "message": message}
    return JSONResponse(content, status_code=status, headers=headers)


def _word(error: errors.MarrowscopeError) -> str:
    """BadImage -> bad_image: programs tell errors apart by it."""
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def answer_for(error: Exception) -> JSONResponse:
    """The answer to an exception of ours; see `STATUS`."""
    if isinstance(error, Refused):
        wait = {} if error.retry_after_s is None else {"Retry-After": str(max(1, round(error.retry_after_s)))}
        return problem(error.status, str(error), error.word, wait)
    for kind, status in STATUS:
        if isinstance(error, kind) and status != 500:
            return problem(status, str(error), _word(error))
    return fault(error)


def fault(error: Exception) -> JSONResponse:
    """500: the story goes to the log, its reference to the client."""
    reference = secrets.token_hex(4)
    log.error("fault %s: %s", reference, type(error).__name__, exc_info=error)
    return problem(
        500, f"The station failed at this; nothing was changed. Its log tells more under {reference}.", "fault"
    )


def install(app: FastAPI) -> None:
    """Let the app answer every error so."""

    @app.exception_handler(errors.MarrowscopeError)
    async def _ours(request: Request, error: errors.MarrowscopeError) -> JSONResponse:
        return answer_for(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "; ".join(_said(e) for e in error.errors()[:5]), "bad_input")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))


def _said(error: dict[str, Any]) -> str:
    """Where and what, without the value: it may be a password."""
    where = ".".join(str(part) for part in error.get("loc", ()) if part != "body")
    return f"{where or 'body'}: {error.get('msg', 'cannot be used')}"
