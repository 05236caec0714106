"""The one statement of the box convention, and the few things every floor does with boxes.

A box is (x1, y1, x2, y2) in pixels of the field, measured at pixel *edges*: x1 = 0 is the left edge of the first
pixel, x2 = width the right edge of the last, so width = x2 - x1 and 0 <= x1 < x2 <= field width. Arrays of boxes are
(n, 4) float32. Only `data.voc` knows that Pascal VOC counts pixels from one and includes both ends.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float32]


def as_boxes(values: ArrayLike) -> Boxes:
    """Make an (n, 4) float32 array; an empty input of any shape becomes (0, 4). ValueError for another shape."""
    boxes = np.asarray(values, dtype=np.float32)
    if boxes.size == 0:
        return np.zeros((0, 4), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be (n, 4), got {boxes.shape}")
    return boxes


def area(boxes: Boxes) -> NDArray[np.float32]:
    """Area in square pixels, (n,); 0 for a box whose edges are crossed."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1], dtype=np.float32)


def centres(boxes: Boxes) -> NDArray[np.float32]:
    """Centres (n, 2) as x, y."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, dtype=np.float32)


def iou_matrix(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of every pair, (len(a), len(b)); 0 where the union is empty."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    top_left = np.maximum(a64[:, None, :2], b64[None, :, :2])
    bottom_right = np.minimum(a64[:, None, 2:], b64[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    inter = sides[..., 0] * sides[..., 1]
    area_a = np.prod(np.maximum(a64[:, 2:] - a64[:, :2], 0), axis=1)
    area_b = np.prod(np.maximum(b64[:, 2:] - b64[:, :2], 0), axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    iou: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def clip(boxes: Boxes, width: float, height: float) -> Boxes:
    """Cut boxes at the edges of a field of `width` x `height` pixels."""
    return np.clip(boxes, 0, np.asarray([width, height, width, height], np.float32)).astype(np.float32)


def shift(boxes: Boxes, dx: float, dy: float) -> Boxes:
    """Move boxes by (dx, dy) pixels."""
    return boxes + np.asarray([dx, dy, dx, dy], np.float32)


def scale(boxes: Boxes, sx: float, sy: float) -> Boxes:
    """Multiply x by `sx` and y by `sy`, as when a field is resized."""
    return boxes * np.asarray([sx, sy, sx, sy], np.float32)
