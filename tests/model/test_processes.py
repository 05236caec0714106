"""Two processes that rank together take the step of one process that holds the fields of both."""

import pytest
import torch
from numpy.testing import assert_allclose

from helpers.ranked_apart import (
    FIELDS,
    OPTIONS,
    SHARES,
    detector_of,
    entries,
    gradients,
    loss_and_gradient,
    run_two,
    step,
)
from marrowscope.model.processes import ALONE, ranked_together
from marrowscope.model.rcnn import MINIMISED
from oracles.rank_sort_oracle import rs_oracle


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return run_two(tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("number", range(len(OPTIONS)))
@pytest.mark.parametrize("name", SHARES)
def test_the_loss_of_two_processes_is_the_oracles_of_one_list(told, name, number):
    whole = [torch.cat(pair) for pair in zip(entries(name, 0), entries(name, 1), strict=True)]
    logits, ious, positive, ignore = whole
    expected = rs_oracle(logits, torch.where(ignore, -1.0, ious), *OPTIONS[number], positive=positive)
    alone = loss_and_gradient(whole, OPTIONS[number], ALONE)
    for one in told:
        for i, key in enumerate(("loss", "ranking", "sorting")):
            assert_allclose(one[f"{name}/{number}/{i}"], expected[key], atol=1e-12)
            assert_allclose(one[f"{name}/{number}/{i}"], alone[i], atol=1e-14)
    # Averaging over two processes halves what each sends.
    gradient = torch.cat([one[f"{name}/{number}/3"] for one in told]) / 2
    assert_allclose(gradient, expected["grad"], atol=1e-12)
    assert_allclose(gradient, alone[3], atol=1e-14)


@pytest.mark.parametrize("name", FIELDS)
def test_ranking_among_all_takes_the_step_of_one_process_with_the_batch_of_both(told, name):
    detector = detector_of("all processes")
    losses = step(detector, FIELDS[name])
    expected = gradients(detector)
    for one in told:
        for part in losses:
            assert_allclose(one[f"all processes/{name}/{part}"], losses[part], rtol=1e-5, atol=1e-7)
        error = (one[f"all processes/{name}/gradients"] - expected).norm()
        assert error <= 1e-5 * expected.norm()
    assert bool(expected.any()) == (name != "no cells at all")


def test_ranking_within_each_process_averages_the_steps_of_two(told):
    name = "cells in both"
    apart = []
    for place, seed in enumerate(FIELDS[name]):
        detector = detector_of("process")
        losses = step(detector, (seed,))
        apart.append(gradients(detector))
        for part in MINIMISED:
            if part in losses:
                assert_allclose(told[place][f"process/{name}/{part}"], losses[part], rtol=1e-5, atol=1e-7)
    expected = torch.stack(apart).mean(dim=0)
    for one in told:
        assert (one[f"process/{name}/gradients"] - expected).norm() <= 1e-5 * expected.norm()


def test_the_two_scopes_are_two_losses(told):
    names = [f"{scope}/cells in both/gradients" for scope in ("process", "all processes")]
    within, among = (told[0][name] for name in names)
    assert (within - among).norm() > 1e-3 * among.norm()


def test_a_process_by_itself_ranks_alone_whatever_the_recipe_says():
    assert ranked_together(detector_of("all processes").recipe) == ALONE
