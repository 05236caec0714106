"""What a live session hands out: values that never change once made."""

from dataclasses import dataclass, field

from marrowscope.cells.detections import Detections
from marrowscope.cells.specimen import Box, FoundCell
from marrowscope.instrument.camera import CameraInfo, Control, Frame, Range
from marrowscope.instrument.stage import Limits, Position
from marrowscope.station.atlas import Rect


@dataclass(frozen=True)
class Sight:
    """Where a frame looked. x_um, y_um: its middle, in the coordinates of `visit`.

    agreement, placed: see `tracking.Fix`.
    """

    number: int
    captured_at: float
    visit: str
    x_um: float
    y_um: float
    width: int
    height: int
    um_per_px: float
    agreement: float = 0.0
    placed: bool = True

    @property
    def position(self) -> tuple[float, float] | None:
        """Its middle; None where that means nothing."""
        return (self.x_um, self.y_um) if self.placed else None

    @property
    def view(self) -> Rect:
        """The part of the slide that it shows."""
        return Rect.around(self.x_um, self.y_um, self.width * self.um_per_px, self.height * self.um_per_px)


@dataclass(frozen=True)
class OverlayCell:
    """A cell as it is drawn over a frame. track_id: the same for the same cell as long as the session lasts.

    box: pixels of THIS frame, cut at its border. counted: it is one of the unique cells of the differential; not yet
    where it was only seen cut by a border, never where its class is not counted.
    """

    track_id: int
    box: Box
    code: str
    score: float
    counted: bool


@dataclass(frozen=True)
class Overlay:
    """frame_number: the newest frame that detection has looked at; age_ms: how much older it is than this one.

    None and 0 before the first. The boxes lie where their cells are in the frame that carries the overlay.
    """

    frame_number: int | None
    age_ms: float
    cells: tuple[OverlayCell, ...]


@dataclass(frozen=True, eq=False)
class LiveView:
    """One frame, ready to be shown.

    number: rises with every frame, also over a replugged camera. captured_at: `time.monotonic`. clipped: share of
    pixels with a channel at 255. timings_ms: newest of grab, correct, track, encode, detect. stale: no news for
    `stale_s`, or pictures that do not change at all. position: middle of the view in um, within `visit`; None on empty
    glass.
    """

    number: int
    captured_at: float
    captured_unix_ms: int
    jpeg: bytes
    width: int
    height: int
    stale: bool
    stale_s: float
    overlay: Overlay
    focus: float
    clipped: float
    timings_ms: dict[str, float]
    fps: float
    position: tuple[float, float] | None
    visit: str
    unique_cells: dict[str, int]


@dataclass(frozen=True, eq=False)
class KeptFrame:
    """A field that somebody decided to keep, whole and looked at. frame: corrected pixels, in its own coordinates.

    jpeg: the same at quality 95, full colour. detections: in the model's classes, those that count and the lesser names
    of the same cells. found: each cell once, in the scheme's classes. places_um: middle of each of `found` on the
    slide, in the coordinates of `visit`: micrometres, or pixels where nobody calibrated the camera.
    """

    frame: Frame
    jpeg: bytes
    detections: Detections
    found: tuple[FoundCell, ...]
    places_um: tuple[tuple[float, float], ...]
    visit: str
    position: tuple[float, float] | None
    focus: float


@dataclass(frozen=True)
class LiveState:
    """How a session stands. problem: what keeps it from working, in words for the operator; None when all is well.

    controls: range and value in force. stage: where it is and its limits; None where there is none. detecting:
    whether the detector is open.
    """

    running: bool
    connected: bool
    info: CameraInfo | None
    controls: dict[Control, tuple[Range, float]]
    stage: tuple[Position, Limits] | None
    stale: bool
    stale_s: float
    problem: str | None
    detecting: bool
    calibrated: bool
    fps: float
    timings: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MapCell:
    """A cell on the map; micrometres. counted: see `OverlayCell`."""

    x_um: float
    y_um: float
    code: str
    counted: bool


@dataclass(frozen=True)
class SlideMap:
    """What is known of the slide in the present visit. here: the present view. visited: what was seen, roughly.

    kept: the fields that were kept.
    """

    here: Rect | None
    visited: tuple[Rect, ...]
    kept: tuple[Rect, ...]
    cells: tuple[MapCell, ...]
    visit: str
