"""What comes from outside, judged before it is a row: texts, numbers of rows, pages of a list, boxes."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from marrowscope.cells.specimen import Box
from marrowscope.errors import BadInput, NotFound

LARGEST = 2**31 - 1
"""Largest number of a row; PostgreSQL would refuse a larger one in words of its own."""
LONGEST = 10_000
LONGEST_PAGE = 10_000
AT_ONCE = 1000
"""Values in one statement: SQLite takes 32,766 and PostgreSQL 65,535."""

T = TypeVar("T")


def text(value: str, what: str, *, longest: int = LONGEST, empty: bool = True) -> str:
    """A text that both databases can keep. BadInput for one that is too long, empty, or not text."""
    if not empty and not value.strip():
        raise BadInput(f"{what}: is empty. Give one.")
    if len(value) > longest:
        raise BadInput(f"{what}: has {len(value)} characters, at most {longest} are kept. Shorten it.")
    # PostgreSQL keeps no NUL, and half a surrogate pair is no UTF-8.
    if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadInput(f"{what}: holds characters that are no text. Remove them.")
    return value


def name(value: str, what: str) -> str:
    """A short text that must say something: a code, a label, a user."""
    return text(value, what, longest=200, empty=False)


def number_of(value: int, what: str) -> int:
    """The number of a row. NotFound for one that no row can have."""
    if not 0 < value <= LARGEST:
        raise NotFound(f"There is no {what} {value}.")
    return value


def finite(value: float | None, what: str) -> float | None:
    """A number that is one, or None."""
    if value is not None and not math.isfinite(value):
        raise BadInput(f"{what}: must be finite, got {value}.")
    return None if value is None else float(value)


def count(value: int, what: str) -> int:
    """A number of things, 0 or more."""
    if not 0 <= value <= LARGEST:
        raise BadInput(f"{what}: must lie in 0..{LARGEST}, got {value}.")
    return int(value)


def share(value: float, what: str) -> float:
    """A number in 0..1."""
    if not 0 <= value <= 1:
        raise BadInput(f"{what}: must lie in 0..1, got {value}.")
    return float(value)


def page(limit: int, offset: int) -> tuple[int, int]:
    """Limit and offset of a list, brought into their range."""
    return max(0, min(limit, LONGEST_PAGE)), max(0, min(offset, LARGEST))


def box_within(box: Box, width: int, height: int, what: str) -> Box:
    """A box cut at the edges of its field. BadInput where nothing is left of it."""
    if len(box) != 4 or not all(math.isfinite(edge) for edge in box):
        raise BadInput(f"{what}: a box is four finite numbers, got {tuple(box)}.")
    x1, x2 = (min(max(float(edge), 0.0), float(width)) for edge in (box[0], box[2]))
    y1, y2 = (min(max(float(edge), 0.0), float(height)) for edge in (box[1], box[3]))
    if not (x1 < x2 and y1 < y2):
        raise BadInput(f"{what}: the box {tuple(box)} has no area within the field of {width} x {height}.")
    return x1, y1, x2, y2


def portions(values: Iterable[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """The values, so many at a time."""
    portion: list[T] = []
    for value in values:
        portion.append(value)
        if len(portion) == size:
            yield portion
            portion = []
    if portion:
        yield portion
