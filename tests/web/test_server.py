"""The app under a real server: attacks by size over a real socket, and an end that waits for nobody."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from helpers.station import CAMERA, PASSWORD, Station, station
from marrowscope.errors import BadSetting
from marrowscope.station.settings import StationSettings, load_settings
from marrowscope.web.server import check_listening, listen, make_server

GIGABYTE = 1 << 30


@contextmanager
def served(lab: Station) -> Iterator[httpx.Client]:
    """A signed-in browser at a running server."""
    settings = lab.works.settings.model_copy(update={"port": 0})
    listening = listen(settings)
    started = threading.Event()
    server = make_server(lab.app, settings, ready=started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        assert started.wait(30)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=30) as browser:
            browser.post("/api/login", json={"name": "tess", "password": PASSWORD}).raise_for_status()
            browser.headers["x-csrf-token"] = browser.cookies["marrowscope_csrf"]
            yield browser
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
        listening.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[httpx.Client]:
    with station(tmp_path, upload_mb=4) as lab:
        lab.case()
        with served(lab) as signed_in:
            yield signed_in


def flood(browser: httpx.Client, head: str) -> tuple[int, bytes]:
    """Send this head and then bytes until the server has enough: how many it took, and what it answered."""
    host, port = browser.base_url.host, browser.base_url.port
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    lines = f"{head}\r\nHost: {host}:{port}\r\nCookie: {cookies}\r\nX-CSRF-Token: {browser.headers['x-csrf-token']}\r\n"
    block = bytes(1 << 16)
    chunk = f"{len(block):x}\r\n".encode() + block + b"\r\n" if "chunked" in head else block
    with socket.create_connection((host, port or 80), timeout=20) as wire:
        wire.sendall(f"{lines}\r\n".encode())
        sent = 0
        try:
            while sent < GIGABYTE:
                wire.sendall(chunk)
                sent += len(block)
        except OSError:
            pass  # the server has closed its ear
        answer = b""
        try:
            while part := wire.recv(1 << 16):
                answer += part
        except OSError:
            pass
    return sent, answer


@pytest.mark.parametrize("path", ["/api/specimens/1/fields?slide_id=1", "/api/specimens"])
@pytest.mark.parametrize("length", [f"Content-Length: {GIGABYTE}", "Transfer-Encoding: chunked"])
def test_a_gigabyte_is_refused_long_before_it_is_sent(browser: httpx.Client, path: str, length: str) -> None:
    kind = "multipart/form-data; boundary=x" if "fields" in path else "application/json"
    sent, answer = flood(browser, f"POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\n{length}")
    # What lies in the buffers of both sockets comes on top of the limit.
    assert sent < GIGABYTE / 8
    # The refusal may be lost where the client is still sending when the connection closes.
    assert answer == b"" or answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
    assert browser.get("/api/health").status_code == 200


def test_a_gigabyte_that_is_announced_is_refused_in_words(browser: httpx.Client) -> None:
    host, port = browser.base_url.host, browser.base_url.port
    with socket.create_connection((host, port or 80), timeout=20) as wire:
        wire.sendall(
            f"POST /api/specimens/1/fields?slide_id=1 HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Content-Length: {GIGABYTE}\r\n\r\n".encode()
        )
        answer = wire.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"too_large" in answer


def test_a_fault_leaves_the_connection_and_the_headers_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("secret words")

    with station(tmp_path) as lab, served(lab) as browser:
        monkeypatch.setattr(lab.works.store, "statistics", fail)
        for _ in range(3):
            answer = browser.get("/api/statistics")
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_server_ends_while_somebody_watches_mjpeg(tmp_path: Path) -> None:
    with station(tmp_path) as lab:
        specimen, slide = lab.case()
        with served(lab) as browser:
            body = {"address": CAMERA, "specimen_id": specimen.id, "slide_id": slide}
            assert browser.post("/api/live/start", json=body).status_code == 200
            pictures, ended = threading.Event(), threading.Event()

            def watch() -> None:
                with (
                    httpx.Client(base_url=browser.base_url, cookies=browser.cookies, timeout=30) as other,
                    other.stream("GET", "/api/live/mjpeg") as answer,
                ):
                    for part in answer.iter_raw():
                        if b"\xff\xd8" in part:
                            pictures.set()
                ended.set()

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            assert pictures.wait(30)
        assert ended.wait(15)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "scope1.lab.local"])
def test_a_network_takes_encryption_or_an_explicit_word(host: str) -> None:
    with pytest.raises(BadSetting, match="--insecure-lan"):
        check_listening(StationSettings(host=host))
    check_listening(StationSettings(host=host, insecure_lan=True))
    check_listening(StationSettings(host=host, tls_cert=Path("a"), tls_key=Path("b")))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_needs_neither(host: str) -> None:
    check_listening(StationSettings(host=host))


def test_the_settings_file_that_is_written_says_what_holds_without_it(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == StationSettings()
    text = (tmp_path / "station.toml").read_text()
    # Every entry is there, commented out with its default; with the marks removed it still holds.
    for name in StationSettings.model_fields:
        assert f"\n# {name} = " in text, name
    plain = ("host", "port", "insecure_lan", "camera", "scheme", "idle_minutes", "session_hours", "upload_mb")
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(tuple(f"# {n} =" for n in plain))]
    (tmp_path / "station.toml").write_text("\n".join(lines))
    assert load_settings(tmp_path) == StationSettings()
