"""A whole microscope without hardware: a smear under a lens, a camera that looks at it, a stage that moves it.

    with SmearSlide(3) as slide:
        microscope = SimulatedMicroscope(slide)
        with microscope.camera as camera:
            for frame in camera.frames(): ...
        microscope.truth(frame.number)

`frames` shows glass that is not drawn yet coarse or bare and never waits for it; `snap` waits until all is sharp. The
truth is the same for both.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, area, clip
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.instrument.camera import CameraInfo, Control, Frame
from marrowscope.instrument.faults import Clock, Faults, WallClock
from marrowscope.instrument.simulated_camera import NOMINAL_EXPOSURE_MS, Exposure, SimulatedCamera
from marrowscope.instrument.simulated_lens import Sensor, blurred, smeared
from marrowscope.instrument.simulated_stage import HandPath, SimulatedStage
from marrowscope.instrument.stage import Limits, Position
from marrowscope.smear.slide import SmearSlide

_Z_LIMITS_UM = (-100.0, 100.0)
# Truth is remembered for so many frames: over a minute at 30 a second, and no more than a megabyte.
_REMEMBERED = 2400


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """The true cells of one frame. ids: (n,), the same cell has the same id in every frame. boxes: (n, 4) pixels of
    the frame, cut at its border. seen: (n,) share of each box that lies within. labels: (n,) of `taxonomy`. position:
    where the middle of the frame lay on the slide. drawn: whether all of the glass was; otherwise some of it was shown
    coarse or bare, though the cells are there.
    """

    ids: NDArray[np.int64]
    boxes: Boxes
    seen: NDArray[np.float32]
    labels: NDArray[np.int64]
    taxonomy: Taxonomy
    position: Position
    drawn: bool

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
        self._views: OrderedDict[int, tuple[Position, bool]] = OrderedDict()
        self._lock = threading.Lock()
        self.faults = Faults(self._clock)
        info = CameraInfo("Simulated microscope", "simulated", f"SIM-{slide.seed}", width, height, um_per_px)
        self.camera = SimulatedCamera(
            info, self._expose, self._start_hand, self.faults, self._clock, fps=fps, latency_s=latency_ms / 1000
        )

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
            return self._views[number][0]

    def truth(self, number: int) -> FrameTruth:
        """The true cells of a delivered frame. KeyError as `where`."""
        with self._lock:
            place, drawn = self._views[number]
        width, height = self._size
        cells = self.slide.cells_in(place.x_um, place.y_um, width * self.um_per_px, height * self.um_per_px)
        corner = np.asarray([place.x_um, place.y_um] * 2) / self.um_per_px - np.asarray([width, height] * 2) / 2
        whole = np.asarray(cells.boxes_um / self.um_per_px - corner, np.float32)
        seen = clip(whole, width, height)
        return FrameTruth(cells.ids, seen, area(seen) / area(whole), cells.labels, cells.taxonomy, place, drawn)

    def _start_hand(self) -> None:
        if self._hand is not None and self._hand_started == float("inf"):
            self._hand_started = self._clock.now()

    def _expose(self, exposure: Exposure, sharp: bool) -> Frame:
        scale = self.um_per_px
        before, after = self.position_at(exposure.started), self.position_at(exposure.ended)
        width, height = self._size
        # To whole pixels of the slide, so that the truth is where the picture is.
        x, y = (
            (round((a + b) / 2 / scale - side / 2) + side / 2) * scale
            for a, b, side in zip(before[:2], after[:2], self._size, strict=True)
        )
        place = Position(x, y, (before.z_um + after.z_um) / 2)
        if sharp or self._sharp:
            light, drawn = self.slide.view(x, y, width, height, scale), True
        else:
            light, drawn = self.slide.glance(x, y, width, height, scale)
        light = smeared(light, (after.x_um - before.x_um) / scale, (after.y_um - before.y_um) / scale)
        light = blurred(light, self._blur * abs(place.z_um - self.plane_um(x, y)) / scale)
        values, number = exposure.values, exposure.number
        pixels = self._sensor.expose(
            light,
            number,
            values[Control.EXPOSURE_MS] / NOMINAL_EXPOSURE_MS,
            values[Control.GAIN],
            values[Control.RED],
            values[Control.BLUE],
        )
        with self._lock:
            self._views[number] = place, drawn
            while len(self._views) > _REMEMBERED:
                self._views.popitem(last=False)
        return Frame(pixels, number, exposure.ended, scale)


def _lamp(cast: tuple[float, float, float]) -> tuple[float, float, float]:
    """Grey levels of an empty field at nominal exposure: green at 0.8, so that a warm lamp does not clip."""
    return (0.8 * cast[0] / cast[1], 0.8, 0.8 * cast[2] / cast[1])
