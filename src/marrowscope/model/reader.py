"""The reader: names a cell from a crop of it, at a finer resolution than the detector's map of the whole field.

What tells a myelocyte from a metamyelocyte from a band is the outline of the nucleus and the grain of its chromatin,
and a detector that sees four thousand pixels at seven hundred has thrown much of that away. The reader sees each cell
that was found once more, large. It says nothing of where a cell is, nor whether it is one.
"""

import torch
from torch import Tensor, nn

from marrowscope.model.config import ModelRecipe, ReaderRecipe
from marrowscope.model.prototypes import Prototypes
from marrowscope.model.trunk import Trunk


class CellReader(nn.Module):
    """Means of the trunk's maps over the crop, side by side, into one linear layer."""

    def __init__(self, recipe: ReaderRecipe, classes: int, *, pretrained: bool = True) -> None:
        """`pretrained=False`: weights are about to come from a checkpoint."""
        super().__init__()
        self.recipe = recipe
        trunk = ModelRecipe(
            trunk=recipe.trunk,
            trunk_weights=recipe.trunk_weights,
            trunk_norm="batch",
            frozen_stride=recipe.frozen_stride,
            strides=recipe.strides,
            anchor_sizes="fit",
        )
        self.trunk = Trunk(trunk, pretrained=pretrained)
        self.dropout = nn.Dropout(recipe.dropout)
        self.classify = nn.Linear(sum(self.trunk.channels), classes)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)
        self.prototypes: Prototypes | None = None
        """Of classes that were added later; it has no weights of its own (see `Checkpoint.known`)."""

    def features(self, crops: Tensor) -> Tensor:
        """What the last layer reads, (n, D), of crops (n, 3, S, S) in grey levels 0..255."""
        return torch.cat([m.mean(dim=(2, 3)) for m in self.trunk(crops)], dim=1)

    def forward(self, crops: Tensor) -> Tensor:
        """Class logits (n, K) of crops (n, 3, S, S) in grey levels 0..255, added classes last."""
        features = self.features(crops)
        logits = self.classify(self.dropout(features))
        return logits if self.prototypes is None else self.prototypes(features, logits)
