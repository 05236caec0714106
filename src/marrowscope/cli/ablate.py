"""`marrowscope ablate`: the paper's columns, and any others, trained and set side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import (
    Advance,
    Device,
    Quiet,
    Scheme,
    Settings,
    SkipBad,
    Terminal,
    Threads,
    make_folder,
    speaks_for_all,
)
from marrowscope.cli.train import BySpecimen, Epochs, TrainSplit, ValSplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marrowscope.detect.detector import Detector
    from marrowscope.evaluation.metrics import Evaluation
    from marrowscope.training.ablate import Column
    from marrowscope.training.loop import StepReport
    from marrowscope.training.recipe import Recipe


def ablate(
    data: Annotated[Path, typer.Argument(help="Folder of labelled fields: VOC, COCO or YOLO.")],
    out: Annotated[Path, typer.Option(help="Folder of the comparison; each column has a folder of its own in it.")],
    recipe: Annotated[str, typer.Option(help="Recipe under all columns: a shipped one or a TOML file.")] = "light",
    columns: Annotated[
        str, typer.Option(help="baseline, ranksort, paper, lambda=0.25, or name:key=value,key=value; by commas.")
    ] = "baseline,ranksort,paper",
    sort_weights: Annotated[str, typer.Option(help="Further columns lambda=X, flips alone: 0,.25,.5,.75,1.")] = "",
    epochs: Epochs = None,
    settings: Settings = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished columns in --out and go on with the open one.")
    ] = False,
    scheme: Scheme = None,
    val: ValSplit = "val",
    train_split: TrainSplit = "train",
    by_specimen: BySpecimen = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Draws over fields for the 95 % intervals; 0: none.")] = 1000,
    device: Device = "auto",
    threads: Threads = 0,
    skip_bad: SkipBad = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the columns; train nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train the paper's three columns (and others) on one split, and table them side by side.

    Each column is evaluated on the validation fields, at the score threshold chosen there, with bootstrap intervals.

    \b
    Examples:
      marrowscope ablate my_fields --out runs/ablation --epochs 8
      marrowscope ablate my_fields --out runs/lambda --columns baseline --sort-weights 0,.25,.5,.75,1
      marrowscope ablate my_fields --out runs/width --columns paper,wide:model.head_width=1024
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import choose_device, open_detector, use_threads
    from marrowscope.cli.fields import read_for_training, write_split
    from marrowscope.cli.train import chosen_recipe, epoch_line, tell

    terminal = Terminal(quiet)
    base = chosen_recipe(recipe, epochs, settings)
    chosen = _columns(columns, base, sort_weights)
    prepared = read_for_training(
        data,
        train_split=train_split,
        validation_split=val,
        grouping="specimen" if by_specimen else "field",
        scheme=scheme,
        more_than=base.more_than,
        seed=base.seed,
        skip_bad=skip_bad,
    )
    picked = choose_device(device)
    tell(terminal, base, prepared, picked)
    _tell_columns(terminal, base, chosen)
    if dry_run:
        return
    from marrowscope.training.ablate import ablate as run_ablation

    use_threads(threads)
    make_folder(out)

    def opened(path: Path) -> "tuple[Detector, float]":
        found = open_detector(path, device=device)
        return found.detector, found.score_threshold

    with terminal.progress("all columns", "steps") as advance:
        count = _Steps(chosen, advance)

        def on_column(column: "Column", number: int) -> None:
            if number == 1 and speaks_for_all():
                write_split(out, prepared, seed=base.seed)
            count.begin(number)
            terminal.title(f"{column.name} ({number} of {len(chosen)})")

        results = run_ablation(
            chosen,
            prepared.training,
            prepared.validation,
            prepared.taxonomy,
            out,
            open_detector=opened,
            resume=resume,
            device="cpu" if picked == "cpu" else None,
            bootstrap=bootstrap,
            on_column=on_column,
            on_step=count.step,
            on_epoch=lambda line: terminal.say(epoch_line(line, base.epochs)),
        )
    _tell_results(terminal, results)
    terminal.say(f"{out / 'comparison.md'}     the same with intervals and every class; also .csv, .json")
    terminal.say(f"{out / 'figure2.png'}     precision and recall, a curve for each column")


def _columns(text: str, base: "Recipe", sort_weights: str) -> "list[Column]":
    from marrowscope.errors import BadInput
    from marrowscope.training.ablate import columns, parse_columns

    try:
        weights = [float(word) for word in sort_weights.split(",") if word.strip()]
    except ValueError:
        raise BadInput(f"--sort-weights {sort_weights}: write numbers by commas, such as 0,.25,.5,.75,1.") from None
    return columns(parse_columns(text), base, sort_weights=weights)


class _Steps:
    """Steps of all columns as one progress."""

    def __init__(self, columns: "Sequence[Column]", advance: Advance) -> None:
        self._epochs = [column.recipe.epochs for column in columns]
        self._number, self._advance = 1, advance

    def begin(self, number: int) -> None:
        self._number = number

    def step(self, report: "StepReport") -> None:
        before = sum(self._epochs[: self._number - 1]) * report.steps_in_epoch
        here = (report.epoch - 1) * report.steps_in_epoch + report.step_in_epoch
        self._advance(before + here, sum(self._epochs) * report.steps_in_epoch)


def _tell_columns(terminal: Terminal, base: "Recipe", columns: "Sequence[Column]") -> None:
    """Each column by what differs from the base."""
    under = _flat(base.model_dump())
    rows = []
    for column in columns:
        over = _flat(column.recipe.model_dump())
        changed = [f"{k} = {v}" for k, v in over.items() if v != under[k] and k != "name"]
        rows.append((column.name, ", ".join(changed) or f"as recipe {base.name}"))
    terminal.table(("column", "differs by"), rows, title="Columns")


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _tell_results(terminal: Terminal, results: "dict[str, Evaluation]") -> None:
    from marrowscope.evaluation.metrics import METRICS
    from marrowscope.evaluation.tables import TITLES

    rows = [(TITLES[m], *(str(e.classes.of_all(m)) for e in results.values())) for m in METRICS]
    terminal.table(("mean over classes", *results), rows, title="Columns side by side (95 % intervals)")
