"""A `Detector` made of a runtime: fit the field, find its cells, read them again, say how sure it is.

What is here is done the same whatever computes, so a faster runtime cannot differ in anything but time and rounding.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import area, scale
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import settle
from marrowscope.detect.prepare import Fit, fit, fit_at, resize_to
from marrowscope.detect.reading import (
    AT_ONCE,
    DOUBT,
    cells_of,
    cut_cells,
    detector_opinion,
    mirrored,
    name_again,
)
from marrowscope.detect.runtime import Found, Runtime
from marrowscope.model.config import InputScale, ReaderRecipe
from marrowscope.model.traits import Traits

SURE = 0.5
"""Raw score from which a find may say how large cells are."""
OFF_SCALE = 1.7
"""Times that cells must look too large or small before the field is fitted anew: more than classes differ in size."""
LARGEST = 2.0
"""Side of a picture fitted anew over that of the first one, at most."""


class FieldDetector:
    """Detects one field at a time, so that a field's answer never depends on its neighbours."""

    def __init__(self, runtime: Runtime, traits: Traits, *, at_scale: float | None = None) -> None:
        """at_scale: see `at`; None fits every field on its own."""
        self.runtime = runtime
        self.traits = traits
        self._at_scale = at_scale

    def at(self, scale: float) -> "FieldDetector":
        """The same detector, which gives every field this many network pixels per original pixel.

        For tiles of one slide: what is found at a place must not depend on how large cells looked in its tile.
        """
        return FieldDetector(self.runtime, self.traits, at_scale=scale)

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that the detector tells apart."""
        return self.traits.taxonomy

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) that is looked at: the network's input, or more where a reader wants to see cells larger."""
        width, height = self.traits.input_size
        if self.traits.reader is None or self.traits.scale is None:
            return width, height
        finer = max(1.0, _reader_scale(self.traits.reader, self.traits.scale))
        return math.ceil(width * finer), math.ceil(height * finer)

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._detect(field) for field in fields]

    def _detect(self, field: FieldImage) -> Detections:
        found = self._find(field)
        if self.traits.reader is not None:
            found = self._read(field, found, self.traits.reader)
        scores = found.scores
        if (calibration := self.traits.calibration) is not None:
            fitted = found.labels < len(calibration.slopes)
            scores = np.where(fitted, calibration.apply(scores, np.where(fitted, found.labels, 0)), scores)
        return settle(found.boxes, found.labels, scores, self.taxonomy, field)

    def _find(self, field: FieldImage) -> Found:
        """Cells in original pixels; where they look far too large or small, the field is fitted anew, once."""
        if self._at_scale is not None:
            return self._find_at(field, fit_at(field.width, field.height, self._at_scale))
        known = self.traits.scale
        fitted = fit(field.width, field.height, self.traits.input_size)
        # A field of fewer pixels than those of training is a piece of one: enlarged, its cells would be giants.
        if known is not None and fitted.scale > known.factor:
            fitted = fit_at(field.width, field.height, known.factor)
        found = self._find_at(field, fitted)
        if known is None or (wanted := _magnification(found, fitted, known)) is None:
            return found
        return self._find_at(field, fit_at(field.width, field.height, wanted))

    def _find_at(self, field: FieldImage, fitted: Fit) -> Found:
        found = self.runtime.find(resize_to(field, (fitted.width, fitted.height)))
        return found._replace(boxes=scale(found.boxes, field.width / fitted.width, field.height / fitted.height))

    def _read_all(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = np.split(crops, range(AT_ONCE, len(crops), AT_ONCE))
        return np.concatenate([self.runtime.read(part) for part in parts])

    def _read(self, field: FieldImage, found: Found, reader: ReaderRecipe) -> Found:
        boxes, scores, cell_of = cells_of(found)
        if not len(boxes):
            return Found(found.boxes[:0], found.labels[:0], found.scores[:0])
        height, width = field.pixels.shape[:2]
        here = scale(boxes, width / field.width, height / field.height)
        crops = cut_cells(field.pixels, here, side_px=reader.crop_px, context=reader.context)
        reading = self._read_all(crops)
        doubtful = np.flatnonzero(reading.max(axis=1) < DOUBT)
        if reader.views > 1 and len(doubtful):
            others = self._read_all(np.concatenate(mirrored(crops[doubtful], reader.views)[1:]))
            views = np.concatenate([reading[None, doubtful], others.reshape(reader.views - 1, len(doubtful), -1)])
            reading[doubtful] = views.mean(axis=0)
        opinion = detector_opinion(found, cell_of, len(boxes), len(self.taxonomy) - self.traits.added)
        return name_again(boxes, self._scores_by_name(scores), opinion, reading)

    def _scores_by_name(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """That each is a cell, (n, classes), from raw scores (n,): as they are for names that will be calibrated whole,
        a probability for those that were added since; how probable the name is they know already.
        """
        by_name = np.repeat(scores[:, None], len(self.taxonomy), axis=1)
        if (calibration := self.traits.calibration) is not None:
            by_name[:, len(calibration.slopes) :] = calibration.of_a_cell(scores)[:, None]
        return by_name


def _reader_scale(reader: ReaderRecipe, scale_of: InputScale) -> float:
    """Pixels of the reader's crop per pixel of the detector's input, for a cell of middle size."""
    return reader.crop_px / (reader.context * scale_of.cell_px)


def _magnification(found: Found, fitted: Fit, known: InputScale) -> float | None:
    """The scale at which the cells found (in original pixels) would look as large as in training; None if they do."""
    sure = cells_of(found, at_least=SURE)[0]
    if not len(sure):
        return None
    looks = float(np.median(np.sqrt(area(sure)))) * fitted.scale
    if 1 / OFF_SCALE <= looks / known.cell_px <= OFF_SCALE:
        return None
    return fitted.scale * min(known.cell_px / looks, LARGEST)
