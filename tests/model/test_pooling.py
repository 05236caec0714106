import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import MultiScaleRoIAlign

from marrowscope.model.pooling import RowPool

NAMES = ["8", "16", "32"]


def maps_of(height, width, *, images=2, channels=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(-(-height // s), -(-width // s)) for s in (8, 16, 32)]
    maps = [torch.randn(images, channels, h, w, generator=generator) for h, w in sizes]
    # Pixel by pixel, as the detector makes them.
    laid = [m.contiguous(memory_format=torch.channels_last).requires_grad_() for m in maps]
    return dict(zip(NAMES, laid, strict=True))


def both(boxes, height, width, samples):
    maps = maps_of(height, width, images=len(boxes))
    for pool in (RowPool(NAMES, 7, samples), MultiScaleRoIAlign(NAMES, 7, samples)):
        for m in maps.values():
            m.grad = None
        pooled = pool(maps, boxes, [(height, width)] * len(boxes))
        pooled.backward(torch.arange(pooled.numel(), dtype=torch.float32).view(pooled.shape).cos())
        yield pooled.detach(), [m.grad for m in maps.values()]


corner, side = st.floats(-40, 300, width=32), st.floats(0, 400, width=32)
rows = st.lists(st.tuples(corner, corner, side, side), min_size=1, max_size=6)


@given(st.lists(rows, min_size=1, max_size=3), st.sampled_from([1, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_rows_give_what_torchvision_gives_wherever_boxes_lie(images, samples):
    boxes = [torch.tensor(r) for r in images]
    boxes = [torch.cat([b[:, :2], b[:, :2] + b[:, 2:]], dim=1) for b in boxes]
    (ours, our_gradient), (theirs, their_gradient) = both(boxes, 256, 320, samples)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
    for a, b in zip(our_gradient, their_gradient, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("counts", [(0, 0), (3, 0), (0, 3)])
def test_images_without_boxes_are_fine(counts):
    boxes = [torch.tensor([[10.0, 20.0, 90.0, 80.0]]).repeat(n, 1) for n in counts]
    (ours, our_gradient), (theirs, _) = both(boxes, 256, 320, 2)
    assert ours.shape == (sum(counts), 5, 7, 7)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    assert all(g is not None for g in our_gradient)


def test_double_precision_is_left_to_torchvision():
    maps = {n: m.detach().double() for n, m in maps_of(64, 64, images=1).items()}
    boxes = [torch.tensor([[4.0, 4.0, 40.0, 50.0]], dtype=torch.float64)]
    expected = MultiScaleRoIAlign(NAMES, 7, 1)(maps, boxes, [(64, 64)])
    assert torch.equal(RowPool(NAMES, 7, 1)(maps, boxes, [(64, 64)]), expected)
