"""The one microscope of a station: opened on a wish, closed on another, and steered by whoever may.

Everybody sees the same session. Opening and closing wait for each other; fields are kept one after the other.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marrowscope.cells.specimen import KeptField, Slide
from marrowscope.errors import BadInput, Conflict, NotOffered
from marrowscope.instrument.camera import Control
from marrowscope.web.feed import Feed

if TYPE_CHECKING:
    from marrowscope.instrument.faults import Faults
    from marrowscope.station.desk import Desk
    from marrowscope.station.live import LiveSession
    from marrowscope.station.live_view import LiveView
    from marrowscope.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Opened:
    """A live session that has not been started yet, the faults it takes (simulated alone), the model that looks.

    release: lets go of the camera's surroundings once the session is closed.
    """

    session: "LiveSession"
    faults: "Faults | None"
    model_id: int | None
    release: Callable[[], None]

    def close(self) -> None:
        """End it."""
        self.session.close()
        self.release()


@dataclass(frozen=True, eq=False)
class Running:
    """What is open now."""

    address: str
    slide: Slide
    opened: Opened
    feed: "Feed[LiveView]"

    @property
    def session(self) -> "LiveSession":
        """The live session."""
        return self.opened.session


class Microscope:
    """open_live(address): a session for the camera at this address; raises what the driver says."""

    def __init__(self, open_live: Callable[[str], Opened]) -> None:
        self._open_live = open_live
        self._running: Running | None = None
        self._turn = threading.RLock()
        self._keeping = threading.Lock()
        self._kept = 0

    @property
    def now(self) -> Running | None:
        """What is open, if anything is."""
        return self._running

    @property
    def kept(self) -> int:
        """Fields of the case so far."""
        return self._kept

    def running(self) -> Running:
        """What is open; Conflict where nothing is."""
        running = self._running
        if running is None:
            raise Conflict("No microscope runs. Start one on the live page first.")
        return running

    def start(self, address: str, slide: Slide, *, kept: int) -> Running:
        """Open this one. One that runs is closed first: there is one tube to look down."""
        with self._turn:
            self.stop()
            opened = self._open_live(address)
            try:
                opened.session.start()
            except BaseException:
                with suppress(Exception):
                    opened.close()
                raise
            self._kept = kept
            self._running = Running(address, slide, opened, Feed(opened.session.newest))
            log.info("microscope started: %s", address)
            return self._running

    def stop(self) -> None:
        """Close what runs; nothing happens where nothing does."""
        with self._turn:
            running, self._running = self._running, None
            if running is not None:
                running.feed.close()
                running.opened.close()
                log.info("microscope stopped: %s", running.address)

    def keep(self, desk: "Desk", *, by: str) -> KeptField:
        """Keep what is under the lens now. FrameDropped, CameraLost: nothing was kept."""
        # One at a time: which cells were counted before is asked of the fields that are kept already.
        with self._keeping:
            running = self.running()
            frame = running.session.keep()
            field = desk.keep(frame, running.slide.id, running.opened.model_id, by=by)
            self._kept = field.number
            return field

    def set_controls(self, values: dict[str, float]) -> None:
        """Set camera controls by name. NotOffered for one that the camera lacks: nothing is set then."""
        session = self.running().session
        offered = session.state().controls
        wanted = {Control(name): value for name, value in values.items()}
        if lacking := [control.value for control in wanted if control not in offered]:
            raise NotOffered(f"This camera has no control '{lacking[0]}' now. Set it on the camera itself.")
        for control, value in wanted.items():
            session.set_control(control, value)

    def fault(self, kind: str, value: float) -> None:
        """Let something go wrong, on the simulated microscope."""
        faults = self.running().opened.faults
        if faults is None:
            raise NotOffered("Only the simulated microscope takes faults. Start it, and try again.")
        match kind:
            case "drop":
                faults.drop_frames(int(value))
            case "freeze":
                faults.freeze(value)
            case "unplug":
                faults.unplug()
            case "replug":
                faults.replug()
            case "late":
                faults.late(value)
            case _:
                raise BadInput(f"fault '{kind}' is not known.")


def slide_for(store: "Store", specimen_id: int, slide_id: int | None, *, by: str) -> Slide:
    """The slide to be put under the lens; the newest of the case where none is named, a first one where it has none."""
    slides = store.slides(specimen_id)
    if slide_id is not None:
        for slide in slides:
            if slide.id == slide_id:
                return slide
        raise BadInput(f"slide {slide_id} is not one of specimen {specimen_id}. Choose one of its slides.")
    return slides[-1] if slides else store.add_slide(specimen_id, "1", by=by)
