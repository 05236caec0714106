"""The microscope through the interface: started, seen, steered, lost and found again, and fields kept."""

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from helpers.station import CAMERA, HERE, STREAM, Station
from marrowscope.web.schemas.live import StreamHeader
from marrowscope.web.stream import NOTHING_RUNS

PATIENCE_S = 30.0


def until(true: Callable[[], Any], what: str) -> Any:
    """What `true` gives as soon as it is something; a test that waits for nothing fails in words."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s for {what}")


def message(socket: WebSocketTestSession) -> tuple[dict[str, Any], bytes]:
    """One message of the stream, acknowledged."""
    data = socket.receive_bytes()
    (length,) = struct.unpack(">I", data[:4])
    header = json.loads(data[4 : 4 + length])
    socket.send_text(f"ok {header['number']}")
    return header, data[4 + length :]


def read_on(socket: WebSocketTestSession) -> None:
    """Read until something ends it."""
    while True:
        message(socket)


@pytest.fixture
def tess(lab: Station) -> Iterator[TestClient]:
    """A technician with a running microscope."""
    specimen, slide = lab.case()
    client = lab.client("tess")
    body = {"address": CAMERA, "specimen_id": specimen.id, "slide_id": slide}
    answer = client.post("/api/live/start", json=body)
    assert answer.status_code == 200, answer.text
    until(lambda: client.get("/api/live").json()["connected"], "the camera")
    until(lambda: client.get("/api/live").json()["detecting"], "the detector")
    yield client
    lab.works.microscope.stop()


def test_a_running_microscope_says_what_it_is(lab: Station, tess: TestClient) -> None:
    state = until(lambda: (s := tess.get("/api/live").json()) and not s["stale"] and s, "a fresh picture")
    assert state["running"]
    assert state["simulated"]
    assert state["problem"] is None
    assert (state["info"]["width"], state["info"]["height"]) == (320, 240)
    assert set(state["controls"]) == {"exposure_ms", "gain", "red", "blue"}
    assert state["stage"]["limits"]["low"]["x_um"] < state["stage"]["position"]["x_um"]
    assert tess.post("/api/live/stop").json()["running"] is False


def test_the_stream_sends_the_newest_picture_with_its_boxes(lab: Station, tess: TestClient) -> None:
    with tess.websocket_connect(STREAM, headers={"origin": HERE}) as socket:
        numbers = [-1]
        while len(numbers) < 6:
            header, picture = message(socket)
            StreamHeader.model_validate(header)
            assert picture[:3] == b"\xff\xd8\xff"
            if header["number"] == numbers[-1]:
                assert header["stale"], "an old picture comes again only to say that nothing newer came"
            else:
                assert header["number"] > numbers[-1]
                numbers.append(header["number"])


def test_whoever_is_slow_gets_the_newest_and_no_queue(lab: Station, tess: TestClient) -> None:
    with tess.websocket_connect(STREAM, headers={"origin": HERE}) as socket:
        first = struct.unpack(">I", (data := socket.receive_bytes())[:4])[0]
        before = json.loads(data[4 : 4 + first])["number"]
        # Not acknowledged: many frames pass meanwhile.
        feed = lab.works.microscope.running().feed
        until(lambda: feed.view is not None and feed.view.number > before + 8, "eight more frames")
        socket.send_text(f"ok {before}")
        header, _ = message(socket)
        assert header["number"] > before + 8


def test_two_watchers_see_the_same_frames(lab: Station, tess: TestClient) -> None:
    rea = lab.client("rea")
    with (
        tess.websocket_connect(STREAM, headers={"origin": HERE}) as one,
        rea.websocket_connect(STREAM, headers={"origin": HERE}) as other,
    ):
        assert abs(message(one)[0]["number"] - message(other)[0]["number"]) < 200


def test_the_stream_ends_when_the_microscope_stops(lab: Station, tess: TestClient) -> None:
    with tess.websocket_connect(STREAM, headers={"origin": HERE}) as socket:
        message(socket)
        lab.works.microscope.stop()
        with pytest.raises(WebSocketDisconnect) as closed:
            read_on(socket)
        assert closed.value.code == NOTHING_RUNS


def test_a_kept_field_is_detected_and_lies_on_the_map(lab: Station, tess: TestClient) -> None:
    kept = tess.post("/api/live/keep")
    assert kept.status_code == 201, kept.text
    field = kept.json()
    assert (field["number"], field["width"], field["height"]) == (1, 320, 240)
    assert field["visit"]
    detail = tess.get(f"/api/fields/{field['id']}").json()
    assert detail["field"] == field
    seen = tess.get("/api/live/map").json()
    assert [f["id"] for f in seen["fields"]] == [field["id"]]
    assert seen["fields"][0]["w"] == pytest.approx(320 * 0.25)
    assert seen["here"] is not None
    counts = tess.get("/api/live/counts").json()
    assert counts["fields"] == 1
    # Blobs have no class of the scheme: they are in its bucket.
    assert {c["code"] for c in counts["kept"]["classes"]} <= {"OTHER"}
    with tess.websocket_connect(STREAM, headers={"origin": HERE}) as socket:
        assert message(socket)[0]["kept"] == 1


def test_the_same_place_kept_twice_counts_its_cells_once(lab: Station, tess: TestClient) -> None:
    first = tess.post("/api/live/keep").json()
    second = tess.post("/api/live/keep").json()
    assert second["visit"] == first["visit"]
    again = tess.get(f"/api/fields/{second['id']}").json()["cells"]
    # Cells at the border may come and go with the noise of the camera.
    seen_before = sum(cell["same_as"] is not None for cell in again)
    assert seen_before >= 0.8 * len(again)


def test_controls_are_set_and_clamped(lab: Station, tess: TestClient) -> None:
    state = tess.put("/api/live/controls", json={"gain": 2.0, "red": 99_999.0}).json()
    assert state["controls"]["gain"]["value"] == pytest.approx(2.0)
    assert state["controls"]["red"]["value"] == state["controls"]["red"]["high"]
    assert tess.put("/api/live/controls", json={"gain": -1.0}).status_code == 422
    assert tess.put("/api/live/controls", json={"zoom": 2.0}).status_code == 422


def test_the_stage_moves_and_refuses_to_leave_its_limits(lab: Station, tess: TestClient) -> None:
    before = tess.get("/api/live").json()["stage"]["position"]
    after = tess.post("/api/live/move", json={"x_um": 30.0, "relative": True}).json()["stage"]["position"]
    assert after["x_um"] == pytest.approx(before["x_um"] + 30, abs=1)
    assert tess.post("/api/live/move", json={"x_um": 900_000.0}).status_code == 409


def test_colour_exposure_and_focus_are_found(lab: Station, tess: TestClient) -> None:
    assert tess.post("/api/live/white-balance", json={}).status_code == 200
    assert tess.post("/api/live/white-balance", json={"x": 5.0}).status_code == 422
    assert tess.post("/api/live/exposure").status_code == 200
    sweep = tess.post("/api/live/focus").json()
    assert len(sweep["z_um"]) == len(sweep["scores"]) > 2
    assert min(sweep["z_um"]) <= sweep["best_z_um"] <= max(sweep["z_um"])


def test_an_unplugged_camera_is_said_nothing_is_kept_and_a_replugged_one_comes_back(
    lab: Station, tess: TestClient
) -> None:
    ada = lab.client("ada")
    assert ada.post("/api/live/faults", json={"kind": "unplug"}).status_code == 200
    state = until(lambda: (s := tess.get("/api/live").json()) and s["problem"] and s, "the loss to be noticed")
    assert not state["connected"]
    refused = tess.post("/api/live/keep")
    assert (refused.status_code, refused.json()["error"]) == (503, "camera_lost")
    with tess.websocket_connect(STREAM, headers={"origin": HERE}) as socket:
        until(lambda: message(socket)[0]["stale"], "a picture that says it is stale")
    ada.post("/api/live/faults", json={"kind": "replug"})
    until(lambda: tess.get("/api/live").json()["connected"], "the camera to come back")
    until(lambda: tess.post("/api/live/keep").status_code == 201, "a kept field")


def test_mjpeg_ends_when_the_microscope_stops(lab: Station, tess: TestClient) -> None:
    def stop() -> None:
        until(lambda: lab.works.microscope.running().feed.watchers, "somebody to watch")
        feed = lab.works.microscope.running().feed
        before = until(lambda: feed.view, "a picture").number
        until(lambda: feed.view is not None and feed.view.number > before + 3, "more pictures")
        lab.works.microscope.stop()

    later = threading.Thread(target=stop)
    later.start()
    # The test client hands over whole answers alone, so this one has to end.
    answer = tess.get("/api/live/mjpeg")
    later.join()
    assert answer.headers["content-type"].startswith("multipart/x-mixed-replace")
    assert answer.content.startswith(b"--marrowscope-frame\r\nContent-Type: image/jpeg\r\n")
    assert b"\xff\xd8\xff" in answer.content


def test_only_the_cameras_of_the_station_are_opened(lab: Station) -> None:
    specimen, _ = lab.case()
    client = lab.client("tess")
    assert client.get("/api/cameras").json() == [{"address": CAMERA, "title": "Simulated microscope"}]
    for address in ("replay:/etc", "simulated?width=100000", "uvc:http://intranet/"):
        answer = client.post("/api/live/start", json={"address": address, "specimen_id": specimen.id})
        assert answer.status_code == 422
    assert client.get("/api/live").json()["running"] is False


def test_a_signed_case_is_not_put_under_the_microscope(lab: Station) -> None:
    specimen, _ = lab.case()
    lab.works.store.sign(specimen.id, "{}", b"%PDF-1.7\n%%EOF\n", by="hanna", meaning="approved")
    body = {"address": CAMERA, "specimen_id": specimen.id}
    assert lab.client("tess").post("/api/live/start", json=body).status_code == 423


@pytest.mark.parametrize("path", ["keep", "exposure", "focus", "white-balance", "move"])
def test_without_a_microscope_there_is_nothing_to_steer(lab: Station, path: str) -> None:
    answer = lab.client("tess").post(f"/api/live/{path}", json={})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
