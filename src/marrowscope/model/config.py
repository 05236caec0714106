"""What a detector is made of, as a value: saved in every checkpoint, read from the `[model]` table of a recipe.

Defaults are the paper's detector as its authors ran it: ResNet-101, FPN P2-P6, 2000 x 1500 input, both stages ranked,
GIoU boxes weighted by score and balanced against the ranking loss.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from marrowscope.errors import BadRecipe

Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class InputScale(BaseModel):
    """How large cells came before the network in training, so that a field of another magnification can be fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: Positive
    """Input pixels per original pixel of the training fields (the middle one)."""
    cell_px: Positive
    """The middle size of a training cell, the square root of its box's area, in input pixels."""


class ReaderRecipe(BaseModel):
    """The second stage that cuts each found cell from the field at native resolution and names it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trunk: str = "tf_efficientnet_lite0"
    trunk_weights: str = "imagenet"
    """As in `ModelRecipe`."""
    strides: tuple[int, ...] = (16, 32)
    """Maps of the trunk whose means are read."""
    frozen_stride: int = 4
    """As in `ModelRecipe`; the early layers, at the largest maps, are half of a training step."""
    dropout: float = Field(0.2, ge=0, lt=1)
    crop_px: int = Field(128, gt=0)
    """Side of the square that is read, in pixels of the crop."""
    context: float = Field(1.25, ge=1)
    """Side of the square over the longer side of the cell's box."""
    views: int = Field(4, ge=1, le=4)
    """Mirror images in which a crop is read where the first leaves doubt; their readings are averaged."""


class ModelRecipe(BaseModel):
    """The detector's parts and the constants of its losses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trunk: str = "resnet101"
    """Any timm model that has `features_only`."""
    trunk_weights: str = "imagenet"
    """`imagenet`, `none`, or a file of timm weights (.safetensors, or a .pth that holds tensors alone)."""
    frozen_stride: int = 4
    """The trunk's layers up to this stride stay as they were pretrained; 0 trains all."""
    trunk_norm: Literal["frozen", "batch"] = "frozen"
    """`frozen`: batch norms keep their pretrained statistics, as fits batches of one; `batch`: they learn."""
    input_size: tuple[int, int] = (2000, 1500)
    """Width and height in pixels inside which a field is fitted before it enters the network."""

    strides: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Pyramid levels by stride; 64 is made by pooling the last one."""
    fpn_channels: int = Field(256, gt=0)
    anchor_sizes: tuple[tuple[Positive, ...], ...] | Literal["fit"] = ((32,), (64,), (128,), (256,), (512,))
    """Anchor sides in pixels of the input, one tuple a level; `fit` takes one a level from the training boxes."""
    anchor_ratios: tuple[Positive, ...] = (0.5, 1.0, 2.0)
    """Height over width of the anchors."""
    roi_samples: int = Field(2, gt=0)
    """Bilinear samples a bin and side in RoIAlign; 1 is a quarter of the work where a bin is about a feature wide."""
    head_width: int = Field(1024, gt=0)
    box_regression: Literal["per class", "shared"] = "per class"

    loss: Literal["ranked", "softmax"] = "ranked"
    """`ranked`: sigmoid scores, all anchors and proposals, Eq. 10-14. `softmax`: Eq. 1, 8, 9 with sampling."""
    ranked_stages: Literal["both", "second"] = "both"
    """Rank proposals as well, or the second stage alone, with the RPN of Eq. 8."""
    ranking_scope: Literal["process", "all processes"] = "process"
    """Whose fields share one ranking where several processes train: each process's own, or those of all in a step."""
    sort_weight: float = Field(0.5, ge=0)
    """Lambda of Eq. 13-14: 1 is Rank & Sort, 0 ranking alone."""
    step_width: float = Field(0.5, ge=0)
    """Half width of the ramp that stands for the step of Eq. 11; 0 is the printed hard step."""
    sort_target: Literal["iou", "one"] = "iou"
    """What positives are sorted by; `one` makes the sorting error vanish."""
    box_loss: Literal["giou", "smooth_l1"] = "giou"
    box_weight: Positive | Literal["balanced"] = "balanced"
    """`balanced`: each step the box loss is scaled to the value of the ranking loss."""
    rpn_weight: Positive = 0.2
    """Weight of the RPN's losses beside the second stage's, ranked stages only."""
    score_prior: Probability = 0.01
    """Score that an untrained detector gives; ranking leaves the level of scores where it starts."""

    pre_nms_proposals: int = Field(1000, gt=0)
    """Candidates of each level that enter the NMS of the RPN."""
    training_proposals: int = Field(1000, gt=0)
    detection_proposals: int = Field(1000, gt=0)
    nms_iou: Probability = 0.5
    """Per-class non-maximum suppression of detections."""
    detections_per_field: int = Field(100, gt=0)

    @model_validator(mode="after")
    def _anchors_fit_levels(self) -> "ModelRecipe":
        if self.anchor_sizes != "fit" and len(self.anchor_sizes) != len(self.strides):
            raise ValueError(f"anchor_sizes has {len(self.anchor_sizes)} levels, strides has {len(self.strides)}")
        if list(self.strides) != sorted(set(self.strides)):
            raise ValueError(f"strides must rise, got {self.strides}")
        return self

    @property
    def anchors(self) -> tuple[tuple[float, ...], ...]:
        """The anchor sizes; BadRecipe while they still wait to be fitted."""
        if self.anchor_sizes == "fit":
            raise BadRecipe("anchor_sizes = 'fit' must be replaced by fitted sizes before a detector is built.")
        return self.anchor_sizes

    @property
    def middle_anchor(self) -> float | None:
        """The middle anchor size, in pixels of the input: about that of a cell. None while they wait to be fitted."""
        if self.anchor_sizes == "fit":
            return None
        sizes = sorted(size for level in self.anchor_sizes for size in level)
        return sizes[len(sizes) // 2]

    def for_fields(self, count: int) -> "ModelRecipe":
        """The same for pictures as large as `count` training fields: the limits for one picture grow with it."""
        limits = ("pre_nms_proposals", "detection_proposals", "detections_per_field")
        return self.model_copy(update={name: getattr(self, name) * count for name in limits})
