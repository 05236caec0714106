"""The app: routes, errors, headers, and the built page. `assemble.station` gives it what it works on."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from marrowscope import __version__
from marrowscope.web import openapi, problems
from marrowscope.web.compress import Compress
from marrowscope.web.headers import Guard, KnownHosts, is_loopback
from marrowscope.web.limits import JSON_BYTES, BodyLimit
from marrowscope.web.routes import admin, cases, drift, live, people, reports, review, settings, setup
from marrowscope.web.routes.pages import PageFile, page_router, read_page
from marrowscope.web.services import Services

_UPLOAD = re.compile(r"/api/specimens/[^/]+/fields")


def _operation(route: APIRoute) -> str:
    return route.name


def bare_app(**options: Any) -> FastAPI:
    """Routes and errors, working on nothing yet."""
    app = FastAPI(
        **options,
        title="marrowscope station",
        version=__version__,
        description="Decision support: a person signs. Errors are `{error, message}`.",
        responses=problems.DECLARED,
        generate_unique_id_function=_operation,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    problems.install(app)
    for routes in (setup, people, live, cases, review, reports, drift, admin, settings):
        app.include_router(routes.router, prefix="/api")
    app.openapi = lambda: openapi.description(app)  # type: ignore[method-assign]
    return app


def create_app(services: Services, *, page: dict[str, PageFile] | None = None) -> FastAPI:
    """The whole app over these services; closed when it ends. page: the built page; left out, the installed."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(services.close)

    settings = services.settings
    app = bare_app(lifespan=lifespan)
    app.state.services = services
    app.include_router(page_router(read_page() if page is None else page))
    uploads = int(settings.upload_mb * 1024 * 1024)
    # The last one added is the first that a request meets.
    app.add_middleware(problems.CatchFaults)
    app.add_middleware(Compress)
    app.add_middleware(BodyLimit, limit=lambda path: uploads if _UPLOAD.fullmatch(path) else JSON_BYTES)
    app.add_middleware(Guard, hosts=KnownHosts(settings.hosts, network=not is_loopback(settings.host)))
    return app


def describe() -> dict[str, Any]:
    """The OpenAPI description."""
    return bare_app().openapi()
