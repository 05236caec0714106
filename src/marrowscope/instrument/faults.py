"""What can go wrong with a camera, on command: for tests, soaks and demonstrations."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Tests bring one that runs at their word."""

    def now(self) -> float:
        """Seconds, as `time.monotonic`."""
        ...

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Let so much time pass, or less if the condition is notified. Called while the condition is held."""
        ...


class WallClock:
    """The time of the machine."""

    def now(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Sleep on the condition."""
        condition.wait(seconds)


class Faults:
    """Switches that a simulated camera obeys. Any thread may throw them.

    news: notified at every change, so that a waiting camera learns of it at once.
    """

    def __init__(self, clock: Clock) -> None:
        self.news = threading.Condition()
        self._clock = clock
        self._to_drop = 0
        self._frozen_until = float("-inf")
        self._plugged = True
        self._times_unplugged = 0
        self._late_s = 0.0

    def drop_frames(self, count: int) -> None:
        """Lose the next `count` exposures: their numbers are missing in the stream."""
        if count < 0:
            raise ValueError(f"count must not be negative, got {count}")
        with self.news:
            self._to_drop += count
            self.news.notify_all()

    def freeze(self, seconds: float) -> None:
        """Deliver nothing for so long, though the camera goes on exposing and counting."""
        with self.news:
            self._frozen_until = self._clock.now() + seconds
            self.news.notify_all()

    def unplug(self) -> None:
        """Pull the cable: whoever waits for a frame gets CameraLost, and the camera cannot be opened."""
        with self.news:
            if self._plugged:
                self._plugged = False
                self._times_unplugged += 1
            self.news.notify_all()

    def replug(self) -> None:
        """Put the cable back: the camera can be opened again; one that was open meanwhile stays lost until then."""
        with self.news:
            self._plugged = True
            self.news.notify_all()

    def late(self, ms: float) -> None:
        """Deliver every frame so much later than usual, until told otherwise; 0 ends it."""
        if ms < 0:
            raise ValueError(f"ms must not be negative, got {ms}")
        with self.news:
            self._late_s = ms / 1000
            self.news.notify_all()

    @property
    def plugged(self) -> bool:
        """Whether the cable is in."""
        return self._plugged

    @property
    def times_unplugged(self) -> int:
        """Counts cables pulled: whoever remembers a smaller number lost the camera meanwhile."""
        return self._times_unplugged

    @property
    def late_s(self) -> float:
        """Seconds added to the way of every frame."""
        return self._late_s

    @property
    def frozen_until(self) -> float:
        """When delivery goes on; long past where it never stopped."""
        return self._frozen_until

    def take_drops(self) -> int:
        """Exposures that are to be lost from now on; the caller sees to it."""
        with self.news:
            count, self._to_drop = self._to_drop, 0
            return count
