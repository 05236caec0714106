"""An archive of any size, made by the store's own code in one transaction and without waiting for the disk."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope.cells.specimen import Box, Edit, EditKind, FoundCell
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.store import database
from marrowscope.store.base import Change
from marrowscope.store.pixels import PixelFolder
from marrowscope.store.store import Store

BEGUN = datetime(2026, 1, 5, 8, tzinfo=UTC)
SIZE = 2000, 1500
PEOPLE = "anna", "ben", "chen"


class _Pixels(PixelFolder):
    """Keeps files without an fsync."""

    def keep(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return digest


class BulkStore(Store):
    """A store whose changes are all one transaction, as long as `filling` lasts."""

    _filling: Any = None

    @contextmanager
    def filling(self) -> Iterator[None]:
        self._pixels = _Pixels(self._pixels.folder)
        with database.writing(self._engine) as connection:
            self._filling = connection
            yield
        self._filling = None

    @contextmanager
    def _writing(self, by: str, now: datetime | None) -> Iterator[Change]:
        yield Change(self._filling, now or BEGUN, by)

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        yield self._filling


def fill(url: str, pixels: Path, *, specimens: int, fields: int, cells: int, seed: int = 0) -> None:
    """Make so many signed and open specimens of `fields` fields with `cells` cells each, a quarter of them reviewed."""
    chance = np.random.default_rng(seed)
    store = BulkStore.open(url, pixels)
    with store.filling():
        model = store.add_model("light", "ab" * 32, "clinical", "models/light", "", by="admin")
        for number in range(1, specimens + 1):
            fill_specimen(store, f"M26-{number:05d}", chance, fields=fields, cells=cells, model_id=model.id)
    store.close()


def fill_specimen(
    store: Store, code: str, chance: np.random.Generator, *, fields: int, cells: int, model_id: int
) -> int:
    """One specimen: kept, a share of it accepted, some cells renamed, every second one signed."""
    codes = [c.code for c in load_taxonomy("clinical")]
    shares = 1 / np.arange(1, len(codes) + 1)
    person = PEOPLE[int(chance.integers(3))]
    now = BEGUN + timedelta(minutes=int(chance.integers(500_000)))
    specimen = store.add_specimen(code, f"P{int(chance.integers(10**6)):06d}", note="routine", by=person, now=now)
    slide = store.add_slide(specimen.id, "A", by=person, now=now)
    for place in range(fields):
        image = b"\xff\xd8\xff" + code.encode() + place.to_bytes(4, "big")
        named = chance.choice(len(codes), size=cells, p=shares / shares.sum())
        scores = chance.beta(5, 1.5, size=cells)
        corners = chance.uniform((0, 0), (SIZE[0] - 130, SIZE[1] - 130), size=(cells, 2))
        found = [
            FoundCell(_box(corner), codes[label], float(score), float(1 - score))
            for corner, label, score in zip(corners, named, scores, strict=True)
        ]
        store.keep_field(
            slide.id,
            image,
            width=SIZE[0],
            height=SIZE[1],
            um_per_px=0.07,
            visit="v1",
            x_um=140.0 * place,
            y_um=0.0,
            focus=0.4,
            model_id=model_id,
            found=found,
            by=person,
            now=now,
        )
    store.accept_above(specimen.id, 0.95, by=person, now=now)
    doubtful, _ = store.cells(specimen.id, limit=fields * cells // 20)
    for some in range(0, len(doubtful), 5):
        renames = [Edit(EditKind.RENAME, cell_id=c.id, code=codes[c.id % 12]) for c in doubtful[some : some + 5]]
        store.apply(specimen.id, renames, by=person, now=now)
    if specimen.id % 2:
        store.sign(specimen.id, "{}", b"%PDF-" + code.encode(), by=person, meaning="approved", now=now)
    return specimen.id


def _box(corner: Any) -> Box:
    x, y = (float(value) for value in corner)
    return x, y, x + 120, y + 125
