"""Labelled fields -> training samples: decoded once, kept small in memory, augmented by (seed, epoch, index) alone.

The chance in a sample comes from the seed, the epoch and the field's place in the list, never from the worker that
makes it or from what came before, so a run taken up again after a power cut sees the very same samples.
"""

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marrowscope.cells.boxes import Boxes, area, clip
from marrowscope.cells.boxes import scale as scale_boxes
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.images import read_image
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.prepare import fit, resize_to
from marrowscope.errors import BadAnnotation
from marrowscope.model.config import InputScale
from marrowscope.training.augment import Augmentation, augment
from marrowscope.training.crowd import crowd


@dataclass(frozen=True, eq=False)
class Sample:
    """One field as the detector meets it in training.

    image: (3, h, w) uint8 RGB; its memory lies as (h, w, 3), so `channels_last` costs nothing. boxes: (n, 4) float32
    in pixels of this image; labels: (n,) int64, 0..K-1. ignored: (k, 4) float32, places neither taught nor penalised:
    difficult cells, and fragments that the augmentation left at the edge. scale: (x, y), resized pixels per original
    pixel. size: (width, height) of the original.
    """

    name: str
    image: Tensor
    boxes: Tensor
    labels: Tensor
    ignored: Tensor
    scale: tuple[float, float]
    size: tuple[int, int]


def collate(samples: Iterable[Sample]) -> list[Sample]:
    """A batch is a list: fields may differ in size, and the detector pads them."""
    return list(samples)


@dataclass(frozen=True, eq=False)
class _Cells:
    """The usable cells of one field, in resized pixels."""

    boxes: Boxes
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]


class FieldDataset(torch.utils.data.Dataset[Sample]):
    """Fields as `Sample`s, resized to fit inside `size` (width, height) and augmented.

    cache_gib: resized fields are kept in memory up to this, shared by all workers that are forked. A box that is not
    finite, or less than a pixel high or wide after resizing, is left out: nothing could be learned from it.
    """

    def __init__(
        self,
        fields: Sequence[LabelledField],
        taxonomy: Taxonomy,
        *,
        size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        cache_gib: float = 4.0,
    ) -> None:
        self.fields = tuple(fields)
        self.taxonomy = taxonomy
        self.augmentation = augmentation
        self.seed = seed
        fits = [fit(f.width, f.height, size) for f in self.fields]
        self.sizes = tuple((f.width, f.height) for f in fits)
        self._cells = tuple(_usable_cells(f, taxonomy, s) for f, s in zip(self.fields, self.sizes, strict=True))
        self._cache = _PixelCache([(h, w, 3) for w, h in self.sizes], int(cache_gib * 2**30))
        # Persistent workers keep their copy of this object from epoch to epoch; the number itself is shared.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def epoch(self) -> int:
        """The epoch whose augmentations are drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the augmentations of this epoch from now on; workers already running follow."""
        self._epoch.fill_(epoch)

    @property
    def labels_per_field(self) -> list[NDArray[np.int64]]:
        """Labels of the cells that are taught, one array a field."""
        return [c.labels[~c.difficult] for c in self._cells]

    @property
    def boxes_per_field(self) -> list[Boxes]:
        """Boxes (n, 4) of the cells that are taught, in resized pixels, one array a field."""
        return [c.boxes[~c.difficult] for c in self._cells]

    @property
    def scale(self) -> InputScale | None:
        """How large cells come before the network, unaugmented; None where no cell is taught."""
        boxes = np.concatenate(self.boxes_per_field)
        if not len(boxes):
            return None
        factors = [w / f.width for f, (w, _) in zip(self.fields, self.sizes, strict=True)]
        return InputScale(factor=float(np.median(factors)), cell_px=float(np.median(np.sqrt(area(boxes)))))

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"field {index} of {len(self)}")
        field, (width, height) = self.fields[index], self.sizes[index]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        pixels, cells = self._crowded(index)
        done = augment(pixels, cells.boxes, self.augmentation, rng)
        labels, difficult = cells.labels[done.kept], cells.difficult[done.kept]
        return Sample(
            name=field.name,
            image=torch.from_numpy(done.image).permute(2, 0, 1),
            boxes=torch.from_numpy(done.boxes[~difficult]),
            labels=torch.from_numpy(labels[~difficult]),
            ignored=torch.from_numpy(np.concatenate([done.boxes[difficult], done.ignored])),
            scale=(width / field.width, height / field.height),
            size=(field.width, field.height),
        )

    def _crowded(self, index: int) -> tuple[NDArray[np.uint8], _Cells]:
        """The field and its cells, with cells of another field among them where the augmentation asks for it."""
        pixels, cells = self._pixels(index), self._cells[index]
        # Chance of its own, so that no other augmentation is drawn anew when this one is switched on.
        rng = np.random.default_rng([self.seed, self.epoch, index, 1])
        if rng.random() >= self.augmentation.crowding:
            return pixels, cells
        other = int(rng.integers(len(self)))
        theirs = self._cells[other]
        pixels, boxes, taken = crowd(
            pixels, cells.boxes, self._pixels(other), theirs.boxes, most=self.augmentation.crowding_cells, rng=rng
        )
        labels = np.concatenate([cells.labels, theirs.labels[taken]])
        return pixels, _Cells(boxes, labels, np.concatenate([cells.difficult, theirs.difficult[taken]]))

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        cached = self._cache.get(index)
        if cached is None:
            cached = _read_resized(self.fields[index], self.sizes[index])
            self._cache.put(index, cached)
        return cached


