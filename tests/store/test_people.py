"""Users, log-ins, sessions: what is kept, what is refused, what is never told."""

from datetime import UTC, datetime, timedelta

import pytest

from marrowscope.cells.specimen import Role
from marrowscope.errors import BadInput, Conflict, NotFound
from marrowscope.store.store import Store

NOW = datetime(2026, 5, 4, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HASH = "$argon2id$secret-hash"


@pytest.fixture
def staffed(store: Store) -> Store:
    store.add_user("root", "The Admin", Role.ADMIN, HASH, by="root")
    store.add_user("hana", "Dr Hana Ito", "haematologist", HASH, by="root")
    return store


def test_a_new_archive_has_nobody(store: Store) -> None:
    assert not store.has_users()
    store.add_user("root", "The Admin", Role.ADMIN, HASH, by="root")
    assert store.has_users()


def test_a_user_is_kept_as_given_and_the_name_is_taken_once(staffed: Store) -> None:
    hana = staffed.user("hana")
    assert (hana.full_name, hana.role, hana.active, hana.keyboard) == (
        "Dr Hana Ito",
        Role.HAEMATOLOGIST,
        True,
        "default",
    )
    assert [user.name for user in staffed.users()] == ["hana", "root"]
    assert staffed.password_hash("hana") == HASH
    with pytest.raises(Conflict, match="hana"):
        staffed.add_user("hana", "Another", Role.READER, HASH, by="root")


def test_what_is_set_is_what_is_read(staffed: Store) -> None:
    staffed.set_role("hana", Role.TECHNICIAN, by="root")
    staffed.set_keyboard("hana", "digits", by="hana")
    staffed.set_full_name("hana", "Dr Hana Sato", by="root")
    staffed.set_password_hash("hana", "new", by="hana")
    hana = staffed.set_active("hana", False, by="root")
    assert staffed.user("hana") == hana
    assert (hana.role, hana.keyboard, hana.full_name, hana.active) == (
        Role.TECHNICIAN,
        "digits",
        "Dr Hana Sato",
        False,
    )
    assert staffed.password_hash("hana") == "new"


def test_unknown_people_and_roles_are_refused(staffed: Store) -> None:
    for call in (staffed.user, staffed.password_hash):
        with pytest.raises(NotFound, match="nobody"):
            call("nobody")
    with pytest.raises(NotFound):
        staffed.set_role("nobody", Role.READER, by="root")
    with pytest.raises(BadInput, match="no role"):
        staffed.set_role("hana", "king", by="root")


def test_the_last_admin_stays(staffed: Store) -> None:
    for leave in (
        lambda: staffed.set_role("root", Role.READER, by="root"),
        lambda: staffed.set_active("root", False, by="root"),
    ):
        with pytest.raises(Conflict, match="last admin"):
            leave()
    staffed.add_user("second", "Second", Role.ADMIN, HASH, by="root")
    assert staffed.set_role("root", Role.READER, by="root").role is Role.READER
    assert staffed.set_active("root", False, by="second").active is False


def test_failures_are_counted_from_a_moment_and_from_the_last_success(store: Store) -> None:
    for minute, ok in enumerate((False, False, True, False, False, False)):
        store.note_login("hana", ok, now=NOW + minute * MINUTE)
    store.note_login("ben", False, now=NOW)
    assert store.failures_since("hana", NOW - MINUTE) == 3
    assert store.failures_since("hana", NOW + 3.5 * MINUTE) == 2
    assert store.failures_since("hana", NOW + 9 * MINUTE) == 0
    assert store.failures_since("ben", NOW - MINUTE) == 1


def test_a_session_lasts_until_it_expires_or_is_closed(staffed: Store) -> None:
    opened = staffed.open_session("a" * 64, "hana", NOW + MINUTE, "csrf")
    assert staffed.session("a" * 64, now=NOW) == opened
    assert opened.user == staffed.user("hana")
    assert staffed.session("a" * 64, now=NOW + 2 * MINUTE) is None
    assert staffed.session("b" * 64, now=NOW) is None
    staffed.close_session("a" * 64, now=NOW)
    assert staffed.session("a" * 64, now=NOW) is None


def test_a_session_has_the_role_of_now(staffed: Store) -> None:
    staffed.open_session("a" * 64, "hana", NOW + MINUTE, "csrf")
    staffed.set_role("hana", Role.READER, by="root")
    session = staffed.session("a" * 64, now=NOW)
    assert session is not None
    assert session.user.role is Role.READER


def test_who_is_shut_out_or_has_a_new_password_is_logged_out(staffed: Store) -> None:
    staffed.open_session("a" * 64, "hana", NOW + MINUTE, "csrf")
    staffed.set_password_hash("hana", "new", by="hana")
    assert staffed.session("a" * 64, now=NOW) is None
    staffed.open_session("b" * 64, "hana", NOW + MINUTE, "csrf")
    staffed.set_active("hana", False, by="root")
    staffed.set_active("hana", True, by="root")
    assert staffed.session("b" * 64, now=NOW) is None
    staffed.set_active("hana", False, by="root")
    with pytest.raises(Conflict, match="not active"):
        staffed.open_session("c" * 64, "hana", NOW + MINUTE, "csrf")


def test_no_hash_and_no_mistyped_name_is_in_the_trail(staffed: Store) -> None:
    staffed.set_password_hash("hana", "another-secret", by="hana")
    staffed.note_login("my password in the wrong field", False)
    staffed.note_login("hana", False)
    entries, _ = staffed.audit(1000)
    text = "\n".join(str(entry) for entry in entries)
    assert "secret" not in text
    assert "wrong field" not in text
    assert [entry.what for entry in entries[:2]] == ["login.failed", "user.password"]
