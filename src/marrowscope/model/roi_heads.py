"""The second stage: what each proposal is, and where exactly.

`RankedRoIHeads` has no sampling and no background: C sigmoid outputs, every proposal x class in one ranking.
`SoftmaxRoIHeads` is the baseline (Eq. 1, 9). Class indices run 0..K-1 outside; torchvision's background 0 is met and
undone in this file alone.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import batched_nms, clip_boxes_to_image

from marrowscope.model.config import ModelRecipe
from marrowscope.model.losses import IGNORED_OVERLAP, overlap_with, ranked_box_loss, ranked_losses

CANDIDATES = 1000
"""Best (proposal, class) pairs of a field that enter NMS: ranked scores pass any threshold, so they are cut by rank."""


class BoxPredictor(nn.Module):
    """Class logits (R, outputs) and box deltas (R, boxes * 4) from the features of R proposals."""

    def __init__(self, width: int, outputs: int, boxes: int, prior: float | None) -> None:
        super().__init__()
        self.classify = nn.Linear(width, outputs)
        self.locate = nn.Linear(width, boxes * 4)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)
        nn.init.normal_(self.locate.weight, std=0.001)
        nn.init.zeros_(self.locate.bias)
        if prior is not None:
            nn.init.constant_(self.classify.bias, -math.log((1 - prior) / prior))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features: (R, width)."""
        flat = features.flatten(1)
        return self.classify(flat), self.locate(flat)


class _CellHeads(RoIHeads):
    """What both kinds share: building, post-processing, and the class convention."""

    background = 0
    """Columns of background before the first class."""

    def __init__(self, recipe: ModelRecipe, classes: int, pool: Any, head: nn.Module, sampled: int) -> None:
        outputs = classes + self.background
        boxes = outputs if recipe.box_regression == "per class" else 1
        prior = recipe.score_prior if recipe.loss == "ranked" else None
        predictor = BoxPredictor(recipe.head_width, outputs, boxes, prior)
        super().__init__(
            pool, head, predictor, 0.5, 0.5, sampled, 0.25, None, 0.0, recipe.nms_iou, recipe.detections_per_field
        )
        self.recipe = recipe
        self.classes = classes

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (R, outputs) -> scores (R, classes)."""
        raise NotImplementedError

    def judge(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (R, outputs) and box deltas (R, boxes * 4) of pooled features (R, C, 7, 7)."""
        logits, deltas = self.box_predictor(self.box_head(pooled))
        return logits.float(), deltas.float()

    def read(
        self, features: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Class logits and box deltas of the proposals."""
        return self.judge(self.box_roi_pool(features, proposals, sizes))

    def detections(
        self, logits: Tensor, deltas: Tensor, proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Boxes, labels 0..K-1 and scores of each image, best first, after per-class NMS."""
        per_image = [len(p) for p in proposals]
        boxes = self.box_coder.decode(deltas, proposals).reshape(len(logits), deltas.shape[1] // 4, 4)[
            :, -self.classes :
        ]
        found = []
        for b, s, size in zip(boxes.split(per_image), self.scores(logits).split(per_image), sizes, strict=True):
            best, index = s.flatten().topk(min(CANDIDATES, s.numel()))
            row, label = index // self.classes, index % self.classes
            box = clip_boxes_to_image(b[row, label if b.shape[1] > 1 else torch.zeros_like(label)], size)
            real = (box[:, 2:] - box[:, :2]).amin(dim=1) > 1
            box, best, label = box[real], best[real], label[real]
            keep = batched_nms(box, best, label, self.nms_thresh)[: self.detections_per_img]
            found.append({"boxes": box[keep], "labels": label[keep], "scores": best[keep]})
        return found

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Losses. Targets: boxes (n, 4), labels 0..K-1, ignored (k, 4)."""
        return self.losses(features, proposals, image_shapes, targets)

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Losses by name; those named `roi_class`, `roi_rank` and `roi_box` are minimised."""
        raise NotImplementedError


class RankedRoIHeads(_CellHeads):
    """All proposals and the true boxes of each image, one sigmoid output a class, ranked in one list."""

    def __init__(self, recipe: ModelRecipe, classes: int, pool: Any, head: nn.Module) -> None:
        super().__init__(recipe, classes, pool, head, sampled=1)

    def scores(self, logits: Tensor) -> Tensor:
        """Sigmoid."""
        return logits.sigmoid()

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The pair (proposal, its cell's class) is positive; the same proposal's other classes are negatives."""
        cells = [t["boxes"] for t in targets]
        proposals = self.add_gt_proposals(proposals, cells)
        matched, labels = self.assign_targets_to_proposals(proposals, cells, [t["labels"] + 1 for t in targets])
        # A field without cells has nothing to index, and none of its rows is positive.
        truth = torch.cat([c[m] if len(c) else c.new_zeros(len(m), 4) for c, m in zip(cells, matched, strict=True)])
        off = torch.cat([overlap_with(p, t["ignored"]) for p, t in zip(proposals, targets, strict=True)])
        logits, deltas = self.read(features, proposals, sizes)
        flat_labels = torch.cat(labels) - 1  # -1 is background from here on
        rows = torch.where(flat_labels >= 0)[0]
        label = flat_labels[rows]
        positive = torch.zeros_like(logits, dtype=torch.bool)
        positive[rows, label] = True
        ignore = ((off > IGNORED_OVERLAP) & (flat_labels < 0))[:, None].expand_as(logits)
        if deltas.shape[1] > 4:
            own = label[:, None] * 4 + torch.arange(4, device=label.device)
            chosen = deltas[rows].gather(1, own)
        else:
            chosen = deltas[rows]
        decoded = self.box_coder.decode(chosen, [torch.cat(proposals)[rows]]).reshape(-1, 4)
        box, ious = ranked_box_loss(self.recipe, decoded, truth[rows], logits[rows, label])
        losses = ranked_losses(self.recipe, logits.flatten(), positive.flatten(), ious, ignore.flatten(), box)
        return {f"roi_{k}": v for k, v in losses.items()}


class SoftmaxRoIHeads(_CellHeads):
    """The baseline: 512 sampled proposals, softmax over classes and background, smooth L1."""

    background = 1

    def __init__(self, recipe: ModelRecipe, classes: int, pool: Any, head: nn.Module) -> None:
        super().__init__(recipe, classes, pool, head, sampled=512)

    def scores(self, logits: Tensor) -> Tensor:
        """Softmax, without the background's column."""
        return logits.softmax(dim=1)[:, 1:]

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Cross-entropy and smooth L1 as torchvision has them."""
        shifted = [t | {"labels": t["labels"] + 1} for t in targets]
        proposals, _, labels, wanted = self.select_training_samples(proposals, shifted)
        logits, deltas = self.read(features, proposals, sizes)
        if deltas.shape[1] == 4:
            deltas = deltas.repeat(1, logits.shape[1])
        classification, box = fastrcnn_loss(logits, deltas, labels, wanted)
        return {"roi_class": classification, "roi_box": box}
