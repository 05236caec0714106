"""The folder an evaluation leaves behind, and reading it back; every file is written aside and renamed.

metrics.json                  all numbers (`Evaluation.to_dict`)
curves.json                   precision of every class at the 101 recalls
table2, table3, summary, lineages   .md .csv .json
figure2, curves_by_class      .png .svg
confusion                     .png .svg .csv (counts)
reliability                   .png .svg (the picture), .md .csv .json (calibration error by class)
report.md                     all tables and pictures on one page
"""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from marrowscope.cells.files import write_atomically
from marrowscope.errors import BadInput
from marrowscope.evaluation.average_precision import recall_points
from marrowscope.evaluation.plots import plot_class_curves, plot_confusion, plot_curves, save_figure
from marrowscope.evaluation.reliability_plot import plot_reliability
from marrowscope.evaluation.scores import Evaluation
from marrowscope.evaluation.tables import (
    Table,
    compare,
    lineage_table,
    reliability_table,
    summary_table,
    table2,
    table3,
)


def write_report(folder: Path, evaluation: Evaluation, *, run: str = "this model") -> None:
    """Write everything about one run; `run` names it in tables and legends."""
    folder = Path(folder)
    tables = {
        "table2": table2(evaluation, run=run),
        "table3": table3(evaluation, run=run),
        "lineages": lineage_table(evaluation),
        "summary": summary_table(evaluation),
    }
    if evaluation.reliability is not None:
        tables["reliability"] = reliability_table(evaluation, evaluation.reliability)
    pictures = {
        "figure2": plot_curves({run: evaluation}),
        "curves_by_class": plot_class_curves({run: evaluation}),
        "confusion": plot_confusion(evaluation),
    }
    if evaluation.reliability is not None:
        pictures["reliability"] = plot_reliability(evaluation.reliability)
    write_tables_and_pictures(folder, tables, pictures)
    write_atomically(folder / "confusion.csv", confusion_csv(evaluation))
    write_atomically(folder / "curves.json", _json(_curves(evaluation)))
    write_atomically(folder / "report.md", _page(f"Evaluation of {run}", evaluation, tables, pictures))
    # Last: who finds metrics.json finds the rest.
    write_atomically(folder / "metrics.json", _json(evaluation.to_dict()))


def write_comparison(folder: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """Write runs side by side: comparison.{md,csv,json}, figure2 and curves_by_class with a line for each run."""
    pictures = {"figure2": plot_curves(evaluations), "curves_by_class": plot_class_curves(evaluations)}
    write_tables_and_pictures(Path(folder), {"comparison": compare(evaluations)}, pictures)


def read_report(folder: Path) -> Evaluation:
    """The evaluation that `write_report` wrote to this folder. BadInput where a file is missing or foreign."""
    folder = Path(folder)
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        curves = json.loads((folder / "curves.json").read_text(encoding="utf-8"))
        precision = np.asarray(list(curves["classes"].values()), np.float64)
        return Evaluation.from_dict(metrics, precision)
    except FileNotFoundError as e:
        raise BadInput(f"{e.filename}: no such file. Evaluate into {folder} first.") from None
    except (BadInput, OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise BadInput(f"{folder}: metrics.json and curves.json are not usable ({e}). Evaluate again.") from None


def confusion_csv(evaluation: Evaluation) -> str:
    """Counts: a row for each true class and for background, a column for each detected class and for missed."""
    names = evaluation.taxonomy.names
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["true / detected", *names, "missed"])
    for name, row in zip((*names, "background"), evaluation.confusion.tolist(), strict=True):
        writer.writerow([name, *row])
    return out.getvalue()


def _curves(evaluation: Evaluation) -> dict[str, object]:
    def plain(curve: np.ndarray) -> list[float | None]:
        return [None if np.isnan(p) else float(p) for p in curve]

    names = evaluation.taxonomy.names
    return {
        "recall": recall_points().tolist(),
        "mean": plain(evaluation.mean_curve),
        "classes": {name: plain(curve) for name, curve in zip(names, evaluation.curves, strict=True)},
    }


def _page(title: str, evaluation: Evaluation, tables: Mapping[str, Table], pictures: Mapping[str, Figure]) -> str:
    scores = evaluation.classes
    weakest = ", ".join(evaluation.taxonomy[i].name for i in scores.weakest("f1"))
    intervals = (
        f"Intervals: 95 %, {evaluation.draws} bootstrap draws over fields (seed {evaluation.seed})."
        if evaluation.draws
        else "No intervals were asked for."
    )
    lines = [
        f"# {title}",
        f"{evaluation.field_count} fields, {int(scores.truth.sum())} cells, {len(evaluation.taxonomy)} classes. "
        f"Macro F1 {scores.of_all('f1')}, AP@50 {scores.of_all('ap50')}, mAP {scores.of_all('map')}. "
        f"Weakest by F1: {weakest}. {_trust(evaluation)}{intervals}",
        "AP@50 is COCO's (101 recalls, all detections); truncated AP@50 reads the same curve cut at the score "
        "threshold, as the paper's AP does. A mean is over the classes with truth.",
        *(table.to_markdown() for table in tables.values()),
        *(f"![{name}]({name}.png)" for name in pictures),
    ]
    return "\n\n".join(lines) + "\n"


def _trust(evaluation: Evaluation) -> str:
    measured = evaluation.reliability
    if measured is None or measured.error is None:
        return ""
    return f"Expected calibration error {measured.error:.3f}. "


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_tables_and_pictures(folder: Path, tables: Mapping[str, Table], pictures: Mapping[str, Figure]) -> None:
    """Each table as .md, .csv and .json, each picture as .png and .svg."""
    for name, table in tables.items():
        write_atomically(folder / f"{name}.md", table.to_markdown())
        write_atomically(folder / f"{name}.csv", table.to_csv())
        write_atomically(folder / f"{name}.json", table.to_json())
    for name, figure in pictures.items():
        # The layout is the same for both formats: find it once.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        save_figure(folder / f"{name}.png", figure)
        save_figure(folder / f"{name}.svg", figure)