def _usable_cells(field: LabelledField, taxonomy: Taxonomy, size: tuple[int, int]) -> _Cells:
    truth = field.truth(taxonomy)
    boxes = scale_boxes(clip(truth.boxes, field.width, field.height), size[0] / field.width, size[1] / field.height)
    difficult = np.zeros(len(boxes), np.bool_) if truth.difficult is None else truth.difficult
    # NaN compares false, so it is left out too.
    usable = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
    return _Cells(boxes[usable].astype(np.float32), truth.labels[usable], difficult[usable])


def _read_resized(field: LabelledField, size: tuple[int, int]) -> NDArray[np.uint8]:
    image = read_image(Path(field.image_path), at_least=size)
    if (image.width, image.height) != (field.width, field.height):
        raise BadAnnotation(
            f"{field.image_path}: the image is {image.width} x {image.height}, its labels are for "
            f"{field.width} x {field.height}. Give the image and the labels of the same field."
        )
    return resize_to(image, size)


class _PixelCache:
    """Arrays of known shapes in one block of memory that forked workers share; pages cost nothing until written.

    Under a start method other than fork each worker has a block of its own.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], capacity_bytes: int) -> None:
        self._shapes, self._capacity_bytes = tuple(shapes), capacity_bytes
        ends = np.cumsum([int(np.prod(s)) for s in self._shapes], dtype=np.int64)
        self._count = int(np.searchsorted(ends, capacity_bytes, side="right"))
        self._starts = np.concatenate([[0], ends])[: self._count]
        pixel_bytes = int(ends[self._count - 1]) if self._count else 0
        # Pixels, then one byte a field that says they are there. Two workers may write the same pixels: no harm.
        block = np.frombuffer(mmap.mmap(-1, pixel_bytes + self._count + 1), np.uint8)
        self._pixels, self._filled = block[:pixel_bytes], block[pixel_bytes:]

    def get(self, index: int) -> NDArray[np.uint8] | None:
        if index >= self._count or not self._filled[index]:
            return None
        return self._slot(index)

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        if index < self._count:
            self._slot(index)[...] = pixels
            self._filled[index] = 1

    def _slot(self, index: int) -> NDArray[np.uint8]:
        shape, start = self._shapes[index], int(self._starts[index])
        return self._pixels[start : start + int(np.prod(shape))].reshape(shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return _PixelCache, (self._shapes, self._capacity_bytes)
