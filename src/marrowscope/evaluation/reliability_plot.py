"""The reliability diagram: the share that is right against the score, and how many detections have which score."""

from matplotlib.figure import Figure

from marrowscope.cells.differential import exact_interval
from marrowscope.evaluation.plots import GREY, OKABE_ITO
from marrowscope.evaluation.reliability import BARS, FLOOR, Reliability


def plot_reliability(measured: Reliability) -> Figure:
    """Bins with the exact 95 % interval of their share above the histogram of scores; the diagonal is perfect."""
    figure = Figure(figsize=(5.6, 6.6), dpi=160, facecolor="white", layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (5, 2)), label="the score is the probability")
    if measured.bins:
        scores, shares = [b.score for b in measured.bins], [b.share for b in measured.bins]
        ends = [exact_interval(b.right, b.count) for b in measured.bins]
        away = [[s - low for s, (low, _) in zip(shares, ends, strict=True)]]
        away.append([high - s for s, (_, high) in zip(shares, ends, strict=True)])
        label = f"{len(measured.bins)} bins of equally many detections (95 % interval)"
        above.errorbar(
            scores, shares, away, color=OKABE_ITO[0], marker="o", markersize=5, linewidth=1.8, elinewidth=1, label=label
        )
    error = "-" if measured.error is None else f"{measured.error:.3f}"
    above.set_title(f"Expected calibration error {error} (score >= {FLOOR})", fontsize=12)
    above.set_ylabel("Share that is right", fontsize=12)
    above.set_ylim(-0.02, 1.02)
    above.legend(loc="upper left", fontsize=9.5, frameon=True, framealpha=0.9, edgecolor="none")
    middles = [(i + 0.5) / BARS for i in range(BARS)]
    width = 0.94 / BARS
    below.bar(middles, measured.right, width=width, color=OKABE_ITO[0], label="right")
    below.bar(
        middles, measured.wrong, width=width, bottom=measured.right, color=OKABE_ITO[1], hatch="//", label="wrong"
    )
    below.set_ylabel("Detections", fontsize=12)
    below.set_xlabel("Score", fontsize=12)
    below.legend(loc="upper center", fontsize=9.5, frameon=False)
    for axes in (above, below):
        axes.set_xlim(0, 1)
        axes.grid(color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
