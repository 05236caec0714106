"""`marrowscope train`: a labelled folder and a recipe become a checkpoint."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marrowscope.cli.terminal import (
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

if TYPE_CHECKING:
    from marrowscope.cli.fields import TrainingData
    from marrowscope.model.checkpoint import Checkpoint
    from marrowscope.training.loop import StepReport
    from marrowscope.training.recipe import Recipe

Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training fields; else the recipe's.")]
ValSplit = Annotated[str, typer.Option("--val", help="The folder's list of validation fields.")]
TrainSplit = Annotated[str, typer.Option("--train-split", help="The folder's list of training fields.")]
BySpecimen = Annotated[
    bool,
    typer.Option(
        "--by-specimen/--by-field",
        help="Without a validation list, 20 % are held out: whole specimens, or single fields as in the paper.",
    ),
]


def train(
    data: Annotated[
        Path, typer.Argument(help="Folder of labelled fields: VOC (ImageSets/Main/{train,val}.txt), COCO or YOLO.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints best/ and last/, log.jsonl, tensorboard/.")],
    recipe: Annotated[
        str, typer.Option(help="baseline, ranksort, paper, light (for CPUs), or a TOML file of your own.")
    ] = "paper",
    epochs: Epochs = None,
    start: Annotated[
        str | None,
        typer.Option(help="Begin with what this checkpoint (RUN/best, or `real`) knows; its detector, gentler steps."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    settings: Settings = None,
    scheme: Scheme = None,
    val: ValSplit = "val",
    train_split: TrainSplit = "train",
    by_specimen: BySpecimen = False,
    device: Device = "auto",
    threads: Threads = 0,
    skip_bad: SkipBad = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show recipe, classes and splits; train nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a detector on labelled fields.

    Fields without cells, labels of no class and classes too rare are left out, as in the paper, and named. A run
    that was stopped, by whatever, goes on with --resume.

    \b
    Examples:
      marrowscope train my_fields --recipe light --out runs/first
      marrowscope train my_fields --out runs/paper --epochs 20 --set model.sort_weight=0.25
      marrowscope train my_fields --out runs/first --recipe light --resume
      marrowscope train my_fields --out runs/ours --recipe blood --start real --epochs 8
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import choose_device, use_threads
    from marrowscope.cli.fields import read_for_training, write_split
    from marrowscope.training.warm_start import begin_from, recipe_from

    terminal = Terminal(quiet)
    chosen = chosen_recipe(recipe, epochs, settings)
    prepared = read_for_training(
        data,
        train_split=train_split,
        validation_split=val,
        grouping="specimen" if by_specimen else "field",
        scheme=scheme,
        more_than=chosen.more_than,
        seed=chosen.seed,
        skip_bad=skip_bad,
    )
    picked = choose_device(device)
    origin = _origin(start)
    in_force = chosen if origin is None else recipe_from(origin, chosen)
    tell(terminal, in_force, prepared, picked)
    if dry_run:
        tell_recipe(terminal, in_force)
        return
    from marrowscope.training.loop import train as train_run
    from marrowscope.training.state import STATE

    use_threads(threads)
    make_folder(out)
    begun = (out / STATE).exists()
    if speaks_for_all() and not begun:
        write_split(out, prepared, seed=chosen.seed)
    if origin is not None and not begun:
        begin_from(origin, prepared.training, prepared.taxonomy, chosen, out)
        resume = True
    with terminal.progress("training", "steps") as advance:
        run = train_run(
            prepared.training,
            prepared.validation,
            prepared.taxonomy,
            in_force,
            out,
            resume=resume,
            device="cpu" if picked == "cpu" else None,
            on_step=step_reporter(advance),
            on_epoch=lambda line: terminal.say(epoch_line(line, in_force.epochs)),
        )
    tell_end(terminal, run.folder, run.last, data)


def _origin(start: str | None) -> "Checkpoint | None":
    """The checkpoint to begin with. BadInput for several processes: the first lays down a state that all would read."""
    from marrowscope.assemble.detectors import checkpoint_path
    from marrowscope.errors import BadInput
    from marrowscope.model.checkpoint import load_checkpoint

    if start is None:
        return None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadInput("--start: a run begins with a checkpoint in one process alone. Leave out torchrun, or --start.")
    return load_checkpoint(checkpoint_path(start))


def chosen_recipe(name: str, epochs: int | None, settings: list[str] | None) -> "Recipe":
    """The recipe by name, with what the options change. BadRecipe names what is wrong."""
    from marrowscope.training.recipe import load_recipe

    changes = [*(settings or []), *([f"epochs={epochs}"] if epochs else [])]
    return load_recipe(name).changed(changes) if changes else load_recipe(name)


def tell(terminal: Terminal, recipe: "Recipe", data: "TrainingData", device: str) -> None:
    """What will be trained on what."""
    from marrowscope.data.summary import summarise

    terminal.problems(data.problems)
    for note in data.notes:
        terminal.say(note, style="yellow")
    summary = summarise({"train": data.training, "val": data.validation}, data.taxonomy)
    rows: list[tuple[object, ...]] = [(r.name, r.lineage.value, *r.cells) for r in summary.rows]
    rows += [("cells", "", *summary.cells), ("fields", "", *summary.fields)]
    terminal.table(("class", "lineage", "train", "val"), rows, title=f"{len(data.taxonomy)} classes")
    how = {
        "given": "split as the folder lists it",
        "field": f"a fifth of the fields held out (seed {recipe.seed}); kept in split.json",
        "specimen": f"a fifth held out, whole specimens (seed {recipe.seed}); kept in split.json",
    }
    terminal.say(how[data.split])
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    steps = math.ceil(len(data.training) / (recipe.batch_size * recipe.accumulate * processes))
    several = f", {processes} processes" if processes > 1 else ""
    width, height = recipe.model.input_size
    terminal.say(
        f"recipe {recipe.name}: {recipe.model.trunk}, {recipe.model.loss} loss, input {width} x {height}, "
        f"{recipe.epochs} epochs of {steps} steps, on {device}{several}"
    )


def tell_recipe(terminal: Terminal, recipe: "Recipe") -> None:
    """Every value of the recipe."""
    terminal.title("recipe")
    for key, value in recipe.model_dump().items():
        for line in [f"{key}.{k} = {v}" for k, v in value.items()] if isinstance(value, dict) else [f"{key} = {value}"]:
            terminal.say(f"  {line}")


def step_reporter(advance: Any) -> Any:
    """Feeds a progress bar from the training loop."""

    def on_step(step: "StepReport") -> None:
        done = (step.epoch - 1) * step.steps_in_epoch + step.step_in_epoch
        advance(done, step.epochs * step.steps_in_epoch)

    return on_step


def epoch_line(line: dict[str, Any], epochs: int) -> str:
    """An epoch's figures in one line."""
    parts = [f"epoch {line['epoch']}/{epochs}", f"loss {line['loss']['total']:.4f}"]
    parts += [f"{title} {line[k]:.3f}" for k, title in (("val_ap50", "val AP@50"), ("val_f1", "F1")) if k in line]
    return "  ".join([*parts, f"({line['seconds']:.0f} s)"])


def tell_end(terminal: Terminal, run: Path, last: dict[str, Any], data: Path) -> None:
    """Where to look, and what to do next."""
    terminal.title("Trained.")
    if "score_threshold" in last:
        terminal.say(
            f"score threshold {last['score_threshold']:.3f}, the lowest within 0.4 points of the best macro F1"
        )
    terminal.say(f"  {run / 'best'}          the checkpoint with the best validation AP@50")
    terminal.say(f"  {run / 'log.jsonl'}     one line an epoch; curves: tensorboard --logdir {run / 'tensorboard'}")
    terminal.say(f"Next: marrowscope evaluate {run / 'best'} {data} --out {run / 'evaluation'}")
