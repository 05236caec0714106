"""Tables: the paper's 2 and 3, and runs side by side; each as Markdown to read, CSV to compute with, JSON to script.

Where a scheme holds all the paper's classes, rows follow the paper and its printed columns stand beside ours; else rows
follow the scheme. A number with an interval reads `0.812 (0.77-0.85)` in Markdown and becomes three columns in CSV.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from marrowscope.errors import BadInput
from marrowscope.evaluation.paper import COLUMNS, paper_results
from marrowscope.evaluation.reliability import FLOOR, Reliability
from marrowscope.evaluation.scores import METRICS, WEAKEST, Estimate, Evaluation, Scores

Cell = str | int | float | Estimate | None

TITLES = MappingProxyType(
    {
        "recall": "Recall",
        "precision": "Precision",
        "f1": "F1",
        "ap50": "AP@50",
        "ap50_truncated": "AP@50 truncated",
        "map": "mAP@[.5:.95]",
    }
)


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table '{self.title}': a row of {len(row)} cells under {len(self.columns)} columns")

    def to_markdown(self) -> str:
        """A title line and a pipe table; columns of numbers flush right."""
        header, *body = [[_in_markdown(cell) for cell in row] for row in (self.columns, *self.rows)]
        words = [any(isinstance(row[i], str) for row in self.rows) for i in range(len(header))]
        widths = [max(3, *(len(row[i]) for row in (header, *body))) for i in range(len(header))]
        rule = ["-" * w if word else "-" * (w - 1) + ":" for w, word in zip(widths, words, strict=True)]
        lines = []
        for row in (header, rule, *body):
            padded = [x.ljust(w) if word else x.rjust(w) for x, w, word in zip(row, widths, words, strict=True)]
            lines.append(f"| {' | '.join(padded)} |")
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Full precision; a column with intervals is followed by its low and its high ends."""
        wide = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        header: list[Cell] = []
        for column, spread in zip(self.columns, wide, strict=True):
            header += [column, f"{column} low", f"{column} high"] if spread else [column]
        writer.writerow(header)
        for row in self.rows:
            values: list[Cell] = []
            for cell, spread in zip(row, wide, strict=True):
                if isinstance(cell, Estimate):
                    values += [cell.value, cell.low, cell.high]
                else:
                    values += [cell, None, None] if spread else [cell]
            writer.writerow(values)
        return out.getvalue()

    def to_json(self) -> str:
        """`{title, columns, rows: [{column: value}]}`; a number with an interval is {value, low, high}."""
        rows = [{c: _in_json(cell) for c, cell in zip(self.columns, row, strict=True)} for row in self.rows]
        whole = {"title": self.title, "columns": list(self.columns), "rows": rows}
        return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _in_markdown(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell).replace("|", "\\|")


def _in_json(cell: Cell) -> Any:
    if isinstance(cell, Estimate):
        return {"value": cell.value, "low": cell.low, "high": cell.high}
    return cell


def table2(evaluation: Evaluation, *, run: str = "this model") -> Table:
    """Recall and precision of every class (paper Table 2)."""
    return _paper_table(evaluation, "Recall and precision", ("recall", "precision"), run)


def table3(evaluation: Evaluation, *, run: str = "this model") -> Table:
    """AP@50, whole and truncated, and F1 of every class (paper Table 3; its AP is of the truncated kind)."""
    return _paper_table(evaluation, "AP@50 and F1", ("ap50", "ap50_truncated", "f1"), run)


def lineage_table(evaluation: Evaluation) -> Table:
    """Every metric by lineage: classes of one lineage count as one, for detections and for truth."""
    return _score_table(evaluation.lineages, f"By lineage, {_conditions(evaluation)}", "Lineage")


def summary_table(evaluation: Evaluation) -> Table:
    """Every metric of every class."""
    return _score_table(evaluation.classes, f"All numbers, {_conditions(evaluation)}", "Cell type")


