import numpy as np
import torch
from numpy.testing import assert_allclose

from marrowscope.cells.boxes import iou_matrix
from marrowscope.model.losses import overlap_with, paired_iou


def some_boxes(n, seed):
    corners = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)) * 60
    sides = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed + 1)) * 40 + 1
    return torch.cat([corners, corners + sides], dim=1)


def test_paired_iou_is_the_diagonal_of_the_iou_matrix():
    a, b = some_boxes(40, 0), some_boxes(40, 7)
    assert_allclose(paired_iou(a, b).numpy(), np.diag(iou_matrix(a.numpy(), b.numpy())), atol=1e-6)


def test_overlap_is_the_share_of_the_box_and_not_of_the_region():
    box = torch.tensor([[0.0, 0, 10, 10]])
    assert overlap_with(box, torch.tensor([[5.0, 0, 1000, 1000]])).item() == 0.5
    assert overlap_with(box, torch.tensor([[-50.0, -50, 50, 50], [90, 90, 99, 99]])).item() == 1.0


def test_without_regions_nothing_overlaps():
    assert overlap_with(some_boxes(3, 1), torch.zeros(0, 4)).tolist() == [0, 0, 0]
