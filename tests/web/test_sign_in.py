"""Coming in and going out."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers.station import HERE, PASSWORD, Station, sign_in
from marrowscope.cells.specimen import Role
from marrowscope.web.sessions import CSRF_COOKIE, SESSION_COOKIE, digest_of


def test_who_signs_in_is_known_afterwards(lab: Station) -> None:
    client = lab.client("tess")
    me = client.get("/api/me").json()
    assert (me["name"], me["role"]) == ("tess", "technician")


@pytest.mark.parametrize(("name", "password"), [("tess", "wrong"), ("nobody", PASSWORD), ("TESS", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_are_told_the_same(lab: Station, name: str, password: str) -> None:
    answer = lab.client().post("/api/login", json={"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.json() == {
        "error": "wrong_password",
        "message": "Name or password is wrong. Type both again, or ask an admin.",
    }


def test_somebody_who_was_shut_out_cannot_sign_in_and_is_signed_out(lab: Station) -> None:
    client = lab.client("tess")
    assert lab.client("ada").patch("/api/users/tess", json={"active": False}).status_code == 200
    assert client.get("/api/me").status_code == 401
    answer = lab.client().post("/api/login", json={"name": "tess", "password": PASSWORD})
    assert answer.json()["error"] == "wrong_password"


def test_the_session_cookie_is_hidden_from_scripts_and_the_csrf_cookie_is_not(lab: Station) -> None:
    answer = lab.client().post("/api/login", json={"name": "tess", "password": PASSWORD})
    cookies = {c.partition("=")[0]: c.lower() for c in answer.headers.get_list("set-cookie")}
    assert all("samesite=strict" in cookie and "path=/" in cookie for cookie in cookies.values())
    assert "httponly" in cookies[SESSION_COOKIE]
    assert "httponly" not in cookies[CSRF_COOKIE]


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_cookies_are_secure_where_the_page_is_encrypted(lab: Station, scheme: str, secure: bool) -> None:
    client = lab.client(base_url=f"{scheme}://127.0.0.1")
    answer = client.post("/api/login", json={"name": "tess", "password": PASSWORD})
    assert all(("secure" in c.lower()) is secure for c in answer.headers.get_list("set-cookie"))


def test_the_archive_knows_the_digest_of_a_token_alone(lab: Station) -> None:
    client = lab.client("tess")
    token = client.cookies[SESSION_COOKIE]
    assert lab.works.store.session(digest_of(token)) is not None
    assert lab.works.store.session(token) is None


def test_signing_out_ends_the_session_on_the_server_too(lab: Station) -> None:
    client = lab.client("tess")
    token = client.cookies[SESSION_COOKIE]
    assert client.post("/api/logout").status_code == 204
    assert SESSION_COOKIE not in client.cookies
    assert lab.client().get("/api/me", headers={"cookie": f"{SESSION_COOKIE}={token}"}).status_code == 401


def test_a_session_ends_after_the_idle_time_and_use_keeps_it_alive(lab: Station) -> None:
    sessions, clock = lab.works.sessions, _Clock()
    sessions._now = clock
    opened = sessions.open(lab.works.store.user("tess"))
    for _ in range(5):
        clock.pass_by(minutes=50)
        assert sessions.find(opened.token) is not None
    clock.pass_by(minutes=61)
    assert sessions.find(opened.token) is None


def test_a_session_ends_after_its_longest_time_however_much_it_is_used(lab: Station) -> None:
    sessions, clock = lab.works.sessions, _Clock()
    sessions._now = clock
    opened = sessions.open(lab.works.store.user("tess"))
    minutes = 0
    while sessions.find(opened.token) is not None:
        clock.pass_by(minutes=30)
        minutes += 30
        assert minutes < 24 * 60
    assert minutes == 12 * 60


def test_a_new_password_ends_every_session_but_begins_one_here(lab: Station) -> None:
    here, elsewhere = lab.client("tess"), lab.client("tess")
    answer = here.put("/api/me/password", json={"old": PASSWORD, "new": "another long one"})
    assert answer.status_code == 204
    assert here.get("/api/me").status_code == 200
    assert elsewhere.get("/api/me").status_code == 401
    sign_in(lab.client(), "tess", "another long one")


def test_a_new_password_takes_the_old_one_and_a_sensible_length(lab: Station) -> None:
    client = lab.client("tess")
    assert client.put("/api/me/password", json={"old": "wrong", "new": "another long one"}).status_code == 401
    short = client.put("/api/me/password", json={"old": PASSWORD, "new": "short"})
    assert short.status_code == 422
    assert "short" not in short.json()["message"]


def test_failures_close_the_gate_for_longer_and_longer_even_for_the_right_password(lab: Station) -> None:
    client = lab.client()
    statuses = [client.post("/api/login", json={"name": "tess", "password": "x"}).status_code for _ in range(7)]
    assert statuses[:5] == [401] * 5
    assert statuses[5:] == [429, 429]
    answer = client.post("/api/login", json={"name": "tess", "password": PASSWORD})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    sign_in(lab.client(), "hanna")


def test_the_gate_stays_closed_for_names_that_nobody_has(lab: Station) -> None:
    client = lab.client()
    statuses = [client.post("/api/login", json={"name": "ghost", "password": "x"}).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]


def test_an_admins_new_password_opens_the_gate(lab: Station) -> None:
    for _ in range(6):
        lab.client().post("/api/login", json={"name": "tess", "password": "x"})
    answer = lab.client("ada").patch("/api/users/tess", json={"password": "a brand new one"})
    assert answer.status_code == 200
    sign_in(lab.client(), "tess", "a brand new one")


def test_unsafe_requests_need_the_sessions_own_csrf_token_twice(lab: Station) -> None:
    client, other = lab.client("tess"), lab.client("hanna")
    body = {"code": "S-1", "patient_code": "P-1"}
    right = client.headers["x-csrf-token"]
    for header in (None, "", "nonsense", other.headers["x-csrf-token"]):
        headers = {"x-csrf-token": header} if header is not None else {}
        if header is None:
            del client.headers["x-csrf-token"]
        answer = client.post("/api/specimens", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "csrf")
    bare = lab.client()
    bare.cookies.set(SESSION_COOKIE, client.cookies[SESSION_COOKIE])
    assert bare.post("/api/specimens", json=body, headers={"x-csrf-token": right}).status_code == 403
    assert client.post("/api/specimens", json=body, headers={"x-csrf-token": right}).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8420"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_requests_from_pages_of_others_are_refused(lab: Station, headers: dict[str, str]) -> None:
    client = lab.client("tess")
    answer = client.post("/api/specimens", json={"code": "S-1", "patient_code": "P-1"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "foreign_origin")
    answer = lab.client().post("/api/login", json={"name": "tess", "password": PASSWORD}, headers=headers)
    assert answer.json()["error"] == "foreign_origin"


def test_our_own_page_is_no_stranger(lab: Station) -> None:
    headers = {"origin": HERE, "sec-fetch-site": "same-origin"}
    answer = lab.client("tess").post("/api/specimens", json={"code": "S-1", "patient_code": "P"}, headers=headers)
    assert answer.status_code == 201


def test_the_first_person_is_an_admin_and_is_signed_in(empty: Station) -> None:
    client = empty.client()
    assert client.get("/api/setup").json() == {"needed": True, "here": True, "min_password": 10}
    body = {"name": "ada", "full_name": "Ada", "password": PASSWORD}
    assert client.post("/api/setup", json=body).json()["role"] == Role.ADMIN
    assert client.get("/api/me").json()["name"] == "ada"
    assert client.get("/api/setup").json()["needed"] is False
    assert empty.client().post("/api/setup", json=body | {"name": "eve"}).status_code == 409
    assert [user.name for user in empty.works.store.users()] == ["ada"]


@pytest.mark.parametrize("address", ["192.168.1.20", "::ffff:10.0.0.1", "testclient"])
def test_the_set_up_is_done_on_the_station_itself(empty: Station, address: str) -> None:
    client = empty.client()
    client._transport.client = (address, 50000)  # type: ignore[attr-defined]
    assert client.get("/api/setup").json()["here"] is False
    answer = client.post("/api/setup", json={"name": "eve", "full_name": "Eve", "password": PASSWORD})
    assert answer.status_code == 403
    assert not empty.works.store.has_users()


def test_a_request_that_a_proxy_handed_on_is_not_the_station_itself(empty: Station) -> None:
    headers = {"x-forwarded-for": "10.1.1.1"}
    answer = empty.client().post(
        "/api/setup", json={"name": "eve", "full_name": "Eve", "password": PASSWORD}, headers=headers
    )
    assert answer.status_code == 403


def test_the_last_admin_cannot_be_shut_out(lab: Station) -> None:
    client = lab.client("ada")
    assert client.patch("/api/users/ada", json={"active": False}).status_code == 409
    assert client.patch("/api/users/ada", json={"role": "reader"}).status_code == 409


class _Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, *, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)
