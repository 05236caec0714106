"""Prototypes are Fisher's discriminant: judged by the densities written out, and by what chance does to a few cells."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from marrowscope.model.prototypes import SHRINKAGE, TEMPERATURE, KnownCells, Prototypes

WIDTH = 6


def cells(seed: int, *, classes: int = 3, each: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and labels of cells that scatter about means of their own, more along some axes than along others."""
    chance = torch.Generator().manual_seed(seed)
    means = 3 * torch.randn(classes, WIDTH, generator=chance)
    labels = torch.arange(classes).repeat(each)
    return means[labels] + torch.randn(len(labels), WIDTH, generator=chance) * torch.linspace(0.3, 2, WIDTH), labels


def test_means_and_covariance_are_those_of_numpy() -> None:
    features, labels = cells(0)
    known = KnownCells.of(features, labels, 3)
    by_class = [features[labels == k].double().numpy() for k in range(3)]
    np.testing.assert_allclose(known.means, [x.mean(axis=0) for x in by_class], atol=1e-5)
    np.testing.assert_allclose(known.covariance, np.mean([np.cov(x.T) for x in by_class], axis=0), rtol=1e-4, atol=1e-5)
    assert known.counts.tolist() == [40, 40, 40]


def test_a_class_without_a_cell_has_no_say() -> None:
    features, labels = cells(0)
    three = KnownCells.of(features, labels, 3)
    bucket = KnownCells.of(features, labels + (labels == 2), 4)  # between known and new, a class that nobody is of
    bucket = replace(bucket, covariance=three.covariance)
    said, with_bucket = (
        Prototypes(known, 1)(features, torch.zeros(len(features), len(known.counts) - 1)).exp()[:, -1]
        for known in (three, bucket)
    )
    torch.testing.assert_close(said, with_bucket)


@given(st.integers(0, 10_000))
def test_the_odds_are_those_of_tempered_normal_densities_with_one_shrunk_covariance(seed: int) -> None:
    features, labels = cells(seed)
    known = KnownCells.of(features, labels, 3)
    # So many cells that a mean owes nothing to chance.
    sure = KnownCells(known.means, known.counts * 1e9, known.covariance)
    covariance = known.covariance.double().numpy()
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / WIDTH * np.eye(WIDTH)
    said = [multivariate_normal(mean, covariance).logpdf(features.numpy()) for mean in known.means.numpy()]
    density = np.exp(np.asarray(said) / TEMPERATURE)
    found = Prototypes(sure, 1)(features, torch.zeros(len(features), 2)).exp().numpy()
    np.testing.assert_allclose(found[:, 2], density[2] / np.sum(density, axis=0), atol=2e-4)


@given(st.integers(0, 10_000), st.integers(1, 2))
def test_what_known_classes_divide_among_themselves_stays_the_readers_affair(seed: int, added: int) -> None:
    features, labels = cells(seed)
    logits = torch.randn(len(features), 3 - added, generator=torch.Generator().manual_seed(seed))
    said = Prototypes(KnownCells.of(features, labels, 3), added)(features, logits).exp()
    torch.testing.assert_close(said.sum(dim=1), torch.ones(len(said)))
    rest = said[:, :-added]
    sure = rest.sum(dim=1) > 1e-6
    torch.testing.assert_close((rest / rest.sum(dim=1, keepdim=True))[sure], logits.softmax(dim=1)[sure])


def test_a_few_cells_are_not_farther_from_their_mean_than_many_on_average() -> None:
    features, labels = cells(4, each=4000)
    known = KnownCells.of(features[labels < 2], labels[labels < 2], 2)
    pool = features[labels == 2]
    chance = torch.Generator().manual_seed(0)

    def level(count: int) -> float:
        """The mean bias of a class known from so many cells."""
        drawn = [pool[torch.randperm(len(pool), generator=chance)[:count]] for _ in range(400)]
        return float(np.mean([float(Prototypes(known.with_class(shots), 1).bias[2]) for shots in drawn]))

    many = float(Prototypes(known.with_class(pool), 1).bias[2])
    assert level(5) == pytest.approx(many, abs=0.06)


def test_shots_of_a_class_far_off_are_told_apart() -> None:
    features, labels = cells(1)
    known = KnownCells.of(features[labels < 2], labels[labels < 2], 2)
    new = features[labels == 2]
    said = Prototypes(known.with_class(new[:5]), 1)(features, torch.zeros(len(features), 2)).argmax(dim=1)
    assert ((said == 2) == (labels == 2)).float().mean() > 0.97
