"""The built page: files of `web/static`, and index.html for every path that is a page of it.

All files are read when the app is made, so a path of a request is only ever looked up in a table.
"""

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException

STATIC = Path(__file__).parents[1] / "static"
MISSING = (
    "<!doctype html><meta charset=utf-8><title>marrowscope station</title><h1>marrowscope station</h1>"
    "<p>The station runs, but this installation has no built page. Install a release of marrowscope, or build the page "
    "in the folder <code>frontend</code>: <code>npm ci && npm run build</code>. The interface for programs is at "
    "<a href=/api/openapi.json>/api/openapi.json</a>."
)
_TYPES = {".js": "text/javascript", ".woff2": "font/woff2", ".webmanifest": "application/manifest+json"}


@dataclass(frozen=True)
class PageFile:
    """A file of the page. lasting: its name holds a hash of its content."""

    data: bytes
    kind: str
    tag: str
    lasting: bool


class _PagePath(Convertor[str]):
    """Any path outside /api, whose own routes answer there: with 404 or 405 too."""

    regex = "(?!api(?:/|$)).*"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


def read_page(folder: Path = STATIC) -> dict[str, PageFile]:
    """Path -> file of the built page; empty where it was not built."""
    files: dict[str, PageFile] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.name.startswith("."):
            data = path.read_bytes()
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            name = path.relative_to(folder).as_posix()
            files[name] = PageFile(data, kind, hashlib.sha256(data).hexdigest()[:32], name.startswith("assets/"))
    return files


def page_router(files: dict[str, PageFile]) -> APIRouter:
    """Serves these files. Open to the world: the log-in page is one of them, and none holds anything secret."""
    router = APIRouter(include_in_schema=False)

    register_url_convertor("page", _PagePath())

    @router.get("/{path:page}")
    async def page(path: str, request: Request) -> Response:
        """A file of the page, or the page itself."""
        file = files.get(path)
        if file is None:
            if path.startswith("assets/"):
                raise HTTPException(404, "There is no such file. Reload the page: it was renewed.")
            file = files.get("index.html")
        if file is None:
            return Response(MISSING, media_type="text/html", status_code=200)
        lasting = "public, max-age=31536000, immutable" if file.lasting else "no-cache"
        headers = {"etag": f'"{file.tag}"', "cache-control": lasting}
        if f'"{file.tag}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.kind, headers=headers)

    return router
