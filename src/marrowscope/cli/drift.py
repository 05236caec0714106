"""`marrowscope drift`: do incoming pictures look like those that a checkpoint was trained on?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Device, Quiet, Runtime, Terminal, Threads, make_folder

if TYPE_CHECKING:
    from marrowscope.assemble.detectors import OpenedDetector
    from marrowscope.cells.fields_seen import FieldsSeen

ALARM = 1


def drift(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder (RUN/best), `real`, or `demo`.")],
    paths: Annotated[
        list[str], typer.Argument(help="Pictures, folders or patterns; `-` reads a list from stdin, one path a line.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for drift.json, drift.md and drift.png.")] = None,
    learn: Annotated[
        Path | None,
        typer.Option(help="Compare nothing: write the checkpoint here, with these pictures as what it was trained on."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Read folders with all below them.")] = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Do pictures look like those of training? Colour, sharpness, cells, sizes, scores, classes; no labels needed.

    The exit code is 1 where they have drifted. Of batches drawn at random from fields like those of training, at most
    5 % raise an alarm. Training stores what is compared with; --learn does so for a checkpoint that lacks it, from
    pictures that it did not learn from, and changes neither its weights nor its threshold.

    \b
    Examples:
      marrowscope drift runs/first/best this_week --out drift
      marrowscope drift received_model our_good_fields --learn our_model
      find . -name '*.jpg' | marrowscope drift real -
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import open_detector, use_threads
    from marrowscope.detect.sources import find_images
    from marrowscope.errors import BadInput

    terminal = Terminal(quiet)
    images = find_images(paths, recursive=recursive)
    use_threads(threads)
    opened = open_detector(checkpoint, device=device, runtime=runtime)
    if learn is None and opened.fields_seen is None:
        raise BadInput(
            f"{checkpoint}: does not know what its training fields look like. Give pictures like them: "
            f"marrowscope drift {checkpoint} FOLDER --learn OUT"
        )
    for folder in (out, learn):
        if folder is not None:
            make_folder(folder)
    seen = _look(terminal, opened, images)
    if learn is not None:
        _learn(terminal, opened, seen, learn)
    elif opened.fields_seen is not None:
        _compare(terminal, opened.fields_seen, seen, out)


def _look(terminal: Terminal, opened: "OpenedDetector", images: Sequence[Path]) -> "FieldsSeen":
    """Statistics of the pictures, at most `MOST_FIELDS`, evenly spread. BadInput where none can be read."""
    from marrowscope.cells.field import FieldImage
    from marrowscope.cells.fields_seen import MOST_FIELDS, sampled
    from marrowscope.detect.sources import read_fields
    from marrowscope.detect.watched import Watched
    from marrowscope.errors import BadInput

    watched = Watched(opened.detector, opened.score_threshold)
    chosen = sampled(images, MOST_FIELDS)
    read = 0
    with terminal.progress("looking", "pictures") as advance:
        for done, field in enumerate(read_fields(chosen, at_least=watched.input_size), 1):
            if isinstance(field, FieldImage):
                watched.detect([field])
                read += 1
            else:
                terminal.warn(f"skipped {field.reason}")
            advance(done, len(chosen))
    if not read:
        raise BadInput("none of the pictures can be read. Export them again.")
    return watched.seen()


def _learn(terminal: Terminal, opened: "OpenedDetector", seen: "FieldsSeen", out: Path) -> None:
    from dataclasses import replace

    from marrowscope.model.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint

    save_checkpoint(out, replace(load_checkpoint(opened.path), fields_seen=seen))
    terminal.say(f"{out / WEIGHTS}     the checkpoint, which now knows what {len(seen.mix)} fields look like")


def _compare(terminal: Terminal, seen: "FieldsSeen", incoming: "FieldsSeen", out: Path | None) -> None:
    import json

    from marrowscope.cells.files import write_atomically
    from marrowscope.evaluation.drift import drift as compare
    from marrowscope.evaluation.drift_plot import plot_drift
    from marrowscope.evaluation.plots import save_figure

    report = compare(seen, incoming)
    table = report.table()
    terminal.table(table.columns, table.rows, title=table.title)
    terminal.say("away: distance of the medians; beyond 1 is outside the central 90 % of training fields")
    if out is not None:
        save_figure(out / "drift.png", plot_drift(report, seen, incoming))
        write_atomically(
            out / "drift.md", f"# Drift\n\n{report.verdict()}.\n\n{table.to_markdown()}\n![drift](drift.png)\n"
        )
        write_atomically(out / "drift.json", json.dumps(report.to_dict(), indent=1) + "\n")
        terminal.say(f"{out / 'drift.md'}     the table and a picture")
    if report.alarm:
        terminal.warn(f"Drift: {report.verdict()}.")
        raise typer.Exit(ALARM)
    terminal.say(f"No drift: {report.verdict()}.", style="green")
