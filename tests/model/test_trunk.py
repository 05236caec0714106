import pytest
import timm
import torch
from timm.utils.model import freeze_batch_norm_2d

from marrowscope.errors import BadRecipe
from marrowscope.model.config import ModelRecipe
from marrowscope.model.trunk import Trunk, fold_frozen_norms


def with_lively_norms(name):
    """A trunk whose norms do something: statistics of a trained one are far from 0 and 1."""
    torch.manual_seed(3)
    network = timm.create_model(name, features_only=True, out_indices=(2, 3), pretrained=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return freeze_batch_norm_2d(network).eval()


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_folding_the_norms_changes_neither_features_nor_gradients(name):
    plain, folded = with_lively_norms(name), with_lively_norms(name)
    fold_frozen_norms(folded)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(5))
    before, after = plain(image), folded(image)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(a.detach().abs().max()))
    sum(m.square().mean() for m in before).backward()
    sum(m.square().mean() for m in after).backward()
    gradients = {n: p.grad for n, p in folded.named_parameters() if p.requires_grad}
    assert gradients
    reached = [(n, p) for n, p in plain.named_parameters() if p.grad is not None]
    for parameter_name, parameter in reached:
        twin = parameter_name.removesuffix("weight") + "parametrizations.weight.original"
        gradient = gradients.get(twin, gradients.get(parameter_name))
        scale = 1e-3 * float(parameter.grad.abs().max()) + 1e-12
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=scale)


def test_no_norm_is_left_to_run_after_folding():
    network = with_lively_norms("resnet18")
    fold_frozen_norms(network)
    assert not [m for m in network.modules() if "BatchNorm" in type(m).__name__]


def test_layers_up_to_the_frozen_stride_are_frozen_and_no_others():
    trunk = Trunk(ModelRecipe(trunk="resnet18", trunk_weights="none", frozen_stride=4), pretrained=True)
    trained = {n.split(".")[1] for n, p in trunk.named_parameters() if p.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}


def test_layers_beyond_the_coarsest_map_are_not_trained():
    recipe = ModelRecipe(trunk="mobilenetv3_small_050", strides=(4, 8), anchor_sizes=((8,), (16,)), frozen_stride=0)
    trunk = Trunk(recipe, pretrained=False)
    sum(m.sum() for m in trunk(torch.zeros(1, 3, 64, 64))).backward()
    assert [n for n, p in trunk.named_parameters() if p.requires_grad and p.grad is None] == []


def test_nothing_is_frozen_at_stride_zero():
    recipe = ModelRecipe(trunk="resnet18", trunk_weights="none", frozen_stride=0, trunk_norm="batch")
    assert all(p.requires_grad for p in Trunk(recipe, pretrained=True).parameters())


def test_grey_levels_are_normalised_as_the_trunk_was_pretrained():
    trunk = Trunk(ModelRecipe(trunk="resnet18", trunk_weights="none"), pretrained=True)
    torch.testing.assert_close(trunk.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]) * 255)


def test_an_unknown_trunk_is_a_clear_error():
    with pytest.raises(BadRecipe, match="resnet9000"):
        Trunk(ModelRecipe(trunk="resnet9000"), pretrained=False)


def test_a_stride_that_the_trunk_lacks_is_a_clear_error():
    with pytest.raises(BadRecipe, match=r"no features at stride \[6\]"):
        Trunk(ModelRecipe(trunk="resnet18", strides=(6, 8), anchor_sizes=((8,), (16,))), pretrained=False)
