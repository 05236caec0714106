"""`marrowscope station`: where it listens, what it refuses, and how it ends."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from helpers.running import Running
from marrowscope.station.settings import FILE

PASSWORD = "correct horse battery"


def read_on(socket: ClientConnection) -> None:
    """Read until something ends it."""
    while True:
        socket.recv(timeout=5)
        socket.send("ok 1")


def start(home: Path, *options: str) -> Running:
    """A station on a free port."""
    return Running("station", "--home", str(home), "--port", "0", *options)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    home = tmp_path_factory.mktemp("home")
    (home / FILE).write_text(
        'camera = "simulated?width=640&height=480&fps=15&width_um=900&height_um=900&um_per_px=0.2"\n'
    )
    station = start(home)
    try:
        yield station, home
    finally:
        if station.process.poll() is None:
            station.process.kill()
            station.process.communicate()


def children(pid: int) -> set[int]:
    """Processes that were started by this one, and by those."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(stat.parent.name)
            found |= {child, *children(child)}
    return found


def alive(pid: int) -> bool:
    """Whether it still runs; one that nobody has collected yet has no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def test_a_station_is_set_up_used_and_stopped_without_leaving_anything(running: tuple[Running, Path]) -> None:
    station, home = running
    said = "".join(station.said)
    assert "First run" in said
    assert str(home) in said
    browser = httpx.Client(base_url=station.address, timeout=60)
    body = {"name": "ada", "full_name": "Ada", "password": PASSWORD}
    assert browser.post("/api/setup", json=body).status_code == 200
    browser.headers["x-csrf-token"] = browser.cookies["marrowscope_csrf"]
    specimen = browser.post("/api/specimens", json={"code": "S-1", "patient_code": "P-SECRET"}).json()["id"]
    camera = browser.get("/api/cameras").json()[0]["address"]
    started = browser.post("/api/live/start", json={"address": camera, "specimen_id": specimen})
    assert started.status_code == 200, started.text
    cookie = "; ".join(f"{k}={v}" for k, v in browser.cookies.items())
    url = f"{station.address.replace('http', 'ws')}/api/live/stream"
    with connect(url, origin=station.address, additional_headers={"cookie": cookie}) as socket:  # type: ignore[arg-type]
        for _ in range(3):
            assert isinstance(socket.recv(timeout=30), bytes)
            socket.send("ok 1")
        # Torch is imported for the first time, by a process that gives way to all others.
        deadline = time.monotonic() + 120
        while not browser.get("/api/live").json()["detecting"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        kept = browser.post("/api/live/keep")
        assert kept.status_code == 201, kept.text
        assert browser.get(kept.json()["image_url"]).headers["content-type"] == "image/jpeg"
        slide = browser.get(f"/api/specimens/{specimen}").json()["slides"][0]["id"]
        picture = browser.get(kept.json()["image_url"]).content
        sent = browser.post(f"/api/specimens/{specimen}/fields?slide_id={slide}", files={"file": picture})
        assert sent.status_code == 201, sent.text
        assert sent.json()["model_id"] == kept.json()["model_id"]
        offspring = children(station.process.pid)
        assert offspring, "detection runs in a process of its own"
        # The stream is still open: it must not hold the station up.
        assert station.stop() == 0
        with pytest.raises((ConnectionClosed, TimeoutError)):
            read_on(socket)
    browser.close()
    assert "everything that was kept is on disk" in station.said[-1]
    assert not {pid for pid in offspring if alive(pid)}
    log = (home / "logs" / "station.log").read_text()
    assert "station closed" in log
    assert "P-SECRET" not in log
    assert PASSWORD not in log


def test_a_station_that_was_set_up_is_found_again(tmp_path: Path) -> None:
    first = start(tmp_path)
    with httpx.Client(base_url=first.address) as browser:
        browser.post("/api/setup", json={"name": "ada", "full_name": "Ada", "password": PASSWORD})
    assert first.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
    second = start(tmp_path)
    assert "First run" not in "".join(second.said)
    with httpx.Client(base_url=second.address) as browser:
        assert browser.post("/api/login", json={"name": "ada", "password": PASSWORD}).status_code == 200
        assert [model["serving"] for model in browser.get("/api/models").json()] == [True]
    assert second.stop() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7"])
def test_it_refuses_to_listen_on_a_network_unencrypted(command: Any, tmp_path: Path, host: str) -> None:
    result = command("station", "--home", tmp_path, "--host", host)
    assert result.exit_code == 2
    assert "--tls-cert" in result.stderr
    assert "--insecure-lan" in result.stderr
    assert not (tmp_path / "archive.db").exists()


def test_a_certificate_without_its_key_is_refused(command: Any, tmp_path: Path) -> None:
    result = command("station", "--home", tmp_path, "--tls-cert", tmp_path / "a.crt")
    assert result.exit_code == 2
    assert "tls_key" in result.stderr
    result = command("station", "--home", tmp_path, "--tls-cert", tmp_path / "a.crt", "--tls-key", tmp_path / "a.key")
    assert "no such certificate" in result.stderr
    (tmp_path / "a.crt").write_text("not a certificate")
    (tmp_path / "a.key").write_text("not a key")
    result = command("station", "--home", tmp_path, "--tls-cert", tmp_path / "a.crt", "--tls-key", tmp_path / "a.key")
    assert "not usable" in result.stderr


def test_a_port_that_is_taken_is_said(command: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = command("station", "--home", tmp_path, "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "--port" in result.stderr


@pytest.mark.parametrize(
    ("text", "word"),
    [("port = 'x'", "port"), ("colour = 1", "colour"), ("port =", "TOML"), ("score = 2.0", "score")],
)
def test_settings_that_cannot_be_used_are_named(command: Any, tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / FILE).write_text(text)
    result = command("station", "--home", tmp_path)
    assert result.exit_code == 2
    assert word in result.stderr
    assert FILE in result.stderr


@pytest.mark.parametrize(
    ("options", "word"), [(("--model", "no/such/model"), "no/such/model"), (("--port", "70000"), "65535")]
)
def test_options_that_cannot_be_used_are_named(
    command: Any, tmp_path: Path, options: tuple[str, ...], word: str
) -> None:
    result = command("station", "--home", tmp_path, "--port", 0, *options)
    assert result.exit_code == 2
    assert word in result.stderr


def test_the_help_has_examples(command: Any) -> None:
    result = command("station", "--help")
    assert "marrowscope station --open" in result.stdout
    assert "--insecure-lan" in result.stdout


@pytest.mark.parametrize(
    ("camera", "model", "expected"),
    [
        ("simulated?seed=3", None, "demo"),
        ("uvc:0", None, "real"),
        ("replay:fields", None, "real"),
        ("uvc:0", "runs/may/best", "runs/may/best"),
        ("simulated", "real", "real"),
    ],
)
def test_without_a_word_the_shipped_detector_fits_the_microscope(camera: str, model: str | None, expected: str) -> None:
    from marrowscope.station.settings import StationSettings

    assert StationSettings(camera=camera, model=model).detector == expected


def test_a_live_model_that_is_not_there_is_named_before_the_station_opens(command: Any, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('live_model = "no/such/model"')
    result = command("station", "--home", tmp_path, "--port", 0)
    assert result.exit_code == 2
    assert "no/such/model" in result.stderr
