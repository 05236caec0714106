"""`marrowscope smear`: labelled fields from nothing, drawn by the synthetic smear."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from marrowscope.cli.terminal import Quiet, Scheme, Terminal, make_folder

FIELDS_A_SEED = 100_000
SETTINGS = "smear.json"


def smear(
    out: Annotated[Path, typer.Argument(help="VOC folder to write.")],
    fields: Annotated[int, typer.Option(min=1, max=FIELDS_A_SEED, help="How many fields.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same fields.")] = 0,
    size: Annotated[str, typer.Option(help="Width x height in pixels; always the same 132 um across.")] = "4000x3000",
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Every class as often as the next, rather than as in the paper.")
    ] = False,
    val: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the fields for val.txt; 0 writes none.")] = 0.1,
    specimens: Annotated[
        int, typer.Option(min=0, help="Share the fields among this many slides, each of its own stain; 0: one each.")
    ] = 0,
    scheme: Scheme = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 2,
    quiet: Quiet = False,
) -> None:
    """Draw synthetic Wright-stained marrow fields with their true cells, as a VOC folder to train and test on.

    Fields that are there already are kept, so a stopped run goes on, and a larger --fields adds to it.

    \b
    Examples:
      marrowscope smear practice --fields 200
      marrowscope smear practice --fields 1000 --seed 1 --size 1404x1056 --balanced --specimens 40
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.cells.files import write_atomically
    from marrowscope.data.split import by_field, by_specimen
    from marrowscope.data.voc import read_voc

    terminal = Terminal(quiet)
    width, height = parse_size(size)
    settings = {
        "seed": seed,
        "width": width,
        "height": height,
        "balanced": balanced,
        "specimens": specimens,
        "scheme": scheme,
    }
    make_folder(out)
    keep_settings(out, settings)
    with terminal.progress("drawing", "fields") as advance:
        for done in draw_fields(out, fields, settings, workers=workers):
            advance(done, fields)
    drawn = read_voc(out).fields
    if val and len(drawn) > 1:
        divide = by_specimen if specimens > 1 else by_field
        sides = zip(("train", "val"), divide(drawn, held_out=val, seed=seed), strict=True)
    else:
        sides = zip(("train",), (drawn,), strict=True)
    for name, side in sides:
        write_atomically(out / "ImageSets" / "Main" / f"{name}.txt", "".join(f"{f.name}\n" for f in side))
        terminal.say(f"{name}: {len(side)} fields, {sum(len(f) for f in side)} cells")
    terminal.say(f"Next: marrowscope train {out} --recipe light --out runs/smear")


def parse_size(text: str) -> tuple[int, int]:
    """`4000x3000` -> (4000, 3000). BadInput for anything else."""
    from marrowscope.errors import BadInput

    width, _, height = text.lower().replace("×", "x").partition("x")
    written = width.strip().isdecimal() and height.strip().isdecimal()
    # Coarser than a micrometre a pixel no cell can be told.
    if not written or int(width) < 160 or int(height) < 120:
        raise BadInput(f"--size {text}: write width x height in pixels, at least 160x120, such as 4000x3000.")
    if int(width) * int(height) > 100_000_000:
        raise BadInput(f"--size {text}: is more than 100 megapixels. Draw smaller fields.")
    return int(width), int(height)


def keep_settings(out: Path, settings: dict[str, Any]) -> None:
    """Write how the fields are drawn; BadInput where the folder holds fields that were drawn otherwise."""
    from marrowscope.cells.files import write_atomically
    from marrowscope.errors import BadInput

    path = out / SETTINGS
    if path.is_file():
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            earlier = None
        if earlier != settings:
            raise BadInput(f"{out}: holds fields drawn otherwise ({earlier}). Choose another folder.")
    elif (out / "Annotations").exists():
        raise BadInput(f"{out}: holds labelled fields that were not drawn here. Choose another folder.")
    write_atomically(path, json.dumps(settings) + "\n")


def draw_fields(out: Path, fields: int, settings: dict[str, Any], *, workers: int) -> Iterator[int]:
    """Draw what is not there yet; yields how many fields there are, first those found."""
    first = settings["seed"] * FIELDS_A_SEED
    missing = [s for s in range(first, first + fields) if not (out / "Annotations" / f"smear_{s:06d}.xml").is_file()]
    done = fields - len(missing)
    yield done
    jobs = [(out, seed, settings) for seed in missing]
    with _mapper(min(workers, len(missing))) as mapped:
        for _ in mapped(_draw, jobs):
            done += 1
            yield done


@contextmanager
def _mapper(workers: int) -> Iterator[Any]:
    if workers <= 1:
        yield map
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Spawned, as a fork would inherit threads that no longer run.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_one_of_many)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _one_of_many() -> None:
    """Ctrl-C is for the parent to answer; and one process takes one core."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _draw(job: tuple[Path, int, dict[str, Any]]) -> None:
    """Draw one field and write it."""
    from marrowscope.cells.taxonomy import load_taxonomy
    from marrowscope.data.voc import write_voc_image
    from marrowscope.smear.field import draw_field
    from marrowscope.smear.sampler import Frequencies

    out, seed, settings = job
    specimen = seed % settings["specimens"] if settings["specimens"] else None
    image, truth = draw_field(
        seed,
        width=settings["width"],
        height=settings["height"],
        taxonomy=load_taxonomy(settings["scheme"]) if settings["scheme"] else None,
        frequencies=Frequencies.BALANCED if settings["balanced"] else Frequencies.PAPER,
        # A slide's stain is its own under every seed of fields.
        specimen=None if specimen is None else settings["seed"] * FIELDS_A_SEED + specimen,
    )
    write_voc_image(out, image, truth, specimen=None if specimen is None else f"slide_{specimen:03d}")
