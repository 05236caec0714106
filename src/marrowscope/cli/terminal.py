"""What every command says, and how: results on stdout, progress and warnings on stderr, bars only on a terminal."""

import getpass
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from marrowscope.data.problems import Problem

LINE_SECONDS = 15.0
"""How often progress is written where there is no terminal."""
PROBLEMS_SHOWN = 20

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="auto, cpu or cuda; auto takes the GPU where there is one.")
]
Runtime = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    typer.Option(help="What computes; auto takes the quickest that is installed, and exported graphs where there are."),
]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads for computing; 0 leaves it to torch.")]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad/--strict", help="Leave bad objects and fields out and list them, or stop at the first."),
]
Scheme = Annotated[
    str | None,
    typer.Option(help="Classes: a built-in scheme (liu2022, liu2022-21, clinical) or a TOML file of your own."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe; may be given again."),
]


class Advance(Protocol):
    """Called with (done, of all), and what else there is to say of it."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:  # noqa: D102
        ...


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = 140  # a file has no width; tables should not be squeezed into 80 columns
    return console


def say_error(text: str) -> None:
    """One red line on stderr."""
    _console(stderr=True).print(text, style="bold red", markup=False, soft_wrap=True)


def speaks_for_all() -> bool:
    """Of several training processes the first one speaks, and writes what is written once."""
    return os.environ.get("RANK", "0") == "0"


def command_line_user() -> str:
    """Under which name the audit trail knows whoever types a command."""
    return f"{getpass.getuser()} (command line)"


def make_folder(out: Path) -> Path:
    """The folder of the results, made and writable before the work begins. BadInput where that cannot be."""
    from marrowscope.errors import BadInput

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{out}: cannot be made a folder ({error.strerror}). Give another place with --out.") from None
    if not os.access(out, os.W_OK):
        raise BadInput(f"{out}: cannot be written to. Give another place with --out.")
    return out


@dataclass(frozen=True)
class Terminal:
    """Speaks to the operator; `quiet` keeps all but warnings to itself."""

    quiet: bool = False

    def __post_init__(self) -> None:
        if not speaks_for_all():
            object.__setattr__(self, "quiet", True)

    def say(self, text: str = "", *, style: str = "") -> None:
        """A line, as it is."""
        if not self.quiet:
            _console().print(text, style=style, markup=False, soft_wrap=True)

    def title(self, text: str) -> None:
        """A line that opens a part of the story."""
        self.say(f"\n{text}", style="bold")

    def warn(self, text: str) -> None:
        """A yellow line on stderr."""
        if not self.quiet:
            _console(stderr=True).print(text, style="yellow", markup=False, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
        """A table; the first column is text, numbers stand flush right."""
        if self.quiet:
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        if title:
            self.say(f"\n{title}", style="bold")
        shown = Table(box=box.SIMPLE_HEAD)
        for i, column in enumerate(columns):
            shown.add_column(Text(column), justify="right" if i else "left", no_wrap=not i, overflow="fold")
        for row in rows:
            shown.add_row(*(Text(_cell(value)) for value in row))
        _console().print(shown)

    def problems(self, problems: Sequence["Problem"]) -> None:
        """The list of what is wrong with the data, its beginning if it is long."""
        for problem in problems[:PROBLEMS_SHOWN]:
            self.warn(f"{problem.severity}: {problem}")
        if len(problems) > PROBLEMS_SHOWN:
            more = len(problems) - PROBLEMS_SHOWN
            self.warn(f"... and {more} more. `marrowscope data check FOLDER --json FILE` lists all.")

    @contextmanager
    def progress(self, what: str, unit: str) -> Iterator[Advance]:
        """A bar with the time left on a terminal, a line now and then elsewhere, nothing when quiet."""
        if self.quiet:
            yield lambda done, total, note="": None
            return
        console = _console(stderr=True)
        if not console.is_terminal:
            yield _Lines(console, what, unit).advance
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
            TextColumn("{task.fields[note]}"),
        )
        # What is said meanwhile goes above the bar, unless it goes to a file.
        with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
            task = bar.add_task(what, total=None, note="")
            begun = False

            def advance(done: int, total: int, note: str = "", /) -> None:
                nonlocal begun
                if not begun:  # what a resumed run finds done took no time
                    bar.reset(task, completed=done, total=total)
                begun = True
                bar.update(task, completed=done, total=total, note=note)

            yield advance


class _Lines:
    """Progress where there is no terminal: a line now and then, with the time left."""

    def __init__(self, console: "Console", what: str, unit: str) -> None:
        self._console, self._what, self._unit = console, what, unit
        self._started = self._said = time.monotonic()
        # The rate counts from the first report, as a resumed run begins in the middle.
        self._first: tuple[int, float] | None = None

    def advance(self, done: int, total: int, note: str = "", /) -> None:
        """Take note, and say so if it is time or the end."""
        now = time.monotonic()
        begun, since = self._first = self._first or (done, now)
        if done < total and now - self._said < LINE_SECONDS:
            return
        self._said = now
        rate = (done - begun) / (now - since) if done > begun and now > since else 0.0
        left = f", {_clock((total - done) / rate)} left" if rate and done < total else ""
        text = f"{self._what}: {done}/{total} {self._unit}, {_clock(now - self._started)}{left}{note and f', {note}'}"
        self._console.print(text, markup=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
