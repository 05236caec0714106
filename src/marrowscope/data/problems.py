"""What can be wrong with labelled data, said so that the person who must mend it knows where and how.

One `Problem` is one line: place, what is wrong, remedy. A reader hands every problem to a `ProblemLog`, which decides
whether the first error ends the reading or the bad thing is left out and remembered.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from marrowscope.errors import BadAnnotation, BadImage, BadInput


class Severity(StrEnum):
    """An error cannot be trained on and is left out; a warning is used as it is, but a person should look."""

    ERROR = "error"
    WARNING = "warning"


class ProblemKind(StrEnum):
    """Every kind of defect that reading or checking a labelled folder can find."""

    MALFORMED_FILE = "malformed file"
    FORBIDDEN_XML = "forbidden XML"
    UNSAFE_PATH = "unsafe path"
    MISSING_FIELD = "missing field"
    MISSING_IMAGE = "missing image"
    CORRUPT_IMAGE = "corrupt image"
    IMAGE_TOO_LARGE = "image too large"
    SIZE_MISMATCH = "size mismatch"
    MISSING_VALUE = "missing value"
    NOT_A_NUMBER = "not a number"
    REVERSED_BOX = "reversed box"
    ZERO_AREA_BOX = "zero-area box"
    BOX_OUTSIDE = "box outside the field"
    FIELD_IN_TWO_SPLITS = "field in two splits"
    IMAGE_IN_TWO_SPLITS = "same image in two splits"

    BOX_BEYOND_EDGE = "box beyond the edge"
    FRACTIONAL_PIXEL = "fractional pixel"
    DUPLICATE_BOX = "duplicate box"
    OVERLAPPING_BOXES = "overlapping boxes"
    TINY_BOX = "tiny box"
    HUGE_BOX = "huge box"
    UNKNOWN_CLASS = "unknown class"
    UNLABELLED_IMAGE = "image without labels"
    EMPTY_FIELD = "field without cells"
    DUPLICATE_IMAGE = "same image twice"
    LISTED_TWICE = "listed twice"
    UNLISTED_FIELD = "field in no split"

    @property
    def severity(self) -> Severity:
        """Whether the thing has to be left out."""
        return Severity.WARNING if self in _WARNINGS else Severity.ERROR


_WARNINGS = frozenset(
    {
        ProblemKind.BOX_BEYOND_EDGE,
        ProblemKind.FRACTIONAL_PIXEL,
        ProblemKind.DUPLICATE_BOX,
        ProblemKind.OVERLAPPING_BOXES,
        ProblemKind.TINY_BOX,
        ProblemKind.HUGE_BOX,
        ProblemKind.UNKNOWN_CLASS,
        ProblemKind.UNLABELLED_IMAGE,
        ProblemKind.EMPTY_FIELD,
        ProblemKind.DUPLICATE_IMAGE,
        ProblemKind.LISTED_TWICE,
        ProblemKind.UNLISTED_FIELD,
    }
)
_OF_IMAGES = frozenset({ProblemKind.MISSING_IMAGE, ProblemKind.CORRUPT_IMAGE, ProblemKind.IMAGE_TOO_LARGE})


@dataclass(frozen=True)
class Problem:
    """One defect. where: file, and object counted from 1. str() is one line."""

    kind: ProblemKind
    where: str
    what: str
    remedy: str

    @property
    def severity(self) -> Severity:
        """That of its kind."""
        return self.kind.severity

    def error(self) -> BadInput:
        """The same as an exception."""
        return BadImage(str(self)) if self.kind in _OF_IMAGES else BadAnnotation(str(self))

    def __str__(self) -> str:
        return " ".join(f"{self.where}: {self.what}. {self.remedy}".split())


@dataclass(eq=False)
class ProblemLog:
    """Takes problems as they are found. skip_bad: remember errors; otherwise the first one is raised."""

    skip_bad: bool
    found: list[Problem] = field(default_factory=list)

    def add(self, kind: ProblemKind, where: str, what: str, remedy: str) -> None:
        """Remember a problem, or raise it as BadAnnotation or BadImage."""
        self.extend([Problem(kind, where, what, remedy)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """As `add`, for problems made elsewhere."""
        for problem in problems:
            if problem.severity is Severity.ERROR and not self.skip_bad:
                raise problem.error()
            self.found.append(problem)


def quote(value: object, longest: int = 60) -> str:
    """A value from a file, made safe for one line of a message."""
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return f"'{text if len(text) <= longest else text[: longest - 3] + '...'}'"
