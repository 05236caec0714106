"""The paper's five augmentations, in one affine warp of the resized field; the boxes move with the pixels.

Horizontal flip, vertical flip, rotation, translation and Gaussian noise (paper, section 3.2); scaling, colour and stain
are ours, off unless asked for. The field is resized first and warped once: at 4000 x 3000 the usual order costs some
seconds a field (`benchmarks/augment.py`).

A cell is round, so its box is turned as the ellipse inscribed in it, not as four corners: turned corners would give a
box up to 1.41 times too large, and the detector would learn loose boxes.

What moves in from outside is one flat colour, the commonest of the field. Mirrored borders look more natural, but a
mirrored cell is a cell without a label, and the loss would push it down.
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from marrowscope.cells.boxes import Boxes, as_boxes

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Probability = Annotated[float, Field(ge=0, le=1)]


_AZURE, _EOSIN = (0.50, 0.86, 0.12), (0.52, 0.64, 0.57)
STAINS = np.column_stack([_AZURE, _EOSIN, np.cross(_AZURE, _EOSIN)])
"""Optical density in red, green and blue of azure, of eosin and of what neither gives, in columns (3, 3); as Macenko's
method finds them in May Gruenwald-Giemsa stained blood (`pbc_fields`)."""
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


class _Chance(NamedTuple):
    """What a sample draws, each uniform in 0..1, whatever is switched on: one option never moves another's chance."""

    horizontal_flip: float
    vertical_flip: float
    rotation: float
    angle: float
    translation: float
    shift_x: float
    shift_y: float
    scaling: float
    magnification: float
    noise: float
    sigma: float
    colour: float
    red: float
    green: float
    blue: float
    saturation: float
    contrast: float
    brightness: float


class Augmentation(BaseModel):
    """Which augmentations, how often and how strong. The default flips left and right, as detectors usually do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizontal_flip: Probability = 0.5
    """Probability of swapping left and right."""
    vertical_flip: Probability = 0.0
    """Probability of swapping top and bottom."""
    rotation: Probability = 0.0
    """Probability of a rotation about the centre of the field."""
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 45.0
    """The angle is uniform between minus and plus this."""
    translation: Probability = 0.0
    """Probability of a shift."""
    translation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0625
    """Each shift is uniform between minus and plus this share of the field's width (height)."""
    scaling: Probability = 0.0
    """Probability of a change of magnification."""
    scaling_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The magnification's logarithm is uniform between that of 1 / (1 + this) and that of 1 + this."""
    noise: Probability = 0.0
    """Probability of Gaussian noise, independent in every pixel and channel."""
    noise_sigma: tuple[float, float] = (3.0, 13.0)
    """The noise's standard deviation is uniform between these, in grey levels (0-255)."""
    colour: Probability = 0.0
    """Probability of a change of white balance, saturation, contrast and brightness."""
    colour_strength: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Each of those changes is uniform between minus and plus this share (white balance: half of it)."""
    stain: Probability = 0.0
    """Probability that another amount of azure, of eosin and of the rest was taken up, as by another batch of stain."""
    stain_strength: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Each amount is multiplied by a factor uniform between 1 minus and 1 plus this."""
    crowding: Probability = 0.0
    """Probability of laying cells of another field against those of this one (`crowd`)."""
    crowding_cells: Annotated[int, Field(gt=0)] = 6
    """At most so many."""
    min_visible: Annotated[float, Field(ge=0, le=1)] = 0.25
    """A cell of whose moved box less than this share is still in the field is ignored rather than learned."""

    @model_validator(mode="after")
    def _sigmas_in_order(self) -> Self:
        low, high = self.noise_sigma
        if not (0 <= low <= high and math.isfinite(high)):
            raise ValueError(f"noise_sigma must be (low, high) with 0 <= low <= high, got {self.noise_sigma}")
        return self

    @classmethod
    def paper(cls) -> "Augmentation":
        """The paper's five, each with probability 1/2."""
        return cls(horizontal_flip=0.5, vertical_flip=0.5, rotation=0.5, translation=0.5, noise=0.5)

    @classmethod
    def none(cls) -> "Augmentation":
        """The field as it is."""
        return cls(horizontal_flip=0.0)


