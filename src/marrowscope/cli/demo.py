"""`marrowscope demo`: the whole journey without network, data or hardware, told as a story.

A smear is drawn, so the truth is known; the shipped model, or any other, looks at it; and what it says is weighed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Device, Quiet, Runtime, Terminal, Threads, make_folder

if TYPE_CHECKING:
    from marrowscope.assemble.detectors import OpenedDetector
    from marrowscope.cells.differential import Differential
    from marrowscope.data.labelled import LabelledField
    from marrowscope.evaluation.metrics import Evaluation

# Far from the seeds of `marrowscope smear`, on which the shipped model was trained.
FIRST_SEED = 900_000_000
BOOTSTRAP = 1000


def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demo makes.")] = Path("demo"),
    fields: Annotated[int, typer.Option(min=2, max=200, help="Fields to draw; about 14 cells in each.")] = 6,
    checkpoint: Annotated[str, typer.Option(help="Model to show; `demo` is the shipped one.")] = "demo",
    size: Annotated[str, typer.Option(help="Width x height of the fields in pixels.")] = "4000x3000",
    live: Annotated[
        bool, typer.Option("--live", help="Afterwards run a station on a simulated microscope, until Ctrl-C.")
    ] = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """See it work: draw a smear, find its cells, weigh the result. No network, no data, no hardware.

    Afterwards there are pictures with boxes and names, an evaluation with intervals, and a differential beside the
    true one.

    \b
    Examples:
      marrowscope demo
      marrowscope demo --fields 20 --out runs/demo
      marrowscope demo --live
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import open_detector, use_threads
    from marrowscope.cli.smear import parse_size

    terminal = Terminal(quiet)
    use_threads(threads)
    width, height = parse_size(size)
    make_folder(out)
    run_demo(terminal, open_detector(checkpoint, device=device, runtime=runtime), out, fields, width, height)
    if live:
        run_live(terminal, (out / "station").absolute(), checkpoint)


def run_live(terminal: Terminal, home: Path, checkpoint: str) -> None:
    """The last part of the story: a station on a simulated microscope, with this model, on a free port."""
    from marrowscope.cli.station import serve
    from marrowscope.station.settings import load_settings

    terminal.title("5. The microscope")
    model = checkpoint if checkpoint == "demo" else str(Path(checkpoint).absolute())
    serve(terminal, home, load_settings(home).changed(camera="simulated", model=model, port=0))


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found: the evaluation, and the differential beside the truth's."""

    evaluation: "Evaluation"
    found: "Differential"
    truth: "Differential"


def run_demo(
    terminal: Terminal, opened: "OpenedDetector", out: Path, fields: int, width: int, height: int
) -> DemoResult:
    """The story: draw, detect, weigh, count. Drawn fields that are there already are kept."""
    from marrowscope.cells.differential import count_labels
    from marrowscope.cli.evaluate import PAIRS, draw_worst, tell_evaluation
    from marrowscope.detect.outputs import Format
    from marrowscope.detect.run import detect_paths
    from marrowscope.evaluation.metrics import evaluate
    from marrowscope.evaluation.pairs import save_pairs
    from marrowscope.evaluation.report import write_report
    from marrowscope.training.validation import detect_labelled

    started = time.monotonic()
    detector, taxonomy = opened.detector, opened.detector.taxonomy
    terminal.title("1. A smear is drawn")
    terminal.say(f"{fields} Wright-stained fields of {width} x {height} pixels, 132 um across. Every cell is known.")
    labelled = _draw(terminal, opened, out / "fields", fields, width, height)

    terminal.title("2. The model looks at it")
    terminal.say(f"{len(taxonomy)} classes; a detection counts from score {opened.score_threshold:.3f}.")
    results = out / "detections"
    with terminal.progress("detecting", "fields") as advance:
        run = detect_paths(
            detector,
            [f.image_path for f in labelled],
            results,
            formats=(Format.CSV, Format.GEOJSON),
            score=opened.score_threshold,
            overlay=True,
            about={"checkpoint": str(opened.path)},
            progress=advance,
        )
    terminal.say(f"{run.cells} cells found in {run.fields} fields, {run.seconds / max(run.fields, 1):.1f} s a field.")

    terminal.title("3. What it says is weighed")
    pairs = detect_labelled(detector, labelled)
    save_pairs(out / "evaluation" / PAIRS, pairs)
    evaluation = evaluate(pairs, threshold=opened.score_threshold, bootstrap=BOOTSTRAP)
    write_report(out / "evaluation", evaluation, run="demo")
    draw_worst(out / "evaluation" / "worst", labelled, pairs, evaluation.thresholds, 3)
    tell_evaluation(terminal, evaluation)
    terminal.say("In brackets: 95 % interval by bootstrap over fields. Few cells, wide intervals.")

    terminal.title("4. The differential, beside the true one")
    truth = count_labels([int(x) for pair in pairs for x in pair.truth.labels], taxonomy)
    _tell_differentials(terminal, run.differential, truth)

    terminal.title(f"Done in {time.monotonic() - started:.0f} s. Where to look:")
    terminal.say(f"  {results / 'overlays' / (labelled[0].image_path.stem + '.jpg')}     a field with boxes and names")
    terminal.say(f"  {out / 'evaluation' / 'report.md'}     tables, curves, confusion; its worst/ shows the errors")
    terminal.say(f"  {results / 'differential.md'}     the differential; every cell: {results / 'detections.json'}")
    terminal.say("A drawn smear is easier than a real one: these figures say that all parts work, no more.")
    terminal.say("Next, on fields of your own: marrowscope train MY_FIELDS --recipe light --out runs/first")
    return DemoResult(evaluation, run.differential, truth)


def _draw(
    terminal: Terminal, opened: "OpenedDetector", folder: Path, fields: int, width: int, height: int
) -> Sequence["LabelledField"]:
    from marrowscope.data.voc import read_voc, write_voc_image
    from marrowscope.smear.field import draw_field

    names = {f"smear_{seed:06d}": seed for seed in range(FIRST_SEED, FIRST_SEED + fields)}
    there = {f.name: f for f in read_voc(folder).fields} if (folder / "Annotations").is_dir() else {}
    with terminal.progress("drawing", "fields") as advance:
        for done, (name, seed) in enumerate(names.items(), 1):
            kept = there.get(name)
            if kept is None or (kept.width, kept.height) != (width, height):
                taxonomy = opened.detector.taxonomy
                image, truth = draw_field(seed, width=width, height=height, taxonomy=taxonomy)
                there[name] = write_voc_image(folder, image, truth)
            advance(done, fields)
    return [there[name] for name in names]


def _tell_differentials(terminal: Terminal, found: "Differential", truth: "Differential") -> None:
    rows: list[tuple[object, ...]] = []
    for lineage, whole in truth.lineages:
        rows.append((lineage.value.upper(), str(whole), str(found.of_lineage(lineage)), ""))
        for (cell, true), (_, share) in zip(truth.classes, found.classes, strict=True):
            if cell.lineage == lineage and (true.count or share.count):
                low, high = share.interval
                inside = true.percent is not None and low <= true.percent <= high
                rows.append((f"  {cell.name}", str(true), str(share), "" if inside else "outside"))
    title = f"{truth.total} cells in truth, {found.total} found; percent (exact 95 % interval)"
    terminal.table(("cell", "truth", "found", ""), rows, title=title)
    terminal.say(f"myeloid : erythroid   truth {truth.myeloid_erythroid}   found {found.myeloid_erythroid}")
