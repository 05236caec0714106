"""The microscope: what is seen, where, and what may be set. Places are micrometres on the slide, boxes pixels."""

from enum import StrEnum
from typing import Annotated

from pydantic import AllowInfNan, Field, Strict, model_validator

from marrowscope.web.schemas.common import Answer, Body, Flag, Id
from marrowscope.web.schemas.review import ClassShare, Verdict

Pixel = Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=100_000)]
Micrometre = Annotated[float, Strict(), AllowInfNan(False), Field(ge=-1e6, le=1e6)]
Positive = Annotated[float, Strict(), AllowInfNan(False), Field(gt=0, le=1e5)]
Address = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class CameraChoice(Answer):
    """A microscope that can be opened here."""

    address: str
    title: str


class CameraFacts(Answer):
    """What the camera says of itself. width, height: pixels of its frames."""

    name: str
    driver: str
    serial: str
    width: int
    height: int
    um_per_px: float | None


class ControlState(Answer):
    """A control of the camera: what it accepts and what is in force."""

    low: float
    high: float
    value: float


class Place(Answer):
    """Where the middle of the view lies on the slide."""

    x_um: float
    y_um: float
    z_um: float


class StageLimits(Answer):
    """How far the stage goes."""

    low: Place
    high: Place


class StageState(Answer):
    """The motorised stage."""

    position: Place
    limits: StageLimits


class Spread(Answer):
    """Milliseconds that a stage takes: the middle, and what 95 of 100 stay below."""

    p50: float
    p95: float


class LiveState(Answer):
    """The one microscope of this station. problem: what is wrong with it now, in words. simulated: takes faults.

    running: it was started. connected: frames come. detecting: the detector is open. calibrated: the size of a pixel
    is known.
    """

    running: bool
    connected: bool
    detecting: bool
    calibrated: bool
    address: str | None
    info: CameraFacts | None
    controls: dict[str, ControlState]
    stage: StageState | None
    specimen_id: int | None
    slide_id: int | None
    simulated: bool
    stale: bool
    stale_s: float
    fps: float
    timings_ms: dict[str, Spread]
    problem: str | None


class LiveStart(Body):
    """slide_id: the glass under the lens; left out, the newest slide of the case (one is made if there is none)."""

    address: Address
    specimen_id: Id
    slide_id: Id | None = None


class Controls(Body):
    """Camera settings; what is left out stays. Values are clamped to what the camera accepts."""

    exposure_ms: Positive | None = None
    gain: Positive | None = None
    red: Positive | None = None
    blue: Positive | None = None


class WhiteBalance(Body):
    """A place on empty glass, in pixels of the frame; both left out: grey world."""

    x: Pixel | None = None
    y: Pixel | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> "WhiteBalance":
        if (self.x is None) != (self.y is None):
            raise ValueError("give both x and y, or neither for grey world")
        return self


class FocusSweep(Answer):
    """Sharpness at every height that was tried, and the best height, where the stage now stands."""

    z_um: list[float]
    scores: list[float]
    best_z_um: float


class Move(Body):
    """Where to go; an axis left out stays. relative: by so much, else to there."""

    x_um: Micrometre | None = None
    y_um: Micrometre | None = None
    z_um: Micrometre | None = None
    relative: Flag = False


class FaultKind(StrEnum):
    """What may go wrong on command, on the simulated microscope."""

    DROP = "drop"
    FREEZE = "freeze"
    UNPLUG = "unplug"
    REPLUG = "replug"
    LATE = "late"


class Fault(Body):
    """value: frames to drop, seconds to freeze, milliseconds to be late; without meaning for unplug and replug."""

    kind: FaultKind
    value: Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=60_000)] = 0


class Patch(Answer):
    """A rectangle of the slide; x, y is its top left corner, all in micrometres."""

    x: float
    y: float
    w: float
    h: float


class MapField(Patch):
    """A kept field on the map."""

    id: int
    number: int


class MapCell(Answer):
    """A cell on the map. counted: its class enters the differential."""

    x: float
    y: float
    code: str
    counted: bool


class SlideMap(Answer):
    """What was seen of the slide in this visit. here: what is under the lens now."""

    here: Patch | None
    visited: list[Patch]
    fields: list[MapField]
    cells: list[MapCell]
    visit: str | None


class Tally(Answer):
    """A count with intervals. total: counted cells. uncounted: seen, but outside the differential."""

    total: int
    classes: list[ClassShare]
    uncounted: dict[str, int]


class Counts(Answer):
    """live: every cell that came into view in this visit, once. kept: those of the kept fields; with the stop rule."""

    visit: str | None
    live: Tally
    kept: Tally | None
    fields: int
    verdict: Verdict | None


class OverlayBox(Answer):
    """A cell in the picture it travels with. id: stays the same while the cell is followed."""

    id: int
    x1: float
    y1: float
    x2: float
    y2: float
    code: str
    score: float
    counted: bool


class Overlay(Answer):
    """Boxes, where their cells are in the picture that they travel with.

    frame: number of the newest frame that detection has looked at, null before the first; age_ms: how much older it is.
    """

    frame: int | None
    age_ms: float
    cells: list[OverlayBox]


class Spot(Answer):
    """Where the middle of the view lies."""

    x_um: float
    y_um: float


class StreamHeader(Answer):
    """The JSON before each picture of `WS /api/live/stream`.

    A message is [uint32 big-endian: length of this JSON][this JSON][JPEG]. Answer each one with the text `ok NUMBER`;
    the next one is the newest there is then. age_ms: from the end of the exposure to the sending. kept: fields of the
    case so far.
    """

    number: int
    captured_unix_ms: float
    age_ms: float
    width: int
    height: int
    stale: bool
    stale_s: float
    fps: float
    focus: float
    clipped: float
    timings_ms: dict[str, float]
    position: Spot | None
    visit: str
    overlay: Overlay
    unique: dict[str, int]
    kept: int
