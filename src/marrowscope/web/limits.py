"""How large a request may be: counted while it comes in, and refused before it is read to its end."""

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
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
        headers = Headers(scope=scope)
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            await problem(413, too_large(limit), headers={"connection": "close"})(scope, receive, send)
            return
        received, whole = 0, announced in ("", "0") and "transfer-encoding" not in headers

        async def counted() -> Message:
            nonlocal received, whole
            message = await receive()
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > limit:
                # Whoever reads the body passes this on unchanged; `problems` answers it.
                raise HTTPException(413, too_large(limit))
            return message

        async def hanging_up(message: Message) -> None:
            # Who is answered before the end would otherwise be listened to, to the end, for nothing.
            if message["type"] == "http.response.start" and not whole:
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, counted, hanging_up)
