"""A real archive of a few cells, and pictures that are small."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from marrowscope.cells.specimen import Box, FoundCell, KeptField, Slide, Specimen
from marrowscope.store.store import Store

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
WIDTH, HEIGHT = 320, 240
_numbers = count(1)


def open_archive(folder: Path) -> Store:
    return Store.open(f"sqlite:///{folder / 'archive.db'}", folder / "pixels")


def picture(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A PNG of one colour, unlike every other one."""
    number = next(_numbers)
    pixels = np.full((height, width, 3), (number % 256, number // 256 % 256, 200), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


@dataclass(frozen=True)
class Case:
    """A specimen with one slide."""

    store: Store
    specimen: Specimen
    slide: Slide

    def keep(self, cells: Iterable[FoundCell], *, by: str = "tech") -> KeptField:
        """A field without a place that holds these cells."""
        return self.store.keep_field(
            self.slide.id, picture(), width=WIDTH, height=HEIGHT, found=list(cells), by=by, now=NOW
        )


def add_case(store: Store, code: str = "S-1", patient: str = "P-1") -> Case:
    specimen = store.add_specimen(code, patient, by="tech", now=NOW)
    return Case(store, specimen, store.add_slide(specimen.id, "A", by="tech"))


def found(code: str, *, score: float = 0.9, doubt: float | None = None, box: Box = (10, 10, 40, 40)) -> FoundCell:
    return FoundCell(box, code, score, 1 - score if doubt is None else doubt)


def grid(codes: Iterable[str], *, score: float = 0.9) -> list[FoundCell]:
    """Cells side by side, none on another, 54 to a field."""
    cells = []
    for number, code in enumerate(codes):
        x, y = 5 + number % 9 * 34, 5 + number // 9 * 38
        cells.append(found(code, score=score, box=(x, y, x + 30, y + 30)))
    return cells
