"""What every answer carries for the browser's sake, and which names of this machine are answered at all.

A page of ours loads nothing from elsewhere, is framed by nobody, and a request that calls this machine by a foreign
name is turned down: that is how a web site would reach a station on the user's own machine (DNS rebinding).
"""

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marrowscope.web.problems import problem

PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "style-src 'self'",
        # Sizes and colours that a script computes are written as style attributes.
        "style-src-attr 'unsafe-inline'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-src 'self' blob:",
        "frame-ancestors 'none'",
    )
)
DOCUMENT_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Of reports: they are shown inside our page, and hold no script."""

_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=()",
}


def host_of(header: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class KnownHosts:
    """Which Host headers are answered: loopback names; on a network also any bare address, and the names given.

    A bare address is safe, as rebinding needs a name whose address changes.
    """

    def __init__(self, names: Iterable[str] = (), *, network: bool = False) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._network = network

    def __contains__(self, header: object) -> bool:
        name = host_of(str(header))
        if is_loopback(name) or name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._network


class Guard:
    """Middleware: turns foreign Host headers down with 400, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, *, hosts: KnownHosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            await self._refuse(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _dress(MutableHeaders(scope=message), str(scope["path"]))
            await send(message)

        await self._app(scope, receive, send_with_headers)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "unknown host"})
            return
        message = "This station is not known by that name. Call it by its address, or list the name under `hosts`."
        await problem(400, message, "unknown_host")(scope, receive, send)


def _dress(headers: MutableHeaders, path: str) -> None:
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    if "content-security-policy" not in headers:
        headers["content-security-policy"] = PAGE_POLICY
    if path.startswith("/api/"):
        headers.setdefault("cache-control", "no-store")
