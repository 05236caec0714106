import pytest
import torch
from torchvision.ops import box_iou

from helpers.tiny import paint, tiny_recipe
from marrowscope.model.config import ModelRecipe
from marrowscope.model.rcnn import MINIMISED, CellDetector, batch_images

ANCHORS = "model.anchor_sizes=[[16], [22], [30]]"
KINDS = {
    "ranked": (),
    "softmax": ("model.loss=softmax",),
    "second stage ranked": ("model.ranked_stages=second",),
    "smooth L1, fixed weight": ("model.box_loss=smooth_l1", "model.box_weight=2.0"),
    "boxes per class": ("model.box_regression=per class",),
    "softmax, boxes per class": ("model.loss=softmax", "model.box_regression=per class"),
}


def recipe_of(*settings) -> ModelRecipe:
    return tiny_recipe(ANCHORS, *settings).model


def batch_of(*seeds):
    fields = [paint(s) for s in seeds]
    images = [torch.from_numpy(f.pixels).permute(2, 0, 1) for f, _ in fields]
    targets = [
        {"boxes": torch.from_numpy(t.boxes), "labels": torch.from_numpy(t.labels), "ignored": torch.zeros(0, 4)}
        for _, t in fields
    ]
    return batch_images(images), [(i.shape[1], i.shape[2]) for i in images], targets


def without_cells(target):
    return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "ignored": target["ignored"]}


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
def test_a_step_gives_finite_losses_and_a_gradient_to_every_trained_parameter(settings):
    torch.manual_seed(0)
    detector = CellDetector(recipe_of(*settings), 2).train()
    losses = detector(*batch_of(1, 2))
    assert all(torch.isfinite(v) for v in losses.values())
    torch.testing.assert_close(losses["total"], sum(v for k, v in losses.items() if k in MINIMISED))
    losses["total"].backward()
    assert [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
def test_fields_without_cells_give_finite_losses_that_still_reach_every_parameter(settings):
    torch.manual_seed(0)
    detector = CellDetector(recipe_of(*settings), 2).train()
    images, sizes, targets = batch_of(1, 2)
    losses = detector(images, sizes, [without_cells(t) for t in targets])
    assert torch.isfinite(losses["total"])
    losses["total"].backward()
    # DDP waits for a gradient of every parameter, whatever the fields hold.
    assert [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None] == []


def test_without_cells_ranking_teaches_nothing():
    torch.manual_seed(0)
    detector = CellDetector(recipe_of(), 2).train()
    images, sizes, targets = batch_of(1)
    losses = detector(images, sizes, [without_cells(targets[0])])
    assert losses["total"] == 0
    losses["total"].backward()
    assert all(not p.grad.any() for p in detector.parameters() if p.grad is not None)


def test_what_is_ignored_is_neither_taught_nor_penalised():
    """With all but its cells ignored, no anchor and no proposal is a negative: nothing is out of rank."""
    torch.manual_seed(0)
    detector = CellDetector(recipe_of(), 2).train()
    images, sizes, targets = batch_of(1)
    everywhere = [targets[0] | {"ignored": torch.tensor([[-100.0, -100, 300, 300]])}]
    taught = detector(images, sizes, targets)
    spared = detector(images, sizes, everywhere)
    assert taught["rpn_ranking"] > 0
    assert spared["rpn_ranking"] == 0
    # Other classes of a positive proposal stay negatives: that a cell is here, and which, is known.
    assert spared["roi_ranking"] < taught["roi_ranking"]


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
def test_detections_are_sorted_inside_the_field_and_of_the_known_classes(settings):
    torch.manual_seed(0)
    detector = CellDetector(recipe_of(*settings), 2).eval()
    images, sizes, _ = batch_of(1, 2)
    for found, (height, width) in zip(detector.detect(images, sizes), sizes, strict=True):
        assert 0 < len(found["scores"]) <= 100
        assert (found["scores"].diff() <= 0).all()
        assert set(found["labels"].tolist()) <= {0, 1}
        assert (found["boxes"][:, :2] >= 0).all()
        assert (found["boxes"][:, 2] <= width).all()
        assert (found["boxes"][:, 3] <= height).all()


def test_an_untrained_detector_gives_about_the_prior_score():
    torch.manual_seed(0)
    detector = CellDetector(recipe_of("model.score_prior=0.05"), 2).eval()
    images, sizes, _ = batch_of(1)
    (found,) = detector.detect(images, sizes)
    assert 0.04 < found["scores"].mean() < 0.06


def test_lambda_reaches_the_loss():
    losses = {}
    for weight in ("0.0", "1.0"):
        torch.manual_seed(0)
        detector = CellDetector(recipe_of(f"model.sort_weight={weight}"), 2).train()
        losses[weight] = detector(*batch_of(1, 2))
    rise = losses["1.0"]["roi_rank"] - losses["0.0"]["roi_rank"]
    assert losses["1.0"]["roi_sorting"] > 0
    torch.testing.assert_close(rise.detach(), losses["1.0"]["roi_sorting"], rtol=1e-4, atol=1e-6)


def all_found_and_named(detector, images, sizes, targets):
    for found, target in zip(detector.eval().detect(images, sizes), targets, strict=True):
        best = found["boxes"][: len(target["boxes"])], found["labels"][: len(target["boxes"])]
        if not len(best[0]):
            return False
        overlap, which = box_iou(target["boxes"], best[0]).max(dim=1)
        if not (overlap > 0.5).all() or best[1][which].tolist() != target["labels"].tolist():
            return False
    return True


@pytest.mark.parametrize("loss", ["ranked", "softmax"])
def test_a_few_steps_on_one_field_find_and_name_its_cells(loss):
    torch.manual_seed(0)
    detector = CellDetector(recipe_of(f"model.loss={loss}"), 2)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    images, sizes, targets = batch_of(5)
    # How many steps it takes depends on the processor's rounding: 80 to 200 were seen.
    for _ in range(20):
        detector.train()
        for _ in range(20):
            optimiser.zero_grad()
            detector(images, sizes, targets)["total"].backward()
            optimiser.step()
        if all_found_and_named(detector, images, sizes, targets):
            return
    pytest.fail("400 steps did not suffice")


def test_fields_of_different_sizes_are_padded_with_their_own_colour():
    a = torch.full((3, 30, 50), 200, dtype=torch.uint8)
    b = torch.full((3, 40, 20), 100, dtype=torch.uint8)
    batch = batch_images([a, b])
    assert batch.shape == (2, 3, 64, 64)
    assert (batch[0] == 200).all()
    assert (batch[1] == 100).all()


def test_bfloat16_autocast_gives_the_loss_in_float32():
    torch.manual_seed(0)
    detector = CellDetector(recipe_of(), 2).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = detector(*batch_of(1, 2))
    assert losses["roi_rank"].dtype == torch.float32
    losses["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
