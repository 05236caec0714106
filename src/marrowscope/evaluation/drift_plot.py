"""A picture of drift: where incoming fields lie beside those of training, a panel for each statistic."""

from math import ceil
from textwrap import fill

from matplotlib.figure import Figure

from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.evaluation.drift import DriftReport
from marrowscope.evaluation.plots import GREY, OKABE_ITO

BINS = 24
COLUMNS = 4


def plot_drift(report: DriftReport, seen: FieldsSeen, incoming: FieldsSeen) -> Figure:
    """Histograms of every statistic with a value a field; what has drifted bears a red title and stands first."""
    ours, theirs = {**seen.looks, **seen.finds}, {**incoming.looks, **incoming.finds}
    rows = [row for row in report.rows if row.name in ours and row.name in theirs]
    columns = min(COLUMNS, max(1, len(rows)))
    lines = max(1, ceil(len(rows) / columns))
    size = (3.1 * max(columns, 2), 2.3 * lines + 0.9)
    figure = Figure(figsize=size, dpi=140, facecolor="white", layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(rows):
            axes.set_axis_off()
            continue
        row = rows[place]
        values = ours[row.name], theirs[row.name]
        low, high = min(map(min, values)), max(map(max, values))
        limits = (low, high if high > low else low + 1)
        for number, (side, label) in enumerate(zip(values, ("training", "these fields"), strict=True)):
            style = {"alpha": 0.45} if number == 0 else {"linewidth": 1.8}
            axes.hist(
                side,
                bins=BINS,
                range=limits,
                weights=[1 / len(side)] * len(side),  # as shares: the two sides are of unequal size
                histtype="stepfilled" if number == 0 else "step",
                color=OKABE_ITO[number],
                label=label,
                **style,
            )
        axes.axvspan(row.usual[0], row.usual[2], color=GREY, alpha=0.1, linewidth=0)
        said = f"{row.name}: {row.away:+.1f}" + (", drifted" if row.drifted else "")
        axes.set_title(said, fontsize=10, color="#B00020" if row.drifted else "#222222")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(fill(report.verdict(), 90), fontsize=11)
    if rows:
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    return figure
