"""The server under the app: where it may listen, and how it ends.

The page carries passwords and pictures of patients. So it is served to other machines only encrypted, or when
somebody has said in words that the network may read along.
"""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from marrowscope.errors import BadSetting
from marrowscope.station.settings import StationSettings
from marrowscope.web.headers import is_loopback

log = logging.getLogger(__name__)

GRACE_S = 4
"""How long requests that are under way may take once the station stops."""


def check_listening(settings: StationSettings) -> None:
    """BadSetting where the page would leave this machine unencrypted without anybody having asked for it."""
    if is_loopback(settings.host) or settings.tls or settings.insecure_lan:
        return
    raise BadSetting(
        f"host {settings.host}: other machines would send passwords unencrypted. Give --tls-cert and --tls-key, or "
        "say --insecure-lan if the network is your own."
    )


def _check_certificate(settings: StationSettings) -> None:
    """Read certificate and key once, so that a mistake is one line."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    for path in (settings.tls_cert, settings.tls_key):
        if not path.is_file():
            raise BadSetting(f"{path}: no such certificate or key. Give PEM files with --tls-cert and --tls-key.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password=str)
    except (ssl.SSLError, OSError) as error:
        raise BadSetting(f"{settings.tls_cert}: not usable with {settings.tls_key} ({error}). Both are PEM.") from None


def listen(settings: StationSettings) -> socket.socket:
    """A listening socket at the station's address. BadSetting where the port is taken or the host not ours."""
    check_listening(settings)
    _check_certificate(settings)
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=256)
    except OSError as error:
        raise BadSetting(
            f"cannot listen at {settings.host}, port {settings.port} ({error.strerror}). Another program, perhaps "
            "another station, has it: stop that one, or give another --port."
        ) from None


def address_of(settings: StationSettings, listening: socket.socket) -> str:
    """What a person types into a browser."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"{'https' if settings.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """uvicorn, with the live pictures ended first: they would keep their connections open for ever."""

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None], ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams, self._ready = end_streams, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the microscope, then let requests end, then the app."""
        await asyncio.to_thread(self._end_streams)
        await super().shutdown(sockets)


def make_server(
    app: FastAPI,
    settings: StationSettings,
    *,
    ready: Callable[[], None] = lambda: None,
    end_streams: Callable[[], None] | None = None,
) -> Server:
    """A server for this app; `run(sockets=[listen(settings)])` runs it until a signal or `should_exit`.

    end_streams: ends what would keep connections open; left out, the microscope of the station that the app is of.
    """
    tls: dict[str, Any] = {}
    if settings.tls:
        tls = {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # Behind no proxy: whoever says "forwarded" is not believed.
        proxy_headers=False,
        ws_max_size=16 * 1024,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        **tls,
    )
    return Server(config, end_streams=end_streams or app.state.services.microscope.stop, ready=ready)
