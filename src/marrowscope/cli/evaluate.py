"""`marrowscope evaluate`: how good a checkpoint is on labelled fields, with intervals."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.stain import Stain, StainChoice, StainReference
from marrowscope.cli.terminal import Device, Quiet, Runtime, SkipBad, Terminal, Threads, make_folder

if TYPE_CHECKING:
    from marrowscope.assemble.detectors import OpenedDetector
    from marrowscope.data.labelled import LabelledField
    from marrowscope.evaluation.metrics import Evaluation
    from marrowscope.evaluation.pairs import EvaluatedField

PAIRS = "pairs.npz"


def evaluate(
    checkpoint: Annotated[
        str | None, typer.Argument(help="Checkpoint folder (RUN/best), `real`, `demo`, or a detections.json.")
    ] = None,
    data: Annotated[Path | None, typer.Argument(help="Folder of labelled fields: VOC, COCO or YOLO.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, report.md, tables and pictures.")] = Path(
        "evaluation"
    ),
    split: Annotated[str, typer.Option(help="Which list of the folder; `all` takes every field.")] = "val",
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which a detection counts; else the checkpoint's own."),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Draws over fields for the 95 % intervals; 0: none.")] = 1000,
    compare: Annotated[
        list[Path] | None, typer.Option(help="Folder of an earlier evaluation to set beside; may be given again.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Draw this many of the fields with most errors.")] = 6,
    pairs: Annotated[
        Path | None, typer.Option(help="Remake everything from a saved pairs.npz, without model and images.")
    ] = None,
    stain: Stain = "none",
    stain_reference: StainReference = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = 0,
    skip_bad: SkipBad = True,
    quiet: Quiet = False,
) -> None:
    """Measure a checkpoint on labelled fields: the paper's Tables 2 and 3, Figure 2, confusion, all with intervals.

    The score threshold is the one chosen on validation when the checkpoint was trained. What was detected is kept in
    pairs.npz, from which every table can be made again without the model.

    \b
    Examples:
      marrowscope evaluate runs/first/best my_fields --out runs/first/evaluation
      marrowscope evaluate runs/first/best my_fields --split test --out test --compare runs/first/evaluation
      marrowscope evaluate --pairs runs/first/evaluation/pairs.npz --threshold 0.4 --out stricter
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import open_detector, use_threads
    from marrowscope.errors import BadInput
    from marrowscope.evaluation.metrics import evaluate as measure
    from marrowscope.evaluation.pairs import load_pairs, save_pairs
    from marrowscope.evaluation.report import read_report, write_comparison, write_report

    terminal = Terminal(quiet)
    earlier = {evaluation_name(folder): read_report(folder) for folder in compare or []}
    if len(earlier) < len(compare or []):
        raise BadInput("--compare: two of the folders bear one name. Rename one, or leave it out.")
    make_folder(out)
    fields: Sequence[LabelledField] = ()
    found: Sequence[EvaluatedField]
    if pairs is not None:
        if checkpoint is not None or data is not None:
            raise BadInput("give either --pairs or CHECKPOINT and DATA, not both.")
        found, run = load_pairs(pairs), evaluation_name(pairs.parent)
        threshold = _saved_threshold(terminal, pairs) if threshold is None else threshold
    else:
        if checkpoint is None or data is None:
            raise BadInput("give CHECKPOINT and DATA, or --pairs FILE. See `marrowscope evaluate --help`.")
        use_threads(threads)
        opened = open_detector(checkpoint, device=device, runtime=runtime)
        choice = StainChoice(stain, stain_reference)
        fields, found = detect_split(terminal, opened, data, split, skip_bad=skip_bad, stain=choice)
        threshold, run = opened.score_threshold if threshold is None else threshold, run_name(checkpoint)
        save_pairs(out / PAIRS, found)
    result = measure(found, threshold=threshold, bootstrap=bootstrap)
    write_report(out, result, run=run)
    if earlier:
        this = run if run not in earlier else f"{run} (this)"
        write_comparison(out / "comparison", {this: result, **earlier})
    pictures = draw_worst(out / "worst", fields, found, result.thresholds, worst)
    tell_evaluation(terminal, result)
    terminal.say(f"{out / 'report.md'}     all tables and pictures; numbers: {out / 'metrics.json'}")
    if earlier:
        terminal.say(f"{out / 'comparison' / 'comparison.md'}     beside {', '.join(earlier)}")
    if pictures:
        terminal.say(f"{out / 'worst'}     the {len(pictures)} fields with most errors, {pictures[0].name} first")


def run_name(checkpoint: str) -> str:
    """What a run is called in tables: the folder above best/ or last/, else the checkpoint's own name."""
    path = Path(checkpoint).resolve()
    return path.parent.name if path.name in ("best", "last") else Path(checkpoint).name


def evaluation_name(folder: Path) -> str:
    """What an earlier evaluation is called: its folder's name, or for RUN/evaluation that of the run."""
    whole = folder.resolve()
    return whole.parent.name if whole.name == "evaluation" else whole.name


def _saved_threshold(terminal: Terminal, pairs: Path) -> float | None:
    """The threshold of the evaluation that saved the pairs; without one, the best for these very fields."""
    metrics = pairs.parent / "metrics.json"
    try:
        value = json.loads(metrics.read_text(encoding="utf-8"))["threshold"]
        return float(value)
    except (OSError, ValueError, KeyError, TypeError):
        terminal.warn(f"no threshold beside {pairs}: the best for these very fields is taken, which flatters them")
        return None


