"""A class more from 5 to 20 labelled cells, without training: the reader's features stay, and a prototype is added.

How well that goes is told by leaving each cell out in turn: named by the others, is it given the new name? The cells
of known classes that come along say how many of them would now be taken for the new one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marrowscope.cells.boxes import Boxes, as_boxes
from marrowscope.cells.differential import exact_interval
from marrowscope.cells.taxonomy import CellClass, Taxonomy, spelling_key
from marrowscope.data.images import read_image
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.reading import AT_ONCE, cut_cells, mirrored
from marrowscope.errors import BadCheckpoint, BadInput
from marrowscope.model.checkpoint import Checkpoint
from marrowscope.model.prototypes import KnownCells, Prototypes
from marrowscope.model.reader import CellReader
from marrowscope.model.trunk import settle_folded

MIN_SHOTS = 5
"""Labelled cells without which no class is added: fewer say nothing that could be measured."""
Crops = NDArray[np.uint8]


@dataclass(frozen=True)
class Added:
    """How well a class was told apart. cells: it was added from. recognised: of these, each left out in turn.

    others: cells of known classes that were looked at. mistaken: of these, now given the new name.
    """

    name: str
    cells: int
    recognised: int
    others: int
    mistaken: int

    @property
    def recall(self) -> tuple[float, float, float]:
        """Share recognised with its exact 95 % interval, 0..1."""
        return self.recognised / self.cells, *exact_interval(self.recognised, self.cells)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record."""
        return {key: getattr(self, key) for key in ("name", "cells", "recognised", "others", "mistaken")}


class Eye:
    """The reader of a checkpoint, looking without naming. BadCheckpoint where it has none."""

    def __init__(self, checkpoint: Checkpoint, device: str | torch.device = "cpu") -> None:
        reader = checkpoint.build_reader()
        if reader is None:
            raise BadCheckpoint(
                "the checkpoint has no reader, by whose features a new class is told apart. "
                "Give it one with `marrowscope train-reader`."
            )
        settle_folded(reader)
        self.reader: CellReader = reader.to(device)
        self.device = torch.device(device)
        self.recipe = reader.recipe

    def cut(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Crops:
        """Crops (n, S, S, 3) of boxes (n, 4) in pixels of the picture."""
        return cut_cells(pixels, boxes, side_px=self.recipe.crop_px, context=self.recipe.context)

    @torch.no_grad()
    def see(self, crops: Crops) -> Tensor:
        """Features (n, D)."""
        images = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)
        return torch.cat([self.reader.features(part.to(self.device)).float().cpu() for part in images.split(AT_ONCE)])

    def see_well(self, crops: Crops) -> Tensor:
        """Features (n, D), the mean over the views in which a cell may be read: shots are too few to waste one."""
        return torch.stack([self.see(view) for view in mirrored(crops, self.recipe.views)]).mean(dim=0)


@dataclass(frozen=True, eq=False)
class SeenCells:
    """Features (n, D) and names (n,) of cells."""

    features: Tensor
    names: tuple[str, ...]

    def named(self, wanted: Callable[[str], bool]) -> Tensor:
        """Features of the cells with such names."""
        keep = torch.tensor([wanted(name) for name in self.names], dtype=torch.bool)
        return self.features[keep]

    def with_more(self, more: "SeenCells") -> "SeenCells":
        """These cells and others."""
        return SeenCells(torch.cat([self.features, more.features]), (*self.names, *more.names))


def see_fields(
    eye: Eye, fields: Sequence[LabelledField], *, well: Callable[[str], bool], on_field: Callable[[], None]
) -> SeenCells:
    """Every cell of the fields that is not marked difficult. well: names whose cells are looked at in every view."""
    features, names = [torch.zeros(0, eye.reader.classify.in_features)], list[str]()
    for field in fields:
        sure = field.only(~field.difficult)
        if len(sure):
            crops = eye.cut(read_image(sure.image_path).pixels, sure.boxes)
            shots = np.asarray([well(name) for name in sure.labels], np.bool_)
            seen = eye.see(crops)
            if shots.any():
                seen[torch.from_numpy(shots)] = eye.see_well(crops[shots])
            features.append(seen)
            names += sure.labels
        on_field()
    return SeenCells(torch.cat(features), tuple(names))


def see_pictures(eye: Eye, pictures: Sequence[Path], name: str) -> SeenCells:
    """Pictures of single cells of this name, each seen as the crop that the reader would cut."""
    crops = [_squared(read_image(picture).pixels, eye.recipe.crop_px) for picture in pictures]
    return SeenCells(eye.see_well(np.stack(crops)), (name,) * len(crops))


