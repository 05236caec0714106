"""The live session: what lies under the lens now, with the names of its cells, and fields to keep.

    with LiveSession(microscope.camera, microscope.stage, partial(open_detector, "demo"), scheme=scheme) as live:
        view = live.newest(after=0, timeout_s=1.0)
        kept = live.keep()

One thread takes the newest frame, corrects its colour, finds its place on the glass, and encodes it. Detection runs
beside it in a process of its own; what it finds is entered into the atlas at its place on the glass, and drawn from
there over every later frame, so that the boxes follow the glass while detection is still at work on the next one.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Self, cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import CameraLost, FrameDropped, InstrumentError, MarrowscopeError, NotOffered
from marrowscope.instrument import colour, exposure, focus
from marrowscope.instrument.camera import Camera, Control, Frame, Range
from marrowscope.instrument.stage import Limits, Position, Stage
from marrowscope.station.atlas_glass import Glass
from marrowscope.station.desk import found_cells
from marrowscope.station.detecting import DetectionProcess, DetectorSource, that_count
from marrowscope.station.detecting_child import Found
from marrowscope.station.live_eye import Eye, SharedCamera
from marrowscope.station.live_judge import Judge
from marrowscope.station.live_view import KeptFrame, LiveState, LiveView, Overlay, Sight, SlideMap
from marrowscope.station.mailbox import Mailbox
from marrowscope.station.timings import Rate, Timings, in_words

log = logging.getLogger(__name__)

LIVE_QUALITY, KEPT_QUALITY = 80, 95
STALE_AFTER_S = 0.5
FROZEN_AFTER_S = 2.0
"""A real picture always flickers: one that is the same to the last bit for so long is an old one."""
_KEEP_S = 30.0
_LOG_EVERY_S = 30.0


class _Seen(NamedTuple):
    """What came of a frame. answer: of the detector, where it was asked."""

    frame: Frame
    sight: Sight
    answer: "Future[Found] | None"
    frozen_s: float


class LiveSession:
    """A running microscope. All methods may be called from any thread; `start` once."""

    def __init__(
        self,
        camera: Camera,
        stage: Stage | None,
        detector_source: DetectorSource,
        *,
        scheme: Taxonomy,
        glance_source: DetectorSource | None = None,
        score: float | None = None,
        quality: int = LIVE_QUALITY,
        frozen_after_s: float = FROZEN_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """camera: not opened yet. scheme: the words in which cells are named. glance_source: a lighter detector for the
        moving view, while `detector_source` sees what is kept; None: it sees both. score: from which a detection
        counts; each detector's own if None. frozen_after_s: how long a picture may be the same to the last bit;
        `math.inf` for pictures that stand still by right, as in a replay.
        """
        self.scheme = scheme
        self._camera, self._stage = camera, stage
        self._score, self._quality, self._clock = score, quality, clock
        self._frozen_after_s = frozen_after_s
        self._detecting = DetectionProcess(detector_source)
        self._glancing = self._detecting if glance_source is None else DetectionProcess(glance_source)
        self._eye: Eye[_Seen] = Eye(camera, self._look)
        self._shared = SharedCamera(camera, self._eye)
        self._colour = colour.SoftwareColour()
        self._glass = Glass(scheme, origin=partial(_place_of, stage))
        self._views: Mailbox[LiveView] = Mailbox()
        self._hands = threading.RLock()
        self._timings = Timings()
        self._rate = Rate()
        self._running = False
        self._another_slide = threading.Event()
        self._detected: Sight | None = None
        self._shown: NDArray[np.uint8] | None = None
        self._judge = Judge()
        self._counts: dict[str, int] = {}
        self._problem: str | None = None
        self._logged_at = clock()

    def start(self) -> None:
        """Open the camera and the detector, both in the background: `state` tells how they fare."""
        self._running = True
        for process in self._detectors:
            process.start()
        self._eye.start()

    def close(self) -> None:
        """End the view and the detector, and close the camera. Readers get None, whoever keeps gets CameraLost."""
        self._running = False
        self._eye.close()
        for process in self._detectors:
            process.close()
        self._views.close()
        self._log_timings()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def newest(self, after: int = -1, timeout_s: float = 1.0) -> LiveView | None:
        """The newest view with a number above `after`, for any number of readers.

        Where none comes in time: the last one again, saying that it is stale, if it is; else None.
        """
        letter = self._views.after(after, timeout_s)
        if letter is not None:
            return self._aged(letter.item)
        letter = self._views.newest()
        if letter is None or not self._running:
            return None
        view = self._aged(letter.item)
        return view if view.stale else None

    def keep(self, timeout_s: float = _KEEP_S) -> KeptFrame:
        """Take a frame now, whole, and look for its cells; the view goes on meanwhile.

        CameraLost where there is no camera; FrameDropped where the frame did not arrive whole, the picture is frozen,
        or the detector did not answer: then nothing was kept. Errors of the detector pass through.
        """
        deadline = self._clock() + timeout_s
        try:
            _, seen = self._eye.ask(keep=True).result(timeout_s)
            if seen.frozen_s > self._frozen_after_s:
                raise FrameDropped(
                    f"the field was not kept: the picture has not changed for {seen.frozen_s:.0f} s, the camera "
                    "seems frozen. Unplug it and plug it in again."
                )
            answer = cast("Future[Found]", seen.answer)  # a frame to keep is always looked at
            found = answer.result(max(deadline - self._clock(), 0.001))
        except TimeoutError:
            raise FrameDropped(
                f"the field was not kept: no answer within {timeout_s:.0f} s ({self.state().problem or 'too slow'}). "
                "Try again."
            ) from None
        frame, sight = seen.frame, self._glass.keep(seen.sight)
        counting = that_count(found.detections, self._score_in_force(self._detecting))
        cells = tuple(found_cells(counting, self.scheme, sight.width, sight.height))
        left, top, scale = sight.view.x1, sight.view.y1, sight.um_per_px
        return KeptFrame(
            frame=frame,
            jpeg=simplejpeg.encode_jpeg(frame.pixels, KEPT_QUALITY, "RGB", "444"),
            detections=counting,
            found=cells,
            places_um=tuple(
                (left + scale * (c.box[0] + c.box[2]) / 2, top + scale * (c.box[1] + c.box[3]) / 2) for c in cells
            ),
            visit=sight.visit,
            position=sight.position,
            focus=focus.focus_score(frame.pixels),
        )

    def another_slide(self) -> None:
        """Another slide was put under the lens: forget the map and its cells, with the next frame."""
        self._another_slide.set()

    def map(self) -> SlideMap:
        """What is known of the slide in the present visit."""
        return self._glass.map()

    def state(self) -> LiveState:
        """How the session stands."""
        letter = self._views.newest()
        view = self._aged(letter.item) if letter is not None else None
        connected = self._eye.connected
        return LiveState(
            running=self._running,
            connected=connected,
            info=self._eye.info,
            controls=self._controls() if connected else {},
            stage=self._whereabouts(),
            stale=view is None or view.stale,
            stale_s=view.stale_s if view is not None else 0.0,
            problem=self._eye.problem or self._detecting.problem or self._glancing.problem or self._problem,
            detecting=self._glancing.taxonomy is not None,
            calibrated=self._eye.info is not None and self._eye.info.um_per_px is not None,
            fps=view.fps if view is not None and not view.stale else 0.0,
            timings={stage: (s.p50, s.p95) for stage, s in self._timings.spreads().items()},
        )

    def set_control(self, control: Control | str, value: float) -> float:
        """Set a control of the camera, or of the software where the camera lacks it; returns the value in force.

        NotOffered where neither has it, CameraLost where the camera is away.
        """
        control = Control(control)
        with self._hands:
            self._need_camera()
            if control not in self._camera.controls and control in self._colour.controls:
                return self._colour.set(control, value)
            return self._camera.set(control, value)

    def white_balance_grey_world(self) -> colour.Gains:
        """Balance on what lies between the cells; returns the balance in force."""
        with self._hands:
            return colour.balance(self._camera, colour.grey_world(self._need_picture()), self._colour)

    def white_balance_at(self, x: float, y: float) -> colour.Gains:
        """Balance on empty background at this pixel of the view; returns the balance in force."""
        with self._hands:
            return colour.balance(self._camera, colour.background_white(self._need_picture(), x, y), self._colour)

    def auto_exposure(self) -> exposure.Exposed:
        """Bright, and hardly anything clipped; see `exposure.auto_exposure`."""
        with self._hands:
            self._need_camera()
            return exposure.auto_exposure(self._shared, self._colour)

    def autofocus(self) -> focus.FocusSweep:
        """Drive the stage to the sharpest height; the view goes on. See `focus.autofocus`."""
        with self._hands:
            self._need_camera()
            return focus.autofocus(self._shared, self._stage)

    def move(
        self, x_um: float | None = None, y_um: float | None = None, z_um: float | None = None, *, relative: bool = False
    ) -> Position:
        """Drive the stage there and wait; relative: so far from here. NotOffered on a manual microscope."""
        stage = self._stage
        if stage is None:
            raise NotOffered("this microscope has no motorised stage. Move the slide by hand; the view follows.")
        with self._hands:
            if relative:
                here = stage.position_um
                x_um, y_um, z_um = (
                    None if by is None else at + by for at, by in zip(here, (x_um, y_um, z_um), strict=True)
                )
            return stage.move_to_um(x_um, y_um, z_um)

    def _look(self, frame: Frame, keep: bool) -> _Seen:
        """One frame on its way from the camera to the eye. In the thread of the eye."""
        now = self._clock()
        self._timings.note("grab", 1000 * max(now - frame.captured_at, 0.0))
        with self._timings.measure("correct"):
            frozen_s = self._judge.frozen_s(frame.pixels, now)
            frame = replace(frame, pixels=self._colour.apply(frame.pixels))
            self._shown = frame.pixels
        with self._timings.measure("track"):
            if self._another_slide.is_set():
                self._another_slide.clear()
                self._glass.forget()
                self._detected, self._counts = None, {}
            sight = self._glass.see(frame)
        answer = None
        process = self._detecting if keep else self._glancing
        if keep or process.idle:
            self._glass.claim()
            answer = process.detect(frame.pixels, frame.um_per_px)
            answer.add_done_callback(lambda done: self._learn(sight, done, process))
        self._publish(frame, sight, frozen_s)
        return _Seen(frame, sight, answer, frozen_s)

    def _publish(self, frame: Frame, sight: Sight, frozen_s: float) -> None:
        with self._timings.measure("encode"):
            jpeg = simplejpeg.encode_jpeg(frame.pixels, self._quality, "RGB", "420", fastdct=True)
        self._judge.look(frame.pixels)
        detected = self._detected
        age_ms = 0.0 if detected is None else 1000 * (frame.captured_at - detected.captured_at)
        overlay = Overlay(None if detected is None else detected.number, max(age_ms, 0.0), self._glass.overlay(sight))
        now = self._clock()
        view = LiveView(
            number=frame.number,
            captured_at=frame.captured_at,
            captured_unix_ms=round(1000 * (time.time() - (now - frame.captured_at))),
            jpeg=jpeg,
            width=sight.width,
            height=sight.height,
            stale=frozen_s > self._frozen_after_s,
            stale_s=frozen_s if frozen_s > self._frozen_after_s else 0.0,
            overlay=overlay,
            focus=self._judge.focus,
            clipped=self._judge.clipped,
            timings_ms=self._timings.newest(),
            fps=self._rate.tick(now),
            position=sight.position,
            visit=sight.visit,
            unique_cells=self._counts,
        )
        self._views.put(view, frame.number)
        if now - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = now
            self._log_timings()

    def _learn(self, sight: Sight, done: "Future[Found]", process: DetectionProcess) -> None:
        """Enter what was found. In the thread of the detector."""
        try:
            found = done.result()
            counting = that_count(found.detections, self._score_in_force(process))
            cells = found_cells(counting, self.scheme, sight.width, sight.height)
        except MarrowscopeError as error:
            if self._running and str(error) != self._problem:
                log.warning("a frame was not looked at: %s", error)
            self._problem = str(error)
            return
        self._problem = None
        self._timings.note("detect", found.milliseconds)
        self._glass.add(sight, cells)
        self._counts = self._glass.counts()
        if self._detected is None or sight.number > self._detected.number:
            self._detected = sight

    def _aged(self, view: LiveView) -> LiveView:
        """The view as it is now: stale where no newer came for a while."""
        silent_s = self._clock() - view.captured_at
        if view.stale or silent_s <= max(STALE_AFTER_S, view.timings_ms.get("grab", 0.0) / 1000 + STALE_AFTER_S):
            return view
        return replace(view, stale=True, stale_s=silent_s)

    def _controls(self) -> dict[Control, tuple[Range, float]]:
        controls = {c: (r, self._colour.get(c)) for c, r in self._colour.controls.items()}
        # A camera may be unplugged between two lines.
        with suppress(InstrumentError):
            controls |= {c: (r, self._camera.get(c)) for c, r in self._camera.controls.items()}
        return controls

    def _whereabouts(self) -> tuple[Position, Limits] | None:
        if self._stage is not None:
            with suppress(InstrumentError):
                return self._stage.position_um, self._stage.limits_um
        return None

    @property
    def _detectors(self) -> tuple[DetectionProcess, ...]:
        return tuple(dict.fromkeys((self._detecting, self._glancing)))

    def _score_in_force(self, process: DetectionProcess) -> float:
        return self._score if self._score is not None else process.score or 0.0

    def _need_camera(self) -> None:
        if not self._eye.connected:
            raise CameraLost(self._eye.problem or "the camera is not open yet. Wait a moment, then try again.")

    def _need_picture(self) -> NDArray[np.uint8]:
        self._need_camera()
        if self._shown is None:
            raise CameraLost("there is no picture yet. Wait a moment, then try again.")
        return self._shown

    def _log_timings(self) -> None:
        spreads = self._timings.spreads()
        if spreads:
            log.info("live: middle/95th percentile of %s", in_words(spreads))


def _place_of(stage: Stage | None) -> tuple[float, float]:
    """Where a visit begins: where the stage stands, so that the map and the stage speak of the same place."""
    if stage is None:
        return 0.0, 0.0
    try:
        position = stage.position_um
    except InstrumentError as error:
        log.warning("the stage does not say where it is: %s", error)
        return 0.0, 0.0
    return position.x_um, position.y_um