def detect_split(
    terminal: Terminal,
    opened: "OpenedDetector",
    data: Path,
    split: str,
    *,
    skip_bad: bool,
    stain: StainChoice = StainChoice(),  # noqa: B008 (frozen)
) -> tuple[Sequence["LabelledField"], list["EvaluatedField"]]:
    """The fields of a split, and what the detector says of them. BadInput where no field can be used."""
    from marrowscope.cli.fields import read_for_evaluation
    from marrowscope.data.labelled import labels_of
    from marrowscope.errors import BadInput
    from marrowscope.training.validation import detect_labelled

    run = opened.path.parent if opened.path.is_dir() else None
    fields, problems = read_for_evaluation(data, split, run=run, skip_bad=skip_bad)
    terminal.problems(problems)
    if not fields:
        raise BadInput(f"{data}: no usable field in split '{split}'. Check it with `marrowscope data check`.")
    taxonomy = opened.detector.taxonomy
    unknown = {label: n for label, n in labels_of(fields).items() if taxonomy.find(label) is None}
    if unknown:
        cells = ", ".join(f"{n} {label}" for label, n in sorted(unknown.items()))
        terminal.say(f"left out {cells}: no class of the checkpoint", style="yellow")
    detector = stain.over(opened, [field.image_path for field in fields])
    done = 0
    with terminal.progress("detecting", "fields") as advance:

        def on_field() -> None:
            nonlocal done
            done += 1
            advance(done, len(fields))

        found = detect_labelled(detector, fields, on_field=on_field)
    terminal.say(f"computed by {opened.runtime}")
    return fields, found


def draw_worst(
    folder: Path,
    fields: Sequence["LabelledField"],
    pairs: Sequence["EvaluatedField"],
    thresholds: Sequence[float],
    count: int,
) -> list[Path]:
    """Draw the fields with most errors, the worst first; none where there are no images, or nothing is wrong."""
    import cv2

    from marrowscope.cells.files import write_atomically
    from marrowscope.data.images import read_image
    from marrowscope.detect.overlay import draw_comparison

    marked = []
    for field, pair in zip(fields, pairs, strict=False):
        above = above_thresholds(pair, thresholds)
        if wrong := errors_in(above):
            marked.append((wrong, field, above))
    marked.sort(key=lambda entry: -entry[0])
    for stale in folder.glob("[0-9][0-9]_*_errors_*.jpg"):
        stale.unlink()  # of an earlier evaluation into this folder
    written = []
    for place, (wrong, field, pair) in enumerate(marked[:count], 1):
        picture = draw_comparison(read_image(field.image_path).pixels, pair.truth, pair.detections)
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
        path = folder / f"{place:02d}_{wrong}_errors_{field.name.replace('/', '__')}.jpg"
        write_atomically(path, encoded.tobytes())
        written.append(path)
    return written


def above_thresholds(pair: "EvaluatedField", thresholds: Sequence[float]) -> "EvaluatedField":
    """The field with only the detections that count."""
    import numpy as np

    from marrowscope.cells.detections import Detections
    from marrowscope.evaluation.pairs import EvaluatedField

    claims = pair.detections
    keep = claims.scores >= np.asarray(thresholds, np.float32)[claims.labels]
    kept = Detections(claims.boxes[keep], claims.labels[keep], claims.scores[keep], claims.taxonomy)
    return EvaluatedField(pair.name, pair.truth, kept)


def errors_in(pair: "EvaluatedField") -> int:
    """Cells missed, named otherwise, and detections that are no cell."""
    from marrowscope.evaluation.matching import pool_fields
    from marrowscope.evaluation.metrics import confusion_matrix

    matrix = confusion_matrix(pool_fields([pair]))
    return int(matrix.sum() - matrix.trace())


def tell_evaluation(terminal: Terminal, result: "Evaluation") -> None:
    """The numbers on the terminal, as in the paper's tables."""
    from marrowscope.evaluation.metrics import METRICS
    from marrowscope.evaluation.paper import paper_results
    from marrowscope.evaluation.tables import TITLES

    scores = result.classes
    order = paper_results().row_order(result.taxonomy) or range(len(result.taxonomy))
    rows: list[list[object]] = [
        [scores.taxonomy[i].name, int(scores.truth[i]), *(scores.of_class(i, m).value for m in METRICS)] for i in order
    ]
    rows.append(["Mean", int(scores.truth.sum()), *(scores.of_all(m).value for m in METRICS)])
    at = "each class at its own score" if result.threshold is None else f"score >= {result.threshold:.3f}"
    title = f"{result.field_count} fields, {int(scores.truth.sum())} cells, {at}, IoU .5"
    terminal.table(("cell type", "cells", *(TITLES[m] for m in METRICS)), rows, title=title)
    if result.draws:
        means = ", ".join(f"{TITLES[m]} {scores.of_all(m)}" for m in METRICS)
        terminal.say(f"means with 95 % intervals: {means}")
    if result.reliability is not None and result.reliability.error is not None:
        from marrowscope.evaluation.reliability import FLOOR

        error = f"{result.reliability.error:.3f}"
        terminal.say(f"expected calibration error {error} (score >= {FLOOR}); by class in reliability.md")
