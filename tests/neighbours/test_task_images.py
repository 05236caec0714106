"""A task's picture comes from where it may come from, and from nowhere else."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from marrowscope.cells.field import FieldImage
from marrowscope.errors import BadImage, BadInput, BadSetting
from marrowscope.neighbours.task_images import TaskImages

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2ln"


class Host:
    """A web server on this machine, and what it was asked for: (path, authorization)."""

    def __init__(self, picture: bytes) -> None:
        self.asked: list[tuple[str, str | None]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append((self.path, self.headers["Authorization"]))
                if "moved" in self.path:
                    self.send_response(302)
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                    self.end_headers()
                    return
                self.answer(404 if "missing" in self.path else 200, b"words" if "text" in self.path else picture)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                host.asked.append((self.path, body["refresh"]))
                self.answer(200, b'{"access": "short-lived"}')

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.name}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def root(tmp_path: Path, picture: Callable[[Path], Path]) -> Path:
    picture(tmp_path / "root" / "slide 1" / "field.png")
    picture(tmp_path / "secret.png")
    return tmp_path / "root"


@pytest.fixture
def hosts(root: Path) -> Iterator[tuple[Host, Host]]:
    """Label Studio, and another host."""
    data = (root / "slide 1" / "field.png").read_bytes()
    both = Host(data), Host(data)
    yield both
    for host in both:
        host.close()


def is_field(read: FieldImage) -> bool:
    return (read.width, read.height) == (320, 240)


def test_local_files_are_read_below_the_data_root_and_nobody_is_asked(root: Path, hosts: tuple[Host, Host]) -> None:
    images = TaskImages(hosts[0].url, "key", root)
    assert is_field(images.read("/data/local-files/?d=slide%201/field.png"))
    assert is_field(images.read(f"{hosts[0].url}/data/local-files/?d=slide%201/field.png"))
    assert hosts[0].asked == []
    with pytest.raises(BadImage, match="no such image"):
        images.read("/data/local-files/?d=slide%201/other.png")


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "slide 1/../../secret.png", "%2e%2e/secret.png", "..%5Csecret.png", "link.png", "C:/a.png", ""],
)
def test_no_task_leads_out_of_the_data_root(root: Path, path: str) -> None:
    (root / "link.png").symlink_to(root.parent / "secret.png")
    with pytest.raises(BadInput, match="leads out of the data root"):
        TaskImages(data_root=root).read(f"/data/local-files/?d={path}")


def test_without_a_data_root_label_studio_is_asked_with_its_key(hosts: tuple[Host, Host]) -> None:
    images = TaskImages(hosts[0].url, "key")
    for uri in (
        "/data/upload/3/a b.png",
        "upload/3/a.png",
        "/data/local-files/?d=a/b.png",
        f"{hosts[0].url}/data/c.png",
    ):
        assert is_field(images.read(uri))
    asked = ["/data/upload/3/a%20b.png", "/data/upload/3/a.png", "/data/local-files/?d=a/b.png", "/data/c.png"]
    assert hosts[0].asked == [(path, "Token key") for path in asked]


def test_a_personal_access_token_is_exchanged_once(hosts: tuple[Host, Host]) -> None:
    images = TaskImages(hosts[0].url + "/studio/", JWT)
    assert is_field(images.read("/data/upload/3/a.png"))
    assert is_field(images.read(f"{hosts[0].url}/studio/data/upload/3/b.png"))
    assert hosts[0].asked == [
        ("/studio/api/token/refresh/", JWT),
        ("/studio/data/upload/3/a.png", "Bearer short-lived"),
        ("/studio/data/upload/3/b.png", "Bearer short-lived"),
    ]


def test_another_host_is_asked_only_if_it_was_allowed_and_never_sees_the_key(hosts: tuple[Host, Host]) -> None:
    studio, other = hosts
    with pytest.raises(BadInput, match=r"host '127\.0\.0\.1' was not allowed"):
        TaskImages(studio.url, "key").read(f"{other.url}/a.png")
    assert other.asked == []
    assert is_field(TaskImages(studio.url, "key", hosts=frozenset({other.name})).read(f"{other.url}/a.png"))
    assert other.asked == [("/a.png", None)]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://169.254.169.254/latest/meta-data", "was not allowed"),
        ("http://studio@169.254.169.254/a.png", "was not allowed"),
        ("http://[::1/a.png", "is no address"),
        ("http://localhost:99999/a.png", "is no address"),
        ("file:///etc/passwd", "neither kept by Label Studio"),
        ("s3://bucket/a.png", "neither kept by Label Studio"),
        ("data:image/png;base64,AAAA", "neither kept by Label Studio"),
        ("/etc/passwd", "neither kept by Label Studio"),
        ("/api/users/", "neither kept by Label Studio"),
        ("/data/../api/users/", "goes upwards"),
        ("/data/%2e%2e/api/users/", "goes upwards"),
        ("", "neither kept by Label Studio"),
    ],
)
def test_what_a_task_says_leads_nowhere_else(hosts: tuple[Host, Host], uri: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        TaskImages(hosts[0].url, "key").read(uri)
    assert hosts[0].asked == []


def test_a_redirect_is_not_followed_and_other_answers_are_told(hosts: tuple[Host, Host]) -> None:
    images = TaskImages(hosts[0].url)
    for name, message in (("moved", "answers 302"), ("missing", "answers 404"), ("text", "is no image")):
        with pytest.raises(BadImage, match=f"picture '/data/{name}.png'.*{message}"):
            images.read(f"/data/{name}.png")
    with pytest.raises(BadImage, match="larger than 100 bytes"):
        TaskImages(hosts[0].url, largest_bytes=100).read("/data/a.png")
    with pytest.raises(BadImage, match=r"cannot be fetched from 127\.0\.0\.1:1"):
        TaskImages("http://127.0.0.1:1").read("/data/a.png")
    with pytest.raises(BadInput, match="LABEL_STUDIO_API_KEY"):
        TaskImages().read("/data/upload/1/a.png")


def test_a_setting_that_is_wrong_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no http address"):
        TaskImages("localhost:8080")
    with pytest.raises(BadSetting, match="is no folder"):
        TaskImages(data_root=tmp_path / "nowhere")


def test_the_key_is_not_shown() -> None:
    assert "key" not in repr(TaskImages("http://localhost:8080", "key")).replace("keys", "")
