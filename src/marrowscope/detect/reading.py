"""The second look: every cell that was found is cut out, read at a finer resolution, and named anew.

The detector says where a cell is and how sure it is that it is one; the reader, which sees only cells, says which. Both
have an opinion on the name, and the two are multiplied as a product of experts (Hinton 2002).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, iou_matrix
from marrowscope.detect.detector import SAME_CELL
from marrowscope.detect.runtime import Found

WORTH_READING = 0.15
"""Raw score of the detector below which a find is dropped rather than read."""
READER_SHARE = 0.7
"""Weight of the reader's opinion on the name, 0..1; what is left is the detector's."""
WORTH_SAYING = 0.01
"""Share of a cell's probability below which a name is not said at all."""
SAME_BOX = 0.7
"""IoU from which finds on one cell have a say in its box."""
DOUBT = 0.8
"""A cell whose likeliest name is less likely than this at first sight is read in its other views too."""
AT_ONCE = 64
"""Crops that are read together: a crowded field must not fill the memory."""
_UNNAMED = 0.01
"""Score of the detector for a name that it did not give: unlikely, yet not impossible."""


def cut_cells(pixels: NDArray[np.uint8], boxes: Boxes, *, side_px: int, context: float) -> NDArray[np.uint8]:
    """Square crops (n, side_px, side_px, 3) about boxes (n, 4) in pixels of the picture.

    context: side of the square over the longer side of the box. What lies outside the picture is grey: a colour that no
    smear has, so that a cell cut by the edge is known to be cut.
    """
    crops = np.full((len(boxes), side_px, side_px, 3), 128, np.uint8)
    height, width = pixels.shape[:2]
    for crop, (x1, y1, x2, y2) in zip(crops, boxes.tolist(), strict=True):
        side = max(x2 - x1, y2 - y1, 1.0) * context
        left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
        low = max(0, round(left)), max(0, round(top))
        high = min(width, round(left + side)), min(height, round(top + side))
        # Where that piece lies in the crop.
        scale = side_px / side
        to_low = [int(np.clip(round((a - b) * scale), 0, side_px)) for a, b in zip(low, (left, top), strict=True)]
        to_high = [int(np.clip(round((a - b) * scale), 0, side_px)) for a, b in zip(high, (left, top), strict=True)]
        size = to_high[0] - to_low[0], to_high[1] - to_low[1]
        if min(size) > 0 and high[0] > low[0] and high[1] > low[1]:
            piece = pixels[low[1] : high[1], low[0] : high[0]]
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            crop[to_low[1] : to_high[1], to_low[0] : to_high[0]] = cv2.resize(piece, size, interpolation=way)
    return crops


def mirrored(crops: NDArray[np.uint8], views: int) -> list[NDArray[np.uint8]]:
    """Square crops (n, S, S, 3) in up to four of the views that a cell may have: it knows neither up nor left."""
    return [crops, crops[:, ::-1], crops[:, :, ::-1], crops.transpose(0, 2, 1, 3)][:views]


def cells_of(found: Found, *, at_least: float = WORTH_READING) -> tuple[Boxes, NDArray[np.float32], NDArray[np.int64]]:
    """The finds taken together: boxes (n, 4) and scores (n,) of cells, and for every find its cell, -1 for none.

    A cell has the score of its best find, and a box on which all finds close to that one vote, weighted by score
    (Gidaris and Komodakis, ICCV 2015): they come from proposals of their own, and their errors are too.
    """
    cell_of = np.full(len(found.scores), -1, np.int64)
    best: list[int] = []
    overlaps = iou_matrix(found.boxes, found.boxes) >= SAME_CELL
    for index in np.flatnonzero(found.scores >= at_least).tolist():  # best first
        on = np.flatnonzero(overlaps[index, best])
        if len(on):
            cell_of[index] = on[0]
        else:
            cell_of[index] = len(best)
            best.append(index)
    votes = np.where(iou_matrix(found.boxes[best], found.boxes) >= SAME_BOX, found.scores, 0)
    boxes = votes @ found.boxes / votes.sum(axis=1, keepdims=True)
    return boxes.astype(np.float32), found.scores[best], cell_of


def detector_opinion(found: Found, cell_of: NDArray[np.int64], cells: int, classes: int) -> NDArray[np.float64]:
    """What the detector thinks of the names of each cell, (cells, classes), rows summing to 1."""
    opinion = np.full((cells, classes), _UNNAMED)
    named = cell_of >= 0
    np.maximum.at(opinion, (cell_of[named], found.labels[named]), found.scores[named])
    return np.asarray(opinion / opinion.sum(axis=1, keepdims=True))


def name_again(
    boxes: Boxes,
    scores: NDArray[np.float32],
    opinion: NDArray[np.float64],
    reading: NDArray[np.float32],
    *,
    reader_share: float = READER_SHARE,
) -> Found:
    """Finds under every name worth saying, best first.

    boxes: (n, 4). scores: (n,), that each is a cell; or by name, (n, K or more). opinion: (n, K) probabilities of names
    by the detector. reading: (n, K or more) those by the reader, which alone judges of the classes that it knows beyond
    K. A find's score is that of the cell times the probability of the name.
    """
    read, added = np.split(reading.astype(np.float64), [opinion.shape[1]], axis=1)
    mixed = read**reader_share * opinion ** (1 - reader_share)
    mixed *= (1 - added.sum(axis=1, keepdims=True)) / mixed.sum(axis=1, keepdims=True).clip(min=1e-12)
    mixed = np.concatenate([mixed, added], axis=1)
    row, label = np.nonzero(mixed >= WORTH_SAYING)
    by_name = np.broadcast_to(scores if scores.ndim == 2 else scores[:, None], mixed.shape)
    said = (by_name[row, label] * mixed[row, label]).astype(np.float32)
    order = np.argsort(-said, kind="stable")
    return Found(boxes[row[order]], label[order].astype(np.int64), said[order])
