"""The ranked region proposal network: no sampling, every anchor takes part.

torchvision's RPN with its 256 sampled anchors and cross-entropy replaced by the ranking loss over all anchors of the
batch, and its smooth L1 by a GIoU loss weighted by score and balanced against the ranking loss (docs/method.md).
"""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers

from marrowscope.model.config import ModelRecipe
from marrowscope.model.losses import IGNORED_OVERLAP, overlap_with, ranked_box_loss, ranked_losses


class RankedRPN(RegionProposalNetwork):
    """Proposals by descending objectness logit; losses `rpn_rank` and `rpn_box`, with their detached parts."""

    def __init__(self, recipe: ModelRecipe, anchor_generator: Any, head: Any) -> None:
        top = {"training": recipe.pre_nms_proposals, "testing": recipe.pre_nms_proposals}
        kept = {"training": recipe.training_proposals, "testing": recipe.detection_proposals}
        super().__init__(anchor_generator, head, 0.7, 0.3, 256, 0.5, top, kept, 0.7)
        self.recipe = recipe
        self.box_coder.weights = (10.0, 10.0, 5.0, 5.0)

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image, best first, and in training the losses (docs/method.md 4)."""
        maps = list(features.values())
        objectness, deltas = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        logits, flat_deltas = concat_box_prediction_layers(objectness, deltas)
        boxes = _best(self, anchors, objectness, logits, flat_deltas, images.image_sizes)
        if targets is None:
            return boxes, {}
        labels, matched = self.assign_targets_to_anchors(anchors, targets)
        for image, target in enumerate(targets):
            off = overlap_with(anchors[image], target["ignored"]) > IGNORED_OVERLAP
            labels[image] = torch.where(off & (labels[image] != 1), torch.full_like(labels[image], -1), labels[image])
        flat_labels, truth = torch.cat(labels), torch.cat(matched)
        positive = flat_labels == 1
        decoded = self.box_coder.decode(flat_deltas[positive].float(), [torch.cat(anchors)[positive]]).reshape(-1, 4)
        box, ious = ranked_box_loss(self.recipe, decoded, truth[positive], logits.flatten()[positive])
        losses = ranked_losses(self.recipe, logits.flatten(), positive, ious, flat_labels == -1, box)
        return boxes, {f"rpn_{k}": v * self.recipe.rpn_weight if k in ("rank", "box") else v for k, v in losses.items()}


def propose(
    network: RegionProposalNetwork,
    images: ImageList,
    maps: list[Tensor],
    objectness: list[Tensor],
    deltas: list[Tensor],
) -> list[Tensor]:
    """Boxes (n, 4) of each image, best first, from what `network.head` said of the maps (one entry a level)."""
    anchors = network.anchor_generator(images, maps)
    logits, flat_deltas = concat_box_prediction_layers(objectness, deltas)
    return _best(network, anchors, objectness, logits, flat_deltas, images.image_sizes)


@torch.no_grad()
def _best(
    network: RegionProposalNetwork,
    anchors: list[Tensor],
    objectness: list[Tensor],
    logits: Tensor,
    deltas: Tensor,
    sizes: list[tuple[int, int]],
) -> list[Tensor]:
    """Decode and suppress; logits and deltas are those of all levels in one row."""
    boxes = network.box_coder.decode(deltas.float(), anchors).view(len(anchors), -1, 4)
    kept, _ = network.filter_proposals(boxes, logits.float(), sizes, [o[0].numel() for o in objectness])
    return kept


def proposal_network(recipe: ModelRecipe, anchor_generator: Any, head: Any) -> RegionProposalNetwork:
    """The RPN that the recipe asks for: ranked, or torchvision's own with 256 sampled anchors (Eq. 8)."""
    if recipe.loss == "ranked" and recipe.ranked_stages == "both":
        return RankedRPN(recipe, anchor_generator, head)
    top = {"training": recipe.pre_nms_proposals, "testing": recipe.pre_nms_proposals}
    kept = {"training": recipe.training_proposals, "testing": recipe.detection_proposals}
    return RegionProposalNetwork(anchor_generator, head, 0.7, 0.3, 256, 0.5, top, kept, 0.7)
