"""The whole way with a real Label Studio: connect, predict, accept, export, read. Minutes, and a gigabyte from PyPI.

$MARROWSCOPE_LABEL_STUDIO names a `label-studio` that is installed already; else a virtual environment is made for it.
"""

import json
import os
import subprocess
import threading
import time
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from numpy.testing import assert_allclose

from helpers.neighbours import CONFIG, KnownCells
from marrowscope.assemble.detectors import OpenedDetector
from marrowscope.data.label_studio import read_label_studio
from marrowscope.neighbours.label_studio_backend import Backend, serve
from marrowscope.neighbours.task_images import TaskImages
from marrowscope.station.settings import StationSettings
from marrowscope.web import server as web_server

pytestmark = pytest.mark.slow
KEY = "0123456789abcdef0123456789abcdef01234567"
PORT = 8181
STUDIO = f"http://localhost:{PORT}"


@pytest.fixture
def program(tmp_path: Path) -> str:
    if "MARROWSCOPE_LABEL_STUDIO" in os.environ:
        return os.environ["MARROWSCOPE_LABEL_STUDIO"]
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "label-studio>=1.20"], check=True)
    return str(python.with_name("label-studio"))


@pytest.fixture
def studio(program: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """Label Studio with an empty archive, and somebody signed in."""
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path / "studio"),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        # Else it connects to no backend on this machine.
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "ML_TIMEOUT_HEALTH": "30",
        "ML_TIMEOUT_SETUP": "30",
    }
    (tmp_path / "studio").mkdir()
    user = ("--username", "a@b.co", "--password", "secret-123", "--user-token", KEY)
    words = [program, "start", "--no-browser", "--port", str(PORT), *user]
    with (tmp_path / "studio.log").open("wb") as log:
        process = subprocess.Popen(words, env={**os.environ, **settings}, stdout=log, stderr=log)
    with httpx.Client(
        base_url=STUDIO, headers={"Authorization": f"Token {KEY}"}, timeout=100, trust_env=False
    ) as client:
        try:
            until = time.monotonic() + 600
            while time.monotonic() < until and process.poll() is None:
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    time.sleep(1)
            yield client
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def address(opened: OpenedDetector, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where our backend answers."""
    made: list[web_server.Server] = []
    make = web_server.make_server
    monkeypatch.setattr(web_server, "make_server", lambda *a, **k: made.append(make(*a, **k)) or made[0])
    addresses: list[str] = []
    up = threading.Event()
    backend = Backend(opened, TaskImages(STUDIO, KEY), 0.5, "model 1")
    ready = {"ready": lambda address: (addresses.append(address), up.set())}
    thread = threading.Thread(target=serve, args=(backend, StationSettings(port=0)), kwargs=ready)
    thread.start()
    assert up.wait(20)
    yield addresses[0]
    made[0].should_exit = True
    thread.join()


def test_a_project_is_predicted_accepted_exported_and_read(
    studio: httpx.Client, address: str, known: KnownCells, picture: Callable[[Path], Path], tmp_path: Path
) -> None:
    def said(answer: httpx.Response) -> object:
        assert answer.is_success, answer.text
        return answer.json()

    project = said(studio.post("/api/projects/", json={"title": "cells", "label_config": CONFIG}))["id"]
    file = {"file": ("field.png", picture(tmp_path / "field.png").read_bytes(), "image/png")}
    said(studio.post(f"/api/projects/{project}/import", files=file))
    connected = said(studio.post("/api/ml/", json={"url": address, "project": project, "title": "marrowscope"}))
    assert (connected["readable_state"], connected["model_version"]) == ("Connected", "model 1")
    assert said(studio.get(f"/api/ml/{connected['id']}/versions")) == {"versions": ["model 1"]}
    (task,) = said(studio.get("/api/tasks", params={"project": project}))["tasks"]
    everything = {"selectedItems": {"all": True, "excluded": []}}
    action = {"id": "retrieve_tasks_predictions", "project": project}
    said(studio.post("/api/dm/actions", params=action, json=everything))
    (prediction,) = said(studio.get("/api/predictions", params={"project": project}))
    assert prediction["model_version"] == "model 1"
    said(studio.post(f"/api/tasks/{task['id']}/annotations/", json={"result": prediction["result"]}))
    for kind, name in (("JSON", "export.json"), ("COCO", "coco.zip")):
        answer = studio.get(f"/api/projects/{project}/export", params={"exportType": kind})
        (tmp_path / name).write_bytes(answer.content)
    (field,) = read_label_studio(tmp_path / "export.json", tmp_path / "studio" / "media" / "upload").fields
    assert field.labels == ("lymphocyte", "MYELO")
    assert_allclose(field.boxes, known.boxes[:2], atol=1e-3)
    with zipfile.ZipFile(tmp_path / "coco.zip") as theirs:
        boxes = [a["bbox"] for a in json.loads(theirs.read("result.json"))["annotations"]]
    assert_allclose([[x, y, x + w, y + h] for x, y, w, h in boxes], field.boxes, atol=1e-3)
