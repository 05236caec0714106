"""The picture of a labelling task, from a folder that was named or from a host that was named, and from nowhere else.

What a task says of its picture is written by whoever imports tasks. So it leads out of no folder, to no host that was
not named when the backend started, through no redirect; and the token goes to Label Studio alone.

/data/local-files/?d=PATH     below the data root where one is given, else from Label Studio
/data/upload/..., /storage-data/...    from Label Studio
http(s)://HOST/...            from Label Studio's own address (with the token), or from a host that is allowed
"""

import json
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit, urlunsplit

from marrowscope.cells.field import FieldImage
from marrowscope.data.images import read_image
from marrowscope.data.intake import safe_path
from marrowscope.data.problems import quote as quoted
from marrowscope.errors import BadImage, BadInput, BadSetting

LOCAL_FILES = "/data/local-files"
_KEPT_BY_LABEL_STUDIO = ("/data/", "/storage-data/")
LARGEST_BYTES = 256 * 1024 * 1024
_CONNECT_S, _WHOLE_S = 10.0, 60.0
_TOKEN_LASTS_S = 120.0
"""Access tokens of Label Studio are good for five minutes."""
_PORTS = {"http": 80, "https": 443}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would lead from a host that was named to one that was not."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none; the answer is then an error like others."""


@dataclass(eq=False)
class TaskImages:
    """Reads pictures of tasks. Any thread may ask.

    label_studio: its address, such as http://localhost:8080, or None: nothing is fetched from it. token: an API key of
    it. data_root: the folder that is its LOCAL_FILES_DOCUMENT_ROOT. hosts: names, or name:port, from where pictures are
    fetched without the token.
    """

    label_studio: str | None = None
    token: str = field(default="", repr=False)
    data_root: Path | None = None
    hosts: frozenset[str] = frozenset()
    largest_bytes: int = LARGEST_BYTES
    _access: tuple[float, str] = field(default=(0.0, ""), init=False, repr=False)

    def __post_init__(self) -> None:
        if self.label_studio is not None and not _is_web(urlsplit(self.label_studio)):
            raise BadSetting(f"Label Studio at '{self.label_studio}': is no http address. Write http://localhost:8080.")
        if self.data_root is not None and not self.data_root.is_dir():
            raise BadSetting(f"data root {self.data_root}: is no folder. Give Label Studio's folder of local files.")

    def read(self, uri: str, *, at_least: tuple[int, int] | None = None) -> FieldImage:
        """The picture at `uri`. BadInput (BadImage) where it may not be read, or cannot; at_least: as `read_image`."""
        try:
            parts = urlsplit(uri)
            _origin(parts)  # an impossible port is noticed only when it is asked for
            kept = self._path_in_label_studio(parts)
        except ValueError:
            raise BadInput(f"picture {quoted(uri)}: is no address. Correct the task's data.") from None
        if kept is None and not _is_web(parts):
            raise BadInput(
                f"picture {quoted(uri)}: is neither kept by Label Studio nor at an http address. Import pictures by "
                "upload, as local files, or by http."
            )
        if kept is not None and kept.path.rstrip("/") == LOCAL_FILES and self.data_root is not None:
            return self._read_local(kept, uri, at_least)
        return self._read_fetched(kept, parts, uri, at_least)

    def _path_in_label_studio(self, parts: SplitResult) -> SplitResult | None:
        """Path and query below Label Studio's address; None for a picture that lies elsewhere."""
        if not parts.scheme and not parts.netloc:
            path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
            # Exports and old projects name uploads without /data.
            path = f"/data{path}" if path.startswith("/upload/") else path
        elif self.label_studio is not None and _origin(parts) == _origin(home := urlsplit(self.label_studio)):
            path = parts.path.removeprefix(home.path.rstrip("/"))
        else:
            return None
        return SplitResult("", "", path, parts.query, "") if path.startswith(_KEPT_BY_LABEL_STUDIO) else None

    def _read_local(self, kept: SplitResult, uri: str, at_least: tuple[int, int] | None) -> FieldImage:
        root = (self.data_root or Path()).resolve()
        relative = safe_path(parse_qs(kept.query).get("d", [""])[-1].lstrip("/"))
        path = None if relative is None else (root / relative).resolve()
        # A link inside the root may lead out of it.
        if path is None or not path.is_relative_to(root):
            raise BadInput(f"picture {quoted(uri)}: leads out of the data root. Correct the task's data.")
        return read_image(path, at_least=at_least)

    def _read_fetched(
        self, kept: SplitResult | None, parts: SplitResult, uri: str, at_least: tuple[int, int] | None
    ) -> FieldImage:
        if ".." in unquote(parts.path).replace("\\", "/").split("/"):
            raise BadInput(f"picture {quoted(uri)}: its address goes upwards ('..'). Correct the task's data.")
        if kept is not None:
            if self.label_studio is None:
                raise BadInput(
                    f"picture {quoted(uri)}: is kept by Label Studio. Start the backend with --url and the API key in "
                    "LABEL_STUDIO_API_KEY, or with --data-root for local files."
                )
            home = urlsplit(self.label_studio)
            address = home._replace(path=home.path.rstrip("/") + kept.path, query=kept.query)
            data = self._fetch(address, f"picture {quoted(uri)}", self._authorization(home))
        else:
            if not {_host(parts), f"{_host(parts)}:{_port(parts)}"} & self.hosts:
                raise BadInput(
                    f"picture {quoted(uri)}: host '{_host(parts)}' was not allowed. Start the backend with "
                    f"--allow-host {_host(parts)} if pictures may be fetched from there."
                )
            data = self._fetch(parts, f"picture {quoted(uri)}", {})
        with tempfile.TemporaryDirectory(prefix="marrowscope-") as folder:
            path = Path(folder) / "picture"
            path.write_bytes(data)
            try:
                return read_image(path, at_least=at_least, name=Path(unquote(parts.path)).stem or "picture")
            except BadImage as error:
                raise type(error)(str(error).replace(str(path), f"picture {quoted(uri)}")) from None

    def _authorization(self, home: SplitResult) -> dict[str, str]:
        """The header for Label Studio. A personal access token (a JWT) is exchanged for one that lasts minutes."""
        if not self.token:
            return {}
        if self.token.count(".") != 2:
            return {"Authorization": f"Token {self.token}"}
        since, access = self._access
        if not access or time.monotonic() - since > _TOKEN_LASTS_S:
            address = home._replace(path=home.path.rstrip("/") + "/api/token/refresh/")
            body = json.dumps({"refresh": self.token}).encode()
            answer = self._fetch(address, "API key", {"Content-Type": "application/json"}, body)
            try:
                access = str(json.loads(answer)["access"])
            except (ValueError, KeyError, TypeError):
                raise BadInput("API key: Label Studio gave no access token for it. Make a new one.") from None
            self._access = time.monotonic(), access
        return {"Authorization": f"Bearer {access}"}

    def _fetch(self, address: SplitResult, what: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
        """The bytes at an address, which is rebuilt from its parts: what is opened is what was judged."""
        host = f"[{_host(address)}]" if ":" in _host(address) else _host(address)
        netloc = f"{host}:{_port(address)}"
        path = quote(address.path, safe="/%:@!$&'()*+,;=~-._")
        query = quote(address.query, safe="/%:@!$&'()*+,;=~-._?")
        url = urlunsplit((address.scheme, netloc, path, query, ""))
        opener = urllib.request.build_opener(_NoRedirect)
        until = time.monotonic() + _WHOLE_S
        parts: list[bytes] = []
        size = 0
        try:
            # http and https alone come here: see _is_web.
            request = urllib.request.Request(url, body, headers)  # noqa: S310
            with opener.open(request, timeout=_CONNECT_S) as answer:
                while part := answer.read(1 << 20):
                    parts.append(part)
                    size += len(part)
                    if size > self.largest_bytes:
                        raise BadImage(f"{what}: is larger than {self.largest_bytes} bytes. Export it smaller.")
                    if time.monotonic() > until:
                        raise BadImage(f"{what}: {netloc} took longer than {_WHOLE_S:g} s. Try again.")
        except HTTPError as error:
            with error:
                hint = _HINTS.get(error.code, "Open it in a browser")
            raise BadImage(f"{what}: {netloc} answers {error.code}. {hint}.") from None
        except (OSError, HTTPException, ValueError) as error:
            raise BadImage(f"{what}: cannot be fetched from {netloc} ({error}). Is it up?") from None
        return b"".join(parts)


_HINTS = {
    401: "Put an API key of Label Studio in LABEL_STUDIO_API_KEY",
    403: "The API key in LABEL_STUDIO_API_KEY may not read it: take one of a member of the project",
    404: "Is it still there?",
}


def _is_web(parts: SplitResult) -> bool:
    return parts.scheme in _PORTS and bool(parts.hostname)


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").lower().rstrip(".")


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _origin(parts: SplitResult) -> tuple[str, str, int] | None:
    return (parts.scheme, _host(parts), _port(parts)) if _is_web(parts) else None
