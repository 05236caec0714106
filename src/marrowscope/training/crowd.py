"""Cells laid against one another, so that a detector trained on well-spread fields also parts cells that touch.

Where fields are composed or picked for cells lying apart, no training cell has a nucleated neighbour at its side, and
in a crowded field the detector then draws one box around two. Cells of another field are pasted beside those of this
one, as "copy-paste" does (Ghiasi et al., CVPR 2021, arXiv:2012.07177), but edge to edge and round, as cells lie on
glass.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, iou_matrix

Image = NDArray[np.uint8]
NEARNESS = (0.8, 1.1)
"""Distance of two centres over the sum of their radii: below 1 the cells overlap a little."""
MOST_OVERLAP = 0.2
"""IoU with any other cell above which a place is not taken."""
MARGIN = 1.08
"""Side of what is pasted over the side of the cell's box: a rim of the donor's glass hides the seam."""


def crowd(
    image: Image,
    boxes: Boxes,
    donor: Image,
    donor_boxes: Boxes,
    *,
    most: int,
    rng: np.random.Generator,
) -> tuple[Image, Boxes, NDArray[np.int64]]:
    """Paste up to `most` cells of `donor` against cells of `image`; both uint8 RGB at one magnification.

    boxes: (n, 4), donor_boxes: (m, 4), in their pixels. Returns the picture (a copy), all boxes with the pasted ones
    last, and for each pasted one its index in `donor_boxes`. A place outside the field or on another cell is left free.
    """
    height, width = image.shape[:2]
    crowded, everything = image.copy(), boxes.astype(np.float32)
    taken: list[int] = []
    if not len(boxes) or not len(donor_boxes):
        return crowded, everything, np.zeros(0, np.int64)
    for _ in range(int(rng.integers(1, most + 1))):
        host = everything[rng.integers(len(boxes))]
        chosen = int(rng.integers(len(donor_boxes)))
        angle, nearness = rng.uniform(0, 2 * math.pi), rng.uniform(*NEARNESS)
        size = donor_boxes[chosen, 2:] - donor_boxes[chosen, :2]
        reach = nearness * (math.sqrt((host[2:] - host[:2]).prod()) + math.sqrt(size.prod())) / 2
        centre = (host[:2] + host[2:]) / 2 + reach * np.array([math.cos(angle), math.sin(angle)])
        # Whole pixels: a pasted cell is not blurred by moving it.
        shift = np.round(centre - (donor_boxes[chosen, :2] + donor_boxes[chosen, 2:]) / 2)
        box = (donor_boxes[chosen] + np.tile(shift, 2)).astype(np.float32)
        outside = box.min() < 0 or box[2] > width or box[3] > height
        if outside or iou_matrix(box[None], everything).max() > MOST_OVERLAP:
            continue
        _paste(crowded, donor, donor_boxes[chosen], shift.astype(np.int64))
        everything = np.concatenate([everything, box[None]])
        taken.append(chosen)
    return crowded, everything, np.asarray(taken, np.int64)


def _paste(image: Image, donor: Image, box: Boxes, shift: NDArray[np.int64]) -> None:
    """Blend the ellipse inscribed in the donor's box into `image`, moved by `shift`, with a soft rim."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * MARGIN
    low = np.maximum(np.floor(centre - half).astype(np.int64), np.maximum(0, -shift))
    limits = [np.array(p.shape[1::-1]) for p in (donor, image)]
    high = np.minimum(np.ceil(centre + half).astype(np.int64), np.minimum(limits[0], limits[1] - shift))
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    away = np.hypot((x - centre[0]) / half[0], (y - centre[1]) / half[1])
    alpha = np.clip((1 - away) / 0.12, 0, 1).astype(np.float32)[..., None]
    source = donor[low[1] : high[1], low[0] : high[0]]
    place = image[low[1] + shift[1] : high[1] + shift[1], low[0] + shift[0] : high[0] + shift[0]]
    place[:] = cv2.convertScaleAbs(alpha * source + (1 - alpha) * place)
