"""What choosing regions takes on a large slide, and what it says of real fields.

    python benchmarks/regions.py --bccd DATA/bccd/BCCD --pbc DATA/pbc_fields --map map.png

The slide has 60,000 x 60,000 pixels and is composed where it is read, of blocks of the synthetic smear, laid out as
smears are: a thick head, a body where cells lie apart, a thin tail; with patches out of focus, pale ones, particles and
a pen mark. What each block is, is known. Real fields are sharp and readable: each is judged as it is, and blurred.
Memory is that of the whole process. Seeds are fixed.
"""

import argparse
import json
import resource
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.data.images import read_image
from marrowscope.slide.density import white_of
from marrowscope.slide.map import draw_map, write_map
from marrowscope.slide.quality import READ_UM_PER_PX, USUAL_RED_CELL, appraise, measure
from marrowscope.slide.regions import USABLE, choose_regions, everything
from marrowscope.slide.slide import Level
from marrowscope.smear.slide import SmearSlide

# Red cells of BCCD are 109 pixels wide, those of pbc_fields about 72: 7.5 um.
BCCD_UM, PBC_UM = 0.069, 0.104
BLOCK_PX, UM_PER_PX = 400, 0.25
BLOCKS = 150
READABLE = "monolayer"


def kinds_of_blocks(seed: int) -> dict[str, NDArray[np.uint8]]:
    """A block of each kind, (400, 400, 3): a square of 100 um."""
    with SmearSlide(seed, width_um=1000, height_um=1000, um_per_px=UM_PER_PX) as slide:
        pixels = slide.view(500, 500, BLOCK_PX, BLOCK_PX, UM_PER_PX)
    white = np.percentile(pixels.reshape(-1, 3), 98, axis=0)
    light = pixels / white

    def layers(count: int) -> NDArray[np.float64]:
        return np.asarray(np.prod([np.roll(light, (137 * n, 59 * n), (0, 1)) for n in range(count)], axis=0))

    rows, columns = np.indices(light.shape[:2]) // 50
    seen = {
        READABLE: light,
        "glass": np.ones_like(light),
        "thick": layers(3),
        "very thick": layers(6),
        "thin": np.where(((rows * 3 + columns) % 7 == 0)[..., None], light, 1),
        "out of focus": cv2.GaussianBlur(light, (0, 0), 1.5 / UM_PER_PX),
        "pale": light**0.3,
        "pen": light * np.asarray((0.1, 0.25, 0.8)),
    }
    return {kind: np.asarray(np.clip(picture * white, 0, 255) + 0.5, np.uint8) for kind, picture in seen.items()}


