"""What 1, 100 and 10,000 slides a day take: cores, memory, storage, network. The tables of docs/scale.md.

    python benchmarks/scale.py                       # the tables, from the numbers recorded below
    python benchmarks/scale.py --measure pbc_fields  # measures them anew on one core (a minute); paste what it prints

Seconds are processor time of one thread, so that a busy machine matters little. Everything that is no measurement is in
`Assumed`: change it there for another laboratory.
"""

import argparse
import io
import math
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marrowscope.assemble.detectors import checkpoint_path, open_detector, use_threads
from marrowscope.cells.field import FieldImage
from marrowscope.data.images import read_image
from marrowscope.detect.field_detector import FieldDetector
from marrowscope.detect.slide_run import BATCH
from marrowscope.detect.slide_scale import CELL_UM, FIELDS_IN_TILE, Look, cell_px, nearest_scale, tile_grid
from marrowscope.detect.slide_table import SlideHead, SlideTable
from marrowscope.detect.slide_tiles import CellRows, Looked
from marrowscope.detect.tiling import Rectangle
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.model.traits import Traits


@dataclass(frozen=True)
class Measured:
    """`real` with its reader, OpenVINO, float32, one thread. See `measure` for how."""

    tile_seconds: float
    """A tile in which nothing is found: fit, network, proposals."""
    cell_seconds: float
    """More for each cell found in it: its second reading."""
    decode_seconds: float
    """JPEG, a megapixel."""
    jpeg_bytes: float
    """A megapixel of a field at quality 85."""
    cell_bytes: float
    """Of the finished Parquet table, a cell."""
    part_bytes: float
    """Of the parts it was made from, a cell."""
    worker_mib: float
    """Resident memory of a worker at its highest."""
    int8: float = 0.16 / 0.27
    """Seconds of a field of blood in 8 bits over those in fp32: README, `python benchmarks/field.py --light real`."""


MEASURED = Measured(
    tile_seconds=0.2471,
    cell_seconds=0.01026,
    decode_seconds=0.00216,
    jpeg_bytes=125_468,
    cell_bytes=28.61,
    part_bytes=43.54,
    worker_mib=1260,
)


@dataclass(frozen=True)
class Assumed:
    """What a laboratory must put in for itself. Prices are of no vendor: they show which part of a bill is large."""

    side_mm: float = 15.0
    """Of the smear, a square."""
    covered: float = 0.6
    """Share of the tiles that hold anything; glass costs a glance."""
    cells_per_mm2: float = 300.0
    """Nucleated cells where a smear is read."""
    pyramid: float = 4 / 3
    """A slide's file over its finest level."""
    spare_regions: float = 1.5
    """Regions looked at for a differential, over those that would just hold its cells."""
    use: float = 0.7
    """Share of 24 hours in which cores are busy: slides come in waves."""
    core_hour: float = 0.04
    """Price of a core for an hour, with its memory."""
    gib_month: float = 0.02
    """Price of a GiB stored for a month."""


@dataclass(frozen=True)
class SlideCost:
    """What one slide takes. seconds: of one core. read: bytes that workers fetch. stored: bytes of file and table."""

    tiles: int
    cells: int
    seconds: float
    seconds_int8: float
    read: float
    file: float
    table: float


def cost_of(um_per_px: float, cells: int | None, traits: Traits, given: Assumed, measured: Measured) -> SlideCost:
    """cells: for a differential of so many; None for the whole slide."""
    finer = 2.0 if traits.reader else 1.0
    scale = nearest_scale(cell_px(traits) * um_per_px / CELL_UM, finer=finer)
    look = Look(scale, tile_grid(traits, scale))
    px = round(given.side_mm * 1000 / um_per_px)
    core_mm = look.grid.core * um_per_px / 1000
    if cells is None:
        tiles = len(look.grid.tiles([Rectangle(0, 0, px, px)]))
        shown = tiles * given.covered
    else:
        tiles = math.ceil(given.spare_regions * cells / (given.cells_per_mm2 * core_mm**2))
        shown = tiles
    seen_mm = look.grid.side * um_per_px / 1000
    found = given.cells_per_mm2 * shown * core_mm**2
    network = shown * (measured.tile_seconds + measured.cell_seconds * given.cells_per_mm2 * seen_mm**2)
    megapixels = shown * look.grid.side**2 / 1e6
    decoding = megapixels * measured.decode_seconds
    file = px**2 / 1e6 * measured.jpeg_bytes * given.pyramid
    table = found * (measured.cell_bytes + measured.part_bytes)
    read = megapixels * measured.jpeg_bytes
    return SlideCost(tiles, round(found), network + decoding, network * measured.int8 + decoding, read, file, table)


DAYS = (1, 100, 10_000)
WORK = (("500-cell differential", 500), ("whole slide", None))
SCALES = (0.25, 0.069)


