"""`marrowscope regions`: where on a slide to count, as a table, a map to look at and a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Quiet, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marrowscope.slide.regions import Region
    from marrowscope.slide.slide import WholeSlide

NONE_READABLE = 1
_SHOWN = 20


def regions(
    slide: Annotated[Path, typer.Argument(help="A slide: a file, or a folder of DICOM or Zarr.")],
    cells: Annotated[int, typer.Option(min=1, help="Regions are taken until about so many nucleated cells.")] = 500,
    count: Annotated[int | None, typer.Option(min=1, help="Take so many regions, whatever is in them.")] = None,
    size_um: Annotated[float, typer.Option(min=50, max=2000, help="Side of a region in um.")] = 200.0,
    um_per_px: Annotated[
        float | None,
        typer.Option(min=0.02, max=1, help="Um a pixel of the finest level, if the file does not say; else 0.25."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Draw a map of the slide: .jpg or .png.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the regions as JSON, in pixels.")] = None,
    quiet: Quiet = False,
) -> None:
    """Find the regions of a slide where cells lie apart, sharp and well stained, for a differential.

    Thick, thin and inked places, and those out of focus or badly stained, are passed over. Quality goes from 0 to 1 and
    is the lowest of focus, thickness and stain. If no place can be read, the exit code is 1.

    \b
    Examples:
      marrowscope regions slide.svs --out map.jpg
      marrowscope regions slide.ome.tiff --cells 200 --out map.png --json regions.json
      marrowscope regions scan.tiff --um-per-px 0.1 --count 12
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.slides import open_slide
    from marrowscope.slide.map import check_map_name, draw_map, write_map
    from marrowscope.slide.regions import choose_regions

    terminal = Terminal(quiet)
    if out:
        check_map_name(out)
    with open_slide(slide) as opened:
        with terminal.progress("judging", "places") as advance:
            chosen = choose_regions(opened, cells, count=count, size_um=size_um, um_per_px=um_per_px, progress=advance)
        _tell(terminal, opened.name, chosen)
        if out:
            write_map(out, draw_map(opened, chosen, um_per_px=um_per_px))
            terminal.say(f"  {out}     the slide with its regions")
        if json:
            _write(json, opened, chosen, um_per_px)
            terminal.say(f"  {json}     the regions, in pixels of the finest level")
    found = sum(region.nuclei for region in chosen)
    if not chosen:
        terminal.warn(f"{slide}: no place can be read. Look at the slide: is it thick, empty, or out of focus?")
        raise typer.Exit(NONE_READABLE)
    if len(chosen) < count if count else found < cells:
        wanted = f"{count} regions" if count else f"{cells} cells"
        terminal.warn(f"{slide}: no more can be read than this; {wanted} were wanted.")


def _tell(terminal: Terminal, name: str, chosen: "Sequence[Region]") -> None:
    columns = ("region", "x", "y", "quality", "focus", "thickness", "stain", "cells about")
    rows = []
    for n, r in enumerate(chosen[:_SHOWN], 1):
        scores = (f"{score:.2f}" for score in (r.quality, r.focus, r.thickness, r.stain))
        rows.append((str(n), r.x, r.y, *scores, round(r.nuclei)))
    if rows:
        terminal.table(columns, rows)
    if len(chosen) > _SHOWN:
        terminal.say(f"... and {len(chosen) - _SHOWN} more")
    regions = f"{len(chosen)} region" if len(chosen) == 1 else f"{len(chosen)} regions"
    terminal.say(f"{name}: {regions}, about {round(sum(r.nuclei for r in chosen))} nucleated cells")


def _write(path: Path, slide: "WholeSlide", chosen: "Sequence[Region]", um_per_px: float | None) -> None:
    from dataclasses import asdict
    from json import dumps

    from marrowscope.cells.files import write_atomically
    from marrowscope.slide.view import scale_of

    told = {
        "slide": slide.name,
        "width": slide.levels[0].width,
        "height": slide.levels[0].height,
        "um_per_px": scale_of(slide, um_per_px),
        "regions": [asdict(region) for region in chosen],
    }
    write_atomically(path, dumps(told, indent=1) + "\n")