def lay_out(seed: int) -> NDArray[np.str_]:
    """Kind of every block of a smear 15 mm long and as wide, (rows, columns)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((BLOCKS, BLOCKS)) / BLOCKS
    noise = cv2.resize(rng.normal(0, 1, (12, 12)), (BLOCKS, BLOCKS), interpolation=cv2.INTER_CUBIC)
    along = x + 0.05 * noise
    inside = np.abs(y - 0.5) < 0.36 * np.sqrt(np.clip(1.15 - ((x - 0.42) / 0.42) ** 2, 0, 1))
    kinds = np.full((BLOCKS, BLOCKS), READABLE, dtype="<U16")
    kinds[along < 0.42], kinds[along < 0.25], kinds[along > 0.72] = "thick", "very thick", "thin"
    patches = cv2.resize(rng.normal(0, 1, (15, 15)), (BLOCKS, BLOCKS), interpolation=cv2.INTER_CUBIC)
    kinds[(patches > 1.0) & (kinds == READABLE)] = "out of focus"
    kinds[(patches < -1.3) & (kinds == READABLE)] = "pale"
    for row, column in rng.integers(20, BLOCKS - 20, (25, 2)).tolist():
        kinds[np.hypot(y * BLOCKS - row, x * BLOCKS - column) < rng.uniform(1, 4)] = "very thick"
    kinds[~inside] = "glass"
    kinds[np.abs(y - 0.2 - 0.3 * (x - 0.6)) < np.where(np.abs(x - 0.6) < 0.12, 0.006, 0)] = "pen"
    return kinds


class ComposedSlide:
    """A `WholeSlide` of blocks, put together where it is read."""

    def __init__(self, seed: int) -> None:
        self.name, self.um_per_px = "composed smear", UM_PER_PX
        self.kinds = lay_out(seed)
        blocks = kinds_of_blocks(seed)
        self._blocks = [
            {k: cv2.resize(b, None, fx=1 / zoom, fy=1 / zoom, interpolation=cv2.INTER_AREA) for k, b in blocks.items()}
            for zoom in (1, 4, 16)
        ]
        side = BLOCKS * BLOCK_PX
        self.levels = tuple(Level(side // zoom, side // zoom, float(zoom)) for zoom in (1, 4, 16))

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `WholeSlide.read`."""
        side = BLOCK_PX // (1, 4, 16)[level]
        first_row, first_column = y // side, x // side
        rows = []
        for row in range(first_row, (y + height - 1) // side + 1):
            line = [self._block(level, row, c) for c in range(first_column, (x + width - 1) // side + 1)]
            rows.append(np.concatenate(line, axis=1))
        whole = np.concatenate(rows, axis=0)
        top, left = y - first_row * side, x - first_column * side
        return np.ascontiguousarray(whole[top : top + height, left : left + width])

    def _block(self, level: int, row: int, column: int) -> NDArray[np.uint8]:
        within = 0 <= row < BLOCKS and 0 <= column < BLOCKS
        block = self._blocks[level][str(self.kinds[row, column]) if within else "glass"]
        return block[:: 1 - 2 * (row % 2), :: 1 - 2 * (column % 2)]

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> "ComposedSlide":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to let go of."""


def on_a_large_slide(map_path: Path | None) -> dict[str, object]:
    """Time, memory, and of what kinds the chosen regions are."""
    slide = ComposedSlide(3)
    began, busy = time.perf_counter(), time.process_time()
    judged = 0

    def count(done: int, total: int) -> None:
        nonlocal judged
        judged = done

    regions = choose_regions(slide, 500, progress=count)
    took, cpu = time.perf_counter() - began, time.process_time() - busy
    blocks = Counter(
        str(slide.kinds[row, column])
        for r in regions
        for row in range(r.y // BLOCK_PX, (r.y + r.height - 1) // BLOCK_PX + 1)
        for column in range(r.x // BLOCK_PX, (r.x + r.width - 1) // BLOCK_PX + 1)
    )
    tissue = everything(slide)
    if map_path:
        write_map(map_path, draw_map(slide, regions))
    return {
        "judged": judged,
        "regions": len(regions),
        "cells estimated": round(sum(r.nuclei for r in regions)),
        "lowest quality": round(min(r.quality for r in regions), 2),
        "blocks of the regions": dict(blocks),
        "pieces of tissue": len(tissue),
        "seconds": round(took, 1),
        "cpu seconds": round(cpu, 1),
        "peak memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def on_real_fields(folder: Path, um_per_px: float, every: int) -> dict[str, object]:
    """Share of fields that are usable as they are, and blurred, each against its own white."""
    paths = sorted(folder.glob("**/JPEGImages/*.jpg"))[::every]
    shares: dict[str, object] = {"fields": len(paths)}
    whys: Counter[str] = Counter()
    qualities: dict[float, list[float]] = {blur: [] for blur in (0.0, 0.5, 1.0, 2.0)}
    edges: dict[float, list[float]] = {blur: [] for blur in qualities}
    for path in paths:
        field = read_image(path).pixels
        zoom = um_per_px / READ_UM_PER_PX
        field = np.asarray(cv2.resize(field, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA), np.uint8)
        for blur in qualities:
            small = cv2.GaussianBlur(field, (0, 0), blur / READ_UM_PER_PX) if blur else field
            readings = measure(small, READ_UM_PER_PX, white_of([small]), USUAL_RED_CELL)
            judged = appraise(readings)
            qualities[blur].append(judged.quality)
            edges[blur].append(readings.edge_um)
            if not blur:
                whys[judged.why] += 1
    for blur, seen_so in qualities.items():
        shares[f"blurred by {blur:g} um"] = {
            "usable": round(float(np.mean(np.asarray(seen_so) >= USABLE)), 3),
            "median quality": round(float(np.median(seen_so)), 2),
            "median edge um": round(float(np.median(edges[blur])), 2),
        }
    sharp = np.asarray(edges[0.0])
    shares["fields sharper than themselves blurred by 0.5 um"] = round(float(np.mean(sharp < edges[0.5])), 3)
    shares["as they are"] = dict(whys.most_common())
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bccd", type=Path)
    parser.add_argument("--pbc", type=Path)
    parser.add_argument("--every", type=int, default=1, help="look at every n-th real field")
    parser.add_argument("--map", type=Path, help="where to draw the map of the composed slide")
    asked = parser.parse_args()
    said: dict[str, object] = {"60,000 x 60,000": on_a_large_slide(asked.map)}
    if asked.bccd:
        said["BCCD"] = on_real_fields(asked.bccd, BCCD_UM, asked.every)
    if asked.pbc:
        said["pbc_fields"] = on_real_fields(asked.pbc, PBC_UM, asked.every)
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
