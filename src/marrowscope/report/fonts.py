"""The fonts of a report. They lie beside this file, brought there when marrowscope is installed.

Reports are set with these fonts alone, never with what a machine happens to have: the same content gives the same page
everywhere, and Chinese is there offline.
"""

import unicodedata
from bisect import bisect_right
from functools import cache
from pathlib import Path

from marrowscope.errors import MissingExtra

FOLDER = Path(__file__).parent / "fonts"
FILES = ("NotoSansSC-Regular.ttf", "NotoSansSC-Bold.ttf", "NotoSans-Regular.ttf", "NotoSans-Bold.ttf")
FAMILIES = ("Noto Sans SC", "Noto Sans")
"""In order: a character that the first lacks is taken from the second."""
_COVERAGE = "characters.txt"
_INVISIBLE = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")


def missing_fonts(folder: Path = FOLDER) -> tuple[str, ...]:
    """Names of the font files that are not there; empty when all is well."""
    return tuple(name for name in FILES if not (folder / name).is_file())


def font_folder(folder: Path = FOLDER) -> Path:
    """Where the fonts are. MissingExtra where one is missing."""
    if missing := missing_fonts(folder):
        raise MissingExtra(
            f"the report's fonts are missing from {folder}: {', '.join(missing)}. Install marrowscope again where the "
            "npm registry can be reached, without MARROWSCOPE_NO_PAGE; or copy the folder from another installation."
        )
    return folder


@cache
def _ranges(folder: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    lines = (folder / _COVERAGE).read_text(encoding="ascii").split()
    pairs = [tuple(int(end, 16) for end in line.split("-")) for line in lines]
    return tuple(first for first, _ in pairs), tuple(last for _, last in pairs)


def unprintable(text: str, folder: Path = FOLDER) -> str:
    """The characters of `text` that cannot be set, each once, in order.

    No font of the report has them; or they are invisible and steer text (direction marks, control characters), which
    would let a code read as another one.
    """
    return "".join(dict.fromkeys(c for c in text if not _can_be_set(c, folder)))


def printable(text: str, folder: Path = FOLDER) -> str:
    """The text with what cannot be set written by its number: `[U+1F600]`."""
    return "".join(c if _can_be_set(c, folder) else f"[U+{ord(c):04X}]" for c in text)


def _can_be_set(character: str, folder: Path) -> bool:
    if character in " \n\t" or "!" <= character <= "~":
        return True
    if unicodedata.category(character) in _INVISIBLE:
        return False
    firsts, lasts = _ranges(folder)
    place = bisect_right(firsts, ord(character)) - 1
    return place >= 0 and ord(character) <= lasts[place]
