"""What an address of `assemble.cameras` becomes, and how the options in it are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from marrowscope.errors import BadSetting
from marrowscope.instrument.camera import Camera
from marrowscope.instrument.stage import Stage

if TYPE_CHECKING:
    from marrowscope.instrument.faults import Faults


@dataclass(frozen=True, eq=False)
class Microscope:
    """A camera (not yet opened: enter its context), a stage where there is one, faults where it is simulated.

    Close it when done; that also closes what lies under the lens of a simulated one. simulator: the whole
    `SimulatedMicroscope`, which knows the truth.
    """

    camera: Camera
    stage: Stage | None = None
    faults: "Faults | None" = None
    simulator: Any = None
    _closers: tuple[Callable[[], None], ...] = field(default=(), repr=False)

    def close(self) -> None:
        """Let go of what belongs to it."""
        for closer in self._closers:
            closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_options(
    address: str, options: Mapping[str, object], known: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    """Options by name, each made by its function. BadSetting for one that is not known, or a value that cannot be."""
    values = {}
    for name, value in options.items():
        if name not in known:
            raise BadSetting(f"camera address '{address}': no option '{name}'. There are: {', '.join(known)}.")
        try:
            values[name] = known[name](value)
        except (TypeError, ValueError) as error:
            raise BadSetting(f"camera address '{address}': '{value}' is no value for {name} ({error}).") from error
    return values
