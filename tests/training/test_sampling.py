"""The order of fields: complete, reproducible, resumable; rare classes more often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.training.sampling import EpochSampler, repeat_factors


@settings(deadline=None, derandomize=True)
@given(count=st.integers(0, 60), seed=st.integers(0, 2**32), epoch=st.integers(0, 50))
def test_each_field_is_seen_once_an_epoch(count, seed, epoch):
    sampler = EpochSampler(count, seed=seed)
    sampler.set_epoch(epoch)
    assert sorted(sampler) == list(range(count))
    assert len(sampler) == count


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = EpochSampler(50, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)
    used = EpochSampler(50, seed=1)
    for epoch in range(4):
        used.set_epoch(epoch)
        seen = list(used)
    assert seen == order(1, 3)


@settings(deadline=None, derandomize=True)
@given(position=st.integers(0, 40))
def test_an_epoch_is_taken_up_where_it_was_left(position):
    sampler = EpochSampler(30, seed=7)
    sampler.set_epoch(2)
    whole = list(sampler)
    resumed = EpochSampler(30, seed=7)
    resumed.set_epoch(2)
    resumed.start_at(position)
    # A loader may announce the same epoch once more before it begins.
    resumed.set_epoch(2)
    assert len(resumed) == max(30 - position, 0)
    assert whole[:position] + list(resumed) == whole
    resumed.set_epoch(3)
    assert sorted(resumed) == list(range(30))


def test_a_position_before_the_beginning_is_refused():
    with pytest.raises(ValueError, match="must not be negative"):
        EpochSampler(3, seed=0).start_at(-1)


@pytest.mark.parametrize("repeats", [np.ones(3), np.array([1, np.nan]), np.array([1, -1.0])])
def test_repeats_that_do_not_fit_are_refused(repeats):
    with pytest.raises(ValueError, match="repeats must be"):
        EpochSampler(2, seed=0, repeats=repeats)


def test_repeats_are_met_on_average_and_never_off_by_one():
    repeats = np.array([1.0, 1.25, 2.5, 3.0])
    sampler = EpochSampler(4, seed=0, repeats=repeats)
    counts = []
    for epoch in range(400):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler)
        counts.append(np.bincount(order, minlength=4))
    assert (np.abs(np.array(counts) - repeats) < 1).all()
    np.testing.assert_allclose(np.mean(counts, axis=0), repeats, atol=0.1)


def test_repeat_factors_are_those_of_the_definition():
    # Class 0 in all four fields, class 1 in one, class 2 in two.
    labels = [[0, 0], [0, 1], [0, 2, 2], [0, 2]]
    factors = repeat_factors(labels, threshold=0.75)
    np.testing.assert_allclose(factors, [1, np.sqrt(0.75 / 0.25), np.sqrt(0.75 / 0.5), np.sqrt(0.75 / 0.5)])


def test_a_frequent_class_or_an_empty_field_is_not_repeated():
    np.testing.assert_array_equal(repeat_factors([[0], [0], []], threshold=0.5), [1, 1, 1])
    np.testing.assert_array_equal(repeat_factors([[], []], threshold=0.5), [1, 1])
    assert repeat_factors([], threshold=0.5).shape == (0,)
    np.testing.assert_array_equal(repeat_factors([[0], [1]], threshold=0), [1, 1])


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValueError, match="threshold"):
        repeat_factors([[0]], threshold=threshold)
