"""From what a person names (files, folders, patterns, a list on stdin) to fields, one after the other.

Pictures are decoded ahead in threads while the detector works, in order, and never more than a few at a time. A file
that cannot be read takes its place in the stream as `Unreadable`: one bad file in a thousand must not end the run.
"""

import glob
import re
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from marrowscope.cells.field import FieldImage
from marrowscope.data.images import IMAGE_SUFFIXES, read_image
from marrowscope.errors import BadImage, BadInput


@dataclass(frozen=True)
class Unreadable:
    """A file that was asked for and could not be read, and why."""

    path: Path
    reason: str


def natural_key(path: Path) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Sort key that puts field_2 before field_10, folder by folder, whatever the case."""
    return tuple(
        tuple((0, int(x), x) if x.isdecimal() else (1, 0, x.casefold()) for x in re.split(r"(\d+)", part) if x)
        for part in path.parts
    )


def find_images(
    patterns: Iterable[str | Path],
    *,
    recursive: bool = False,
    leave_out: Path | None = None,
    stdin: TextIO | None = None,
) -> list[Path]:
    """The files that `patterns` name: files, folders, globs (`**` too), or `-` for a list on stdin, one a line.

    Patterns keep their order; within each, names are sorted naturally. A file named twice is read once. recursive:
    folders are read with all below them. leave_out: a folder to pass over, such as that of the results. A path
    listed on stdin is taken as it is and may turn out unreadable; BadInput for a pattern that matches nothing.
    """
    found: dict[Path, Path] = {}
    hidden = leave_out.resolve() if leave_out else None
    for pattern in patterns:
        if str(pattern) == "-":
            paths = [Path(line) for line in (stdin or sys.stdin).read().splitlines() if line.strip()]
        else:
            paths = _matches(str(pattern), recursive=recursive)
        for path in paths:
            whole = path.resolve()
            if hidden is None or hidden not in whole.parents:
                found.setdefault(whole, path)
    if not found:
        raise BadInput("no image to read. Name files, folders or patterns outside the folder of results.")
    return list(found.values())


def _matches(pattern: str, *, recursive: bool) -> list[Path]:
    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        files = _images_in([path], recursive=recursive)
        hint = "" if recursive else ", or ask for the folders below it too"
        if not files:
            raise BadInput(f"{pattern}: no image in this folder ({', '.join(IMAGE_SUFFIXES)}). Add some{hint}.")
        return files
    # Path.glob takes no absolute pattern, and would list hidden files.
    named = [Path(p) for p in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    files = [p for p in named if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES]
    files += _images_in([p for p in named if p.is_dir()], recursive=recursive)
    if not files:
        raise BadInput(f"{pattern}: no image matches. Check the path; quote a pattern to keep the shell from it.")
    return sorted(set(files), key=natural_key)


def _images_in(folders: Iterable[Path], *, recursive: bool) -> list[Path]:
    """Images of the folders. Hidden files are no fields: macOS leaves `._x.jpg` beside every picture on a USB stick."""
    files = (p for f in folders for p in (f.rglob("*") if recursive else f.iterdir()))
    images = (p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file())
    return sorted(images, key=natural_key)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for each path to write its results under: the stem, with suffix or folders added only where needed.

    Unique without regard to case, as some file systems have it: `a/1.jpg`, `b/1.jpg` become `a__1`, `b__1`.
    """
    wholes = [p.resolve() for p in paths]
    names = [p.stem for p in wholes]
    for depth in range(max((len(p.parts) for p in wholes), default=0)):
        for with_suffix in (False, True):
            for i in _clashing(names):
                *folders, name = wholes[i].parts[1:]
                last = name if with_suffix else wholes[i].stem
                names[i] = "__".join((*folders[max(0, len(folders) - depth) :], last))
    for i in _clashing(names):
        names[i] += f"__{i + 1}"
    return names


def _clashing(names: Sequence[str]) -> list[int]:
    taken = Counter(n.casefold() for n in names)
    return [i for i, n in enumerate(names) if taken[n.casefold()] > 1]


def read_fields(
    paths: Iterable[Path], *, at_least: tuple[int, int] | None = None, ahead: int = 4, threads: int = 1
) -> Iterator[FieldImage | Unreadable]:
    """Decode the files in order, at most `ahead` of them before they are asked for.

    at_least: (width, height) in pixels that suffices; a larger JPEG is decoded at a reduced scale, which is faster.
    """
    if ahead < 1:
        raise ValueError(f"ahead must be at least 1, got {ahead}")
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    window: deque[Future[FieldImage | Unreadable]] = deque()
    try:
        for path in paths:
            window.append(pool.submit(_read, path, at_least))
            if len(window) > ahead:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path, at_least: tuple[int, int] | None) -> FieldImage | Unreadable:
    try:
        return read_image(path, at_least=at_least)
    except (BadImage, OSError) as error:
        return Unreadable(path, str(error))
