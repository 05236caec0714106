"""A slide of dark discs in memory, a detector that finds them, and a plan for it: no network, so quick and exact.

    python tests/helpers/slide_world.py FOLDER LOG

looks at a slide until it is done or killed, results into FOLDER, and writes every batch's number to LOG beforehand.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.detect.detector import settle
from marrowscope.detect.slide_run import Batch, SlidePlan, in_turn, look_batch, run_slide
from marrowscope.detect.slide_scale import Look, WorkingScale
from marrowscope.detect.slide_tiles import Looked
from marrowscope.detect.tiling import TileGrid
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.regions import Rectangle
from marrowscope.slide.slide import WholeSlide
from oracles.blob_detector import SHADES

RADIUS = 7


class Discs:
    """Every connected dark patch, at the scale of the pixels given; the darker ones are of the second class."""

    taxonomy = SHADES
    input_size = (96, 96)

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        return [self._one(field) for field in fields]

    def _one(self, field: FieldImage) -> Detections:
        green = field.pixels[..., 1]
        n, _, stats, _ = cv2.connectedComponentsWithStats((green < 160).astype(np.uint8))
        boxes = stats[1:n, :4].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)
        shades = green[middle[:, 1], middle[:, 0]]
        scores = (1 - shades / 255).astype(np.float32)
        boxes *= field.width / field.pixels.shape[1]
        return settle(boxes, (shades < 60).astype(np.int64), scores, SHADES, field)


def draw_discs(seed: int, width: int, height: int, *, pitch: int = 18) -> NDArray[np.uint8]:
    """Discs on a jittered lattice, so that none touch and many lie on any seam; a corner is bare glass."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 235, np.uint8)
    for y in range(pitch, height - pitch, pitch):
        for x in range(pitch, width - pitch, pitch):
            dx, dy = (int(v) for v in rng.integers(-1, 2, 2))
            radius, shade = int(rng.integers(3, RADIUS)), int(rng.choice((30, 90)))
            if x > width // 3 or y > height // 3:
                cv2.circle(pixels, (x + dx, y + dy), radius, (shade, shade, shade), cv2.FILLED)
    return pixels


GRID = TileGrid(core=96, margin=16, band=4)


def plan_for(
    slide: WholeSlide, *, grid: TileGrid = GRID, scale: WorkingScale | None = None, **changes: object
) -> SlidePlan:
    size = slide.levels[0].width, slide.levels[0].height
    values = {
        "name": slide.name,
        "width": size[0],
        "height": size[1],
        "um_per_px": slide.um_per_px,
        "look": Look(scale or WorkingScale(), grid),
        "places": (Rectangle(0, 0, *size),),
        "score": 0.3,
        "cells_px": 12.0,
        "taxonomy": SHADES,
        "model": {"checkpoint": "discs", "weights": "none", "runtime": "OpenCV"},
    }
    return SlidePlan(**(values | changes))  # type: ignore[arg-type]


@lru_cache
def world(seed: int = 0, width: int = 1200, height: int = 900) -> ArraySlide:
    return ArraySlide(draw_discs(seed, width, height), "discs", um_per_px=0.25)


def main() -> None:
    folder, log = Path(sys.argv[1]), Path(sys.argv[2])
    slide = world()
    plan = plan_for(slide)

    def slowly(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Looked]]:
        with log.open("a", encoding="utf-8") as said:
            for batch in batches:
                print(batch.number, os.getpid(), file=said, flush=True)
                time.sleep(0.03)
                yield batch, look_batch(slide, Discs(), plan, batch)

    run_slide(plan, slowly, folder)


if __name__ == "__main__":
    main()


__all__ = ["GRID", "RADIUS", "Discs", "draw_discs", "in_turn", "plan_for", "world"]
