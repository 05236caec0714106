"""The seam to a motorised stage. A manual microscope has none: whoever takes a stage takes `Stage | None`."""

from typing import NamedTuple, Protocol, runtime_checkable


class Position(NamedTuple):
    """Where the middle of the view lies on the slide, in micrometres; z is the focus drive."""

    x_um: float
    y_um: float
    z_um: float


class Limits(NamedTuple):
    """How far the stage goes."""

    low: Position
    high: Position


@runtime_checkable
class Stage(Protocol):
    """Moves the slide. One contract test (`tests/contracts/test_stage_contract.py`) holds every driver to this."""

    @property
    def position_um(self) -> Position:
        """Where it is now."""
        ...

    @property
    def limits_um(self) -> Limits:
        """How far it goes."""
        ...

    def move_to_um(self, x: float | None = None, y: float | None = None, z: float | None = None) -> Position:
        """Go there and wait until it has arrived; an axis left out stays. Returns where it stands then.

        InstrumentError for a target beyond the limits (it does not move), or where the stage does not answer.
        """
        ...
