"""What both ranked stages share: the ranking loss beside a box loss that is weighted by score and balanced against it.

Oksuz et al. 2021 (ICCV, "Rank & Sort Loss"), with the paper's lambda inside the ranking loss. See docs/method.md 4.
"""

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from marrowscope.model.config import ModelRecipe
from marrowscope.model.processes import ranked_together
from marrowscope.model.ranksort import rank_sort_loss

IGNORED_OVERLAP = 0.5
"""Share of a candidate that may lie on an ignored region before the candidate is ignored too."""


def overlap_with(boxes: Tensor, regions: Tensor) -> Tensor:
    """Largest share (n,) of each box (n, 4) that lies on one of the regions (k, 4)."""
    if not len(regions):
        return boxes.new_zeros(len(boxes))
    top_left = torch.max(boxes[:, None, :2], regions[None, :, :2])
    sides = (torch.min(boxes[:, None, 2:], regions[None, :, 2:]) - top_left).clamp(min=0)
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).clamp(min=1e-6)
    return (sides.prod(dim=2) / area[:, None]).amax(dim=1)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (n,) of boxes (n, 4) with their partners (n, 4)."""
    if len(a) == 0:
        return a.new_zeros(0)
    sides = (torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])).clamp(min=0)
    inter = sides.prod(dim=1)
    areas = [(x[:, 2:] - x[:, :2]).clamp(min=0).prod(dim=1) for x in (a, b)]
    return inter / (areas[0] + areas[1] - inter).clamp(min=1e-9)


def ranked_box_loss(recipe: ModelRecipe, decoded: Tensor, truth: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Box loss of the positives, a scalar, and their IoU (n,), detached.

    decoded, truth: (n, 4). scores: (n,) logits of the positives; sigmoid of them weighs each box, detached.
    Where several processes rank together, the mean is over the positives of all; gradients as in `processes.py`.
    """
    ious = paired_iou(decoded.detach(), truth)
    if recipe.box_loss == "giou":
        each = generalized_box_iou_loss(decoded, truth, reduction="none")
    else:
        # In units of the cell's size, so that the weight does not depend on the magnification.
        size = torch.cat([truth[:, 2:] - truth[:, :2]] * 2, dim=1).clamp(min=1)
        each = torch.nn.functional.smooth_l1_loss(decoded / size, truth / size, beta=1 / 9, reduction="none").sum(1)
    weight = scores.detach().float().sigmoid()
    together = ranked_together(recipe)
    error = (each * weight).sum()
    errors, weights = together.summed(torch.stack((error.detach(), weight.sum())))
    weights = weights.clamp(min=1e-6)
    own = error * together.count / weights
    return own + (errors / weights - own).detach(), ious


def ranked_losses(
    recipe: ModelRecipe, logits: Tensor, positive: Tensor, ious: Tensor, ignore: Tensor, box: Tensor
) -> dict[str, Tensor]:
    """`rank` and `box` to be minimised; `ranking`, `sorting` and `box_error` detached, for the log.

    logits, positive, ignore: (M,). ious: (P,), those of the positives in order. box: scalar box loss.
    """
    flat = logits.new_zeros(len(logits), dtype=torch.float32)
    flat[positive] = ious if recipe.sort_target == "iou" else 1.0
    ranked = rank_sort_loss(
        logits,
        flat,
        positive,
        ignore=ignore,
        sort_weight=recipe.sort_weight,
        step_width=recipe.step_width,
        together=ranked_together(recipe),
    )
    if recipe.box_weight == "balanced":
        weight = ranked.total.detach() / box.detach().clamp(min=1e-6)
    else:
        weight = torch.full_like(box, recipe.box_weight)
    return {
        "rank": ranked.total,
        "box": box * weight,
        "ranking": ranked.ranking,
        "sorting": ranked.sorting,
        "box_error": box.detach(),
    }
