"""What the fields of a training set look like, in numbers: what incoming fields are compared with.

Every field gives one value a statistic. How pictures look (`data.looks`) is taken from the training fields, what is
found in them from fields that the detector did not learn from: its scores on learned ones are too good to be met again.
A swatch of pixels stands for the stain (`detect.stain`).
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import area
from marrowscope.cells.detections import Detections

MOST_FIELDS = 512
"""Fields whose values are kept; of more, so many evenly spread."""
MOST_PIXELS = 4096
"""Pixels of a swatch."""
FINDS = ("cells a field", "cell size", "score")
"""What is found: cells counted, the median side of their boxes in pixels of the file, their mean score."""

_T = TypeVar("_T")
Swatch = NDArray[np.uint8]
Columns = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class FieldsSeen:
    """Statistics of many fields.

    looks: name -> one value a field, all equally many. finds: likewise, of the fields in which something was found;
    `cells a field` of all of them. mix: cells of each class in each field. swatch: (n, 3) uint8 RGB pixels of them all.
    """

    looks: Columns = field(default_factory=dict)
    finds: Columns = field(default_factory=dict)
    mix: tuple[tuple[int, ...], ...] = ()
    swatch: Swatch = field(default_factory=lambda: np.zeros((0, 3), np.uint8))

    def with_found(self, counted: Iterable[Detections]) -> Self:
        """The same looks, with what is counted in fields: above the threshold, one name a cell."""
        finds, mix = found_in(counted)
        return replace(self, finds=finds, mix=mix)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a header in JSON; five digits are enough to compare by."""
        return {
            "looks": {name: [float(f"{x:.5g}") for x in values] for name, values in self.looks.items()},
            "finds": {name: [float(f"{x:.5g}") for x in values] for name, values in self.finds.items()},
            "mix": [list(row) for row in self.mix],
            "swatch": base64.b64encode(self.swatch.tobytes()).decode("ascii"),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; KeyError, TypeError or ValueError for anything else."""
        looks, finds = (
            {str(name): tuple(float(x) for x in column) for name, column in values[key].items()}
            for key in ("looks", "finds")
        )
        mix = tuple(tuple(int(n) for n in row) for row in values["mix"])
        swatch = np.frombuffer(base64.b64decode(values["swatch"], validate=True), np.uint8).reshape(-1, 3)
        return cls(looks, finds, mix, swatch)


def found_in(counted: Iterable[Detections]) -> tuple[Columns, tuple[tuple[int, ...], ...]]:
    """`FINDS` of fields, and the cells of each class in each; a field without a cell has no size and no score."""
    fields = list(sampled(list(counted), MOST_FIELDS))
    some = [found for found in fields if len(found)]
    sizes = [float(np.median(np.sqrt(area(found.boxes)))) for found in some]
    columns = (
        [float(len(found)) for found in fields],
        sizes,
        [float(found.scores.mean()) for found in some],
    )
    mix = tuple(tuple(np.bincount(found.labels, minlength=len(found.taxonomy)).tolist()) for found in fields)
    return {name: tuple(column) for name, column in zip(FINDS, columns, strict=True)}, mix


def sampled(values: Sequence[_T], most: int) -> Sequence[_T]:
    """At most `most` of them, evenly spread, in order."""
    if len(values) <= most:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, most).round().astype(int)]
