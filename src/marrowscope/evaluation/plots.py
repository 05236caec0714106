"""Pictures: the averaged precision-recall curve (paper Figure 2), one for every class, and the confusion matrix.

Figures are made with matplotlib's objects alone: no window, no global state, nothing to close. Colours are those of
Okabe and Ito (Color Universal Design, 2008), told apart with any colour vision; lines differ in dash as well.
"""

from collections.abc import Mapping
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marrowscope.cells.files import replacing
from marrowscope.errors import BadInput
from marrowscope.evaluation.average_precision import recall_points
from marrowscope.evaluation.matching import Floats
from marrowscope.evaluation.paper import paper_results
from marrowscope.evaluation.scores import Evaluation

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
GREY = "#555555"


def plot_curves(evaluations: Mapping[str, Evaluation]) -> Figure:
    """Precision against recall, averaged over classes, a line for each run (paper Figure 2).

    The area under a line is the run's macro AP@50; its dot is macro recall and precision at the run's threshold.
    """
    _at_least_one(evaluations)
    figure = Figure(figsize=(6.4, 5.2), dpi=160, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for number, (run, evaluation) in enumerate(evaluations.items()):
        scores = evaluation.classes
        label = f"{run} (AP@50 {_three(scores.of_all('ap50').value)})"
        _draw(axes, evaluation.mean_curve, number, label=label, width=2.2)
        recall, precision = (scores.of_all(m).value for m in ("recall", "precision"))
        if recall is not None and precision is not None:
            axes.plot(recall, precision, "o", color=_colour(number), markersize=8, markeredgecolor="white", zorder=5)
    _unit_square(axes)
    axes.set_xlabel("Recall", fontsize=12)
    axes.set_ylabel("Precision", fontsize=12)
    axes.set_title("Precision and recall, mean over classes (IoU .5)", fontsize=13)
    axes.plot([], [], "o", color=GREY, markersize=7, label="recall and precision at the score threshold")
    axes.legend(loc="lower left", fontsize=10.5, frameon=True, framealpha=0.9, edgecolor="none")
    return figure


def plot_class_curves(evaluations: Mapping[str, Evaluation]) -> Figure:
    """The same for every class with truth, in small multiples; in the paper's row order where that applies."""
    first = _at_least_one(evaluations)
    order = paper_results().row_order(first.taxonomy) or tuple(range(len(first.taxonomy)))
    labels = [i for i in order if first.classes.truth[i]] or list(order)
    columns = min(5, len(labels))
    rows = ceil(len(labels) / columns)
    size = (2.7 * max(columns, 3), 2.55 * rows + 0.6)
    figure = Figure(figsize=size, dpi=130, facecolor="white", layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(labels):
            axes.set_axis_off()
            continue
        label = labels[place]
        for number, (run, evaluation) in enumerate(evaluations.items()):
            _draw(axes, evaluation.curves[label], number, label=run, width=1.8)
        _unit_square(axes)
        axes.set_title(_in_lines(first.taxonomy[label].name, 24), fontsize=9.5)
        found = " / ".join(_three(e.classes.of_class(label, "ap50").value) for e in evaluations.values())
        note = f"AP@50 {found}\n{int(first.classes.truth[label])} cells"
        box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
        axes.text(0.04, 0.06, note, transform=axes.transAxes, fontsize=8.5, color=GREY, bbox=box, zorder=6)
    figure.supxlabel("Recall", fontsize=12)
    figure.supylabel("Precision", fontsize=12)
    if len(evaluations) > 1:
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names), fontsize=11, frameon=False)
    return figure


def plot_confusion(evaluation: Evaluation) -> Figure:
    """Where each true class went, in percent of its row; a cell is matched by place alone, above the threshold."""
    counts = evaluation.confusion.astype(np.float64)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    taxonomy = evaluation.taxonomy
    order = [*(paper_results().row_order(taxonomy) or range(len(taxonomy))), len(taxonomy)]
    share, counts = share[np.ix_(order, order)], counts[np.ix_(order, order)]
    names = [*(taxonomy[i].name for i in order[:-1])]
    side = max(5.5, 0.46 * len(order) + 3.4)
    figure = Figure(figsize=(side + 0.6, 0.94 * side), dpi=140, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="equal")
    for row, column in np.argwhere(share >= 0.5):
        value = share[row, column]
        colour = "white" if value > 55 else "#222222"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8.5, color=colour)
    totals = counts.sum(axis=1).astype(int)
    row_names = [f"{name} ({n})" for name, n in zip([*names, "background"], totals, strict=True)]
    axes.set_xticks(range(len(order)), [*names, "missed"], rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(len(order)), row_names, fontsize=9)
    # The margins are no classes: a line sets them apart.
    for line in (axes.axhline, axes.axvline):
        line(len(order) - 1.5, color=GREY, linewidth=0.8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Detected", fontsize=12)
    axes.set_ylabel("True (count)", fontsize=12)
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("percent of the row", fontsize=10)
    bar.outline.set_visible(False)
    return figure


def save_figure(path: Path, figure: Figure) -> None:
    """Write `.png` or `.svg` aside and rename; the same figure gives the same bytes."""
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise BadInput(f"{path}: a figure is written as .png or .svg.")
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    # Without a salt of our own the names inside an SVG are random.
    with rc_context({"svg.hashsalt": "marrowscope"}), replacing(path) as aside:
        figure.savefig(aside, format=path.suffix[1:], metadata=metadata, facecolor="white")


def _at_least_one(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    if not evaluations:
        raise BadInput("nothing to draw: no run was given.")
    first, *others = evaluations.values()
    for other in others:
        if other.taxonomy.names != first.taxonomy.names:
            raise BadInput("the runs name different classes. Draw runs of one scheme together.")
    return first


def _draw(axes: Axes, precision: Floats, number: int, *, label: str, width: float) -> None:
    dash = DASHES[number % len(DASHES)]
    axes.plot(recall_points(), precision, color=_colour(number), linestyle=dash, linewidth=width, label=label)


def _colour(number: int) -> str:
    return OKABE_ITO[number % len(OKABE_ITO)]


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _in_lines(name: str, width: int) -> str:
    """Break a long name at the space nearest its middle."""
    spaces = [i for i, letter in enumerate(name) if letter == " "]
    if len(name) <= width or not spaces:
        return name
    middle = min(spaces, key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}\n{name[middle + 1 :]}"
