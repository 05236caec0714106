"""A whole microscope without hardware: a smear under a lens, a camera that looks at it, a stage that moves it.

    with SmearSlide(3) as slide:
        microscope = SimulatedMicroscope(slide)
        with microscope.camera as camera:
            for frame in camera.frames(): ...
        microscope.truth(frame.number)

No thread runs: which exposure is the newest follows from the clock, and a frame is made when somebody takes it. So a
reader that is slow costs nothing, and gets the newest. `frames` shows glass that is not drawn yet four times as coarse
and never waits for it; `snap` waits until all is sharp. The truth is the same for both.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, area, clip
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import CameraLost, FrameDropped, NotOffered
from marrowscope.instrument.camera import CameraInfo, Control, Frame, Range
from marrowscope.instrument.faults import Clock, Faults, WallClock
from marrowscope.instrument.simulated_lens import Sensor, blurred, smeared
from marrowscope.instrument.simulated_stage import HandPath, SimulatedStage
from marrowscope.instrument.stage import Limits, Position
from marrowscope.smear.slide import SmearSlide

_TIMEOUT_S = 2.0
_NOMINAL_EXPOSURE_MS = 4.0
_CONTROLS = {
    Control.EXPOSURE_MS: Range(0.05, 200.0),
    Control.GAIN: Range(1.0, 16.0),
    Control.RED: Range(0.25, 4.0),
    Control.BLUE: Range(0.25, 4.0),
}
_Z_LIMITS_UM = (-100.0, 100.0)
# Truth is remembered for so many frames: half an hour at 30 a second.
_REMEMBERED = 54_000


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """The true cells of one frame. ids: (n,), the same cell has the same id in every frame. boxes: (n, 4) pixels of
    the frame, cut at its border. seen: (n,) share of each box that lies within. labels: (n,) of `taxonomy`. position:
    where the middle of the frame lay on the slide.
    """

    ids: NDArray[np.int64]
    boxes: Boxes
    seen: NDArray[np.float32]
    labels: NDArray[np.int64]
    taxonomy: Taxonomy
    position: Position

    def __len__(self) -> int:
        return len(self.ids)


class SimulatedMicroscope:
    """A camera, a stage and a slide.

    um_per_px: of the camera on the slide. fps: exposures a second, fewer where one takes longer. cast: colour of the
    lamp, R, G, B relative to green. tilt_um_per_mm: how the plane of sharpness slopes; its direction and height follow
    from seed. blur_um_per_um: sigma of the blur a micrometre out of focus. hand: moves the slide by a script that
    starts when the camera is first opened; there is then no stage. sharp: `frames` too waits until all glass is drawn.
    """

    def __init__(
        self,
        slide: SmearSlide,
        *,
        width: int = 1920,
        height: int = 1080,
        um_per_px: float = 0.069,
        fps: float = 30.0,
        seed: int = 0,
        cast: tuple[float, float, float] = (1.10, 1.0, 0.82),
        vignetting: float = 0.08,
        noise: float = 1.6,
        latency_ms: float = 10.0,
        tilt_um_per_mm: float = 0.25,
        blur_um_per_um: float = 0.35,
        stage_um_per_s: float = 1500.0,
        hand: HandPath | None = None,
        sharp: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if width < 16 or height < 16 or fps <= 0:
            raise ValueError(f"a camera needs at least 16 x 16 px and fps above 0, got {width} x {height} at {fps}")
        self.slide, self.um_per_px = slide, um_per_px
        self._clock: Clock = clock or WallClock()
        rng = np.random.default_rng([seed, 30])
        way = rng.uniform(0, 2 * np.pi)
        self._slope = (tilt_um_per_mm / 1000 * float(np.cos(way)), tilt_um_per_mm / 1000 * float(np.sin(way)))
        self._plane_um = float(rng.uniform(-3, 3))
        self._blur = blur_um_per_um
        self._size = (width, height)
        self._sharp = sharp
        self._sensor = Sensor(width, height, _lamp(cast), vignetting, noise, seed)
        self._hand, self._hand_started = hand, None if hand is None else float("inf")
        middle = (slide.width_um / 2, slide.height_um / 2)
        start = Position(*middle, self.plane_um(*middle))
        limits = Limits(Position(0.0, 0.0, _Z_LIMITS_UM[0]), Position(slide.width_um, slide.height_um, _Z_LIMITS_UM[1]))
        self._motor = SimulatedStage(start, limits, self._clock, um_per_s=stage_um_per_s)
        self._views: OrderedDict[int, Position] = OrderedDict()
        self._lock = threading.Lock()
        self.faults = Faults(self._clock)
        self.camera = SimulatedCamera(self, fps=fps, latency_s=latency_ms / 1000, clock=self._clock)

    @property
    def stage(self) -> SimulatedStage | None:
        """The stage, None where the slide is moved by hand."""
        return None if self._hand is not None else self._motor

    def plane_um(self, x_um: float, y_um: float) -> float:
        """The z at which the slide is sharp there: what an autofocus has to find."""
        dx, dy = x_um - self.slide.width_um / 2, y_um - self.slide.height_um / 2
        return self._plane_um + self._slope[0] * dx + self._slope[1] * dy

    def position_at(self, now: float) -> Position:
        """Where the middle of the view lay at a moment of the clock."""
        if self._hand is None or self._hand_started is None:
            return self._motor.at(now)
        x, y, defocus = self._hand.at(now - self._hand_started)
        return Position(x, y, self.plane_um(x, y) + defocus)

    def where(self, number: int) -> Position:
        """Where the middle of a frame lay. KeyError for one that was not delivered, or long ago."""
        with self._lock:
            return self._views[number]

    def truth(self, number: int) -> FrameTruth:
        """The true cells of a delivered frame. KeyError as `where`."""
        place = self.where(number)
        width, height = self._size
        cells = self.slide.cells_in(place.x_um, place.y_um, width * self.um_per_px, height * self.um_per_px)
        corner = np.asarray([place.x_um, place.y_um] * 2) / self.um_per_px - np.asarray([width, height] * 2) / 2
        whole = np.asarray(cells.boxes_um / self.um_per_px - corner, np.float32)
        seen = clip(whole, width, height)
        return FrameTruth(cells.ids, seen, area(seen) / area(whole), cells.labels, cells.taxonomy, place)

    def _start_hand(self) -> None:
        if self._hand is not None and self._hand_started == float("inf"):
            self._hand_started = self._clock.now()

    def _take(self, number: int, started: float, ended: float, values: dict[Control, float], sharp: bool) -> Frame:
        """Make the frame that was exposed from `started` to `ended`."""
        scale = self.um_per_px
        before, after = self.position_at(started), self.position_at(ended)
        width, height = self._size
        # To whole pixels of the slide, so that the truth is where the picture is.
        x, y = (
            (round((a + b) / 2 / scale - side / 2) + side / 2) * scale
            for a, b, side in zip(before[:2], after[:2], self._size, strict=True)
        )
        place = Position(x, y, (before.z_um + after.z_um) / 2)
        if sharp or self._sharp:
            light = self.slide.view(x, y, width, height, scale)
        else:
            light, _ = self.slide.glance(x, y, width, height, scale)
        light = smeared(light, (after.x_um - before.x_um) / scale, (after.y_um - before.y_um) / scale)
        light = blurred(light, self._blur * abs(place.z_um - self.plane_um(x, y)) / scale)
        amount = values[Control.EXPOSURE_MS] / _NOMINAL_EXPOSURE_MS
        pixels = self._sensor.expose(
            light, number, amount, values[Control.GAIN], values[Control.RED], values[Control.BLUE]
        )
        with self._lock:
            self._views[number] = place
            while len(self._views) > _REMEMBERED:
                self._views.popitem(last=False)
        return Frame(pixels, number, ended, scale)


def _lamp(cast: tuple[float, float, float]) -> tuple[float, float, float]:
    """Grey levels of an empty field at nominal exposure: green at 0.8, so that a warm lamp does not clip."""
    return (0.8 * cast[0] / cast[1], 0.8, 0.8 * cast[2] / cast[1])


class SimulatedCamera:
    """The camera of a `SimulatedMicroscope`; made by it. Numbers count exposures since it was made."""

    def __init__(self, microscope: SimulatedMicroscope, *, fps: float, latency_s: float, clock: Clock) -> None:
        self._microscope, self._faults, self._clock = microscope, microscope.faults, clock
        self._fps, self._latency_s = fps, latency_s
        self._values = {
            Control.EXPOSURE_MS: _NOMINAL_EXPOSURE_MS,
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
        width, height = self._microscope._size
        name, serial = "Simulated microscope", f"SIM-{self._microscope.slide.seed}"
        return CameraInfo(name, "simulated", serial, width, height, self._microscope.um_per_px)

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
            number_and_time = self._wait(session, after=after)
            if number_and_time is None:
                return
            frame = self._make(*number_and_time, sharp=False)
            yield frame
            after = frame.number

    def snap(self) -> Frame:
        """A frame exposed after this call, all of it sharply drawn."""
        found = self._wait(self._session(), begun=self._clock.now())
        if found is None:
            raise CameraLost(f"{self._name()} was closed while a picture was taken. Open it again.")
        return self._make(*found, sharp=True)

    def __enter__(self) -> Self:
        with self._faults.news:
            if not self._faults.plugged:
                raise CameraLost(f"{self._name()} is not there: its cable is pulled. Plug it in, then open it again.")
            if self._opened is not None:
                raise CameraLost(f"{self._name()} is open already. Close it first.")
            self._opened = self._faults.times_unplugged
        self._microscope._start_hand()
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

    def _wait(
        self, session: int, *, after: int = -1, begun: float | None = None
    ) -> tuple[int, float, float, dict[Control, float]] | None:
        """Wait for the newest exposure above `after`, or for the first begun at a time: number, start, end, settings.

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
                        return number, ended - self._exposure_s(), ended, dict(self._values)
                if now >= deadline:
                    raise CameraLost(
                        f"{self._name()} delivered no frame for {_TIMEOUT_S:g} s. Close and open it again."
                    )
                next_at = self._ended(max(arrived, after) + 1) + self._latency_s + self._faults.late_s
                until = max(next_at, self._faults.frozen_until if frozen else next_at)
                self._clock.wait(self._faults.news, max(min(until, deadline) - now, 0.0005))

    def _make(self, number: int, started: float, ended: float, values: dict[Control, float], *, sharp: bool) -> Frame:
        return self._microscope._take(number, started, ended, values, sharp)

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
        return f"the simulated camera SIM-{self._microscope.slide.seed}"
