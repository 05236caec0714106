"""The trunk: any timm model with `features_only`, its early layers and batch norms frozen, its norms folded.

A frozen batch norm is an affine map of a convolution's output, so it can live in the convolution's weights. That
changes nothing but the time: on a CPU a training step of EfficientNet-Lite0 spends a fifth of it on those products.
"""

from typing import Any

import timm
import torch
from timm.layers.norm_act import FrozenBatchNormAct2d, freeze_batch_norm_2d
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torchvision.ops import FrozenBatchNorm2d

from marrowscope.errors import BadRecipe
from marrowscope.model.config import ModelRecipe
from marrowscope.model.imagenet import load_trunk_weights


class Trunk(nn.Module):
    """A timm feature extractor: images (B, 3, H, W) in grey levels -> one map a stride, fine to coarse."""

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: ModelRecipe, *, pretrained: bool) -> None:
        """`pretrained=False` builds the same layers without reading weights: a checkpoint is about to fill them."""
        super().__init__()
        strides = [s for s in recipe.strides if s <= 32]
        indices = _indices_of(recipe.trunk, strides)
        self.body = _features(recipe.trunk, out_indices=indices)
        self.channels: list[int] = self.body.feature_info.channels()
        described = timm.get_pretrained_cfg(recipe.trunk) if timm.is_model_pretrained(recipe.trunk) else None
        mean, std = (described.mean, described.std) if described else ((0.5,) * 3, (0.5,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)
        source = None if recipe.trunk_weights == "none" or not pretrained else recipe.trunk_weights
        load_trunk_weights(self.body, source)
        if recipe.trunk_norm == "frozen":
            # A trunk without norms comes back as it is.
            self.body = freeze_batch_norm_2d(self.body)
            fold_frozen_norms(self.body)
        # timm keeps layers beyond the last map it is asked for: they would never see a gradient.
        trained = _parameters_up_to(recipe.trunk, strides[-1])
        if recipe.frozen_stride:
            trained -= _parameters_up_to(recipe.trunk, recipe.frozen_stride)
        for name, parameter in self.body.named_parameters():
            own_name = name.replace("parametrizations.weight.original", "weight")
            parameter.requires_grad_(parameter.requires_grad and own_name in trained)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images: (B, 3, H, W) in grey levels 0..255, uint8 or float."""
        maps: list[Tensor] = self.body((images.to(self.mean.dtype) - self.mean) / self.std)
        return maps


def _features(trunk: str, **options: Any) -> Any:
    """The trunk as timm builds it for features, with random weights."""
    try:
        return timm.create_model(trunk, features_only=True, pretrained=False, **options)
    except (RuntimeError, AttributeError, TypeError) as e:
        raise BadRecipe(
            f"trunk = '{trunk}': timm cannot build it with features_only ({str(e).splitlines()[0]}). "
            "See `timm.list_models()`; resnet101 and tf_efficientnet_lite0 are known to work."
        ) from None


def _indices_of(trunk: str, strides: list[int]) -> tuple[int, ...]:
    """The timm feature indices that have these strides."""
    reductions = _features(trunk).feature_info.reduction()
    if missing := [s for s in strides if s not in reductions]:
        raise BadRecipe(f"trunk = '{trunk}' has no features at stride {missing}; it has {reductions}.")
    return tuple(reductions.index(s) for s in strides)


def _parameters_up_to(trunk: str, stride: int) -> set[str]:
    """Names of the parameters that the features at this stride depend on, found by asking autograd."""
    (index,) = _indices_of(trunk, [stride])
    probe = _features(trunk, out_indices=(index,)).eval()
    with torch.enable_grad():
        probe(torch.zeros(1, 3, 64, 64))[0].sum().backward()
    return {name for name, parameter in probe.named_parameters() if parameter.grad is not None}


class _Scaled(nn.Module):
    """Multiplies the weights of each output channel by a constant."""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.view(-1, 1, 1, 1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def fold_frozen_norms(network: nn.Module) -> None:
    """Move every frozen batch norm that directly follows a convolution into that convolution's weight and bias.

    The trained parameter stays the convolution's own weight, so optimiser and weight decay see what they saw before.
    """
    made_by: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[nn.Conv2d, Any]] = []
    outputs: list[Tensor] = []  # kept alive so that no id is used twice

    def remember(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made_by[id(output)] = module
            outputs.append(output)
        elif id(inputs[0]) in made_by:
            pairs.append((made_by[id(inputs[0])], module))

    kinds = (nn.Conv2d, FrozenBatchNormAct2d, FrozenBatchNorm2d)
    hooks = [m.register_forward_hook(remember) for m in network.modules() if isinstance(m, kinds)]
    was_training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 64, 64))
    network.train(was_training)
    for hook in hooks:
        hook.remove()

    parents = {child: (parent, name) for parent in network.modules() for name, child in parent.named_children()}
    for convolution, norm in pairs:
        scale: Tensor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift: Tensor = norm.bias - norm.running_mean * scale
        if convolution.bias is not None:
            shift = shift + convolution.bias.detach() * scale
        convolution.bias = nn.Parameter(shift.detach().clone(), requires_grad=False)
        parametrize.register_parametrization(convolution, "weight", _Scaled(scale.detach().clone()), unsafe=True)
        parent, name = parents[norm]
        after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, FrozenBatchNormAct2d) else nn.Identity()
        setattr(parent, name, after)


def settle_folded(network: nn.Module) -> None:
    """Write folded weights down once, for a network that is not trained any more: to the same numbers, in less time."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
