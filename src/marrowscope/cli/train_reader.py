"""`marrowscope train-reader`: a trained detector learns to read each cell that it found a second time."""

from pathlib import Path
from typing import Annotated, Any

import typer

from marrowscope.cli.terminal import Quiet, Settings, SkipBad, Terminal, Threads, make_folder
from marrowscope.cli.train import Epochs, TrainSplit, ValSplit, step_reporter


def train_reader(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder of a trained detector (RUN/best).")],
    data: Annotated[Path, typer.Argument(help="Folder of labelled fields, as a rule those of the detector.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: best/ is detector and reader in one checkpoint.")],
    epochs: Epochs = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    settings: Settings = None,
    val: ValSplit = "val",
    train_split: TrainSplit = "train",
    threads: Threads = 0,
    skip_bad: SkipBad = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show recipe and numbers; train nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Add a reader to a detector: every cell found is then cut out and named again at a finer resolution.

    The detector itself stays as it is; a reader that it has already goes on learning. What was fitted to the scores
    (calibration) is fitted anew on the validation fields, as a reader changes them.

    \b
    Examples:
      marrowscope train-reader runs/first/best my_fields --out runs/reader
      marrowscope train-reader runs/reader/best my_fields --out runs/finer --epochs 12 --set reader.crop_px=160
      marrowscope train-reader runs/first/best my_fields --out runs/reader --resume
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import checkpoint_path, use_threads
    from marrowscope.cli.fields import read_for_training
    from marrowscope.model.checkpoint import load_checkpoint
    from marrowscope.training.reading import ReadingRecipe
    from marrowscope.training.reading import train_reader as train_run

    terminal = Terminal(quiet)
    recipe = ReadingRecipe().changed([*(settings or []), *([f"epochs={epochs}"] if epochs else [])])
    start = load_checkpoint(checkpoint_path(checkpoint))
    prepared = read_for_training(
        data, train_split=train_split, validation_split=val, seed=recipe.seed, skip_bad=skip_bad
    )
    terminal.problems(prepared.problems)
    cells = [sum(len(f.truth(start.taxonomy).boxes) for f in side) for side in (prepared.training, prepared.validation)]
    reader = recipe.reader
    terminal.say(
        f"{cells[0]} cells to learn from, {cells[1]} to validate on; {reader.trunk} reads crops of {reader.crop_px} "
        f"pixels, {recipe.epochs} epochs"
    )
    if dry_run:
        return
    use_threads(threads)
    make_folder(out)
    with terminal.progress("training", "steps") as advance:
        run = train_run(
            start,
            prepared.training,
            prepared.validation,
            recipe,
            out,
            resume=resume,
            on_step=step_reporter(advance),
            on_epoch=lambda line: terminal.say(reading_line(line, recipe.epochs)),
        )
    terminal.title("Trained.")
    terminal.say(f"  {run.folder / 'best'}          detector and reader")
    terminal.say(f"Next: marrowscope evaluate {run.folder / 'best'} {data} --out {run.folder / 'evaluation'}")


def reading_line(line: dict[str, Any], epochs: int) -> str:
    """An epoch's figures in one line."""
    parts = [f"epoch {line['epoch']}/{epochs}", f"loss {line['loss']:.4f}"]
    parts += [
        f"{word} {line[k]:.3f}" for k, word in (("val_accuracy", "right"), ("val_recall", "mean recall")) if k in line
    ]
    return "  ".join([*parts, f"({line['seconds']:.0f} s)"])
