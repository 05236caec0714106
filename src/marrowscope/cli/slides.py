"""`marrowscope slides`: cells of whole slides, in tiles, as tables and files for QuPath."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from marrowscope.cli.terminal import Device, Quiet, Runtime, Terminal, make_folder

if TYPE_CHECKING:
    from marrowscope.assemble.slide_work import Engine, SlideJob
    from marrowscope.detect.slide_exports import SlideFormat
    from marrowscope.detect.slide_run import SlidePlan, SlideSummary

SOME_FAILED = 1


def slides(
    paths: Annotated[list[Path], typer.Argument(help="Slides: files, DICOM or Zarr folders, or folders of slides.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; each slide gets a folder of its own in it.")],
    model: Annotated[
        str, typer.Option(help="Checkpoint folder (RUN/best), `real` for the shipped model of real cells, or `demo`.")
    ] = "real",
    regions: Annotated[
        int | None, typer.Option(min=1, help="Look only at so many of the best regions; else at all of the slide.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="Also write geojson (QuPath), dicom (annotations), coco or csv; may be given again."
        ),
    ] = None,
    score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Leave out detections below this; else the checkpoint's own threshold."),
    ] = None,
    um_per_px: Annotated[
        float | None, typer.Option(min=0.01, max=10, help="Micrometres a pixel, where the slide does not say or errs.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(min=0.01, max=4, help="Pixels of the network a pixel of the slide; else told from its cells."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where tiles are looked at: processes of this machine, or a Ray cluster."),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="With --engine ray: host:6379 of the cluster of this machine, ray://host:10001 of another, or auto; "
            "else a cluster is begun here."
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="Worker processes, one core each; 0 takes every core, or one a GPU for --device cuda."
        ),
    ] = 0,
    device: Device = "auto",
    runtime: Runtime = "auto",
    force: Annotated[bool, typer.Option("--force", help="Begin slides anew that were done with other settings.")] = (
        False
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the slides; look at none.")] = False,
    quiet: Quiet = False,
) -> None:
    """Find and name the cells of whole slides; write a table, a differential, and files for QuPath and others.

    A run that was stopped, by Ctrl-C or a power cut, goes on where it was when the same command is given again. A slide
    that cannot be read is named and skipped, and the exit code is then 1.

    \b
    Examples:
      marrowscope slides smear.svs --out found --format geojson
      marrowscope slides night_of_slides --out found --model runs/first/best --regions 40
      marrowscope slides smear.tif --out found --um-per-px 0.1 --workers 4
      marrowscope slides night_of_slides --out found --engine ray --address head:6379
      marrowscope slides night_of_slides --out found --dry-run
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.slides import find_slides

    terminal = Terminal(quiet)
    chosen = _formats(formats or [])
    found = find_slides(paths)
    if dry_run:
        terminal.say(f"{len(found)} slides, by {model}, to {out}: {', '.join(['parquet', *chosen])}")
        for path in found:
            terminal.say(f"  {path}")
        return
    from marrowscope.assemble.slide_work import SlideJob
    from marrowscope.detect.sources import unique_names
    from marrowscope.errors import BadSlide

    make_folder(out)
    names = unique_names(found)
    failed = 0
    with _engine(engine, address, workers, device) as running:
        for path, name in zip(found, names, strict=True):
            job = SlideJob(str(path), model, device, runtime, score, um_per_px, scale, regions)
            try:
                _one_slide(terminal, running, job, out / name, chosen, anew=force)
            except BadSlide as error:
                failed += 1
                terminal.warn(f"skipped {error}")
    if failed:
        terminal.warn(f"{failed} of {len(found)} slides could not be read and were skipped.")
        raise typer.Exit(SOME_FAILED)


def _engine(name: str, address: str | None, workers: int, device: str) -> AbstractContextManager["Engine"]:
    from marrowscope.errors import BadInput

    if name == "ray":
        from marrowscope.assemble.ray_engine import RayEngine

        return RayEngine(address, workers=workers, device=device)
    if address is not None:
        raise BadInput("--address is that of a Ray cluster. Add --engine ray.")
    from marrowscope.assemble.slide_work import LocalEngine, default_workers

    return LocalEngine(workers or default_workers(device))


def _one_slide(
    terminal: Terminal,
    engine: "Engine",
    job: "SlideJob",
    folder: Path,
    formats: list["SlideFormat"],
    *,
    anew: bool,
) -> None:
    from marrowscope.detect.slide_run import SlideProgress, run_slide

    plan = engine.prepare(job)
    terminal.title(f"{plan.name}: {_described(plan)}")
    with terminal.progress("looking", "tiles") as advance:

        def tell(far: SlideProgress) -> None:
            rate = f", {far.rate:.1f} tiles/s" if far.rate else ""
            advance(far.done, far.total, f"{far.cells} cells{rate}")

        run = run_slide(plan, engine.work(job, plan), folder, formats=formats, anew=anew, progress=tell)
    _tell(terminal, run, plan)


def _described(plan: "SlidePlan") -> str:
    scale = plan.look.scale
    um = f", {plan.um_per_px:.3g} um a pixel" if plan.um_per_px else ""
    looked = f"1/{scale.reduction}" if scale.zoom == 1 else f"{scale.zoom}x"
    return f"{plan.width} x {plan.height} pixels{um}, looked at in {looked} of its scale"


def _tell(terminal: Terminal, run: "SlideSummary", plan: "SlidePlan") -> None:
    from marrowscope.cli.detect import tell_differential

    tell_differential(terminal, run.differential, run.adjusted)
    again = run.tiles - run.looked_at
    rate = f", {run.looked_at / run.seconds:.1f} a second" if run.looked_at else ""
    kept = f", {again} of them done before" if again else ""
    terminal.say(f"{run.cells} cells in {run.tiles} tiles ({run.empty} empty{kept}){rate}, by {plan.model['runtime']}")
    for file in run.files:
        terminal.say(f"  {file}")


def _formats(asked: list[str]) -> list["SlideFormat"]:
    from marrowscope.detect.slide_exports import SlideFormat
    from marrowscope.errors import BadInput

    known = [str(f) for f in SlideFormat]
    words = [word.strip().lower() for text in asked for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise BadInput(f"--format {word}: not known. Choose of {', '.join(known)}; the table is always written.")
    return [SlideFormat(word) for word in dict.fromkeys(words)]
