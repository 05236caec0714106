"""The backend as Label Studio speaks to it: same paths, same bodies, same answers."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from helpers.neighbours import CONFIG, Judge, KnownCells
from marrowscope.assemble.detectors import OpenedDetector
from marrowscope.errors import BadSetting
from marrowscope.neighbours.label_studio_backend import Backend, backend_app, open_backend, serve
from marrowscope.neighbours.task_images import TaskImages
from marrowscope.station.settings import StationSettings

HERE = "http://127.0.0.1:9090"
PROJECT = "12.1764000000"


@pytest.fixture
def backend(opened: OpenedDetector, tmp_path: Path, picture: Callable[[Path], Path]) -> Backend:
    picture(tmp_path / "root" / "slide_1" / "field.png")
    return Backend(opened, TaskImages(data_root=tmp_path / "root"), 0.5, "model 1")


@pytest.fixture
def studio(backend: Backend) -> TestClient:
    """Label Studio's side of the wire."""
    return TestClient(backend_app(backend), base_url=HERE, raise_server_exceptions=False)


def task(number: int, path: str) -> dict[str, Any]:
    data = {"image": f"/data/local-files/?d={path}"}
    return {"id": number, "data": data, "meta": {}, "project": 12, "annotations": [], "predictions": []}


def predict(studio: TestClient, *tasks: dict[str, Any], config: str = CONFIG) -> httpx.Response:
    """As `MLApi.make_predictions` sends it."""
    params = {"login": "", "password": "", "context": None}
    asked = {"tasks": list(tasks), "project": PROJECT, "label_config": config, "params": params}
    return studio.post("/predict", json=asked)


def test_a_project_connects(studio: TestClient) -> None:
    health = studio.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "UP")
    said = {"project": PROJECT, "schema": CONFIG, "hostname": "http://evil", "access_token": "x", "extra_params": None}
    assert studio.post("/setup", json=said).json() == {"model_version": "model 1"}
    assert studio.post("/setup", json=said | {"schema": "<View></View>"}).status_code == 200, "no labels written yet"
    assert studio.get("/versions").json() == {"versions": ["model 1"]}


def test_a_project_without_our_classes_is_told_when_it_connects(studio: TestClient) -> None:
    answer = studio.post(
        "/setup", json={"project": PROJECT, "schema": CONFIG.replace("MYELO", "x").replace("ymph", "")}
    )
    assert answer.status_code == 422
    assert "lymphocyte, myelocyte" in answer.json()["message"]


def test_every_task_gets_its_predictions_in_order(studio: TestClient, known: KnownCells, judge: Judge) -> None:
    tasks = [task(7, "slide_1/field.png"), task(8, "slide_1/field.png")]
    answer = predict(studio, *tasks)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert len(results) == 2
    assert judge.errors(CONFIG, results, tasks) == [[], []]


def test_a_cell_has_one_name_and_what_has_no_label_is_told(
    studio: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answers = [predict(studio, task(7, "slide_1/field.png")).json() for _ in range(2)]
    assert answers[0] == answers[1]
    (result,) = answers[0]["results"]
    assert [r["value"]["rectanglelabels"] for r in result["result"]] == [["lymphocyte"], ["MYELO"]]
    assert result["model_version"] == "model 1"
    assert answers[0]["left_out"] == {"segmented neutrophil": 1}
    assert [m for m in caplog.messages if "has no label for: segmented neutrophil" in m] == caplog.messages[:1]


def test_one_picture_that_cannot_be_read_spoils_no_other(studio: TestClient) -> None:
    answer = predict(studio, task(7, "slide_1/gone.png"), task(8, "slide_1/field.png"), {"id": 9, "data": {}})
    assert answer.status_code == 200
    bad, good, empty = answer.json()["results"]
    # Label Studio passes over an entry without `result`; one with an empty one would say: no cells here.
    assert set(bad) == set(empty) == {"error"}
    assert "gone.png: no such image" in bad["error"]
    assert "no picture under 'image'" in empty["error"]
    assert len(good["result"]) == 2


def test_where_no_picture_can_be_read_the_request_says_why(studio: TestClient) -> None:
    answer = predict(studio, task(7, "../a.png"))
    assert answer.status_code == 422
    assert answer.json()["error"] == "bad_input"
    assert "leads out of the data root" in answer.json()["message"]
    assert predict(studio).json() == {"results": [], "left_out": {}}


def test_training_does_not_begin_from_there_and_events_are_no_errors(studio: TestClient) -> None:
    assert studio.post("/webhook", json={"action": "ANNOTATION_CREATED", "project": {"id": 12}}).status_code == 200
    for path, said in (("/webhook", {"action": "START_TRAINING"}), ("/train", {"annotations": []})):
        answer = studio.post(path, json=said)
        assert answer.status_code == 501
        assert "marrowscope data convert" in answer.json()["message"]


@pytest.mark.parametrize("body", ["{", "[]", '{"tasks": 3, "label_config": ""}', '{"tasks": [{}], "label_config": ""}'])
def test_a_request_that_is_none_is_refused(studio: TestClient, body: str) -> None:
    answer = studio.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    # A page of another site can send text, but no JSON.
    assert studio.post("/predict", content=body, headers={"Content-Type": "text/plain"}).status_code in (415, 422)


def test_a_foreign_name_of_this_machine_is_turned_down_unless_it_was_told(backend: Backend) -> None:
    def asks(name: str, **options: Any) -> int:
        app = backend_app(backend, **options)
        return TestClient(app, base_url=f"http://{name}:9090").get("/health").status_code

    assert asks("localhost") == 200
    assert asks("host.docker.internal") == 400
    assert asks("host.docker.internal", names=("host.docker.internal",)) == 200
    assert asks("10.0.0.5") == 400
    assert asks("10.0.0.5", host="0.0.0.0") == 200


def test_it_serves_until_it_is_told_to_stop(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from marrowscope.web import server as web_server

    servers: list[Any] = []
    make = web_server.make_server
    monkeypatch.setattr(web_server, "make_server", lambda *a, **k: servers.append(make(*a, **k)) or servers[0])
    addresses: list[str] = []
    up = threading.Event()

    def ready(address: str) -> None:
        addresses.append(address)
        up.set()

    running = threading.Thread(target=serve, args=(backend, StationSettings(port=0)), kwargs={"ready": ready})
    running.start()
    assert up.wait(20)
    assert httpx.get(f"{addresses[0]}/health", trust_env=False).json()["status"] == "UP"
    servers[0].should_exit = True
    running.join(20)
    assert not running.is_alive()
    with pytest.raises(BadSetting, match="--insecure-lan"):
        serve(backend, StationSettings(host="0.0.0.0", port=0), ready=ready)


def test_the_version_names_weights_and_score(tmp_path: Path) -> None:
    saved = tmp_path / "run" / "detections.json"
    saved.parent.mkdir()
    cell = '{"class": "lymphocyte", "score": 0.5, "box": [0, 0, 5, 5]}'
    saved.write_text(f'{{"fields": [{{"path": "a.png", "width": 9, "height": 9, "detections": [{cell}]}}]}}')
    first = open_backend(str(saved), images=TaskImages(), score=0.25)
    assert first.version.startswith("marrowscope run/detections.json ")
    assert first.version.endswith(" score 0.250")
    saved.write_text(saved.read_text().replace("0.5", "0.6"))
    assert open_backend(str(saved), images=TaskImages(), score=0.25).version != first.version
    assert open_backend(str(saved), images=TaskImages(), score=0.5).version != first.version
