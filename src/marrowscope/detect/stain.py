"""Bring the stain of a field to that of a reference before cells are looked for.

Reinhard (IEEE Comput Graph Appl 2001;21(5):34-41): mean and standard deviation of each channel of L*a*b* become those
of the reference. Macenko (ISBI 2009:1107-1110): the two stains found in optical density become the reference's two.

A stain is measured by torchstain on a swatch of pixels, of the reference and of the slide (or folder) that a field is
of, for one field may hold a single cell. The change is then the same for all fields of the slide: an affine map of
L*a*b*, or a linear one of optical density, made here in a pass over the pixels. torchstain's own `normalize`, which
measures each field by itself, gives the same where both measure the same pixels (a test says so), and takes longer.

A field or slide that holds no stain (blank, of one colour) is left as it is, and that is said once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.fields_seen import Swatch
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.looks import pictures, swatch_of
from marrowscope.detect.detector import Detector
from marrowscope.errors import BadInput, MissingExtra

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]
log = logging.getLogger(__name__)

LIGHT = 240
"""Grey level of an empty place, as torchstain has it (Io)."""
EMPTY = 95
"""Percentile of a channel that is taken for its light: what an empty place of this very slide looks like. Where the
background is grey or yellow, density measured from white would find it stained, and take it for a stain of its own."""
STAINED = 0.15
"""Optical density from which a pixel is stained (torchstain's beta). Here one channel is enough: torchstain asks it of
all three, which leaves out blue nuclei wherever the camera is saturated in blue."""
A_SLIDE = 64
"""Pictures of a slide by which its stain is measured; of more, evenly spread."""
LEAST = 50
"""Stained pixels that a swatch must hold."""
LEAST_SPREAD = 1.0
"""Standard deviation of L*, in its units of 0..100, that a swatch must have."""
MOST_GAIN = 4.0
"""Times that a contrast may grow or shrink: more makes noise of a pale field, not stain."""


class StainMethod(StrEnum):
    """How the stain of a field is brought to that of the reference."""

    REINHARD = "reinhard"
    MACENKO = "macenko"


class StainNormalised:
    """A `Detector` that looks at fields in the stain of the reference."""

    def __init__(
        self, detector: Detector, method: StainMethod, reference: Swatch, slides: Mapping[Path, Swatch] | None = None
    ) -> None:
        """slides: folder of pictures -> swatch of its slide. A field from elsewhere is measured by itself.

        BadInput where the reference holds no stain, MissingExtra without torchstain.
        """
        self._detector, self._method, self._reference = detector, method, reference
        if not has_stain(reference):
            raise BadInput(
                "the stain reference holds no stained cell. Give a field, or a folder of fields, with cells."
            )
        slides = slides or {}
        self._slides = {folder: change_of(swatch, reference, method) for folder, swatch in slides.items()}
        self._said = False

    @property
    def taxonomy(self) -> Taxonomy:
        """See `Detector.taxonomy`."""
        return self._detector.taxonomy

    @property
    def input_size(self) -> tuple[int, int]:
        """See `Detector.input_size`."""
        return self._detector.input_size

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        """See `Detector.detect`."""
        return self._detector.detect([self.normalised(field) for field in fields])

    def normalised(self, field: FieldImage) -> FieldImage:
        """The field in the stain of the reference; as it is where it has none."""
        folder = None if field.origin.path is None else field.origin.path.parent
        if folder in self._slides:
            change = self._slides[folder]
        else:
            change = change_of(swatch_of([field]), self._reference, self._method)
        if change is None:
            if not self._said:
                log.warning("%s: no stain to be measured; such fields are left as they are", field.name)
            self._said = True
            return field
        return replace(field, pixels=change(field.pixels))


def slides_of(paths: Sequence[Path]) -> dict[Path, Swatch]:
    """The swatch of each folder that the pictures lie in: the pictures of a folder are taken for one slide's."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    return {folder: swatch_of(pictures(inside, most=A_SLIDE)) for folder, inside in folders.items()}


def has_stain(swatch: Swatch) -> bool:
    """Whether there is enough in these pixels (n, 3) to measure a stain by."""
    if not len(swatch):
        return False
    return bool(_lab(swatch)[:, 0].std() >= LEAST_SPREAD and _is_stained(swatch).sum() >= LEAST)


def change_of(swatch: Swatch, reference: Swatch, method: StainMethod) -> Change | None:
    """What brings pixels stained like `swatch` (n, 3) to the stain of `reference` (m, 3); None where it has none."""
    if not has_stain(swatch):
        return None
    return (_reinhard if method is StainMethod.REINHARD else _macenko)(swatch, reference)


def _reinhard(swatch: Swatch, reference: Swatch) -> Change:
    fitted = []
    for pixels in (swatch, reference):
        normaliser = _torchstain().ReinhardNormalizer(backend="numpy")
        normaliser.fit(pixels[:, None])
        fitted.append((normaliser.target_means, normaliser.target_stds))
    (mean, spread), (wanted_mean, wanted_spread) = fitted
    gain = np.clip(wanted_spread / np.maximum(spread, 1e-6), 1 / MOST_GAIN, MOST_GAIN)
    matrix = np.column_stack([np.diag(gain), wanted_mean - gain * mean])

    def change(pixels: Pixels) -> Pixels:
        lab = cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
        rgb = cv2.cvtColor(cv2.transform(lab, matrix), cv2.COLOR_Lab2RGB)
        return np.asarray(cv2.convertScaleAbs(np.clip(rgb, 0, 1), alpha=255), np.uint8)

    return change


def _macenko(swatch: Swatch, reference: Swatch) -> Change | None:
    fitted = []
    for pixels in (swatch, reference):
        normaliser = _torchstain().MacenkoNormalizer(backend="numpy")
        normaliser.fit(_lit(pixels)[_is_stained(pixels)][:, None], Io=LIGHT, beta=-np.inf)
        # torchstain puts first what absorbs more red, which tells haematoxylin from eosin. Azure, which stains nuclei
        # here, is told by its blue: it absorbs less of that than eosin does.
        order = np.argsort(normaliser.HERef[2])
        fitted.append((normaliser.HERef[:, order], normaliser.maxCRef[order]))
    (stains, strongest), (wanted_stains, wanted_strongest) = fitted
    # Stains that can hardly be told apart, or one of them absent: the map would blow up noise.
    if not (np.isfinite(stains).all() and np.linalg.cond(stains) < 100 and strongest.min() > 1e-3):
        return None
    gain = np.clip(wanted_strongest / strongest, 1 / MOST_GAIN, MOST_GAIN)
    matrix = _with_the_rest(wanted_stains) @ np.diag([*gain, 1]) @ np.linalg.inv(_with_the_rest(stains))
    density = -np.log((np.arange(256)[:, None] + 1) / (light_of(swatch) + 1)).astype(np.float32)
    wanted_light = np.diag(light_of(reference) + 1)

    def change(pixels: Pixels) -> Pixels:
        through = cv2.exp(cv2.transform(cv2.LUT(pixels, density[None]), -matrix))
        return np.asarray((cv2.transform(through, wanted_light) - 1).clip(0, 255), np.uint8)

    return change


def _with_the_rest(stains: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two stains (3, 2) and, beside them, the direction of what neither of them gives, (3, 3).

    torchstain drops the rest. Kept, a slide of the reference's own stain stays as it is; without it the detector of
    real cells loses 12 points of AP@50 on fields of its own stain.
    """
    rest = np.cross(stains[:, 0], stains[:, 1])
    return np.column_stack([stains, rest / np.linalg.norm(rest)])


def light_of(swatch: Swatch) -> NDArray[np.float64]:
    """What passes an empty place in each channel, (3,)."""
    return np.asarray(np.percentile(swatch, EMPTY, axis=0), np.float64)


def _lit(swatch: Swatch) -> NDArray[np.float64]:
    """The swatch as if its light were white, `LIGHT` in every channel."""
    return np.asarray((swatch.astype(np.float64) + 1) * LIGHT / (light_of(swatch) + 1) - 1)


def _lab(swatch: Swatch) -> NDArray[np.float32]:
    lab = cv2.cvtColor(swatch[:, None].astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
    return np.asarray(lab[:, 0], np.float32)


def _is_stained(swatch: Swatch) -> NDArray[np.bool_]:
    return np.asarray((-np.log((_lit(swatch) + 1) / LIGHT) >= STAINED).any(axis=1))


def _torchstain() -> Any:
    """The library's normalisers, of which only those in numpy are used."""
    try:
        from torchstain.base import normalizers
    except ImportError:
        raise MissingExtra("stain normalisation needs torchstain. Run: pip install 'marrowscope[stain]'") from None
    return normalizers