def reliability_table(evaluation: Evaluation, measured: Reliability) -> Table:
    """Expected calibration error of every class and of all together."""
    rows: list[tuple[Cell, ...]] = [
        (cell.name, int(truth), error)
        for cell, truth, error in zip(evaluation.taxonomy, evaluation.classes.truth, measured.classes, strict=True)
    ]
    rows.append(("All together", int(evaluation.classes.truth.sum()), measured.error))
    title = f"Expected calibration error, {evaluation.field_count} fields, score >= {FLOOR}, IoU .5"
    return Table(title, ("Cell type", "Cells", "ECE"), tuple(rows))


def _score_table(scores: Scores, title: str, first: str) -> Table:
    labels = range(len(scores.taxonomy))
    rows: list[tuple[Cell, ...]] = [
        (scores.taxonomy[i].name, int(scores.truth[i]), *(scores.of_class(i, m) for m in METRICS)) for i in labels
    ]
    rows.append(("Mean", int(scores.truth.sum()), *(scores.of_all(m) for m in METRICS)))
    return Table(title, (first, "Cells", *(TITLES[m] for m in METRICS)), tuple(rows))


def _conditions(evaluation: Evaluation) -> str:
    threshold = evaluation.threshold
    at = "each class at its own score" if threshold is None else f"score >= {threshold:.3f}"
    return f"{evaluation.field_count} fields, {at}, IoU .5"


def _paper_table(evaluation: Evaluation, what: str, metrics: Sequence[str], run: str) -> Table:
    scores, paper = evaluation.classes, paper_results()
    order = paper.row_order(evaluation.taxonomy)
    # The paper has no untruncated AP: its one AP column stands beside both of ours, named for what it is.
    printed = [(m, c) for m in metrics for c in COLUMNS if order is not None and m != "ap50_truncated"]
    columns = [
        "Cell type",
        "Cells",
        *(f"{TITLES[m]}, {run}" for m in metrics),
        *(f"{TITLES[m]}, paper {c}" for m, c in printed),
    ]
    rows: list[tuple[Cell, ...]] = []
    for i in order if order is not None else range(len(scores.taxonomy)):
        theirs: Mapping[str, float] = paper.classes.get(scores.taxonomy[i].code, {})
        ours = [scores.of_class(i, m) for m in metrics]
        rows.append(
            (scores.taxonomy[i].name, int(scores.truth[i]), *ours, *(theirs.get(f"{m}_{c}") for m, c in printed))
        )
    mean = [scores.of_all(m) for m in metrics]
    rows.append(("Mean", int(scores.truth.sum()), *mean, *(paper.mean[f"{m}_{c}"] for m, c in printed)))
    return Table(f"{what}, {_conditions(evaluation)}", tuple(columns), tuple(rows))


def compare(evaluations: Mapping[str, Evaluation]) -> Table:
    """Runs side by side, one column each: macro means first, then the weakest four classes, then every class.

    The weakest four are those of the first run (the baseline), by AP@50 and by F1, and stay the same for all columns.
    Runs must share a scheme.
    """
    if not evaluations:
        raise BadInput("nothing to compare: no run was given.")
    (first_name, first), *others = evaluations.items()
    for name, other in others:
        if other.taxonomy.names != first.taxonomy.names:
            raise BadInput(f"runs '{first_name}' and '{name}' name different classes. Compare runs of one scheme.")
    runs = [e.classes for e in evaluations.values()]
    rows: list[tuple[Cell, ...]] = [(TITLES[m], "all classes (macro)", *(s.of_all(m) for s in runs)) for m in METRICS]
    for metric in ("ap50", "f1"):
        weakest = first.classes.weakest(metric)
        names = ", ".join(first.taxonomy[i].name for i in weakest)
        means = (s.mean_of(weakest, metric) for s in runs)
        rows.append((TITLES[metric], f"weakest {min(WEAKEST, len(weakest))} of {first_name}: {names}", *means))
    order = paper_results().row_order(first.taxonomy) or range(len(first.taxonomy))
    for metric in ("ap50", "f1"):
        rows += [(TITLES[metric], first.taxonomy[i].name, *(s.of_class(i, metric) for s in runs)) for i in order]
    rows.append(("Score threshold", "", *(e.threshold for e in evaluations.values())))
    return Table("Runs compared", ("Number", "Of", *evaluations), tuple(rows))
