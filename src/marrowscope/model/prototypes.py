"""Classes that were added to a reader from a few labelled cells: no network is trained for them.

Seen through a trained reader's last features, the cells of a class scatter about a mean, and much alike from class to
class. So a class is its mean, all classes share one covariance, and the likelier mean names the cell: Fisher's linear
discriminant, with the covariance shrunk towards a multiple of the identity (Friedman, JASA 1989;84:165-175), because a
reader has hundreds of features. A mean of five cells lies far from that of all cells merely by chance; by how far is
known, and is taken off.

What the known classes divide among themselves stays the reader's own affair: the prototypes say how probable it is that
a cell is of an added class, and the reader names the rest as before.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SHRINKAGE = 0.2
"""Share of the covariance that is replaced by a multiple of the identity (docs/decisions/0034)."""
TEMPERATURE = 4.0
"""Logarithms of the densities are divided by it: features are no normal variables, and so many would be too sure."""
_NEVER = -1e5
"""Bias of a class of which no cell is known: a bucket for what nobody could name. Finite, for every runtime's sake."""


@dataclass(frozen=True, eq=False)
class KnownCells:
    """What the cells of each class look like to the reader.

    means: (C, D), the mean features of each class. counts: (C,), of how many cells. covariance: (D, D), within classes.
    """

    means: Tensor
    counts: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, classes: int) -> "KnownCells":
        """features: (n, D). labels: (n,) 0..classes-1. A class without a cell has a mean of zeros, and a count of 0."""
        features = features.double()
        counts = torch.bincount(labels, minlength=classes)
        means = torch.zeros(classes, features.shape[1], dtype=torch.double).index_add_(0, labels, features)
        means /= counts.clamp(min=1)[:, None]
        off = features - means[labels]
        covariance = off.T @ off / max(len(off) - classes, 1)
        return cls(means.float(), counts.float(), covariance.float())

    def with_class(self, shots: Tensor) -> "KnownCells":
        """One class more, from the features (n, D) of a few cells. A few say nothing of a covariance."""
        means = torch.cat([self.means, shots.mean(dim=0, keepdim=True)])
        return KnownCells(means, torch.cat([self.counts, self.counts.new_tensor([len(shots)])]), self.covariance)


class Prototypes(nn.Module):
    """The last `added` classes of `known`, beside those that the reader was trained on."""

    weight: Tensor
    bias: Tensor

    def __init__(self, known: KnownCells, added: int) -> None:
        super().__init__()
        self.added = added
        covariance, means = known.covariance.double(), known.means.double()
        level = covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.double)
        precision = torch.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * level)
        weight = means @ precision
        # The square of a mean of n cells is too long by trace(precision covariance) / n, on average.
        chance = (precision * covariance).sum() / known.counts.double().clamp(min=1)
        bias = ((weight * means).sum(dim=1) - chance) / -2
        bias[known.counts == 0] = _NEVER
        self.register_buffer("weight", (weight / TEMPERATURE).float(), persistent=False)
        self.register_buffer("bias", (bias / TEMPERATURE).float(), persistent=False)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Logarithms of probabilities (n, K + added) from features (n, D) and the reader's logits (n, K)."""
        said = nn.functional.linear(features, self.weight, self.bias).log_softmax(dim=1)
        known, new = said[:, : -self.added], said[:, -self.added :]
        return torch.cat([logits.log_softmax(dim=1) + known.logsumexp(dim=1, keepdim=True), new], dim=1)
