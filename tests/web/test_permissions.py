"""Who may do what: every route, every role. A route that is not in the table fails the test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIWebSocketRoute, iter_route_contexts
from fastapi.testclient import TestClient
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from helpers.station import HERE, PASSWORD, PEOPLE, STREAM, Station, station
from marrowscope.web.stream import NOT_SIGNED_IN, NOTHING_RUNS

WORLD = {"", "reader", "technician", "haematologist", "admin"}
READER = WORLD - {""}
TECHNICIAN = READER - {"reader"}
HAEMATOLOGIST = {"haematologist"}
ADMIN = {"admin"}

MAY: dict[tuple[str, str], set[str]] = {
    ("GET", "/{path:page}"): WORLD,
    ("GET", "/api/openapi.json"): WORLD,
    ("HEAD", "/api/openapi.json"): WORLD,
    ("GET", "/api/health"): WORLD,
    ("GET", "/api/setup"): WORLD,
    ("POST", "/api/setup"): WORLD,
    ("POST", "/api/login"): WORLD,
    ("POST", "/api/logout"): READER,
    ("GET", "/api/me"): READER,
    ("PUT", "/api/me/keyboard"): READER,
    ("PUT", "/api/me/password"): READER,
    ("GET", "/api/scheme"): READER,
    ("GET", "/api/keyboards"): READER,
    ("GET", "/api/cameras"): READER,
    ("GET", "/api/live"): READER,
    ("POST", "/api/live/start"): TECHNICIAN,
    ("POST", "/api/live/stop"): TECHNICIAN,
    ("POST", "/api/live/keep"): TECHNICIAN,
    ("PUT", "/api/live/controls"): TECHNICIAN,
    ("POST", "/api/live/white-balance"): TECHNICIAN,
    ("POST", "/api/live/exposure"): TECHNICIAN,
    ("POST", "/api/live/focus"): TECHNICIAN,
    ("POST", "/api/live/move"): TECHNICIAN,
    ("POST", "/api/live/faults"): ADMIN,
    ("GET", "/api/live/map"): READER,
    ("GET", "/api/live/mjpeg"): READER,
    ("GET", "/api/live/counts"): READER,
    ("WS", "/api/live/stream"): READER,
    ("GET", "/api/specimens"): READER,
    ("POST", "/api/specimens"): TECHNICIAN,
    ("GET", "/api/specimens/{specimen_id}"): READER,
    ("POST", "/api/specimens/{specimen_id}/slides"): TECHNICIAN,
    ("GET", "/api/specimens/{specimen_id}/fields"): READER,
    ("POST", "/api/specimens/{specimen_id}/fields"): TECHNICIAN,
    ("GET", "/api/fields/{field_id}"): READER,
    ("GET", "/api/fields/{field_id}/image"): READER,
    ("GET", "/api/fields/{field_id}/thumbnail"): READER,
    ("GET", "/api/specimens/{specimen_id}/cells"): READER,
    ("GET", "/api/cells/{cell_id}/crop"): READER,
    ("POST", "/api/specimens/{specimen_id}/edits"): TECHNICIAN,
    ("POST", "/api/specimens/{specimen_id}/undo"): TECHNICIAN,
    ("POST", "/api/specimens/{specimen_id}/accept"): TECHNICIAN,
    ("GET", "/api/specimens/{specimen_id}/corrections"): READER,
    ("GET", "/api/specimens/{specimen_id}/differential"): READER,
    ("GET", "/api/specimens/{specimen_id}/readings"): TECHNICIAN,
    ("POST", "/api/specimens/{specimen_id}/readings"): TECHNICIAN,
    ("GET", "/api/specimens/{specimen_id}/agreement"): READER,
    ("GET", "/api/specimens/{specimen_id}/effort"): READER,
    ("POST", "/api/specimens/{specimen_id}/effort"): TECHNICIAN,
    ("GET", "/api/specimens/{specimen_id}/report"): READER,
    ("PUT", "/api/specimens/{specimen_id}/report"): TECHNICIAN,
    ("GET", "/api/specimens/{specimen_id}/report/preview.pdf"): READER,
    ("GET", "/api/specimens/{specimen_id}/report/preview.html"): READER,
    ("POST", "/api/specimens/{specimen_id}/report/sign"): HAEMATOLOGIST,
    ("POST", "/api/specimens/{specimen_id}/report/amend"): HAEMATOLOGIST,
    ("GET", "/api/reports/{report_id}.{kind}"): READER,
    ("GET", "/api/users"): ADMIN,
    ("POST", "/api/users"): ADMIN,
    ("PATCH", "/api/users/{name}"): ADMIN,
    ("GET", "/api/audit"): ADMIN,
    ("POST", "/api/audit/verify"): ADMIN,
    ("GET", "/api/models"): READER,
    ("POST", "/api/models/{model_id}/promote"): ADMIN,
    ("GET", "/api/models/teachable"): READER,
    ("POST", "/api/models/teach"): TECHNICIAN,
    ("POST", "/api/retraining"): ADMIN,
    ("GET", "/api/drift"): READER,
    ("GET", "/api/statistics"): READER,
    **{("GET", f"/api/settings/{s}"): READER for s in ("letterhead", "references", "stop-rule", "station")},
    **{("PUT", f"/api/settings/{s}"): ADMIN for s in ("letterhead", "references", "stop-rule", "station")},
    ("GET", "/api/eyepiece"): READER,
    ("PUT", "/api/eyepiece/{objective}"): TECHNICIAN,
}

# The few whose empty request would end what the next one needs, or that refuse by 401 or 403 for other reasons.
BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/api/me/password"): {"old": PASSWORD, "new": "short"},
    ("POST", "/api/retraining"): {"specimens": []},
}
QUERIES = {"/api/specimens/{specimen_id}/fields": "?slide_id=1"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with station(tmp_path_factory.mktemp("permissions")) as made:
        yield made


@pytest.fixture(scope="module")
def browsers(lab: Station) -> dict[str, TestClient]:
    return {"": lab.client(), **{role.value: lab.client(name) for name, role in PEOPLE.items()}}


def routes(lab: Station) -> Iterator[tuple[str, str]]:
    """Every method and path that the app answers. FastAPI keeps the routes of a router folded up."""
    for context in iter_route_contexts(lab.app.routes):
        route = context.original_route
        if isinstance(route, APIWebSocketRoute):
            yield "WS", context.path
        elif isinstance(route, Route):
            yield from ((method, context.path) for method in route.methods or ())
        else:
            raise AssertionError(f"a route of an unknown kind: {route}")


def test_every_route_is_in_the_table_and_every_entry_is_a_route(lab: Station) -> None:
    assert set(routes(lab)) == set(MAY)


@pytest.mark.parametrize("role", sorted(WORLD))
@pytest.mark.parametrize(("method", "path"), sorted(set(MAY) - {("WS", "/api/live/stream"), ("POST", "/api/logout")}))
def test_a_route_serves_the_roles_of_the_table_and_no_other(
    browsers: dict[str, TestClient], method: str, path: str, role: str
) -> None:
    url = path.replace("{kind}", "pdf").replace("{name}", "tess").replace("{objective}", "100x")
    for number in ("specimen_id", "field_id", "cell_id", "report_id", "model_id"):
        url = url.replace(f"{{{number}}}", "1")
    url = url.replace("{path:page}", "")
    browser = browsers[role]
    body = BODIES.get((method, path), {}) if method in ("POST", "PUT", "PATCH") else None
    answer = browser.request(method, url + QUERIES.get(path, ""), json=body)
    refused = {"": (401, "not_signed_in")}.get(role, (403, "not_allowed"))
    if role in MAY[method, path]:
        assert answer.status_code not in (401, 403), answer.text
        assert answer.status_code != 500, answer.text
    else:
        assert (answer.status_code, answer.json()["error"]) == refused


def test_signing_out_needs_somebody_who_is_signed_in(lab: Station) -> None:
    assert lab.client().post("/api/logout").status_code == 401
    for name in PEOPLE:
        assert lab.client(name).post("/api/logout").status_code == 204


@pytest.mark.parametrize("role", sorted(WORLD))
def test_the_live_stream_serves_whoever_is_signed_in(browsers: dict[str, TestClient], role: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        browsers[role].websocket_connect(STREAM, headers={"origin": HERE}) as socket,
    ):
        socket.receive_bytes()
    # Nothing runs here: whoever may look is told so.
    assert closed.value.code == (NOTHING_RUNS if role else NOT_SIGNED_IN)


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}, {"origin": "null"}])
def test_the_live_stream_is_not_opened_for_pages_of_others(lab: Station, headers: dict[str, str]) -> None:
    client = lab.client("tess")
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect(STREAM, headers=headers),
    ):
        pass
    assert closed.value.code == 1008


def test_a_route_without_permission_is_one_that_the_table_opens_to_the_world(lab: Station, tmp_path: Path) -> None:
    # The table is not believed alone: whoever is not signed in gets nothing but what it opens.
    stranger = lab.client()
    for method, path in sorted(MAY):
        if method != "WS" and "" not in MAY[method, path]:
            url = path.replace("{kind}", "pdf").replace("{", "").replace("}", "")
            assert stranger.request(method, url).status_code == 401, path