@dataclass(frozen=True, eq=False)
class Augmented:
    """An augmented field.

    boxes: (m, 4), the cells still to be learned, cut at the field's edges; `kept` (n,) bool tells which of the n cells
    given they are, in order. ignored: (k, 4), what is left in view of the others.
    """

    image: Image
    boxes: Boxes
    kept: NDArray[np.bool_]
    ignored: Boxes


def augment(image: Image, boxes: Boxes, augmentation: Augmentation, rng: np.random.Generator) -> Augmented:
    """Augment one field: image (h, w, 3) uint8, boxes (n, 4) in its pixels. The image given is never changed."""
    height, width = image.shape[:2]
    chance = _Chance(*rng.random(len(_Chance._fields)).tolist())
    matrix = _draw_matrix(augmentation, chance, width, height)
    warped = warp(image, matrix)
    moved, visible = move_boxes(boxes, matrix, width, height)
    # A whole cell counts as whole for all rounding.
    kept = (visible > 0) & (visible >= augmentation.min_visible - 1e-6)
    if augmentation.stain:
        # A stream of its own: samples of recipes without it stay those of earlier versions.
        happens, *amounts = rng.spawn(1)[0].random(4).tolist()
        if happens < augmentation.stain:
            warped = _restain(warped, [1 + augmentation.stain_strength * _signed(amount) for amount in amounts])
    if chance.colour < augmentation.colour:
        warped = _recolour(warped, augmentation.colour_strength, chance)
    if chance.noise < augmentation.noise:
        low, high = augmentation.noise_sigma
        warped = _add_noise(warped, low + (high - low) * chance.sigma, rng)
    return Augmented(warped, moved[kept], kept, moved[~kept & (visible > 0)])


def _draw_matrix(augmentation: Augmentation, chance: _Chance, width: int, height: int) -> Matrix:
    """The map of this sample, (2, 3), from pixel edges to pixel edges."""
    degrees, magnify, shift = 0.0, 1.0, (0.0, 0.0)
    if chance.rotation < augmentation.rotation:
        degrees = augmentation.rotation_degrees * _signed(chance.angle)
    if chance.scaling < augmentation.scaling:
        magnify = (1 + augmentation.scaling_fraction) ** _signed(chance.magnification)
    if chance.translation < augmentation.translation:
        most = augmentation.translation_fraction
        shift = most * width * _signed(chance.shift_x), most * height * _signed(chance.shift_y)
    flip = (
        -1.0 if chance.horizontal_flip < augmentation.horizontal_flip else 1.0,
        -1.0 if chance.vertical_flip < augmentation.vertical_flip else 1.0,
    )
    return about_centre(width, height, degrees=degrees, magnify=magnify, shift=shift, flip=flip)


def _signed(unit: float) -> float:
    """0..1 to -1..1."""
    return 2 * unit - 1


