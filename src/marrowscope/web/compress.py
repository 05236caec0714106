"""Large answers of text travel compressed; pictures, which are compressed already, and streams do not."""

import gzip

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST = 1400
"""Bytes: less fits into one packet anyway."""
_TYPES = (
    "application/json",
    "application/fhir+json",
    "application/hl7-v2",
    "text/",
    "application/javascript",
    "image/svg+xml",
)


class Compress:
    """Middleware: gzip for answers of text that come in one piece, made off the event loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _may(message):
                start = message
                return
            if start is not None and message["type"] == "http.response.body":
                head, start = start, None
                body = message.get("body", b"")
                headers = MutableHeaders(scope=head)
                headers.add_vary_header("Accept-Encoding")
                if not message.get("more_body") and len(body) >= SMALLEST:
                    body = await to_thread.run_sync(gzip.compress, body, 5)
                    headers["content-encoding"] = "gzip"
                    headers["content-length"] = str(len(body))
                    message = {**message, "body": body}
                await send(head)
            await send(message)

        await self._app(scope, receive, compressed)


def _may(message: Message) -> bool:
    headers = Headers(raw=message["headers"])
    return "content-encoding" not in headers and headers.get("content-type", "").startswith(_TYPES)
