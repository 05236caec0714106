"""The processes that train one detector, as far as a loss must know of them: one, or several under `torchrun`.

A loss over the fields of all processes needs few numbers of the others, and sends its gradient to its own entries
alone. DistributedDataParallel averages gradients over the processes, so each multiplies its own part by their number:
the average is then the gradient that one process holding all fields would have.

Every process must make the same calls in the same order, whether or not its fields hold cells: whether a call is made
may depend on gathered values alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from marrowscope.model.config import ModelRecipe


@dataclass(frozen=True)
class Processes:
    """Those whose fields share one ranking; `count` 1 is a process by itself."""

    count: int = 1
    place: int = 0
    """Of this process among them, from 0."""

    def summed(self, own: Tensor) -> Tensor:
        """The sum of everybody's tensor, of one shape everywhere."""
        if self.count == 1:
            return own
        whole = own.clone()
        distributed.all_reduce(whole)
        return whole

    def gathered(self, own: Tensor) -> tuple[Tensor, int]:
        """Everybody's (k, n) side by side in the order of the processes, n differing, and where one's own begin."""
        if self.count == 1:
            return own, 0
        length = torch.tensor([own.shape[1]], device=own.device)
        lengths = [torch.empty_like(length) for _ in range(self.count)]
        distributed.all_gather(lengths, length)
        widths = [int(n) for n in torch.cat(lengths)]
        padded = own.new_zeros(own.shape[0], max(widths))
        padded[:, : own.shape[1]] = own
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        if max(widths):
            distributed.all_gather(parts, padded)
        together = torch.cat([part[:, :width] for part, width in zip(parts, widths, strict=True)], dim=1)
        return together, sum(widths[: self.place])


ALONE = Processes()


def ranked_together(recipe: ModelRecipe) -> Processes:
    """The processes among which the recipe ranks."""
    if recipe.ranking_scope == "process" or not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Processes(distributed.get_world_size(), distributed.get_rank())
