"""`marrowscope detect`: cells of any pictures, as files and pictures, with a differential."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.stain import Stain, StainChoice, StainReference
from marrowscope.cli.terminal import Device, Quiet, Runtime, Terminal, Threads

if TYPE_CHECKING:
    from marrowscope.cells.adjusted import AdjustedDifferential
    from marrowscope.cells.differential import Differential
    from marrowscope.cells.fields_seen import FieldsSeen
    from marrowscope.detect.outputs import Format

SOME_FAILED = 1


def detect(
    checkpoint: Annotated[
        str, typer.Argument(help="Checkpoint folder (RUN/best), `real` for the shipped model of real cells, or `demo`.")
    ],
    paths: Annotated[
        list[str], typer.Argument(help="Images, folders or patterns; `-` reads a list from stdin, one path a line.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    formats: Annotated[
        str,
        typer.Option("--format", help="json is always written; add csv, voc, coco, yolo, geojson (QuPath), by commas."),
    ] = "json,csv",
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Draw boxes and names on every picture.")
    ] = True,
    score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Leave out detections below this; else the checkpoint's own threshold."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Read folders with all below them.")] = False,
    stain: Stain = "none",
    stain_reference: StainReference = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be read; detect nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Find and name the cells of pictures; write detections, overlays and a differential with exact intervals.

    A picture that cannot be read is named and skipped, and the exit code is then 1.

    \b
    Examples:
      marrowscope detect runs/first/best field_001.jpg field_002.jpg --out found
      marrowscope detect real my_slides --out found
      marrowscope detect demo smear_folder --recursive --format json,geojson --out found
      marrowscope detect real their_slides --stain reinhard --stain-reference my_fields/JPEGImages --out found
      find . -name '*.jpg' | marrowscope detect runs/first/best - --out found --no-overlay
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.detect.sources import find_images

    terminal = Terminal(quiet)
    chosen = _formats(formats)
    images = find_images(paths, recursive=recursive, leave_out=out)
    if dry_run:
        terminal.say(f"{len(images)} pictures, by {checkpoint}, to {out}: {', '.join(['json', *chosen])}")
        for image in images:
            terminal.say(f"  {image}")
        return
    from marrowscope.assemble.detectors import open_detector, use_threads
    from marrowscope.detect.run import detect_paths
    from marrowscope.detect.watched import Watched

    use_threads(threads)
    opened = open_detector(checkpoint, device=device, runtime=runtime)
    detector = StainChoice(stain, stain_reference).over(opened, images)
    watched = Watched(detector, opened.score_threshold)
    with terminal.progress("detecting", "pictures") as advance:
        run = detect_paths(
            detector if opened.fields_seen is None else watched,
            images,
            out,
            formats=chosen,
            score=opened.score_threshold if score is None else score,
            overlay=overlay,
            confusion=opened.confusion if score is None else None,  # it is that of the checkpoint's own threshold
            about={"checkpoint": checkpoint, "runtime": opened.runtime} | ({} if stain == "none" else {"stain": stain}),
            progress=advance,
        )
    tell_differential(terminal, run.differential, run.adjusted)
    rate = f", {run.fields / run.seconds:.1f} a second" if run.seconds > 0 else ""
    terminal.say(f"{run.cells} cells in {run.fields} pictures{rate}, by {opened.runtime}")
    terminal.say(f"  {out / 'detections.json'}     every cell; also {', '.join(chosen) or 'nothing else'}")
    terminal.say(f"  {out / 'differential.md'}     the differential, from detections that no person has reviewed")
    if opened.fields_seen is not None and run.fields:
        tell_drift(terminal, opened.fields_seen, watched.seen())
    if overlay and run.fields:
        terminal.say(f"  {out / 'overlays'}     the pictures with boxes and names")
    if run.failed:
        # Each was named in the log as it was met.
        terminal.warn(f"{run.failed} of {len(images)} pictures could not be read and were skipped.")
        raise typer.Exit(SOME_FAILED)


def tell_drift(terminal: Terminal, seen: "FieldsSeen", incoming: "FieldsSeen") -> None:
    """A warning where the pictures are unlike those of training."""
    from marrowscope.evaluation.drift import drift

    report = drift(seen, incoming)
    if report.alarm:
        terminal.warn(f"{report.verdict()}. `marrowscope drift` shows by how much.")


def _formats(text: str) -> list["Format"]:
    from marrowscope.detect.outputs import Format
    from marrowscope.errors import BadInput

    known = [str(f) for f in Format]
    asked = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in asked:
        if word not in (*known, "json"):
            raise BadInput(f"--format {word}: not known. Choose of json, {', '.join(known)}.")
    return [Format(word) for word in dict.fromkeys(asked) if word != "json"]


def tell_differential(
    terminal: Terminal, differential: "Differential", adjusted: "AdjustedDifferential | None" = None
) -> None:
    """The differential by lineage, with exact 95 % intervals, and beside it what known confusion makes of it."""
    corrected = {} if adjusted is None else {cell.code: [str(share)] for cell, share in adjusted.classes}
    whole_corrected = {} if adjusted is None else {lineage: [str(share)] for lineage, share in adjusted.lineages}
    rows: list[tuple[object, ...]] = []
    for lineage, whole in differential.lineages:
        if whole.count:
            rows.append((lineage.value.upper(), whole.count, str(whole), *whole_corrected.get(lineage, [])))
            rows += [
                (f"  {c.name}", s.count, str(s), *corrected.get(c.code, []))
                for c, s in differential.classes
                if c.lineage == lineage and s.count
            ]
    if rows:
        title = f"Differential of {differential.total} cells, percent (exact 95 % interval)"
        columns = ("cell", "count", "percent", *(["corrected for confusion"] if corrected else []))
        terminal.table(columns, rows, title=title)
        terminal.say(f"myeloid : erythroid = {differential.myeloid_erythroid}")
    if corrected:
        terminal.say("corrected: if cells are confused here as on the checkpoint's validation fields")
