"""`marrowscope smear-slide`: a whole slide from nothing, drawn by the synthetic smear, with its truth beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Quiet, Scheme, Terminal, make_folder

if TYPE_CHECKING:
    from marrowscope.cells.detections import GroundTruth


def smear_slide(
    out: Annotated[
        Path,
        typer.Argument(help="What to write: NAME.ome.tiff, NAME.tiff, NAME.zarr, or NAME.dicom (a folder of DICOM)."),
    ],
    size_um: Annotated[str, typer.Option(help="Width x height of the slide in um.")] = "500x500",
    um_per_px: Annotated[float, typer.Option(min=0.02, max=1, help="Um a pixel of the finest level.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same slide.")] = 0,
    lossless: Annotated[bool, typer.Option("--lossless", help="Keep every pixel as drawn, rather than JPEG.")] = False,
    scheme: Scheme = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that draw and compress.")] = 2,
    quiet: Quiet = False,
) -> None:
    """Draw a synthetic Wright-stained slide with a pyramid, its true cells beside it, to try slides without a scanner.

    NAME.truth.geojson holds every nucleated cell in pixels of the finest level; QuPath opens it over the slide.

    \b
    Examples:
      marrowscope smear-slide practice.ome.tiff
      marrowscope smear-slide practice.dicom --size-um 2000x1500 --seed 3 --um-per-px 0.25
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.cells.taxonomy import load_taxonomy
    from marrowscope.slide.drawn_slide import DrawnSlide
    from marrowscope.slide.writing import form_of, write_slide
    from marrowscope.smear.slide import SmearSlide

    terminal = Terminal(quiet)
    width_um, height_um = parse_size_um(size_um)
    name = out.name[: -len(next(end for end in form_of(out).value if out.name.lower().endswith(end)))]
    make_folder(out.parent)
    taxonomy = load_taxonomy(scheme) if scheme else None
    smear = SmearSlide(seed, width_um=width_um, height_um=height_um, taxonomy=taxonomy, um_per_px=um_per_px)
    with smear, DrawnSlide(smear, name) as slide, terminal.progress("drawing", "tiles") as advance:
        write_slide(slide, out, quality=None if lossless else 90, workers=workers, progress=advance)
        cells = slide.cells()
    width, height, _ = slide.levels[0]
    truth = out.with_name(f"{name}.truth.geojson")
    _write_truth(truth, cells, out, (width, height))
    terminal.say(f"{out}: {width} x {height} pixels at {um_per_px:g} um, {len(cells)} cells")
    terminal.say(f"{truth}: the true cells")


def parse_size_um(text: str) -> tuple[float, float]:
    """`2000x1500` -> (2000.0, 1500.0). BadInput for anything else."""
    from marrowscope.errors import BadInput

    width, _, height = text.lower().replace("×", "x").partition("x")
    try:
        size = float(width), float(height)
    except ValueError:
        size = 0.0, 0.0
    # A slide of glass has 76 x 26 mm.
    if not all(100 <= side <= 100_000 for side in size):
        raise BadInput(f"--size-um {text}: write width x height in um, 100 to 100000 each, such as 2000x1500.")
    return size


def _write_truth(path: Path, cells: "GroundTruth", slide: Path, size: tuple[int, int]) -> None:
    import numpy as np

    from marrowscope.cells.detections import Detections
    from marrowscope.cells.files import write_atomically
    from marrowscope.detect.outputs import qupath_geojson
    from marrowscope.detect.saved import DetectedField, as_json

    # Certain, each of them.
    sure = Detections(cells.boxes, cells.labels, np.ones(len(cells), np.float32), cells.taxonomy)
    found = DetectedField(slide, slide.name, *size, sure)
    write_atomically(path, as_json(qupath_geojson(found)) + "\n")
