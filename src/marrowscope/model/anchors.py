"""Anchor sizes fitted to the training boxes.

Marrow cells fill a narrow range of sizes and are nearly square, so one square anchor a level is enough; the RPN and
the ranking loss, in which every anchor takes part, get cheaper with each anchor left out.
"""

import numpy as np

from marrowscope.cells.boxes import Boxes, area
from marrowscope.errors import BadInput


def fit_anchor_sizes(boxes: Boxes, levels: int) -> tuple[tuple[float, ...], ...]:
    """One side in pixels a level, rising: 1-D k-means over the log of the boxes' geometric mean side.

    boxes: (n, 4) in pixels of the network's input. BadInput where there is none.
    """
    sides = np.sqrt(area(boxes).astype(np.float64))
    logs = np.sort(np.log(sides[sides > 0]))
    if not len(logs):
        raise BadInput("No training box to fit anchors to. Label some cells, or give anchor_sizes in the recipe.")
    centres = np.quantile(logs, (np.arange(levels) + 0.5) / levels)
    for _ in range(100):
        nearest = np.abs(logs[:, None] - centres[None]).argmin(axis=1)
        moved = np.array([logs[nearest == k].mean() if (nearest == k).any() else centres[k] for k in range(levels)])
        if np.allclose(moved, centres, atol=1e-6):
            break
        centres = moved
    return tuple((round(float(np.exp(c)), 1),) for c in np.sort(centres))
