"""The cells of a slide as a table that grows safely: whatever stops the run, what was finished stays, once.

    SLIDE/run.json               the settings; a folder holds cells of one model, scale and score, or refuses
    SLIDE/parts/00000012.parquet candidates of batch 12 (`tiling`), and which tiles it finishes
    SLIDE/cells.parquet          all cells, seams settled, once every part is there

A batch always has the same tiles and its part always the same name, written aside, fsynced and renamed. So a part that
is there is whole, a batch done twice is there once, and what is to be done is what is not there: nothing is locked,
and parts may come from anywhere in any order.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from marrowscope.cells.files import replacing, write_atomically
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.slide_tiles import CellRows, Looked
from marrowscope.detect.tiling import Tile, TileGrid, near_a_seam, settle_seams
from marrowscope.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from pyarrow import Schema, Table
    from pyarrow.parquet import ParquetFile

ROWS = 65_536
"""Rows read or written at once."""
NUMBERS = ("x1", "y1", "x2", "y2", "label", "score", "tile_row", "tile_column")
"""Columns of a part; `label` is the class's number."""
CELLS = "cells.parquet"
KEY = b"marrowscope"
"""Where a Parquet file says what it is."""


@dataclass(frozen=True)
class SlideHead:
    """What `cells.parquet` says of its slide. width, height: of level 0 in pixels. about: model, scale, settings."""

    name: str
    width: int
    height: int
    um_per_px: float | None
    taxonomy: Taxonomy
    about: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "um_per_px": self.um_per_px,
            "taxonomy": self.taxonomy.to_dict(),
            "about": dict(self.about),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Self:
        """What `to_dict` gave."""
        taxonomy = Taxonomy.from_dict(values["taxonomy"], where=where)
        sizes = int(values["width"]), int(values["height"])
        return cls(values["name"], *sizes, values["um_per_px"], taxonomy, values["about"])


