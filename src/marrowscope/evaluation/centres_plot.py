"""Centres side by side: accuracy, cells found, calibration and mix of classes, each with its 95 % interval."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marrowscope.evaluation.centres import FOUND, SHOWN, CentreScores
from marrowscope.evaluation.plots import GREY, OKABE_ITO
from marrowscope.evaluation.scores import Estimate
from marrowscope.evaluation.tables import TITLES

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot_centres(centres: Sequence[CentreScores]) -> Figure:
    """Numbers above, the mix of classes below; a colour and a mark for each centre."""
    figure = Figure(figsize=(10.5, 7.4), dpi=140, facecolor="white", layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.1)).ravel()
    left, middle, right = above.subplots(1, 3, width_ratios=(4, 2, 1.2))
    nothing = Estimate(None)
    for number, centre in enumerate(centres):
        by_class = [nothing if centre.by_class is None else centre.by_class.classes.of_all(m) for m in SHOWN]
        _dots(left, by_class, number, len(centres), centre.name)
        _dots(middle, [centre.nucleated.classes.of_class(0, m) for m in FOUND], number, len(centres), centre.name)
        _dots(right, [centre.calibration], number, len(centres), centre.name)
    _dress(left, "Cells by class (mean over classes)", [TITLES[m] for m in SHOWN], top=1.02)
    _dress(middle, "Cells, any name", [TITLES[m] for m in FOUND], top=1.02)
    _dress(right, "Calibration error", ["ECE"])
    axes = below.subplots()
    names = [cell.name for cell, _ in centres[0].found.classes]
    for number, centre in enumerate(centres):
        shares = []
        for _, share in centre.found.classes:
            low, high = share.interval
            shares.append(Estimate(share.percent, low, high))
        _dots(
            axes, shares, number, len(centres), f"{centre.name}: {centre.found.total} cells in {centre.fields} fields"
        )
    _dress(axes, "Mix of classes as found, percent", names)
    axes.tick_params(axis="x", rotation=25)
    handles, labels = axes.get_legend_handles_labels()
    below.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=10, frameon=False)
    return figure


def _dots(axes: Axes, values: Sequence[Estimate], number: int, of: int, label: str) -> None:
    """One centre's numbers, a little beside those of the others."""
    colour, marker = OKABE_ITO[number % len(OKABE_ITO)], MARKERS[number % len(MARKERS)]
    aside = 0.6 * ((number + 0.5) / of - 0.5)
    axes.plot([], [], marker, color=colour, label=label)
    for place, value in enumerate(values):
        if value.value is None:
            continue
        if value.low is not None and value.high is not None:
            axes.plot([place + aside] * 2, [value.low, value.high], color=colour, linewidth=1.6)
        axes.plot(place + aside, value.value, marker, color=colour, markersize=6, markeredgecolor="white")


def _dress(axes: Axes, title: str, names: Sequence[str], *, top: float | None = None) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0, top)
    for place in range(len(names) - 1):
        axes.axvline(place + 0.5, color=GREY, linewidth=0.4, alpha=0.4)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
