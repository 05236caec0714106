"""A mailbox of one: newest wins. A slow reader misses what came between and never sees anything old.

No queue stands anywhere between the camera and the eye, so a slow detector or a slow page cannot make the picture late.
"""

import threading
import time
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")


class Letter(NamedTuple, Generic[Item]):
    """What lay in the box. number: its place in the order of arrival, from 0."""

    number: int
    item: Item


class Mailbox(Generic[Item]):
    """Holds the newest item for any number of readers; each remembers the number that it has read."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._letter: Letter[Item] | None = None
        self._count = -1
        self._closed = False

    def put(self, item: Item, number: int | None = None) -> int:
        """Replace what lies there, wake every reader, and return the number given to the item.

        number: its own, if it has one; where that does not rise, the next is given.
        """
        # Numbered under the lock: two writers can never give one number, nor put an older one on top.
        with self._news:
            self._count = max(self._count + 1, -1 if number is None else number)
            self._letter = Letter(self._count, item)
            self._news.notify_all()
            return self._count

    def newest(self) -> Letter[Item] | None:
        """What lies there now; None before the first."""
        with self._news:
            return self._letter

    def after(self, number: int, timeout_s: float) -> Letter[Item] | None:
        """Wait for something newer than `number`; None when it does not come in time, or the box is closed."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while self._letter is None or self._letter.number <= number:
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    return None
                self._news.wait(left)
            return self._letter

    def close(self) -> None:
        """Wake every reader for the last time; they get None once nothing newer lies there."""
        with self._news:
            self._closed = True
            self._news.notify_all()
