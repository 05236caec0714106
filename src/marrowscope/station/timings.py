"""How long each stage of a picture's way takes: shown beside the picture, and written to the log."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

REMEMBERED = 600
"""Measurements a stage keeps: 20 s of pictures at 30 a second."""


class Spread(NamedTuple):
    """What a stage took, in milliseconds: middle, 95th percentile, most; of the last `times` measurements."""

    p50: float
    p95: float
    most: float
    times: int


class Timings:
    """The newest measurement of every stage, and their spread. Any thread may write and read."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._lock = threading.Lock()
        self._remembered = remembered
        self._kept: dict[str, deque[float]] = {}

    def note(self, stage: str, milliseconds: float) -> None:
        """Remember one measurement."""
        with self._lock:
            self._kept.setdefault(stage, deque(maxlen=self._remembered)).append(milliseconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Remember how long the block took, also when it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.note(stage, 1000 * (time.perf_counter() - start))

    def newest(self) -> dict[str, float]:
        """The last measurement of every stage, in milliseconds."""
        with self._lock:
            return {stage: kept[-1] for stage, kept in self._kept.items()}

    def spreads(self) -> dict[str, Spread]:
        """The spread of every stage."""
        with self._lock:
            copies = {stage: np.fromiter(kept, float) for stage, kept in self._kept.items()}
        return {stage: spread_of(values) for stage, values in copies.items()}


def spread_of(milliseconds: ArrayLike) -> Spread:
    """The spread of some measurements; all 0 for none."""
    values = np.asarray(milliseconds, float)
    if not values.size:
        return Spread(0.0, 0.0, 0.0, 0)
    p50, p95 = np.percentile(values, [50, 95]).tolist()
    return Spread(p50, p95, float(values.max()), int(values.size))


def in_words(spreads: Mapping[str, Spread]) -> str:
    """One line for the log: `grab 4/9, track 3/5 ms` (middle and 95th percentile)."""
    return ", ".join(f"{stage} {s.p50:.0f}/{s.p95:.0f}" for stage, s in spreads.items()) + " ms"


class Rate:
    """How many times a second something happens, over the last two seconds of happenings."""

    def __init__(self, over_s: float = 2.0) -> None:
        self._over_s = over_s
        self._times: deque[float] = deque()

    def tick(self, now: float) -> float:
        """It happened at `now` (seconds on any clock that goes forward); returns the rate."""
        self._times.append(now)
        while self._times[-1] - self._times[0] > self._over_s:
            self._times.popleft()
        span = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0
