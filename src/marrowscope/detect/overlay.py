"""Detections drawn on a field: boxes in the colour of the lineage, each with its name and score on a plate.

Sizes follow the picture, so that a field of 4000 x 3000 pixels reads as well as one of 640 x 480. A plate stands where
it covers least of the other cells, and always inside the picture. Only the plates are drawn as text, on patches: a
12-megapixel field takes tens of milliseconds.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from marrowscope.cells.boxes import Boxes, area, as_boxes, iou_matrix
from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Lineage
from marrowscope.detect.palette import LINEAGE_COLOURS, Colour, ink_on, luminance

Picture = NDArray[np.uint8]
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (64, 64, 64)


@dataclass(frozen=True)
class Sizes:
    """Line width and text height in pixels of the picture."""

    line: int
    text: int

    @classmethod
    def of(cls, picture: Picture) -> "Sizes":
        """Sizes for reading the whole picture on one screen."""
        short = min(picture.shape[:2])
        return cls(line=max(1, round(short / 400)), text=max(11, round(short / 68)))


def draw_overlay(image: Picture, detections: Detections, *, scores: bool = True, legend: bool = True) -> Picture:
    """A copy of `image` (h, w, 3) uint8 RGB with every detection on it; boxes in pixels of that image.

    scores: write the score behind the name. legend: name the lineages that occur, with their counts, in a corner.
    """
    canvas = _Canvas(image)
    lineages = [detections.taxonomy[int(x)].lineage for x in detections.labels]
    # The best score is drawn last and so lies on top.
    order = range(len(detections) - 1, -1, -1)
    for i in order:
        canvas.outline(detections.boxes[i], LINEAGE_COLOURS[lineages[i]])
    canvas.keep_clear(detections.boxes)
    for i in reversed(order):
        name = detections.taxonomy[int(detections.labels[i])].name
        text = f"{name} {detections.scores[i]:.2f}" if scores else name
        canvas.label(text, detections.boxes[i], LINEAGE_COLOURS[lineages[i]])
    if legend and lineages:
        counts = Counter(lineages)
        canvas.legend([(f"{x.value} {counts[x]}", LINEAGE_COLOURS[x]) for x in Lineage if counts[x]])
    return canvas.pixels


def draw_comparison(image: Picture, truth: GroundTruth, detections: Detections, *, iou: float = 0.5) -> Picture:
    """A copy of `image` for looking at errors: truth dashed in white, detections in the colour of their lineage.

    Only what is wrong is named: a missed cell, a detection that is no cell, and both names where they differ. A pair
    is a detection with the free true cell that it overlaps most, at least `iou`; the best score chooses first.
    """
    canvas = _Canvas(image)
    partner = _pair(detections, truth, iou)
    cells = [detections.taxonomy[int(x)] for x in detections.labels]
    true_names = [truth.taxonomy[int(x)].name for x in truth.labels]
    missed = sorted(set(range(len(truth))) - set(partner.tolist()))
    spurious = np.flatnonzero(partner < 0).tolist()
    wrong = [i for i, p in enumerate(partner) if p >= 0 and true_names[p] != cells[i].name]
    for cell, box in zip(cells, detections.boxes, strict=True):
        canvas.outline(box, LINEAGE_COLOURS[cell.lineage])
    for box in truth.boxes:
        canvas.dashed(box)
    canvas.keep_clear(np.concatenate((truth.boxes, detections.boxes)))
    for i in sorted(spurious + wrong):
        verdict = "no such cell" if partner[i] < 0 else f"is {true_names[partner[i]]}"
        text = f"{cells[i].name} {detections.scores[i]:.2f}\n{verdict}"
        canvas.label(text, detections.boxes[i], LINEAGE_COLOURS[cells[i].lineage])
    for i in missed:
        canvas.label(f"missed {true_names[i]}", truth.boxes[i], WHITE)
    right = len(detections) - len(wrong) - len(spurious)
    tally = f"right {right}, other name {len(wrong)}, no such cell {len(spurious)}, missed {len(missed)}"
    canvas.legend([(tally, GREY)])
    return canvas.pixels


def _pair(detections: Detections, truth: GroundTruth, iou: float) -> NDArray[np.int64]:
    """Index of each detection's true cell, -1 for none."""
    overlap = iou_matrix(detections.boxes, truth.boxes)
    partner = np.full(len(detections), -1, np.int64)
    for i in np.argsort(-detections.scores, kind="stable"):
        if len(truth) and overlap[i].max() >= iou:
            partner[i] = overlap[i].argmax()
            overlap[:, partner[i]] = -1
    return partner


