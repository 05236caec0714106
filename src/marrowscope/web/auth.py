"""Passwords, and the gate before them.

Argon2id with the library's defaults (RFC 9106, low memory). An unknown user costs as much time as a known one with a
wrong password, so that the time tells nothing. Repeated failures of one name close the gate for it: for a moment
first, then for longer and longer; the failures themselves are kept in the archive.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

FREE_FAILURES = 4
"""Failures in a row that cost nothing: typing errors."""
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 900.0
REMEMBERED = timedelta(hours=1)
"""Failures older than this are forgotten."""


class Passwords:
    """Makes and checks hashes. A few at a time: each costs 64 MiB and a core for a moment."""

    def __init__(self, hasher: PasswordHasher | None = None, *, at_once: int = 2) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(at_once)
        self._nobody: str | None = None
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        """What the archive keeps."""
        with self._turns:
            return self._hasher.hash(password)

    def check(self, kept: str | None, password: str) -> bool:
        """Whether the password is the one behind `kept`; for None (no such user) False, after the same work."""
        known = kept is not None
        with self._turns:
            try:
                return self._hasher.verify(kept if kept is not None else self._decoy(), password) and known
            except (VerificationError, InvalidHashError):
                return False

    def stale(self, kept: str) -> bool:
        """Whether the hash was made with weaker settings than today's; make it anew at the next log-in."""
        return self._hasher.check_needs_rehash(kept)

    def _decoy(self) -> str:
        with self._lock:
            if self._nobody is None:
                self._nobody = self._hasher.hash("nobody has this password")
            return self._nobody


def wait_after(failures: int) -> float:
    """Seconds for which a name is refused after so many failures in a row: 0, then 5, 10, 20 ... 900."""
    if failures <= FREE_FAILURES:
        return 0.0
    return min(FIRST_WAIT_S * 2.0 ** min(failures - FREE_FAILURES - 1, 30), LONGEST_WAIT_S)


class Gate:
    """Counts the failures of every name, known to the archive or not. In memory: a station is one process.

    An attempt counts as failed from its beginning until it has `passed`, so that many at once are not free of charge.
    """

    def __init__(self, *, names: int = 10_000) -> None:
        self._failed: dict[str, tuple[int, datetime]] = {}
        self._names = names
        self._lock = threading.Lock()

    def enter(self, name: str, now: datetime, failures_since: Callable[[str, datetime], int]) -> float:
        """Begin an attempt: 0.0; or the seconds until this name may try again, and nothing is begun.

        failures_since(name, moment): what the archive knows, asked once a name: a restart does not open the gate.
        """
        with self._lock:
            known = self._failed.get(name)
        before = (failures_since(name, now - REMEMBERED), now) if known is None else known
        with self._lock:
            count, last = self._failed.pop(name, before)
            if now - last > REMEMBERED:
                count = 0
            wait = max(0.0, wait_after(count) - (now - last).total_seconds())
            self._failed[name] = (count, last) if wait else (count + 1, now)
            while len(self._failed) > self._names:  # the longest untouched first: dicts keep their order
                self._failed.pop(next(iter(self._failed)))
        return wait

    def passed(self, name: str, now: datetime) -> None:
        """The right password, or a new one by an admin: the count starts anew."""
        with self._lock:
            self._failed[name] = (0, now)
