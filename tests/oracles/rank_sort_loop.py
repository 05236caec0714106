"""The plain way to compute the Rank & Sort loss: one pass over all relevant logits for every positive.

This is how the loss is usually written: a Python loop over positives, each step vectorised over the positives and over
the negatives that survive the relevance filter, in the dtype of the logits. O(P N) time. It is the rival of
`benchmarks/ranking_loss.py`, so it is written to be quick for what it is; the oracle judges it as it judges ours.
"""

import torch
from torch import Tensor


def rank_sort_loop(
    logits: Tensor, ious: Tensor, positive: Tensor, *, sort_weight: float = 0.5, step_width: float = 0.5
) -> tuple[Tensor, Tensor, Tensor]:
    """Ranking error, unweighted sorting error, and the update of every logit. Expects at least one positive."""

    def above(differences: Tensor) -> Tensor:
        if step_width == 0:
            return (differences >= 0).to(logits.dtype)
        return differences.div_(2 * step_width).add_(0.5).clamp_(0, 1)

    own, targets = logits[positive], ious[positive]
    relevant = ~positive & (logits >= own.min() - step_width)
    others = logits[relevant]
    own_update, others_update = torch.zeros_like(own), torch.zeros_like(others)
    ranking_errors, sorting_errors = torch.zeros_like(own), torch.zeros_like(own)
    for i in range(len(own)):
        positives_above = above(own - own[i])
        negatives_above = above(others - own[i])
        positive_rank = positives_above.sum()
        false_positives = negatives_above.sum()
        rank = positive_rank + false_positives
        ranking_errors[i] = false_positives / rank
        if false_positives > 0:
            own_update[i] -= ranking_errors[i]
            others_update += negatives_above.mul_(ranking_errors[i] / false_positives)

        current = (positives_above * (1 - targets)).sum() / positive_rank
        deserving = targets >= targets[i]
        kept = positives_above * deserving
        sorting_errors[i] = current - (kept * (1 - targets)).sum() / kept.sum()
        missorted = positives_above * ~deserving
        missorted_rank = missorted.sum()
        if missorted_rank > 0:
            own_update[i] -= sort_weight * sorting_errors[i]
            own_update += missorted * (sort_weight * sorting_errors[i] / missorted_rank)

    update = torch.zeros_like(logits)
    update[positive], update[relevant] = own_update, others_update
    return ranking_errors.mean(), sorting_errors.mean(), update.div_(len(own))