@dataclass
class _Canvas:
    """A picture being drawn on, and what on it should stay visible."""

    image: Picture
    pixels: Picture = field(init=False)
    sizes: Sizes = field(init=False)
    cells: Boxes = field(init=False)
    plates: Boxes = field(init=False)

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"image must be (h, w, 3) uint8 RGB, got {self.image.shape} {self.image.dtype}")
        self.pixels = np.array(self.image, order="C")
        self.sizes = Sizes.of(self.pixels)
        self.cells = as_boxes([])
        self.plates = as_boxes([])

    def keep_clear(self, boxes: Boxes) -> None:
        """Plates avoid these boxes where they can."""
        self.cells = np.concatenate((self.cells, boxes))

    def _clearest(self, spots: list[tuple[int, int]], width: int, height: int) -> tuple[int, int]:
        """The corner (x, y) at which a plate of this size, moved into the picture, hides least; the first of equals.

        What counts is the hidden share of each cell, since a small one is soon gone; and before all that writing is
        not written over.
        """
        high, wide = self.pixels.shape[:2]
        corners = np.clip(spots, 0, (max(0, wide - width), max(0, high - height))).astype(np.float32)
        places = np.concatenate((corners, corners + np.asarray([width, height], np.float32)), axis=1)
        cost = _hidden(places, self.cells) + 4 * _hidden(places, self.plates)
        x, y = corners[int(cost.argmin())]
        return int(x), int(y)

    def _corners(self, box: NDArray[np.float32]) -> tuple[tuple[int, int], tuple[int, int]]:
        # OpenCV names pixels, boxes name edges: the last pixel is the one before the right edge.
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        return (x1, y1), (max(x1, x2 - 1), max(y1, y2 - 1))

    def outline(self, box: NDArray[np.float32], colour: Colour) -> None:
        """A box with a thin casing of the opposite lightness, to be seen on dark nuclei and pale ground alike."""
        first, last = self._corners(box)
        casing = BLACK if luminance(colour) > 0.35 else WHITE
        cv2.rectangle(self.pixels, first, last, casing, self.sizes.line + 2 * max(1, self.sizes.line // 2))
        cv2.rectangle(self.pixels, first, last, colour, self.sizes.line)

    def dashed(self, box: NDArray[np.float32]) -> None:
        """A white dashed box on a dark casing."""
        (x1, y1), (x2, y2) = self._corners(box)
        reach = self.sizes.line // 2
        for grown, colour in ((reach + 1, BLACK), (reach, WHITE)):
            for (left, top), (right, bottom) in _dashes((x1, y1), (x2, y2), 5 * self.sizes.line + 4):
                corner = (max(0, left - grown), max(0, top - grown))
                # Filled rectangles, because thick OpenCV lines have round ends.
                cv2.rectangle(self.pixels, corner, (right + grown, bottom + grown), colour, cv2.FILLED)

    def label(self, text: str, box: NDArray[np.float32], colour: Colour) -> None:
        """Write `text` on a plate beside `box`, in as many lines as the width of the box asks for."""
        width = max(float(box[2] - box[0]), 6 * self.sizes.text)
        lines = [line for part in text.split("\n") for line in _wrap(part, self.sizes.text, width)]
        plate = _plate(lines, self.sizes.text, colour)
        self._paste(plate, self._place(plate, box))

    def _place(self, plate: Picture, box: NDArray[np.float32]) -> tuple[int, int]:
        """Top left corner (x, y) for the plate: above, below, beside, and last inside the box."""
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        height, width = plate.shape[:2]
        gap = self.sizes.line
        spots = [
            *((x, y1 - height - gap) for x in (x1 - gap, x2 - width + gap)),
            *((x, y2 + gap) for x in (x1 - gap, x2 - width + gap)),
            *((x2 + gap, y) for y in (y1, y2 - height)),
            *((x1 - width - gap, y) for y in (y1, y2 - height)),
            *((x1, y) for y in (y1, y2 - height)),
        ]
        return self._clearest(spots, width, height)

    def legend(self, entries: list[tuple[str, Colour]]) -> None:
        """Swatches with their meaning, in the corner that hides least."""
        text = round(self.sizes.text * 1.15)
        rows = [_plate([words], text, colour) for words, colour in entries]
        width = max(r.shape[1] for r in rows)
        panel = np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), mode="edge") for r in rows])
        high, wide = self.pixels.shape[:2]
        edge = self.sizes.text // 2
        ends = [(x, y) for y in (high - panel.shape[0] - edge, edge) for x in (edge, wide - panel.shape[1] - edge)]
        self._paste(panel, self._clearest(ends, panel.shape[1], panel.shape[0]))

    def _paste(self, plate: Picture, corner: tuple[int, int]) -> None:
        x, y = corner
        there = self.pixels[y : y + plate.shape[0], x : x + plate.shape[1]]
        there[:] = plate[: there.shape[0], : there.shape[1]]
        self.plates = np.concatenate((self.plates, as_boxes([[x, y, x + plate.shape[1], y + plate.shape[0]]])))


def _hidden(places: Boxes, things: Boxes) -> NDArray[np.float32]:
    """How many of `things` each place would cover, parts of them as shares."""
    sides = np.minimum(places[:, None, 2:], things[None, :, 2:]) - np.maximum(places[:, None, :2], things[None, :, :2])
    covered = np.prod(np.maximum(sides, 0), axis=2) / np.maximum(area(things), 1)
    return np.asarray(covered.sum(axis=1), np.float32)


def _dashes(
    first: tuple[int, int], last: tuple[int, int], dash: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Ends of the dashes along the four sides of a box; gaps are as long as dashes."""
    (x1, y1), (x2, y2) = first, last
    for x in range(x1, x2, 2 * dash):
        end = min(x + dash, x2)
        yield from (((x, y), (end, y)) for y in (y1, y2))
    for y in range(y1, y2, 2 * dash):
        end = min(y + dash, y2)
        yield from (((x, y), (x, end)) for x in (x1, x2))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib brings DejaVu Sans with it: the same letters on every machine, without asking the system for fonts.
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _wrap(text: str, size: int, width: float) -> list[str]:
    """Break `text` between words so that lines keep to `width` pixels where a single word does."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


def _plate(lines: list[str], size: int, colour: Colour) -> Picture:
    """A filled patch with the lines of text on it."""
    font = _font(size)
    edge = max(2, size // 5)
    ascent, descent = font.getmetrics()
    step = ascent + descent
    width = max(round(font.getlength(line)) for line in lines) + 2 * edge
    patch = Image.new("RGB", (width, step * len(lines) + edge), colour)
    draw = ImageDraw.Draw(patch)
    for n, line in enumerate(lines):
        draw.text((edge, edge // 2 + n * step), line, font=font, fill=ink_on(colour))
    return np.asarray(patch)
