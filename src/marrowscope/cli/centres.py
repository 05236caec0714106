"""`marrowscope centres`: one checkpoint on the labelled fields of several centres, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.stain import Stain, StainChoice, StainReference
from marrowscope.cli.terminal import Device, Quiet, Runtime, SkipBad, Terminal, Threads, make_folder

if TYPE_CHECKING:
    from marrowscope.data.labelled import LabelledField
    from marrowscope.evaluation.centres import Centre
    from marrowscope.evaluation.pairs import EvaluatedField

COARSE = ("WBC", "white blood cell", "white cell", "leukocyte", "leucocyte", "nucleated cell")
"""Labels that say no more than that a cell is a nucleated one."""


def centres(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder (RUN/best), `real`, or `demo`.")],
    data: Annotated[list[str], typer.Argument(help="Labelled fields of each centre, NAME=FOLDER; the first is home.")],
    out: Annotated[Path, typer.Option(help="Folder for centres.md, tables and the picture.")] = Path("centres"),
    split: Annotated[
        list[str] | None,
        typer.Option(help="Which list of the folders, or NAME=SPLIT for one of them; `all` takes every field."),
    ] = None,
    by: Annotated[
        Path | None,
        typer.Option(help="For fields of all centres in one folder: a file of lines field<TAB>centre, with a header."),
    ] = None,
    nucleated: Annotated[
        list[str] | None,
        typer.Option(help="A label that means a nucleated cell of any class, beside WBC; may be given again."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which a detection counts; else the checkpoint's own."),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Draws over fields for the 95 % intervals; 0: none.")] = 1000,
    stain: Stain = "none",
    stain_reference: StainReference = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = 0,
    skip_bad: SkipBad = True,
    quiet: Quiet = False,
) -> None:
    """Set centres side by side: accuracy, calibration and mix of classes with 95 % intervals, and how they differ.

    Where the labels of a centre name no classes ("WBC"), it is compared by which nucleated cells are found at all.

    \b
    Examples:
      marrowscope centres runs/first/best ours=my_fields theirs=their_fields --split theirs=all
      marrowscope centres real all=my_fields --by centres.tsv --stain reinhard --stain-reference my_fields/JPEGImages
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import open_detector, use_threads
    from marrowscope.cli.evaluate import detect_split
    from marrowscope.evaluation.centres import measure_centre
    from marrowscope.evaluation.centres_report import write_centres
    from marrowscope.evaluation.pairs import save_pairs

    terminal = Terminal(quiet)
    folders = _folders(data, split or ["val"])
    make_folder(out)
    use_threads(threads)
    opened = open_detector(checkpoint, device=device, runtime=runtime)
    cut = opened.score_threshold if threshold is None else threshold
    labels = (*COARSE, *(nucleated or ()))
    found: list[Centre] = []
    for name, (folder, chosen) in folders.items():
        terminal.title(f"{name}: {folder}")
        choice = StainChoice(stain, stain_reference)
        fields, pairs = detect_split(terminal, opened, folder, chosen, skip_bad=skip_bad, stain=choice)
        parts = {name: list(range(len(fields)))} if by is None else _by_file(by, fields)
        for part, rows in parts.items():
            mine = [pairs[i] for i in rows]
            save_pairs(out / part / "pairs.npz", mine)
            found.append(_centre(part, [fields[i] for i in rows], mine, labels, cut))
    measured = []
    with terminal.progress("measuring", "centres") as advance:
        for number, centre in enumerate(found):
            measured.append(measure_centre(centre, threshold=cut, bootstrap=bootstrap, seed=number))
            advance(number + 1, len(found))
    table, changes = write_centres(out, measured)
    terminal.table(table.columns, table.rows, title=table.title)
    if changes.rows:
        apart = [row for row in changes.rows if row[-1]]
        if apart:
            terminal.table(changes.columns[:-1], [row[:-1] for row in apart], title=f"What differs. {changes.title}")
        else:
            terminal.say("Nothing differs by more than chance would have it.")
    terminal.say(f"{out / 'centres.md'}     all tables and the picture")


def _folders(data: Sequence[str], splits: Sequence[str]) -> dict[str, tuple[Path, str]]:
    """Centre -> folder and split. BadInput where a name is missing, unknown or met twice."""
    from marrowscope.errors import BadInput

    general = [text for text in splits if "=" not in text]
    own = dict(text.split("=", 1) for text in splits if "=" in text)
    folders: dict[str, tuple[Path, str]] = {}
    for text in data:
        name, _, folder = text.partition("=")
        if not name or not folder or "/" in name:
            raise BadInput(f"'{text}': give each centre as NAME=FOLDER, such as ours=my_fields.")
        if name in folders:
            raise BadInput(f"centre '{name}' is named twice. Give each a name of its own.")
        folders[name] = Path(folder), own.pop(name, general[-1] if general else "val")
    if own:
        raise BadInput(f"--split: no centre is called {', '.join(own)}. Centres: {', '.join(folders)}.")
    return folders


def _by_file(file: Path, fields: Sequence["LabelledField"]) -> dict[str, list[int]]:
    """Centre -> places of its fields, by a file of lines field<TAB>centre. BadInput where one is not in it."""
    import csv

    from marrowscope.errors import BadInput

    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened, delimiter="\t"))
        centre_of = {row["field"]: row["centre"] for row in rows}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: not a table of field<TAB>centre with that header ({error!r}).") from None
    parts: dict[str, list[int]] = {}
    for place, field in enumerate(fields):
        centre = centre_of.get(field.name)
        if not centre or "/" in centre:
            raise BadInput(f"{file}: names no centre for field '{field.name}'. Add a line for it.")
        parts.setdefault(centre, []).append(place)
    return parts


def _centre(
    name: str, fields: Sequence["LabelledField"], pairs: Sequence["EvaluatedField"], coarse: Sequence[str], score: float
) -> "Centre":
    from marrowscope.cells.taxonomy import spelling_key
    from marrowscope.detect.detector import one_name_per_cell
    from marrowscope.evaluation.centres import Centre, nucleated

    keys = {spelling_key(label) for label in coarse}
    whole, counted = [], []
    for field, pair in zip(fields, pairs, strict=True):
        more = [
            box.tolist()
            for box, label in zip(field.boxes, field.labels, strict=True)
            if spelling_key(label) in keys and pair.taxonomy.find(label) is None
        ]
        single = one_name_per_cell(pair.detections)
        whole.append(nucleated(pair.name, pair.truth, more, single))
        counted.append(single.above(score))
    return Centre(name, pairs, whole, counted)