def _squared(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """The picture in a square (S, S, 3), as a box of its size without surroundings."""
    height, width = pixels.shape[:2]
    return cut_cells(pixels, as_boxes([(0, 0, width, height)]), side_px=side_px, context=1.0)[0]


def drawn(shots: Tensor, count: int | None) -> Tensor:
    """So many of the shots (n, D), by chance, always the same; all where there are no more or None is asked for."""
    if count is None or count >= len(shots):
        return shots
    return shots[torch.from_numpy(np.random.default_rng(0).choice(len(shots), count, replace=False))]


def known_cells(seen: SeenCells, taxonomy: Taxonomy) -> KnownCells:
    """What the classes of the taxonomy look like. BadInput where the cells seen leave one out, but for its bucket."""
    if missing := _missing(seen.names, taxonomy):
        raise BadInput(
            f"no cell of {', '.join(missing)} among the labelled ones, so a new class cannot be told apart from it. "
            "Give fields that show every class of the checkpoint, such as those that it was trained on (--known)."
        )
    labels = [_without_bucket(taxonomy).find(name) for name in seen.names]
    known = torch.tensor([label is not None for label in labels], dtype=torch.bool)
    return KnownCells.of(
        seen.features[known], torch.tensor([label for label in labels if label is not None]), len(taxonomy)
    )


def _missing(names: Sequence[str], taxonomy: Taxonomy) -> list[str]:
    """Classes that no cell is named after; the bucket need not have one."""
    find = _without_bucket(taxonomy).find
    there = {find(name) for name in set(names)}
    bucket = None if taxonomy.other is None else taxonomy.index(taxonomy.other)
    return [cell.name for label, cell in enumerate(taxonomy) if label not in there and label != bucket]


def remembered(checkpoint: Checkpoint, fields: Sequence[LabelledField], device: str | torch.device) -> Checkpoint:
    """The checkpoint with its memory of what cells look like, from these fields; as it is where they lack a class."""
    sure = [field.only(~field.difficult) for field in fields]
    if _missing([name for field in sure for name in field.labels], checkpoint.taxonomy):
        return checkpoint
    seen = see_fields(Eye(checkpoint, device), sure, well=lambda name: False, on_field=lambda: None)
    return replace(checkpoint, known=known_cells(seen, checkpoint.taxonomy))


def add_class(
    checkpoint: Checkpoint, eye: Eye, cell: CellClass, shots: Tensor, known: KnownCells, others: Tensor
) -> tuple[Checkpoint, Added]:
    """The checkpoint that knows `cell` too, and how well it is told apart.

    eye: of the checkpoint. shots: features (n, D) of cells of it. known: the classes that the checkpoint knows. others:
    features of cells of these, to count how many are mistaken. BadInput below `MIN_SHOTS`, or where the class is known.
    """
    if len(shots) < MIN_SHOTS:
        raise BadInput(
            f"{len(shots)} labelled {'cell' if len(shots) == 1 else 'cells'} of {cell.name}: a class is added from "
            f"{MIN_SHOTS} or more. Label more of them."
        )
    taxonomy = with_class(checkpoint.taxonomy, cell)
    number = checkpoint.added + 1
    rest = torch.ones(len(shots), dtype=torch.bool)
    recognised = 0
    for index in range(len(shots)):
        rest[index] = False
        recognised += _given_the_new_name(eye, known.with_class(shots[rest]), shots[~rest], number)
        rest[index] = True
    grown = known.with_class(shots)
    told = Added(cell.name, len(shots), recognised, len(others), _given_the_new_name(eye, grown, others, number))
    made = replace(
        checkpoint,
        taxonomy=taxonomy,
        known=grown,
        added=number,
        # It says nothing of the class, and cells of that were counted under other names.
        confusion=None,
        recipe={**checkpoint.recipe, "added": [*checkpoint.recipe.get("added", ()), told.to_dict()]},
    )
    return made, told


@torch.no_grad()
def _given_the_new_name(eye: Eye, known: KnownCells, features: Tensor, added: int) -> int:
    """How many of the cells with these features (n, D) the reader would call by the last name of `known`."""
    said = Prototypes(known, added)(features, eye.reader.classify(features))
    return int((said.argmax(dim=1) == said.shape[1] - 1).sum())


def with_class(taxonomy: Taxonomy, cell: CellClass) -> Taxonomy:
    """The scheme with one class more, the last. BadInput where it has that class."""
    find = _without_bucket(taxonomy).find
    if any(find(word) is not None for word in (cell.name, cell.code)):
        raise BadInput(f"{cell.name}: the checkpoint knows that class already. Train on the cells instead.")
    # What another class is called as well stays with that class.
    own = tuple(word for word in cell.aliases if find(word) is None)
    paper, chinese = ("" if find(word) is not None else word for word in (cell.paper, cell.chinese))
    return replace(taxonomy, classes=(*taxonomy.classes, replace(cell, aliases=own, paper=paper, chinese=chinese)))


def _without_bucket(taxonomy: Taxonomy) -> Taxonomy:
    """The same classes, among which an unknown name is none."""
    return replace(taxonomy, other=None)


def class_named(name: str) -> CellClass:
    """The class that a label means: the lexicon's word, called as labelled, or one of the lab's own."""
    return Taxonomy.from_labels([name]).classes[0]


def is_named(name: str) -> Callable[[str], bool]:
    """Whether a label is this name, however it is spelled."""
    key = spelling_key(name)
    return lambda label: spelling_key(label) == key
