"""What the pages work on: put together by `assemble.station`, found by every route."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.web.auth import Gate, Passwords
from marrowscope.web.schemas.live import CameraChoice

if TYPE_CHECKING:
    from marrowscope.station.desk import Desk
    from marrowscope.station.drift import DriftWatch
    from marrowscope.station.review import Review
    from marrowscope.station.settings import StationSettings
    from marrowscope.station.signout import SignOut
    from marrowscope.station.teaching import Teaching
    from marrowscope.store.store import Store
    from marrowscope.web.microscope import Microscope
    from marrowscope.web.pictures import Pictures
    from marrowscope.web.sessions import Sessions


@dataclass(eq=False)
class Services:
    """One station.

    examine: what the serving model finds in a picture, score threshold applied, and the id of that model's version;
    called from any thread. look: the cameras that the drivers see now; takes seconds. closers: what else ends with it.
    """

    home: Path
    settings: "StationSettings"
    store: "Store"
    scheme: Taxonomy
    desk: "Desk"
    review: "Review"
    signout: "SignOut"
    teaching: "Teaching"
    drift: "DriftWatch"
    microscope: "Microscope"
    examine: Callable[[FieldImage], tuple[Detections, int]]
    cameras: Sequence[CameraChoice]
    look: Callable[[], Sequence[CameraChoice]]
    pictures: "Pictures"
    sessions: "Sessions"
    passwords: Passwords = field(default_factory=Passwords)
    gate: Gate = field(default_factory=Gate)
    closers: tuple[Callable[[], None], ...] = ()

    def close(self) -> None:
        """Close the microscope, what else there is, then the archive. Twice is no harm."""
        self.microscope.stop()
        for close in self.closers:
            close()
        self.store.close()


async def _services(connection: HTTPConnection) -> Services:
    found: Services = connection.app.state.services
    return found


Works = Annotated[Services, Depends(_services)]
