"""How large a request may be: counted while it comes in, and refused before it is read to its end."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marrowscope.web.problems import problem

JSON_BYTES = 2 * 1024 * 1024
"""Largest body of anything that is no upload."""


def too_large(limit: int) -> str:
    """What is said of a body beyond `limit` bytes."""
    return f"The request is larger than the {limit / 1024 / 1024:.3g} MB that are permitted here. Send less at once."


class BodyLimit:
    """Middleware: 413 for a body of more than `limit(path)` bytes, at once where its length is announced."""

    def __init__(self, app: ASGIApp, *, limit: Callable[[str], int]) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            await problem(413, too_large(limit), headers={"connection": "close"})(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # Whoever reads the body passes this on unchanged; `problems` answers it.
                raise HTTPException(413, too_large(limit), headers={"connection": "close"})
            return message

        await self._app(scope, counted, send)
