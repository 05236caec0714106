"""A stage that takes its time, and a slide moved by hand: both say where the slide was at any moment."""

import math
from collections import deque
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import InstrumentError
from marrowscope.instrument.faults import Clock
from marrowscope.instrument.stage import Limits, Position


class Whereabouts(Protocol):
    """Says where the middle of the view lay on the slide."""

    def at(self, now: float) -> Position:
        """At a moment of the clock, not long past or soon."""
        ...


@dataclass(frozen=True)
class _Move:
    started: float
    seconds: float
    start: Position
    end: Position

    def at(self, now: float) -> Position:
        if now >= self.started + self.seconds - 1e-9:
            return self.end
        share = max((now - self.started) / self.seconds, 0.0)
        return Position(*(a + share * (b - a) for a, b in zip(self.start, self.end, strict=True)))


class SimulatedStage:
    """A motorised stage of finite speed: pictures taken on the way show the way. Threads may share it; moves queue."""

    def __init__(
        self, start: Position, limits: Limits, clock: Clock, *, um_per_s: float = 1500.0, z_um_per_s: float = 150.0
    ) -> None:
        self._limits, self._clock = limits, clock
        self._um_per_s, self._z_um_per_s = um_per_s, z_um_per_s
        # Pictures are asked for a little after they were exposed: some history is needed.
        self._moves = deque([_Move(clock.now(), 0.0, start, start)], maxlen=64)
        self._one_at_a_time = Lock()

    @property
    def position_um(self) -> Position:
        """Where it is now, also on the way."""
        return self.at(self._clock.now())

    @property
    def limits_um(self) -> Limits:
        """The slide's edges, and the focus drive's ends."""
        return self._limits

    def at(self, now: float) -> Position:
        """Where it was, is or will be at a moment."""
        moves = tuple(self._moves)
        for move in reversed(moves):
            if move.started <= now:
                return move.at(now)
        return moves[0].start

    def move_to_um(self, x: float | None = None, y: float | None = None, z: float | None = None) -> Position:
        """Go there and wait until it has arrived. InstrumentError for a target beyond the limits."""
        with self._one_at_a_time:
            start = self.position_um
            end = Position(*(here if to is None else float(to) for here, to in zip(start, (x, y, z), strict=True)))
            for axis, to, low, high in zip("xyz", end, *self._limits, strict=True):
                if not low <= to <= high:
                    raise InstrumentError(
                        f"the stage cannot go to {axis} = {to:g} um: it reaches from {low:g} to {high:g} um. "
                        "It did not move; choose a place within."
                    )
            along = math.hypot(end.x_um - start.x_um, end.y_um - start.y_um) / self._um_per_s
            seconds = max(along, abs(end.z_um - start.z_um) / self._z_um_per_s)
            move = _Move(self._clock.now(), seconds, start, end)
            self._moves.append(move)
            arrived = Condition()
            with arrived:
                while (left := move.started + seconds - self._clock.now()) > 0:
                    self._clock.wait(arrived, left)
            return end


@dataclass(frozen=True, eq=False)
class HandPath:
    """A slide moved by hand, as a script: at `seconds` (n,) after the start it lay at (x_um, y_um), straight between.

    Before the first moment it lies at the first place, after the last at the last. defocus_um: (n,) how far out of
    focus whoever turns the knob is; in focus if None.
    """

    seconds: NDArray[np.float64]
    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    defocus_um: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not len(self.seconds) == len(self.x_um) == len(self.y_um) > 0:
            raise ValueError("seconds, x_um and y_um must be equally long, and at least one")
        if (np.diff(self.seconds) < 0).any():
            raise ValueError("seconds must not run backwards")

    def at(self, seconds: float) -> tuple[float, float, float]:
        """x, y and the error of focus at a moment after the start, in um."""
        defocus = 0.0 if self.defocus_um is None else float(np.interp(seconds, self.seconds, self.defocus_um))
        x, y = (float(np.interp(seconds, self.seconds, v)) for v in (self.x_um, self.y_um))
        return x, y, defocus

    @property
    def lasts_s(self) -> float:
        """How long the script takes."""
        return float(self.seconds[-1])

    @classmethod
    def meander(
        cls,
        left_um: float,
        top_um: float,
        *,
        columns: int,
        rows: int,
        step_x_um: float,
        step_y_um: float,
        um_per_s: float = 120.0,
        rest_s: float = 0.3,
        unsteady_um: float = 0.0,
        seed: int = 0,
    ) -> Self:
        """Row by row, there and back, as one reads a smear: from place to place, with a rest at each.

        left_um, top_um: middle of the first view. unsteady_um: how far each stop misses its place, as a hand does.
        """
        rng = np.random.default_rng(seed)
        seconds, xs, ys, now = [0.0], [left_um], [top_um], 0.0
        for row in range(rows):
            for n in range(columns):
                column = n if row % 2 == 0 else columns - 1 - n
                x = left_um + column * step_x_um + unsteady_um * float(rng.standard_normal())
                y = top_um + row * step_y_um + unsteady_um * float(rng.standard_normal())
                now += math.hypot(x - xs[-1], y - ys[-1]) / um_per_s
                seconds += [now, now + rest_s]
                now += rest_s
                xs += [x, x]
                ys += [y, y]
        return cls(np.asarray(seconds), np.asarray(xs), np.asarray(ys))
