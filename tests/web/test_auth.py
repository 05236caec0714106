"""Passwords, the gate before them, and what is kept in memory."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from helpers.station import QUICK
from marrowscope.web.auth import FREE_FAILURES, LONGEST_WAIT_S, Gate, Passwords, wait_after
from marrowscope.web.pictures import Latest

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class CountingHasher(PasswordHasher):
    """Counts how often it works."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, *arguments: object) -> bool:  # type: ignore[override]
        self.verified += 1
        return super().verify(*arguments)  # type: ignore[arg-type]


def test_a_password_is_kept_as_argon2id_with_the_librarys_strength() -> None:
    kept = Passwords().hash("correct horse battery")
    assert kept.startswith("$argon2id$")
    assert not PasswordHasher().check_needs_rehash(kept)
    assert Passwords().check(kept, "correct horse battery")
    assert not Passwords().check(kept, "correct horse batterz")


def test_an_unknown_user_costs_the_same_work_as_a_wrong_password() -> None:
    hasher = CountingHasher()
    passwords = Passwords(hasher)
    kept = passwords.hash("right")
    for known in (kept, None, None):
        before = hasher.verified
        assert not passwords.check(known, "wrong")
        assert hasher.verified == before + 1
    assert not passwords.check(None, "nobody has this password")


@pytest.mark.parametrize("kept", ["", "plain", "$argon2id$broken", "$2b$12$abcdefghijklmnopqrstuv"])
def test_a_hash_that_is_none_lets_nobody_in(kept: str) -> None:
    assert not QUICK.check(kept, "")


def test_waits_grow_and_end_somewhere() -> None:
    waits = [wait_after(n) for n in range(40)]
    assert waits[: FREE_FAILURES + 1] == [0] * (FREE_FAILURES + 1)
    growing = waits[FREE_FAILURES + 1 :]
    assert all(later == min(2 * sooner, LONGEST_WAIT_S) for sooner, later in pairwise(growing))


@given(st.lists(st.floats(0, 400), max_size=30))
def test_however_attempts_are_timed_no_more_pass_the_gate_than_the_waits_permit(pauses: list[float]) -> None:
    gate, now, let_in = Gate(), NOON, 0
    last = NOON - timedelta(days=1)
    for pause in pauses:
        now += timedelta(seconds=pause)
        if not gate.enter("tess", now, lambda name, since: 0):
            assert (now - last).total_seconds() >= wait_after(let_in)
            let_in, last = let_in + 1, now


def test_a_restart_does_not_open_the_gate() -> None:
    assert Gate().enter("tess", NOON, lambda name, since: 9) == wait_after(9)
    assert Gate().enter("tess", NOON, lambda name, since: 0) == 0


def test_one_name_does_not_close_the_gate_for_another() -> None:
    gate = Gate()
    for _ in range(10):
        gate.enter("tess", NOON, lambda name, since: 0)
    assert gate.enter("tess", NOON, lambda name, since: 0) > 0
    assert gate.enter("hanna", NOON, lambda name, since: 0) == 0


def test_a_gate_remembers_no_more_names_than_it_should() -> None:
    gate = Gate(names=50)
    for n in range(500):
        gate.enter(f"name{n}", NOON, lambda name, since: 0)
    assert len(gate._failed) == 50


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=60))
def test_what_was_used_last_is_kept_up_to_its_weight(puts: list[tuple[int, int]]) -> None:
    latest: Latest[bytes] = Latest(100, len)
    newest: dict[int, bytes] = {}
    for key, weight in puts:
        latest.put(key, bytes(weight))
        newest[key] = bytes(weight)
        assert latest.get(key) == bytes(weight)
    held = {key: value for key in newest if (value := latest.get(key)) is not None}
    assert all(newest[key] == value for key, value in held.items())
    assert sum(map(len, held.values())) <= 100
