"""The detector: trunk -> feature pyramid -> proposals -> cells, in five calls.

Detection is cut at two places, so that another runtime may compute what is heavy: `dense`, all that is done to every
pixel, and `heads.judge`, all that is done to a pooled proposal. What lies between them is the same code for all.

Faster R-CNN (Ren et al. 2017) from torchvision's parts, with our heads. Fields enter already fitted to the input size
(`detect.prepare`, `training.dataset`), so that nothing here resizes pixels.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from marrowscope.model.config import ModelRecipe
from marrowscope.model.pooling import RowPool
from marrowscope.model.roi_heads import RankedRoIHeads, SoftmaxRoIHeads
from marrowscope.model.rpn import proposal_network, propose
from marrowscope.model.trunk import Trunk

MINIMISED = ("loss_objectness", "loss_rpn_box_reg", "rpn_rank", "rpn_box", "roi_class", "roi_rank", "roi_box")
"""Names of the losses that are summed and minimised; what else a training step returns is for the log."""


class Dense(NamedTuple):
    """What is computed of every pixel: one entry a pyramid level, fine to coarse.

    maps: (B, C, h, w). objectness: (B, A, h, w) logits of A anchors a place. deltas: (B, 4 A, h, w) of their boxes.
    """

    maps: list[Tensor]
    objectness: list[Tensor]
    deltas: list[Tensor]


class CellDetector(nn.Module):
    """Finds and names cells in a batch of fitted fields."""

    def __init__(self, recipe: ModelRecipe, classes: int, *, pretrained: bool = True) -> None:
        """`pretrained=False`: weights are about to come from a checkpoint."""
        super().__init__()
        self.recipe = recipe
        self.trunk = Trunk(recipe, pretrained=pretrained)
        pooled = LastLevelMaxPool() if recipe.strides[-1] > 32 else None
        self.pyramid = FeaturePyramidNetwork(self.trunk.channels, recipe.fpn_channels, pooled)
        ratios = (recipe.anchor_ratios,) * len(recipe.strides)
        anchors = AnchorGenerator(recipe.anchors, ratios)
        rpn_head = RPNHead(recipe.fpn_channels, anchors.num_anchors_per_location()[0])
        if recipe.loss == "ranked":
            nn.init.constant_(rpn_head.cls_logits.bias, float(torch.tensor(recipe.score_prior).logit()))
        self.proposals = proposal_network(recipe, anchors, rpn_head)
        names = [str(s) for s in recipe.strides if s <= 32]
        pool = RowPool(names, output_size=7, sampling_ratio=recipe.roi_samples)
        head = TwoMLPHead(recipe.fpn_channels * 49, recipe.head_width)
        heads = RankedRoIHeads if recipe.loss == "ranked" else SoftmaxRoIHeads
        self.heads = heads(recipe, classes, pool, head)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Pyramid maps by stride, fine to coarse."""
        named = OrderedDict((str(s), m) for s, m in zip(self.recipe.strides, self.trunk(images), strict=False))
        maps: dict[str, Tensor] = self.pyramid(named)
        return maps

    def dense(self, images: Tensor) -> Dense:
        """images: (B, 3, H, W) grey levels, H and W multiples of the coarsest stride."""
        maps = list(self.features(images).values())
        return Dense(maps, *self.proposals.head(maps))

    def forward(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Losses of a training step by name; `total` is their minimised sum.

        images: (B, 3, H, W) grey levels, padded to one size. sizes: (height, width) of each field within.
        targets: for each field boxes (n, 4) in input pixels, labels (n,) 0..K-1, ignored (k, 4).
        """
        shapes = list(sizes)
        maps = self.features(images)
        proposals, proposal_losses = self.proposals(ImageList(images, shapes), maps, targets)
        losses = proposal_losses | self.heads(maps, proposals, shapes, targets)
        total = torch.stack([v.float() for k, v in losses.items() if k in MINIMISED]).sum()
        return losses | {"total": total}

    def detect(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """For each field boxes (n, 4) in input pixels, labels (n,), scores (n,), best first. Call in eval mode."""
        return self.detect_by(self.dense, self.heads.judge, images, sizes)

    @torch.no_grad()
    def detect_by(
        self,
        dense: Callable[[Tensor], Dense],
        judge: Callable[[Tensor], tuple[Tensor, Tensor]],
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """`detect`, with networks that stand for `dense` and `heads.judge`."""
        shapes = list(sizes)
        seen = dense(images)
        proposals = propose(self.proposals, ImageList(images, shapes), seen.maps, seen.objectness, seen.deltas)
        maps = {str(s): m for s, m in zip(self.recipe.strides, seen.maps, strict=True)}
        logits, deltas = judge(self.heads.box_roi_pool(maps, proposals, shapes))
        return self.heads.detections(logits, deltas, proposals, shapes)


def batch_images(images: Sequence[Tensor], multiple: int = 32) -> Tensor:
    """Pad fields (3, h, w) at the right and bottom to one size, a multiple of the coarsest stride.

    The padding is each field's own mean colour: black would be an edge that no smear has.
    """
    height = max(i.shape[1] for i in images)
    width = max(i.shape[2] for i in images)
    shape = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
    batch = images[0].new_empty((len(images), 3, *shape)).contiguous(memory_format=torch.channels_last)
    for place, image in zip(batch, images, strict=True):
        place[:] = image.float().mean(dim=(1, 2)).to(image.dtype)[:, None, None]
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch
