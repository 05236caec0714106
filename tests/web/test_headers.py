"""What every answer carries, and by which names the station is called."""

import gzip
import re

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from helpers.station import HERE, Station, station
from marrowscope.web.headers import KnownHosts, host_of


@pytest.mark.parametrize("path", ["/", "/live", "/assets/app-1a2b.js", "/api/health", "/api/specimens", "/api/nothing"])
def test_every_answer_carries_the_headers_that_keep_a_browser_safe(lab: Station, path: str) -> None:
    headers = lab.client().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    # No other host, no inline script, no eval: only keywords and the two schemes of pictures made by the page itself.
    assert set(re.findall(r"[\w-]+:(?!/)|https?://\S+|'unsafe-\w+'", policy)) <= {"data:", "blob:", "'unsafe-inline'"}
    assert "'unsafe-inline'" not in policy.replace("style-src-attr 'unsafe-inline'", "")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.test", "192.168.1.5", ""])
def test_a_foreign_name_is_not_answered(lab: Station, host: str) -> None:
    client = lab.client("tess")
    answer = client.get("/api/me", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]) == (400, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8420", "[::1]:8420", "LOCALHOST:1", "127.3.2.1"])
def test_loopback_has_many_names(lab: Station, host: str) -> None:
    assert lab.client().get("/api/health", headers={"host": host}).status_code == 200


def test_on_a_network_bare_addresses_and_the_names_given_are_answered(tmp_path) -> None:
    hosts = KnownHosts(["scope1.lab.local"], network=True)
    assert all(h in hosts for h in ("192.168.1.5:8420", "[fe80::1]:8420", "Scope1.lab.local.", "localhost"))
    assert not any(h in hosts for h in ("scope2.lab.local", "xscope1.lab.local", "1.2.3.4.evil.example"))
    with station(tmp_path, host="0.0.0.0", hosts=("scope1.lab.local",)) as lab:
        client = TestClient(lab.app, base_url="http://scope1.lab.local:8420")
        assert client.get("/api/health").status_code == 200
        assert client.get("/api/health", headers={"host": "evil.example"}).status_code == 400


@given(st.text(max_size=40))
def test_any_host_header_is_judged_without_failing(header: str) -> None:
    assert isinstance(header in KnownHosts(["a"], network=True), bool)
    assert host_of(header) == host_of(header).lower()


def test_answers_of_the_interface_are_not_stored(lab: Station) -> None:
    assert lab.client("tess").get("/api/me").headers["cache-control"] == "no-store"


def test_large_answers_travel_compressed_and_small_ones_as_they_are(lab: Station) -> None:
    client = lab.client("tess")
    for path, compressed in (("/api/scheme", True), ("/assets/app-1a2b.js", True), ("/api/me", False)):
        with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
            raw = b"".join(answer.iter_raw())
        assert (answer.headers.get("content-encoding") == "gzip") is compressed, path
        plain = client.get(path, headers={"accept-encoding": "identity"}).content
        assert (gzip.decompress(raw) if compressed else raw) == plain
        assert int(answer.headers["content-length"]) == len(raw)
        assert "accept-encoding" in answer.headers["vary"].lower()


def test_pictures_are_not_compressed_again(lab: Station) -> None:
    _, slide = lab.case()
    field = lab.field(slide)
    answer = lab.client("rea").get(f"/api/fields/{field.id}/image", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers


def test_errors_have_one_shape_and_tell_nothing_of_the_inside(lab: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    client = lab.client("ada")

    def fail() -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(lab.works.store, "statistics", fail)
    answer = client.get("/api/statistics")
    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "message"}
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api", 404),
        ("DELETE", "/api/specimens", 405),
        ("GET", "/api/login", 405),
        ("GET", "/api/specimens/abc", 422),
        ("GET", "/api/specimens/99", 404),
        ("GET", "/api/fields/2147483648", 422),
        ("POST", "/", 405),
    ],
)
def test_every_error_is_the_same_json(lab: Station, method: str, path: str, status: int) -> None:
    answer = lab.client("tess").request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message"}
    assert ("allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize("path", ["/", "/live", "/cases/7/review", "/login", "/no/such/page", "/..%2f..%2fetc/passwd"])
def test_every_page_is_the_one_page(lab: Station, path: str) -> None:
    answer = lab.client().get(path)
    assert answer.text.startswith("<!doctype html>")
    again = lab.client().get(path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


def test_hashed_files_last_and_missing_ones_are_no_page(lab: Station) -> None:
    client = lab.client()
    assert "immutable" in client.get("/assets/app-1a2b.js").headers["cache-control"]
    assert client.get("/").headers["cache-control"] == "no-cache"
    assert client.get("/assets/gone.js").status_code == 404


def test_the_origin_of_this_station_is_the_one_it_was_called_by(lab: Station) -> None:
    answer = lab.client().post("/api/login", json={}, headers={"origin": HERE})
    assert answer.status_code == 422
