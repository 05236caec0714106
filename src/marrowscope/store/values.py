"""What the archive says about itself and those who work with it. Cells, fields, reports are in `cells.specimen`."""

from dataclasses import dataclass
from datetime import datetime

from marrowscope.cells.specimen import User


@dataclass(frozen=True)
class LoginSession:
    """Somebody is logged in. token_digest: SHA-256 (hex) of the cookie. csrf: what unsafe requests must repeat."""

    token_digest: str
    user: User
    expires: datetime
    csrf: str


@dataclass(frozen=True)
class Effort:
    """What one person has spent on a case so far."""

    who: str
    seconds: float
    keystrokes: int
    clicks: int


@dataclass(frozen=True)
class ArchiveStatistics:
    """The archive in numbers; cells are those that count (not removed, not seen before).

    by_code: class code -> cells named so now. renamed: (model's call, name given) -> reviewed cells, equal ones too,
    so that it is a confusion matrix; what a person added is not in it. by_user: person -> kind of edit -> edits.
    """

    patients: int
    specimens: int
    slides: int
    fields: int
    cells: int
    reviewed: int
    reports: int
    by_code: dict[str, int]
    renamed: dict[tuple[str, str], int]
    by_user: dict[str, dict[str, int]]


@dataclass(frozen=True)
class IntegrityReport:
    """What a check found. problems: what does not agree, the first difference first; empty when all is whole.

    checked: what was looked at -> how many. orphans: files in the pixel folder that no row names; left by a crash
    between the file and its row, and harmless. digest: of the newest audit entry; written down elsewhere, it proves
    later that nothing before it was changed.
    """

    problems: tuple[str, ...]
    checked: dict[str, int]
    orphans: tuple[str, ...] = ()
    digest: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        """What was looked at, in one line."""
        return ", ".join(f"{number} {what}" for what, number in self.checked.items())