def about_centre(
    width: int,
    height: int,
    *,
    degrees: float = 0.0,
    magnify: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    flip: tuple[float, float] = (1.0, 1.0),
) -> Matrix:
    """The (2, 3) map that flips (-1), magnifies and turns a field about its centre, then shifts it by pixels."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    linear = magnify * np.array([[cos, -sin], [sin, cos]]) @ np.diag(flip)
    centre = np.array([width / 2, height / 2])
    return np.column_stack([linear, centre + np.asarray(shift) - linear @ centre])


def warp(image: Image, matrix: Matrix) -> Image:
    """The field seen through `matrix`, same size; a plain flip moves pixels and interpolates nothing."""
    height, width = image.shape[:2]
    for flip_x, flip_y, code in ((1, 1, None), (-1, 1, 1), (1, -1, 0), (-1, -1, -1)):
        if np.array_equal(matrix, about_centre(width, height, flip=(flip_x, flip_y))):
            return image.copy() if code is None else np.asarray(cv2.flip(image, code), np.uint8)
    # OpenCV counts from the centre of the first pixel, we from its edge.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    outside = background(image)
    warped = cv2.warpAffine(
        image, centred, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
    )
    return np.asarray(warped, np.uint8)


def background(image: Image) -> tuple[float, float, float]:
    """The commonest colour of a field, to 8 grey levels: glass, or red cells where they leave no glass."""
    pixels = image[::4, ::4].reshape(-1, 3)
    bins: NDArray[np.intp] = (pixels >> 3).astype(np.intp) @ np.array([1024, 32, 1])
    commonest = np.flatnonzero(bins == np.bincount(bins).argmax())
    red, green, blue = pixels[commonest].mean(axis=0).round().tolist()
    return red, green, blue


def move_boxes(boxes: Boxes, matrix: Matrix, width: int, height: int) -> tuple[Boxes, NDArray[np.float64]]:
    """Move boxes (n, 4) with the pixels: the tight box of the part of each cell's ellipse that stays in the field.

    Returns the boxes, and the visible share of each moved box (n,), 0 where nothing is left (its box is then all 0).
    """
    boxes = as_boxes(boxes).astype(np.float64)
    linear, offset = matrix[:, :2], matrix[:, 2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + offset
    radii = (boxes[:, 2:] - boxes[:, :2]) / 2
    # The ellipse is {c + d : d' S^-1 d <= 1} with S = M diag(a^2, b^2) M'; its half extents are sqrt(diag S).
    spread = (linear[None] * (radii**2)[:, None, :]) @ linear.T
    half = np.sqrt(np.maximum(spread[:, (0, 1), (0, 1)], 0))
    low, high = np.maximum(-centres, -half), np.minimum(np.array([width, height]) - centres, half)
    tight_low, tight_high = np.empty_like(low), np.empty_like(high)
    for axis, other in ((0, 1), (1, 0)):
        upper = _arc_top(spread, half, low, high, axis, other, +1.0)
        lower = _arc_top(spread, half, low, high, axis, other, -1.0)
        tight_low[:, axis] = np.maximum(low[:, axis], lower)
        tight_high[:, axis] = np.minimum(high[:, axis], upper)
    # Less than a tenth of a pixel may round to no area at all in float32.
    in_view: NDArray[np.bool_] = np.all((low < high) & (tight_high - tight_low > 0.1), axis=1)
    moved = np.concatenate([centres + tight_low, centres + tight_high], axis=1)
    moved = np.where(in_view[:, None], moved, 0).clip(0, [width, height, width, height]).astype(np.float32)
    full, left = 4 * half.prod(axis=1), (tight_high - tight_low).prod(axis=1)
    visible: NDArray[np.float64] = np.divide(left, full, out=np.zeros(len(full)), where=in_view)
    return moved, visible.clip(0, 1)


def _arc_top(
    spread: Matrix, half: Matrix, low: Matrix, high: Matrix, axis: int, other: int, side: float
) -> NDArray[np.float64]:
    """How far each ellipse reaches along `axis` (side +1: up, -1: down) where `other` lies within low..high."""
    reach, width = half[:, axis], half[:, other]
    mixed = spread[:, 0, 1]
    safe_reach, safe_width = np.maximum(reach, 1e-12), np.maximum(width, 1e-12)
    # The arc is highest where the tangent is level; it is concave, so beyond an edge the edge itself is highest.
    at = np.clip(side * mixed / safe_reach, low[:, other], np.maximum(low[:, other], high[:, other]))
    share = np.clip(at / safe_width, -1, 1)
    thickness = np.sqrt(np.maximum(reach**2 - (mixed / safe_width) ** 2, 0) * (1 - share**2))
    return np.asarray(mixed / safe_width * share + side * thickness, dtype=np.float64)


def _recolour(image: Image, strength: float, chance: _Chance) -> Image:
    """White balance, saturation, contrast and brightness as one affine map of RGB."""
    gains = [1 + strength / 2 * _signed(unit) for unit in (chance.red, chance.green, chance.blue)]
    saturation, contrast = strength * _signed(chance.saturation), 1 + strength * _signed(chance.contrast)
    saturate = (1 + saturation) * np.eye(3) - saturation / 3
    # Contrast turns about mid-grey; brightness then lifts or lowers all.
    offset = 128 * (1 - contrast) + 128 * strength * _signed(chance.brightness)
    linear = contrast * saturate @ np.diag(gains)
    return np.asarray(cv2.transform(image, np.column_stack([linear, np.full(3, offset)])), np.uint8)


def _restain(image: Image, amounts: list[float]) -> Image:
    """The field as if so many times as much azure, eosin and rest were in it (Tellez, IEEE Trans Med Imaging 2018)."""
    matrix = STAINS @ np.diag(amounts) @ np.linalg.inv(STAINS)
    through = cv2.exp(cv2.transform(cv2.LUT(image, _DENSITY), -matrix))
    return np.asarray(cv2.convertScaleAbs(np.minimum(through, 1), alpha=255), np.uint8)


def _add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(sigma)
    # Rounds and saturates in one pass.
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
