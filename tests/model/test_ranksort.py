"""The ranking loss against the oracle's loops, and the laws it must keep whatever the input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from marrowscope.errors import TrainingDiverged
from marrowscope.model.ranksort import RankSortLoss, rank_sort_loss
from oracles.rank_sort_loop import rank_sort_loop
from oracles.rank_sort_oracle import rs_oracle

STEP_WIDTHS = (0.0, 0.25, 0.5, 1.0, 2.0)
SORT_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}

seeds = st.integers(0, 2**32 - 1)
step_widths = st.sampled_from(STEP_WIDTHS)
sort_weights = st.sampled_from(SORT_WEIGHTS)


class Batch:
    """Logits, IoUs and masks drawn from a seed: rounded or not (ties), tight or wide, few or many positives."""

    def __init__(self, seed: int, size: int | None = None, dtype: torch.dtype = torch.float64, offset: float = 0.0):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(0, 60)) if size is None else size
        logits = rng.normal(size=size) * rng.choice([0.1, 1.0, 5.0])
        if rng.random() < 0.4:
            logits = np.round(logits, int(rng.integers(0, 3)))
        kind = rng.random(size)
        positive = kind < rng.choice([0.0, 0.1, 0.4, 1.0])
        ious = np.round(rng.random(size), int(rng.choice([1, 6]))) * (rng.random(size) > 0.1)
        self.logits = torch.tensor(logits + offset, dtype=dtype)
        self.ious = torch.tensor(np.where(positive, ious, 0.0), dtype=dtype)
        self.positive = torch.tensor(positive)
        self.ignore = torch.tensor((kind > 0.9) & ~positive)
        self.negative = ~(self.positive | self.ignore)

    def loss(self, *, sort_weight: float = 0.5, step_width: float = 0.5) -> tuple[RankSortLoss, Tensor]:
        """The loss of this batch and the gradient of its total."""
        return loss_and_gradient(
            self.logits, self.ious, self.positive, self.ignore, sort_weight=sort_weight, step_width=step_width
        )

    def oracle(self, *, sort_weight: float, step_width: float) -> dict[str, np.ndarray]:
        targets = torch.where(self.ignore, -1.0, self.ious.double())
        return rs_oracle(self.logits.double(), targets, sort_weight, step_width, positive=self.positive)


def loss_and_gradient(
    logits: Tensor, ious: Tensor, positive: Tensor, ignore: Tensor | None = None, **options: float
) -> tuple[RankSortLoss, Tensor]:
    leaf = logits.clone().requires_grad_()
    loss = rank_sort_loss(leaf, ious, positive, ignore=ignore, **options)
    loss.total.backward()
    assert leaf.grad is not None
    return loss, leaf.grad


def assert_agrees(loss: RankSortLoss, gradient: Tensor, expected: dict[str, np.ndarray], tolerance: float) -> None:
    assert abs(loss.total.item() - expected["loss"]) <= tolerance
    assert abs(loss.ranking.item() - expected["ranking"]) <= tolerance
    assert abs(loss.sorting.item() - expected["sorting"]) <= tolerance
    assert np.abs(gradient.double().numpy() - expected["grad"]).max(initial=0) <= tolerance


# --- exactness ---


def test_the_oracle_passes_its_own_hand_checked_cases():
    assert rs_oracle([0.0, 1.0], [0.8, 0.0], 1.0, 0.0)["ranking"] == 0.5
    assert abs(rs_oracle([0.0, 1.0], [0.8, 0.0], 1.0, 0.5)["ranking"] - 2 / 3) < 1e-15  # the self term counts 1/2
    assert abs(rs_oracle([0.0, 2.0], [0.9, 0.5], 1.0, 0.0)["sorting"] - 0.1) < 1e-15
    assert rs_oracle([0.0, 0.0], [0.7, 0.0], 1.0, 0.0)["ranking"] == 0.5  # a tie is an error for the hard step


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seeds, sort_weights, step_widths, st.sampled_from([torch.float64, torch.float32]), st.sampled_from([0, 1000]))
def test_value_and_gradient_are_the_oracles(seed, sort_weight, step_width, dtype, offset):
    batch = Batch(seed, dtype=dtype, offset=offset)
    loss, gradient = batch.loss(sort_weight=sort_weight, step_width=step_width)
    expected = batch.oracle(sort_weight=sort_weight, step_width=step_width)
    assert_agrees(loss, gradient, expected, TOLERANCE[dtype])


entries = st.tuples(
    st.sampled_from(["positive", "negative", "ignored"]),
    st.sampled_from([-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0]) | st.floats(-30, 30),
    st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(entries, max_size=12), sort_weights, step_widths)
def test_value_and_gradient_are_the_oracles_on_small_hand_like_cases(rows, sort_weight, step_width):
    batch = Batch(0, size=0)
    batch.logits = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    batch.positive = torch.tensor([row[0] == "positive" for row in rows], dtype=torch.bool)
    batch.ignore = torch.tensor([row[0] == "ignored" for row in rows], dtype=torch.bool)
    batch.ious = torch.tensor([row[2] for row in rows], dtype=torch.float64) * batch.positive
    loss, gradient = batch.loss(sort_weight=sort_weight, step_width=step_width)
    assert_agrees(loss, gradient, batch.oracle(sort_weight=sort_weight, step_width=step_width), 1e-12)


@pytest.mark.parametrize("step_width", [0.0, 0.5])
@pytest.mark.parametrize("spread", [0.1, 1.0, 6.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_many_negatives_take_the_table_look_up_and_stay_exact(spread, step_width, dtype):
    # Above 2 x 4096 values the pieces come from a table; a spread of 1 and more leaves no piece with most values.
    generator = torch.Generator().manual_seed(7)
    batch = Batch(0, size=0)
    batch.logits = (torch.randn(20_000, generator=generator) * spread + 40).to(dtype)
    batch.positive = torch.arange(20_000) % 3000 == 5
    batch.ignore = torch.arange(20_000) % 7 == 3
    batch.positive &= ~batch.ignore
    batch.ious = torch.rand(20_000, generator=generator).to(dtype) * batch.positive
    loss, gradient = batch.loss(sort_weight=0.5, step_width=step_width)
    assert_agrees(loss, gradient, batch.oracle(sort_weight=0.5, step_width=step_width), TOLERANCE[dtype])


@pytest.mark.parametrize("step_width", STEP_WIDTHS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_loop_that_is_our_rival_computes_the_same_loss(seed, step_width):
    batch = Batch(seed, size=50)
    batch.positive[:5], batch.ignore[:] = True, False
    ranking, sorting, update = rank_sort_loop(batch.logits, batch.ious, batch.positive, step_width=step_width)
    expected = batch.oracle(sort_weight=0.5, step_width=step_width)
    assert abs(ranking.item() - expected["ranking"]) < 1e-12
    assert abs(sorting.item() - expected["sorting"]) < 1e-12
    assert np.abs(update.numpy() - expected["grad"]).max() < 1e-12


@pytest.mark.parametrize("step_width", [0.0, 0.5])
def test_positives_by_the_hundred_are_sorted_exactly_in_blocks_of_rows(step_width):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4000, generator=generator, dtype=torch.float64)
    ious = torch.rand(4000, generator=generator, dtype=torch.float64).round(decimals=2)
    positive = torch.arange(4000) % 5 == 0
    loss, gradient = loss_and_gradient(logits, ious, positive, sort_weight=2.0, step_width=step_width)
    ranking, sorting, update = rank_sort_loop(logits, ious, positive, sort_weight=2.0, step_width=step_width)
    assert (loss.ranking - ranking).abs() < 1e-12
    assert (loss.sorting - sorting).abs() < 1e-12
    assert (gradient - update).abs().max() < 1e-12


# --- laws ---


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, sort_weights, step_widths)
def test_the_gradient_sums_to_zero_pushes_negatives_down_and_leaves_ignored_alone(seed, sort_weight, step_width):
    batch = Batch(seed)
    _, gradient = batch.loss(sort_weight=sort_weight, step_width=step_width)
    assert gradient.sum().abs() < 1e-12
    assert (gradient[batch.negative] >= 0).all()
    assert (gradient[batch.ignore] == 0).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, step_widths, st.sampled_from([-64.0, 0.5, 3.0, 1024.0]))
def test_adding_a_constant_to_all_logits_changes_nothing(seed, step_width, constant):
    batch = Batch(seed)
    batch.logits = (batch.logits * 4096).round() / 4096  # so that adding the constant is exact
    loss, gradient = batch.loss(step_width=step_width)
    batch.logits = batch.logits + constant
    shifted_loss, shifted_gradient = batch.loss(step_width=step_width)
    assert (loss.total - shifted_loss.total).abs() < 1e-12
    torch.testing.assert_close(shifted_gradient, gradient, atol=1e-12, rtol=0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, step_widths)
def test_the_order_of_the_entries_does_not_matter(seed, step_width):
    batch = Batch(seed)
    loss, gradient = batch.loss(step_width=step_width)
    order = torch.randperm(len(batch.logits), generator=torch.Generator().manual_seed(seed % 1000))
    shuffled_loss, shuffled_gradient = loss_and_gradient(
        batch.logits[order], batch.ious[order], batch.positive[order], batch.ignore[order], step_width=step_width
    )
    assert (loss.total - shuffled_loss.total).abs() < 1e-13
    torch.testing.assert_close(shuffled_gradient, gradient[order], atol=1e-13, rtol=0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, sort_weights, step_widths)
def test_value_and_gradient_are_affine_in_the_sort_weight(seed, sort_weight, step_width):
    batch = Batch(seed)
    (at_0, gradient_0), (at_1, gradient_1), (at_w, gradient_w) = (
        batch.loss(sort_weight=w, step_width=step_width) for w in (0.0, 1.0, sort_weight)
    )
    assert (at_w.total - (at_0.total + sort_weight * (at_1.total - at_0.total))).abs() < 1e-12
    torch.testing.assert_close(gradient_w, gradient_0 + sort_weight * (gradient_1 - gradient_0), atol=1e-12, rtol=0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, step_widths)
def test_negatives_below_every_ramp_can_be_dropped(seed, step_width):
    batch = Batch(seed, size=40)
    batch.positive[0], batch.ignore[0] = True, False
    loss, gradient = batch.loss(step_width=step_width)
    relevant = batch.positive | (batch.logits >= batch.logits[batch.positive].min() - step_width)
    few_loss, few_gradient = loss_and_gradient(
        *(values[relevant] for values in (batch.logits, batch.ious, batch.positive, batch.ignore)),
        step_width=step_width,
    )
    assert (loss.total - few_loss.total).abs() < 1e-13
    assert (gradient[~relevant] == 0).all()
    torch.testing.assert_close(few_gradient, gradient[relevant], atol=1e-13, rtol=0)


@pytest.mark.parametrize("sort_weight", [0.0, 0.5, 1.0])
def test_descent_ends_ranking_errors_and_sorts_only_if_asked_to(sort_weight):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, generator=generator, dtype=torch.float64)
    positive = torch.arange(60) < 12
    ious = torch.linspace(0.5, 1, 60, dtype=torch.float64)
    logits[positive] = logits[positive].sort(descending=True).values  # every pair of positives the wrong way round
    first, _ = loss_and_gradient(logits, ious, positive, sort_weight=sort_weight, step_width=0.0)
    for _ in range(120):
        last, gradient = loss_and_gradient(logits, ious, positive, sort_weight=sort_weight, step_width=0.0)
        logits = logits - 5.0 * gradient
    assert first.ranking > 0.3
    assert last.ranking == 0
    assert (last.sorting == 0) == (sort_weight > 0)


def test_the_gradient_is_not_the_derivative():
    batch = Batch(5, size=12)
    batch.positive[:4], batch.ignore[:] = True, False

    def total(logits: Tensor) -> Tensor:
        return rank_sort_loss(logits, batch.ious, batch.positive).total

    assert not torch.autograd.gradcheck(total, batch.logits.clone().requires_grad_(), raise_exception=False)


# --- edges ---


def test_without_positives_the_loss_is_zero_and_still_attached():
    for size in (0, 1, 5):
        loss, gradient = loss_and_gradient(torch.randn(size), torch.zeros(size), torch.zeros(size, dtype=torch.bool))
        assert loss.total.requires_grad
        assert loss.total.item() == loss.ranking.item() == loss.sorting.item() == 0
        assert torch.equal(gradient, torch.zeros(size))


def test_a_positive_of_iou_zero_is_still_a_positive():
    loss, gradient = loss_and_gradient(
        torch.tensor([0.0, 1.0]), torch.zeros(2), torch.tensor([True, False]), step_width=0.0
    )
    assert loss.ranking == 0.5
    assert gradient.tolist() == [-0.5, 0.5]


def test_without_negatives_only_the_order_of_the_positives_counts():
    loss, gradient = loss_and_gradient(
        torch.tensor([0.0, 2.0]), torch.tensor([0.9, 0.5]), torch.tensor([True, True]), sort_weight=0.5
    )
    assert loss.ranking == 0
    assert loss.sorting > 0
    assert gradient[0] == -gradient[1] < 0


def test_ignore_wins_over_positive():
    both = torch.tensor([True, False])
    loss, gradient = loss_and_gradient(torch.tensor([0.0, 1.0]), torch.ones(2), both, both)
    assert loss.total == 0
    assert gradient.tolist() == [0, 0]


def test_ignored_logits_need_not_be_finite():
    batch = Batch(11, size=30)
    batch.positive[0], batch.ignore[:4] = True, torch.tensor([False, True, True, True])
    batch.positive &= ~batch.ignore
    loss, gradient = batch.loss()
    batch.logits[1:4] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    broken_loss, broken_gradient = batch.loss()
    assert torch.equal(loss.total, broken_loss.total)
    assert torch.equal(gradient, broken_gradient)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("positive", [True, False])
def test_a_logit_that_is_not_finite_stops_training_with_its_place(value, positive):
    with pytest.raises(TrainingDiverged, match="1 of 3 logits are not finite, the first is entry 1"):
        rank_sort_loss(torch.tensor([0.0, value, 1.0]), torch.ones(3), torch.tensor([False, positive, False]))


def test_an_iou_that_is_not_finite_stops_training():
    with pytest.raises(TrainingDiverged, match="IoU of a positive"):
        rank_sort_loss(torch.zeros(2), torch.tensor([float("nan"), 0.0]), torch.tensor([True, False]))


@pytest.mark.parametrize("far", [3e4, 1e30, 3e38])
def test_negatives_at_any_distance_count_one_above_and_nothing_below(far):
    logits = torch.tensor([0.0, far, -far, far])
    loss, gradient = loss_and_gradient(logits, torch.ones(4), torch.tensor([True, False, False, False]))
    assert loss.ranking.item() == pytest.approx(2 / 2.5, abs=1e-7)
    assert gradient.tolist() == pytest.approx([-0.8, 0.4, 0.0, 0.4], abs=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 2)}, "logits must be"),
        ({"logits": torch.zeros(3, dtype=torch.int64)}, "logits must be"),
        ({"ious": torch.zeros(4)}, "ious must have the shape"),
        ({"ious": torch.zeros(3, dtype=torch.int64)}, "ious must be floating"),
        ({"positive": torch.zeros(3)}, "positive must be bool"),
        ({"positive": torch.zeros(3, dtype=torch.bool, device="meta")}, "positive must be on the device"),
        ({"ignore": torch.zeros(2, dtype=torch.bool)}, "ignore must have the shape"),
        ({"sort_weight": -1.0}, "sort_weight"),
        ({"sort_weight": float("nan")}, "sort_weight"),
        ({"step_width": -0.5}, "step_width"),
        ({"step_width": 1e-9}, "step_width"),
        ({"step_width": float("inf")}, "step_width"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(change, message):
    arguments = {"logits": torch.zeros(3), "ious": torch.zeros(3), "positive": torch.zeros(3, dtype=torch.bool)}
    with pytest.raises(ValueError, match=message):
        rank_sort_loss(**(arguments | change))


# --- as part of a graph ---


def test_backward_multiplies_by_what_comes_in_and_passes_through_the_graph():
    batch = Batch(8, size=40)
    batch.positive[:3], batch.ignore[:] = True, False
    _, gradient = batch.loss()
    leaf = batch.logits.clone().requires_grad_()
    (3 * rank_sort_loss(2 * leaf - leaf, batch.ious, batch.positive).total).backward()
    torch.testing.assert_close(leaf.grad, 3 * gradient, atol=1e-14, rtol=0)


def test_the_ious_get_no_gradient_and_the_parts_are_detached():
    ious = torch.tensor([0.5, 0.0], requires_grad=True)
    loss = rank_sort_loss(torch.zeros(2, requires_grad=True), ious, torch.tensor([True, False]))
    loss.total.backward()
    assert ious.grad is None
    assert not loss.ranking.requires_grad
    assert not loss.sorting.requires_grad


def test_inputs_are_left_as_they_were():
    batch = Batch(8, size=40)
    before = [values.clone() for values in (batch.logits, batch.ious, batch.positive, batch.ignore)]
    rank_sort_loss(batch.logits, batch.ious, batch.positive, ignore=batch.ignore)
    for was, values in zip(before, (batch.logits, batch.ious, batch.positive, batch.ignore), strict=True):
        assert torch.equal(was, values)


def test_logits_may_be_a_strided_view():
    batch = Batch(9, size=40)
    batch.positive[:3], batch.ignore[:] = True, False
    _, gradient = batch.loss()
    table = torch.stack((batch.logits, batch.logits), dim=1).requires_grad_()
    rank_sort_loss(table[:, 1], batch.ious, batch.positive).total.backward()
    assert torch.equal(table.grad[:, 1], gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_logits_are_ranked_in_float32_also_under_autocast(dtype):
    batch = Batch(10, size=50, dtype=torch.float32)
    batch.positive[:5], batch.ignore[:] = True, False
    coarse = batch.logits.to(dtype)
    exact, exact_gradient = loss_and_gradient(coarse.float(), batch.ious, batch.positive)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradient = loss_and_gradient(coarse, batch.ious, batch.positive)
    assert loss.total.dtype == torch.float32
    assert torch.equal(loss.total, exact.total)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, exact_gradient.to(dtype))


def test_an_update_too_small_for_float16_survives_a_loss_scale():
    logits = torch.zeros(20_001, dtype=torch.float16, requires_grad=True)
    positive = torch.arange(20_001) == 0
    (65536 * rank_sort_loss(logits, torch.ones(20_001), positive).total).backward()
    assert (logits.grad[1:] > 3).all()  # 65536 / 20,000, though 1 / 20,000 alone would be a coarse float16


def test_the_same_input_gives_the_same_bits_twice():
    batch = Batch(12, size=30_000, dtype=torch.float32)
    batch.positive = torch.arange(30_000) % 100 == 0
    (loss, gradient), (again, gradient_again) = batch.loss(), batch.loss()
    assert torch.equal(loss.total, again.total)
    assert torch.equal(gradient, gradient_again)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_a_gpu_gives_the_numbers_of_the_cpu(spread):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(50_000, generator=generator) * spread
    ious, positive = torch.rand(50_000, generator=generator), torch.arange(50_000) % 500 == 0
    loss, gradient = loss_and_gradient(logits, ious, positive)
    there, gradient_there = loss_and_gradient(logits.cuda(), ious.cuda(), positive.cuda())
    assert (loss.total - there.total.cpu()).abs() < 1e-6
    assert (gradient - gradient_there.cpu()).abs().max() < 1e-6
