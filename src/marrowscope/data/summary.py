"""How many cells of which class lie in which split, and how large they are: the paper's Table 1, and what an
anchor or a field of view has to be fitted to.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.taxonomy import Lineage, Taxonomy
from marrowscope.data.labelled import LabelledField, labels_of

PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class ClassRow:
    """One class: cells in each split, and the 5th, 50th and 95th percentile of width and height over all (px)."""

    name: str
    code: str
    lineage: Lineage
    cells: tuple[int, ...]
    width_px: tuple[float, ...] | None
    height_px: tuple[float, ...] | None


@dataclass(frozen=True)
class Summary:
    """A Table 1. splits: their names; fields, unlabelled_fields, specimens, unknown_cells: one number a split.

    specimens counts the different known ones. unknown_cells carry labels outside the taxonomy (`unknown_labels`).
    """

    taxonomy: str
    splits: tuple[str, ...]
    rows: tuple[ClassRow, ...]
    fields: tuple[int, ...]
    unlabelled_fields: tuple[int, ...]
    specimens: tuple[int, ...]
    unknown_cells: tuple[int, ...]
    unknown_labels: tuple[str, ...]

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells of all classes in each split."""
        return tuple(sum(row.cells[i] for row in self.rows) for i in range(len(self.splits)))

    def to_json(self) -> str:
        """Everything, by name."""
        return json.dumps(asdict(self) | {"cells": self.cells}, ensure_ascii=False, indent=2) + "\n"

    def to_csv(self) -> str:
        """One line a class."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        sides = [f"{side}_px_p{p}" for side in ("width", "height") for p in PERCENTILES]
        writer.writerow(["class", "code", "lineage", *(f"cells_{s}" for s in self.splits), *sides])
        for row in self.rows:
            sizes = [f"{v:g}" for side in (row.width_px, row.height_px) for v in (side or ())]
            writer.writerow([row.name, row.code, row.lineage.value, *row.cells, *(sizes or [""] * len(sides))])
        return out.getvalue()

    def to_markdown(self) -> str:
        """A table in the order of the taxonomy, then sums and fields."""
        lines = [_line(["Class", "Lineage", *self.splits, "Median width x height (px)"])]
        lines.append(_line(["---", "---", *("---:" for _ in self.splits), "---:"]))
        for row in self.rows:
            size = f"{row.width_px[1]:g} x {row.height_px[1]:g}" if row.width_px and row.height_px else "-"
            lines.append(_line([row.name, row.lineage.value, *(f"{n:,}" for n in row.cells), size]))
        lines.append(_line(["**Cells**", "", *(f"{n:,}" for n in self.cells), ""]))
        lines.append(_line(["Fields", "", *(f"{n:,}" for n in self.fields), ""]))
        for title, numbers in (
            ("Fields without cells", self.unlabelled_fields),
            ("Specimens", self.specimens),
            ("Cells of unknown class", self.unknown_cells),
        ):
            if any(numbers):
                lines.append(_line([title, "", *(f"{n:,}" for n in numbers), ""]))
        return "\n".join(lines) + "\n"


def summarise(splits: Mapping[str, Sequence[LabelledField]], taxonomy: Taxonomy) -> Summary:
    """Count cells by class and split. splits: name -> fields, as they shall stand in the columns."""
    everything = [field for fields in splits.values() for field in fields]
    counts = []
    for fields in splits.values():
        per_class = [0] * len(taxonomy)
        for label, count in labels_of(fields).items():
            if (found := taxonomy.find(label)) is not None:
                per_class[found] += count
        counts.append(per_class)
    sizes = _sizes(everything, taxonomy)
    rows = [
        ClassRow(c.name, c.code, c.lineage, tuple(column[i] for column in counts), *sizes[i])
        for i, c in enumerate(taxonomy)
    ]
    unknown = [{k: n for k, n in labels_of(f).items() if taxonomy.find(k) is None} for f in splits.values()]
    return Summary(
        taxonomy.name,
        tuple(splits),
        tuple(rows),
        tuple(len(fields) for fields in splits.values()),
        tuple(sum(not len(field) for field in fields) for fields in splits.values()),
        tuple(len({f.specimen for f in fields if f.specimen}) for fields in splits.values()),
        tuple(sum(labels.values()) for labels in unknown),
        tuple(sorted(set().union(*unknown))),
    )


_Percentiles = tuple[float, ...] | None


def _sizes(fields: Sequence[LabelledField], taxonomy: Taxonomy) -> list[tuple[_Percentiles, _Percentiles]]:
    """Percentiles of width and of height for every class."""
    truths = [field.truth(taxonomy) for field in fields]
    boxes = as_boxes(np.concatenate([t.boxes for t in truths])) if truths else as_boxes([])
    labels = np.concatenate([t.labels for t in truths]) if truths else np.zeros(0, np.int64)
    found: list[tuple[_Percentiles, _Percentiles]] = []
    for label in range(len(taxonomy)):
        sides = (boxes[:, 2:] - boxes[:, :2])[labels == label]
        if not len(sides):
            found.append((None, None))
            continue
        width, height = (tuple(np.percentile(sides[:, axis], PERCENTILES).round(1).tolist()) for axis in (0, 1))
        found.append((width, height))
    return found


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
