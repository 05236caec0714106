"""The seam between those who look at whole slides and the formats they are stored in. Imports no format's library.

A `WholeSlide` gives the pixels of any place at the scales that were stored. One contract test
(`tests/contracts/test_slide_contract.py`) holds every format to the promises made here.
"""

from types import TracebackType
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

BACKGROUND = (255, 255, 255)
"""RGB of places outside the slide, and of those that the scanner left out."""


class Level(NamedTuple):
    """One stored scale of a slide: its size in pixels, and how many pixels of level 0 one of its pixels spans."""

    width: int
    height: int
    downsample: float


@runtime_checkable
class WholeSlide(Protocol):
    """A scanned slide. Threads may share it; to use it in another process, open it there.

    Levels are ordered finest first, and level 0 has downsample 1. A cell's place on a slide is always said in pixels of
    level 0, (0, 0) the top left corner of the first pixel.
    """

    @property
    def name(self) -> str:
        """What the slide is called in results: its file's or folder's name, without a path."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """The stored scales, at least one."""
        ...

    @property
    def um_per_px(self) -> float | None:
        """Micrometres a pixel of level 0; None where the file does not say."""
        ...

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """The pixels of a rectangle, (height, width, 3) uint8 RGB.

        x, y, width, height are pixels *of that level*. What lies outside the slide is `BACKGROUND`, and the same place
        always gives the same pixels, whatever rectangle asks for it. BadSlide where the file is damaged there.
        """
        ...

    def close(self) -> None:
        """Let go of the file. Closing twice does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
