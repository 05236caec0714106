"""`marrowscope retrain`: what was reviewed becomes a candidate, set beside the serving model, and promoted or not.

The steps, and where they leave what, are in `retrain_steps`.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from marrowscope.cli.terminal import Device, Quiet, Settings, Terminal, Threads, command_line_user

if TYPE_CHECKING:
    from marrowscope.cli.retrain_steps import Plan
    from marrowscope.station.promotion import Comparison
    from marrowscope.store.store import Store

Promote = Literal["auto", "ask", "never"]
Start = Literal["serving", "recipe"]


def retrain(
    home: Annotated[Path, typer.Option(help="The station's home folder.")],
    recipe: Annotated[
        str, typer.Option(help="baseline, ranksort, paper, light (for CPUs), or a TOML file of your own.")
    ] = "light",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training fields; else the recipe's.")
    ] = None,
    settings: Settings = None,
    base: Annotated[
        str | None, typer.Option(help="Compare with this checkpoint (or `real`) instead of the serving model.")
    ] = None,
    start: Annotated[
        Start, typer.Option(help="Begin with what the serving model knows, or as the recipe begins.")
    ] = "serving",
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Labelled folder to train on as well, such as the one before; may be given again."),
    ] = None,
    specimen: Annotated[
        list[str] | None, typer.Option(help="Take this specimen only, by the lab's code; may be given again.")
    ] = None,
    promote: Annotated[
        Promote, typer.Option(help="A candidate that is better: auto lets it serve, ask asks first, never only tells.")
    ] = "ask",
    by: Annotated[str | None, typer.Option(help="Your user name at the station; promoting takes an admin's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest retraining that is not done.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be exported and trained on; keep nothing.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Train on what was reviewed, compare with the serving model on patients that neither learned from, promote or not.

    Only fields reviewed throughout are taken. Training begins with the serving model's weights, classes carried over by
    code; with --start recipe it begins anew, and then wants its earlier training fields too (--extra).

    \b
    Examples:
      marrowscope retrain --home station --extra my_fields --promote auto
      marrowscope retrain --home station --dry-run
      marrowscope retrain --home station --resume
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import use_threads
    from marrowscope.cells.taxonomy import builtin_schemes, load_taxonomy
    from marrowscope.cli.retrain_steps import Plan, Work
    from marrowscope.errors import MarrowscopeError
    from marrowscope.station.settings import load_settings

    terminal = Terminal(quiet)
    station = load_settings(_require_home(home))
    scheme = load_taxonomy(station.scheme if station.scheme in builtin_schemes() else home / station.scheme)
    with _open_store(home, station.archive) as store:
        who = _who(store, by, promote)
        use_threads(threads)

        def work_in(folder: Path, plan: Plan) -> Work:
            return Work(terminal, store, home, folder, plan, scheme, who, device, plan.base or station.detector)

        if dry_run:
            with tempfile.TemporaryDirectory(dir=home) as aside:
                work = work_in(Path(aside), _plan(recipe, epochs, settings, extra, specimen, base, start))
                work.export()
                work.tell()
            return
        if resume:
            folder = _unfinished(home)
            plan = Plan.read(folder)
            terminal.say(f"going on with {folder}: recipe {plan.recipe}")
        else:
            plan = _plan(recipe, epochs, settings, extra, specimen, base, start)
            folder = _begin(home, plan)
        work = work_in(folder, plan)
        try:
            work.export()
        except MarrowscopeError:
            if not resume:  # nothing that could be gone on with
                shutil.rmtree(folder)
            raise
        candidate = work.train()
        comparison = work.compare(candidate)
        work.settle(candidate, comparison, partial(_decide, terminal, promote))


def _require_home(home: Path) -> Path:
    from marrowscope.errors import BadInput

    if not home.is_dir():
        raise BadInput(f"{home}: no such folder. Give the home folder of a station that has reviewed cases.")
    return home


def _open_store(home: Path, url: str | None) -> "Store":
    from marrowscope.errors import BadInput
    from marrowscope.store.store import Store

    archive = home / "archive.db"
    if url is None and not archive.is_file():
        raise BadInput(f"{home}: holds no archive.db. Give the home folder of a station that has reviewed cases.")
    return Store.open(url or f"sqlite:///{archive.resolve()}", home / "pixels")


def _who(store: "Store", by: str | None, promote: Promote) -> str:
    """Under which name it is done. NotAllowed for a name that may not promote, where that may come of it."""
    from marrowscope.cells.specimen import Role
    from marrowscope.errors import NotAllowed

    if by is None:
        return command_line_user()
    user = store.user(by)
    if promote != "never" and (user.role is not Role.ADMIN or not user.active):
        raise NotAllowed(f"{by} is {user.role.value}{'' if user.active else ', not active'}: promoting takes an admin.")
    return user.name


def _plan(
    recipe: str,
    epochs: int | None,
    settings: Sequence[str] | None,
    extra: Sequence[Path] | None,
    specimens: Sequence[str] | None,
    base: str | None,
    start: Start,
) -> "Plan":
    from marrowscope.cli.fields import require_folder
    from marrowscope.cli.retrain_steps import Plan
    from marrowscope.cli.train import chosen_recipe

    chosen_recipe(recipe, epochs, list(settings or []))
    for folder in extra or ():
        require_folder(folder)
    shipped = Path(recipe)
    return Plan(
        str(shipped.resolve()) if shipped.is_file() else recipe,
        epochs,
        tuple(settings or ()),
        tuple(str(folder.resolve()) for folder in extra or ()),
        tuple(specimens) if specimens else None,
        str(Path(base).resolve()) if base and Path(base).exists() else base,
        start,
    )


def _begin(home: Path, plan: "Plan") -> Path:
    from marrowscope.cells.files import write_atomically
    from marrowscope.cli.retrain_steps import PLAN, PREFIX

    folder = home / "exports" / f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}Z"
    folder.mkdir(parents=True)
    write_atomically(folder / PLAN, json.dumps(asdict(plan), ensure_ascii=False, indent=1) + "\n")
    return folder


def _unfinished(home: Path) -> Path:
    from marrowscope.cli.retrain_steps import PLAN, PREFIX, RESULT
    from marrowscope.errors import BadInput

    begun = sorted(p.parent for p in (home / "exports").glob(f"{PREFIX}*/{PLAN}") if not (p.parent / RESULT).exists())
    if not begun:
        raise BadInput(f"{home}: no retraining waits to be gone on with. Begin one without --resume.")
    return begun[-1]


def _decide(terminal: Terminal, promote: Promote, comparison: "Comparison") -> bool:
    from marrowscope.station.promotion import Verdict

    if comparison.verdict is Verdict.KEEP or promote == "never":
        return False
    if promote == "auto":
        return True
    try:
        return typer.confirm("Let the candidate serve from now on?", default=False)
    except typer.Abort:
        terminal.warn("nobody answered, so nothing was promoted; --promote auto does not ask")
        return False
