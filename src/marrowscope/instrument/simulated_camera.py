"""The camera of the simulated microscope: when it exposes, what it offers, and how it fails.

No thread runs: which exposure is the newest follows from the clock, and a frame is made when somebody takes it. So a
reader that is slow costs nothing, and gets the newest.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from marrowscope.errors import CameraLost, FrameDropped, NotOffered
from marrowscope.instrument.camera import CameraInfo, Control, Frame, Range
from marrowscope.instrument.faults import Clock, Faults

NOMINAL_EXPOSURE_MS = 4.0
_TIMEOUT_S = 2.0
_CONTROLS = {
    Control.EXPOSURE_MS: Range(0.05, 200.0),
    Control.GAIN: Range(1.0, 16.0),
    Control.RED: Range(0.25, 4.0),
    Control.BLUE: Range(0.25, 4.0),
}


@dataclass(frozen=True)
class Exposure:
    """One exposure: its number, when it began and ended by the clock, and the controls in force."""

    number: int
    started: float
    ended: float
    values: dict[Control, float]


class SimulatedCamera:
    """The camera of a `simulated.SimulatedMicroscope`; made by it. Numbers count exposures since it was made.

    expose: makes the frame of an exposure; True where all of it has to be drawn sharply. on_open: called whenever it
    is opened.
    """

    def __init__(
        self,
        info: CameraInfo,
        expose: Callable[[Exposure, bool], Frame],
        on_open: Callable[[], None],
        faults: Faults,
        clock: Clock,
        *,
        fps: float,
        latency_s: float,
    ) -> None:
        self._info, self._expose, self._on_open, self._faults, self._clock = info, expose, on_open, faults, clock
        self._fps, self._latency_s = fps, latency_s
        self._values = {
            Control.EXPOSURE_MS: NOMINAL_EXPOSURE_MS,
            Control.GAIN: 1.0,
            Control.RED: 1.0,
            Control.BLUE: 1.0,
        }
        # Exposure `_base_number` ended at `_base_time`; from there they follow every `_period()`.
        self._base_number, self._base_time = 0, clock.now()
        self._dropped_to = -1
        self._dropped_from = 0
        self._opened: int | None = None

    @property
    def info(self) -> CameraInfo:
        """What it is."""
        return self._info

    @property
    def controls(self) -> dict[Control, Range]:
        """All four."""
        return dict(_CONTROLS)

    def get(self, control: Control) -> float:
        """The value in force."""
        self._offered(control)
        with self._faults.news:
            return self._values[control]

    def set(self, control: Control, value: float) -> float:
        """Clamped; every frame taken from now on obeys."""
        clamped = self._offered(control).clamp(float(value))
        with self._faults.news:
            if control is Control.EXPOSURE_MS:
                # The exposure under way is ended as it was begun; the new rhythm starts from there.
                number = self._finished(self._clock.now())
                self._base_number, self._base_time = number, self._ended(number)
            self._values[control] = clamped
            self._faults.news.notify_all()
        return clamped

    def frames(self) -> Iterator[Frame]:
        """The newest frame, again and again."""
        session, after = self._session(), -1
        while True:
            exposure = self._wait(session, after=after)
            if exposure is None:
                return
            yield self._expose(exposure, False)
            after = exposure.number

    def snap(self) -> Frame:
        """A frame exposed after this call, all of it sharply drawn."""
        found = self._wait(self._session(), begun=self._clock.now())
        if found is None:
            raise CameraLost(f"{self._name()} was closed while a picture was taken. Open it again.")
        return self._expose(found, True)

    def __enter__(self) -> Self:
        with self._faults.news:
            if not self._faults.plugged:
                raise CameraLost(f"{self._name()} is not there: its cable is pulled. Plug it in, then open it again.")
            if self._opened is not None:
                raise CameraLost(f"{self._name()} is open already. Close it first.")
            self._opened = self._faults.times_unplugged
        self._on_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._faults.news:
            self._opened = None
            self._faults.news.notify_all()

    def _session(self) -> int:
        with self._faults.news:
            if self._opened is None:
                raise CameraLost(f"{self._name()} is not open. Enter its context first.")
            return self._opened

    def _wait(self, session: int, *, after: int = -1, begun: float | None = None) -> Exposure | None:
        """Wait for the newest exposure above `after`, or for the first begun at a time.

        None once the camera is closed.
        """
        with self._faults.news:
            deadline = self._clock.now() + _TIMEOUT_S
            wanted: int | None = None
            while True:
                if self._opened is None:
                    return None
                if self._faults.times_unplugged != session:
                    raise CameraLost(f"{self._name()} was unplugged. Plug it in, then close and open it again.")
                now = self._clock.now()
                self._note_drops(now)
                arrived = self._finished(now - self._latency_s - self._faults.late_s)
                if begun is not None:
                    # Asked anew each round: a new exposure time moves what is to come.
                    wanted = self._finished(begun) + 1
                    while self._ended(wanted) - self._exposure_s() < begun:
                        wanted += 1
                    after = wanted - 1
                number = wanted if wanted is not None and arrived >= wanted else arrived
                frozen = self._faults.frozen_until > now
                if number > after and number >= self._base_number and not frozen:
                    if begun is not None and self._is_dropped(number):
                        raise FrameDropped(f"{self._name()}: frame {number} was lost on its way. Take it again.")
                    while number > after and self._is_dropped(number):
                        number -= 1
                    if number > after:
                        ended = self._ended(number)
                        return Exposure(number, ended - self._exposure_s(), ended, dict(self._values))
                if now >= deadline:
                    raise CameraLost(
                        f"{self._name()} delivered no frame for {_TIMEOUT_S:g} s. Close and open it again."
                    )
                next_at = self._ended(max(arrived, after) + 1) + self._latency_s + self._faults.late_s
                until = max(next_at, self._faults.frozen_until if frozen else next_at)
                self._clock.wait(self._faults.news, max(min(until, deadline) - now, 0.0005))

    def _note_drops(self, now: float) -> None:
        if count := self._faults.take_drops():
            self._dropped_from = max(self._finished(now), self._dropped_to) + 1
            self._dropped_to = self._dropped_from + count - 1

    def _is_dropped(self, number: int) -> bool:
        return self._dropped_from <= number <= self._dropped_to

    def _exposure_s(self) -> float:
        return self._values[Control.EXPOSURE_MS] / 1000

    def _period(self) -> float:
        return max(1 / self._fps, self._exposure_s())

    def _finished(self, now: float) -> int:
        """Number of the last exposure that had ended; before the last change of rhythm: the one before that."""
        return self._base_number + max(math.floor((now - self._base_time) / self._period() + 1e-9), -1)

    def _ended(self, number: int) -> float:
        return self._base_time + (number - self._base_number) * self._period()

    def _offered(self, control: Control) -> Range:
        if control not in _CONTROLS:
            raise NotOffered(f"{self._name()} has no control '{control}'. It has: {', '.join(_CONTROLS)}.")
        return _CONTROLS[control]

    def _name(self) -> str:
        return f"the simulated camera {self._info.serial}"