def tables(given: Assumed = Assumed(), measured: Measured = MEASURED) -> str:
    """Markdown."""
    traits = load_checkpoint(checkpoint_path("real")).traits
    costs = [(f"{what}, {um} um/px", cost_of(um, n, traits, given, measured)) for um in SCALES for what, n in WORK]
    one = _markdown(
        ("one slide", "tiles", "cells", "core seconds", "in 8 bits", "read, MiB", "file, GiB", "table, MiB"),
        [
            (
                name,
                f"{c.tiles:,}",
                f"{c.cells:,}",
                f"{c.seconds:,.0f}",
                f"{c.seconds_int8:,.0f}",
                f"{c.read / 2**20:,.0f}",
                f"{c.file / 2**30:.2f}",
                f"{c.table / 2**20:.2f}",
            )
            for name, c in costs
        ],
    )
    rows = [_day(name, c, day, given, measured) for day in DAYS for name, c in costs]
    many = _markdown(
        (
            "what",
            "slides a day",
            "cores",
            "in 8 bits",
            "memory, GiB",
            "network, Gbit/s",
            "batches/s",
            "files, TiB a month",
            "computing a month",
            "storing a year's files, a month",
        ),
        rows,
    )
    return f"{one}\n{many}"


def _day(name: str, cost: SlideCost, day: int, given: Assumed, measured: Measured) -> tuple[str, ...]:
    busy = 86_400 * given.use
    cores, cores_int8 = (math.ceil(s * day / busy) for s in (cost.seconds, cost.seconds_int8))
    month = cost.file * day * 30
    return (
        name,
        f"{day:,}",
        f"{cores:,}",
        f"{cores_int8:,}",
        f"{cores * measured.worker_mib / 1024:,.0f}",
        f"{cost.read * day / busy * 8 / 1e9:.3f}",
        f"{cost.tiles / BATCH * day / busy:.2f}",
        f"{month / 2**40:,.2f}",
        f"{cost.seconds * day * 30 / 3600 * given.core_hour:,.0f}",
        f"{month / 2**30 * 12 * given.gib_month:,.0f}",
    )


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---" if name in ("one slide", "what") else "---:" for name in columns], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def measure(folder: Path) -> Measured:
    """On a tile of `real`'s own size, laid out of four labelled fields; and on a table of 100,000 cells."""
    use_threads(1)
    pixels = _four_fields(folder)
    opened = open_detector("real", device="cpu", runtime="openvino", fields_in_one=FIELDS_IN_TILE)
    detector = opened.detector
    assert isinstance(detector, FieldDetector)
    scale = nearest_scale(0.5, finer=2.0)
    side = tile_grid(detector.traits, scale).side
    seen = detector.at(scale.network_px)
    full = FieldImage(np.ascontiguousarray(pixels[:side, :side]), "tile")
    rng = np.random.default_rng(0)
    bare = FieldImage((230 + rng.normal(0, 4, full.pixels.shape)).clip(0, 255).astype(np.uint8), "bare")
    (found,) = seen.detect([full])
    cells = int((found.scores >= opened.score_threshold).sum())
    nothing, with_cells = (_seconds(lambda f=f: seen.detect([f])) for f in (bare, full))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    encoded = _jpeg(pixels)
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    import simplejpeg

    decode = _seconds(lambda: simplejpeg.decode_jpeg(encoded)) / megapixels
    table, parts = _table_bytes(detector)
    print(f"# {cells} cells in a tile of {side} x {side} pixels, {with_cells:.3f} s, {opened.runtime}")
    return Measured(
        round(nothing, 4),
        round((with_cells - nothing) / cells, 5),
        round(decode, 5),
        round(len(encoded) / megapixels),
        round(table, 2),
        round(parts, 2),
        round(memory),
    )


def _four_fields(folder: Path) -> np.ndarray:
    paths = sorted((folder / "JPEGImages").glob("*.jpg"))[:4]
    a, b, c, d = (read_image(path).pixels for path in paths)
    return np.ascontiguousarray(np.vstack([np.hstack([a, b]), np.hstack([c, d])]))


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()


def _seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Processor time of the middle one."""
    work()
    took = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return float(np.median(took))


def _table_bytes(detector: FieldDetector, count: int = 100_000, tile: int = 10) -> tuple[float, float]:
    """Bytes a cell of the finished table and of its parts, as many cells a tile as are usual."""
    rng = np.random.default_rng(0)
    traits = detector.traits
    grid = tile_grid(traits, nearest_scale(0.5))
    with tempfile.TemporaryDirectory() as folder:
        table = SlideTable(Path(folder), {})
        across = math.ceil(math.sqrt(count / tile))
        tiles = grid.tiles([Rectangle(0, 0, across * grid.core, across * grid.core)])
        for number in range(0, len(tiles), BATCH):
            some = tiles[number : number + BATCH]
            at = np.repeat(np.asarray(some), tile, axis=0)
            corner = (at[:, ::-1] + rng.random(at.shape)) * grid.core
            boxes = np.concatenate([corner, corner + rng.normal(145, 20, at.shape)], axis=1).astype(np.float32)
            labels = rng.integers(0, len(traits.taxonomy), len(at))
            rows = CellRows(boxes.astype(np.float64), labels, rng.random(len(at)).astype(np.float32), at)
            table.add(number // BATCH, some, Looked(rows, 0))
        path = table.settle(grid, SlideHead("slide.svs", 60_000, 60_000, 0.25, traits.taxonomy, {}))
        parts = sum(p.stat().st_size for p in (Path(folder) / "parts").iterdir())
        return path.stat().st_size / (len(tiles) * tile), parts / (len(tiles) * tile)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="the folder pbc_fields")
    asked = parser.parse_args()
    print(measure(asked.measure) if asked.measure else tables(), end="\n" if asked.measure else "")


if __name__ == "__main__":
    main()
