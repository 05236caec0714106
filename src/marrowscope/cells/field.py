"""A field: what is seen under the lens at one place, as pixels.

Folder, slide and camera are the same thing to everyone downstream: an `Iterable[FieldImage]`.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Origin:
    """Where a field came from: a file, and for a region of a slide or a stage position its top left corner."""

    path: Path | None = None
    x: float = 0.0
    y: float = 0.0
    unit: str = "px"


@dataclass(frozen=True, eq=False)
class FieldImage:
    """Pixels of one field.

    pixels: (h, w, 3) uint8 RGB. They may be a reduced decode of a larger file: `width` and `height` are always those
    of the original, and every box about this field is given in original pixels. Left out, they are those of `pixels`.
    """

    pixels: NDArray[np.uint8]
    name: str
    width: int = 0
    height: int = 0
    um_per_px: float | None = None
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(f"pixels must be (h, w, 3) uint8 RGB, got {self.pixels.shape} {self.pixels.dtype}")
        if not self.pixels.size:
            raise ValueError(f"pixels must not be empty, got {self.pixels.shape}")
        if (self.width > 0) != (self.height > 0) or min(self.width, self.height) < 0:
            raise ValueError(f"width and height go together, got {self.width} x {self.height}")
        if not self.width:
            object.__setattr__(self, "width", self.pixels.shape[1])
            object.__setattr__(self, "height", self.pixels.shape[0])
