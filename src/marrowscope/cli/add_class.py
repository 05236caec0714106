"""`marrowscope add-class`: a detector learns one class more from a few labelled cells, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Quiet, SkipBad, Terminal, Threads, make_folder

if TYPE_CHECKING:
    from marrowscope.data.labelled import LabelledField
    from marrowscope.training.few_shot import Added, Eye, SeenCells


def add_class(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder (RUN/best) with a reader, or `real`.")],
    name: Annotated[str, typer.Option(help="The class, as its boxes are labelled: basophil.")],
    source: Annotated[
        Path,
        typer.Option("--from", help="Labelled folder with boxes of that name, or a folder of single-cell pictures."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the checkpoint that knows the class to.")],
    shots: Annotated[
        int | None, typer.Option(min=1, help="Take so many of its cells, drawn by chance; else all there are.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(help="Labelled fields of the classes known so far, where the checkpoint holds no memory of them."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which list of the folders, or `all`; else train, if there is one.")
    ] = None,
    threads: Threads = 0,
    skip_bad: SkipBad = True,
    quiet: Quiet = False,
) -> None:
    """Add a class from 5 to 20 labelled cells: nothing is trained, and what is known already stays as it is.

    The reader compares each cell with the few that it was shown. How well that goes is told by leaving each of these
    out in turn. Pictures of single cells have the cell in the middle and a little of its surroundings.

    \b
    Examples:
      marrowscope add-class runs/reader/best --name basophil --from my_fields --out with_basophils
      marrowscope add-class real --name "hairy cell" --from hairy_cells/ --shots 20 --out with_hairy_cells
      marrowscope add-class old/best --name basophil --from new_fields --known old_fields --out with_basophils
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import checkpoint_path, use_threads
    from marrowscope.model.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
    from marrowscope.training.few_shot import Eye, class_named, drawn, is_named, known_cells
    from marrowscope.training.few_shot import add_class as add

    terminal = Terminal(quiet)
    use_threads(threads)
    start = load_checkpoint(checkpoint_path(checkpoint))
    eye = Eye(start)
    seen = _look(terminal, eye, source, name, split, skip_bad=skip_bad)
    memory = start.known
    if memory is None:
        shown = seen if known is None else seen.with_more(_look(terminal, eye, known, name, split, skip_bad=skip_bad))
        memory = known_cells(shown, start.taxonomy)
    is_new = is_named(name)
    others = seen.named(lambda label: start.learned.find(label) is not None and not is_new(label))
    made, told = add(start, eye, class_named(name), drawn(seen.named(is_new), shots), memory, others)
    make_folder(out)
    save_checkpoint(out, made)
    _tell(terminal, told)
    terminal.say(f"{out / WEIGHTS}     {len(made.taxonomy)} classes")
    terminal.say(f"Next: marrowscope evaluate {out} my_fields    (fields with {name} cells that it was not shown)")


def _look(terminal: Terminal, eye: "Eye", folder: Path, name: str, split: str | None, *, skip_bad: bool) -> "SeenCells":
    """The labelled cells of a folder; of one without labels, every picture is a cell of this name."""
    from marrowscope.cli.fields import require_folder
    from marrowscope.data.convert import detect_format
    from marrowscope.detect.sources import find_images
    from marrowscope.errors import BadAnnotation
    from marrowscope.training.few_shot import is_named, see_fields, see_pictures

    require_folder(folder)
    try:
        detect_format(folder)
    except BadAnnotation:
        return see_pictures(eye, find_images([folder]), name)
    fields = _fields(folder, split, skip_bad=skip_bad)
    done = 0
    with terminal.progress("looking at cells", "fields") as advance:

        def on_field() -> None:
            nonlocal done
            done += 1
            advance(done, len(fields))

        return see_fields(eye, fields, well=is_named(name), on_field=on_field)


def _fields(folder: Path, split: str | None, *, skip_bad: bool) -> "Sequence[LabelledField]":
    from marrowscope.cli.fields import ALL, read_for_evaluation
    from marrowscope.data.convert import splits_of

    if split is None:
        split = "train" if "train" in splits_of(folder) else ALL
    return read_for_evaluation(folder, split, skip_bad=skip_bad)[0]


def _tell(terminal: Terminal, told: "Added") -> None:
    share, low, high = told.recall
    terminal.say(
        f"{told.name}, added from {told.cells} cells: each left out in turn, {told.recognised} are recognised by the "
        f"others, {100 * share:.0f} % ({100 * low:.0f}-{100 * high:.0f})"
    )
    if told.others:
        terminal.say(f"of {told.others} cells of known classes, {told.mistaken} would now be taken for {told.name}")