class SlideTable:
    """The growing table of one slide in a folder of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, anew: bool = False) -> None:
        """Go on with what is in the folder. BadInput if that was made with other settings, unless it is begun anew."""
        _parquet()
        self.folder = folder
        self._parts = folder / "parts"
        record = folder / "run.json"
        before = _read_settings(record)
        plain = json.loads(json.dumps(settings))
        if before is not None and before != plain and not anew:
            raise BadInput(
                f"{folder}: holds cells found with other settings ({_difference(before, plain)}). "
                "Give another --out, or --force to begin this slide anew."
            )
        self._parts.mkdir(parents=True, exist_ok=True)
        for left in self._parts.iterdir():
            # A file aside is what a killed run was just writing.
            if left.name.startswith(".") or anew:
                left.unlink()
        if anew:
            (folder / CELLS).unlink(missing_ok=True)
        write_atomically(record, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")

    def finished(self) -> set[int]:
        """The numbers of the batches that are in."""
        return {int(part.stem) for part in self._parts.glob("[0-9]*.parquet")}

    def add(self, batch: int, tiles: Sequence[Tile], looked: Looked) -> None:
        """Take in what a batch gave; once this returns, it stays."""
        arrow, parquet = _arrow(), _parquet()
        cells = looked.cells
        columns = [*cells.boxes.T, cells.labels, cells.scores, *cells.tiles.T.astype(np.int32)]
        said = {"tiles": [list(tile) for tile in tiles], "empty": looked.empty}
        table = arrow.table(dict(zip(NUMBERS, columns, strict=True)))
        table = table.replace_schema_metadata({KEY: json.dumps(said).encode()})
        with replacing(self._part(batch)) as aside:
            parquet.write_table(table, aside, compression="zstd")

    def part(self, batch: int) -> tuple[tuple[Tile, ...], Looked]:
        """A batch as it was taken in: its tiles, and what they gave."""
        with _parquet().ParquetFile(self._part(batch)) as file:
            said = json.loads(file.schema_arrow.metadata[KEY])
            rows = _numbers(file.read())
        return tuple(Tile(*tile) for tile in said["tiles"]), Looked(rows, said["empty"])

    def settle(self, grid: TileGrid, head: SlideHead) -> Path:
        """Write `cells.parquet`: the cells of all parts, those at seams once (`tiling.settle_seams`).

        Only what lies near a seam is in memory at once.
        """
        batches = sorted(self.finished())
        near, rows_of = [], []
        for batch in batches:
            cells = self.part(batch)[1].cells
            seam = near_a_seam(grid, cells.tiles, cells.boxes)
            near.append(cells.only(seam))
            rows_of.append(np.flatnonzero(seam))
        candidates = CellRows.joined(near)
        stands = settle_seams(grid, candidates.tiles, candidates.boxes)
        ends = np.cumsum([len(rows) for rows in rows_of])[:-1]
        dropped = [rows[~kept] for rows, kept in zip(rows_of, np.split(stands, ends), strict=True)]
        path = self.folder / CELLS
        with replacing(path) as aside, _Writing(aside, head) as out:
            for batch, gone in zip(batches, dropped, strict=True):
                cells = self.part(batch)[1].cells
                held = np.ones(len(cells), bool)
                held[gone] = False
                out.add(cells.only(held))
        return path

    def _part(self, batch: int) -> Path:
        return self._parts / f"{batch:08d}.parquet"


class CellsFile:
    """A finished `cells.parquet`, read a piece at a time."""

    def __init__(self, path: Path) -> None:
        """BadInput where it is none."""
        parquet = _parquet()
        try:
            self._file: ParquetFile = parquet.ParquetFile(path)
            self.head = SlideHead.from_dict(json.loads(self._file.schema_arrow.metadata[KEY]), str(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"{path}: is no table of cells ({error}). Give cells.parquet as `slides` writes it."
            ) from None
        self._of_code = {cell.code: label for label, cell in enumerate(self.head.taxonomy)}

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def batches(self, rows: int = ROWS) -> Iterator[CellRows]:
        """All cells, so many at a time."""
        for batch in self._file.iter_batches(batch_size=rows):
            table = _arrow().Table.from_batches([batch])
            labels = _arrow().array([self._of_code[code] for code in table["code"].to_pylist()], "int64")
            yield _numbers(table.append_column("label", labels))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()


class _Writing:
    """Writes `cells.parquet` in groups of rows."""

    def __init__(self, path: Path, head: SlideHead) -> None:
        self._head = head
        self._schema = _schema(head)
        self._out = _parquet().ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[CellRows] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        self._write()
        self._out.close()

    def add(self, cells: CellRows) -> None:
        self._waiting.append(cells)
        if sum(len(part) for part in self._waiting) >= ROWS:
            self._write()

    def _write(self) -> None:
        cells = CellRows.joined(self._waiting)
        self._waiting = []
        arrow, taxonomy = _arrow(), self._head.taxonomy

        def words(all_words: list[str]) -> Any:
            return arrow.DictionaryArray.from_arrays(cells.labels.astype(np.int32), all_words)

        slide = arrow.DictionaryArray.from_arrays(np.zeros(len(cells), np.int32), [self._head.name])
        classes = words([c.code for c in taxonomy]), words([c.name for c in taxonomy])
        tiles = cells.tiles.T.astype(np.int32)
        columns = [slide, *cells.boxes.T, *classes, cells.scores, *tiles]
        arrays = [column if isinstance(column, arrow.Array) else arrow.array(column) for column in columns]
        self._out.write_table(arrow.Table.from_arrays(arrays, schema=self._schema))


def _schema(head: SlideHead) -> "Schema":
    arrow = _arrow()
    words = arrow.dictionary(arrow.int32(), arrow.string())
    kinds = {
        "slide": words,
        **dict.fromkeys(("x1", "y1", "x2", "y2"), arrow.float64()),
        "code": words,
        "name": words,
        "score": arrow.float32(),
        "tile_row": arrow.int32(),
        "tile_column": arrow.int32(),
    }
    return arrow.schema(list(kinds.items()), metadata={KEY: json.dumps(head.to_dict(), ensure_ascii=False).encode()})


def _numbers(table: "Table") -> CellRows:
    columns = [table[name].to_numpy() for name in NUMBERS]
    return CellRows(
        np.stack(columns[:4], axis=1), columns[4], columns[5], np.stack(columns[6:], axis=1).astype(np.int64)
    )


def _read_settings(record: Path) -> Any:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"{record}: cannot be read ({error}). Remove the folder, or give another --out.") from None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in (*before, *(k for k in now if k not in before)) if before.get(key) != now.get(key)]
    return "; ".join(f"{key}: {_short(before.get(key))} there, {_short(now.get(key))} now" for key in keys)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtra("tables of slides need pyarrow. pip install 'marrowscope[slides]'") from None
    return pyarrow


def _parquet() -> Any:
    _arrow()
    import pyarrow.parquet

    return pyarrow.parquet
