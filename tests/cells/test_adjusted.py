"""Counts corrected for known confusion: Rogan and Gladen's estimator, the laws of shares, and coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.adjusted import Confusion, adjust
from marrowscope.cells.differential import Differential
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy

LINEAGES = (Lineage.GRANULOCYTIC, Lineage.ERYTHROID, Lineage.LYMPHOID)


def scheme(classes: int, uncounted: int = 0) -> Taxonomy:
    """So many classes, the last `uncounted` of them outside the differential."""
    cells = [CellClass(f"C{i}", f"class {i}", LINEAGES[i % 3], counted=i < classes - uncounted) for i in range(classes)]
    return Taxonomy("test", tuple(cells))


def rows(matrix: np.ndarray) -> Confusion:
    return tuple(tuple(row) for row in matrix.astype(int).tolist())


def shares(counts: list[int], confusion: Confusion, *, draws: int = 50, seed: int = 0) -> np.ndarray:
    """(classes, 3): share, low, high, each 0..1."""
    found = adjust(Differential(scheme(len(counts)), tuple(counts)), confusion, draws=draws, seed=seed)
    assert found is not None
    return np.asarray([[s.percent, *s.interval] for _, s in found.classes]) / 100


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.02, 0.98), sensitivity=st.floats(0.6, 1), specificity=st.floats(0.6, 1))
def test_for_two_classes_it_is_the_estimator_of_rogan_and_gladen(
    share: float, sensitivity: float, specificity: float
) -> None:
    cells, names = 10**7, 10**6
    right, wrong = round(sensitivity * cells), round((1 - specificity) * cells)
    known = np.asarray([[right, cells - right, 0], [wrong, cells - wrong, 0], [0, 0, 0]])
    first = round(share * names)
    expected = (first / names + specificity - 1) / (sensitivity + specificity - 1)
    found = shares([first, names - first], rows(known))[0, 0]
    assert found == pytest.approx(np.clip(expected, 0, 1), abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(0, 400), min_size=2, max_size=8).filter(sum))
def test_a_detector_that_never_errs_gives_the_raw_shares_and_no_narrower_an_interval(counts: list[int]) -> None:
    known = np.zeros((len(counts) + 1,) * 2)
    known[np.diag_indices(len(counts))] = 10**6
    found = shares(counts, rows(known))
    raw = Differential(scheme(len(counts)), tuple(counts))
    np.testing.assert_allclose(found[:, 0], np.asarray(counts) / sum(counts), atol=1e-4)
    exact = np.asarray([s.interval for _, s in raw.classes]) / 100
    assert (found[:, 1] <= exact[:, 0] + 1e-3).all()
    assert (found[:, 2] >= exact[:, 1] - 1e-3).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 7))
def test_shares_are_shares_whatever_the_confusion(seed: int, classes: int) -> None:
    chance = np.random.default_rng(seed)
    known = chance.integers(0, chance.choice([1, 3, 50]) + 1, (classes + 1, classes + 1))
    known[-1, -1] = 0
    counts = [*chance.integers(0, 30, classes - 1), 1]
    found = shares(counts, rows(known))
    assert found[:, 0].sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert (found <= 1 + 1e-9).all()
    assert (found[:, 1] <= found[:, 0] + 1e-9).all()
    assert (found[:, 0] <= found[:, 2] + 1e-9).all()


def test_a_class_that_is_often_missed_counts_for_more_and_ghosts_count_for_nothing() -> None:
    missed = np.asarray([[5000, 0, 5000], [0, 10000, 0], [0, 0, 0]])
    np.testing.assert_allclose(shares([100, 100], rows(missed))[:, 0], [2 / 3, 1 / 3], atol=1e-3)
    # A quarter of all names stand where no cell is, and all of these are of the second class.
    ghosts = np.asarray([[10000, 0, 0], [0, 10000, 0], [0, 20000 // 3, 0]])
    np.testing.assert_allclose(shares([100, 100], rows(ghosts))[:, 0], [2 / 3, 1 / 3], atol=1e-3)


def test_few_validation_cells_make_a_wide_interval() -> None:
    known = np.asarray([[9, 1, 0], [1, 9, 0], [0, 0, 0]])
    few, many = (shares([300, 100], rows(known * times), draws=400)[0] for times in (1, 1000))
    assert few[2] - few[1] > 2 * (many[2] - many[1])


def test_a_class_without_validation_cells_is_taken_to_be_as_good_as_the_others() -> None:
    known = np.zeros((4, 4))
    known[0, 0] = known[1, 1] = 500
    found = shares([50, 50, 20], rows(known))
    np.testing.assert_allclose(found[:, 0], np.asarray([50, 50, 20]) / 120, atol=0.01)
    absent = shares([50, 50, 0], rows(known), draws=400)
    assert absent[2, 0] < 1e-3
    assert absent[0, 2] - absent[0, 1] < 0.25


def test_only_what_counts_shares_the_hundred_percent_and_lineages_are_sums() -> None:
    known = np.full((7, 7), 3)
    known[np.diag_indices(6)] = 60
    known[-1, -1] = 0
    taxonomy = scheme(6, uncounted=2)
    found = adjust(Differential(taxonomy, (40, 30, 20, 10, 200, 5)), rows(known))
    assert found is not None
    assert [c.code for c, _ in found.classes] == ["C0", "C1", "C2", "C3"]
    assert sum(s.percent for _, s in found.classes) == pytest.approx(100)
    for lineage, whole in found.lineages:
        parts = [s.percent for c, s in found.classes if c.lineage == lineage]
        assert whole.percent == pytest.approx(sum(parts))


def test_the_same_seed_gives_the_same_interval() -> None:
    known = rows(np.asarray([[90, 10, 3], [5, 80, 3], [4, 4, 0]]))
    np.testing.assert_array_equal(shares([30, 70], known, seed=3), shares([30, 70], known, seed=3))
    assert (shares([30, 70], known, seed=3) != shares([30, 70], known, seed=4)).any()


def test_without_a_cell_there_is_nothing_to_correct_and_a_foreign_confusion_is_refused() -> None:
    known = rows(np.eye(3))
    assert adjust(Differential(scheme(2), (0, 0)), known) is None
    with pytest.raises(ValueError, match="confusion must be"):
        adjust(Differential(scheme(3), (1, 1, 1)), known)


def test_the_interval_holds_the_truth_in_nineteen_of_twenty_marrows_and_the_raw_one_does_not() -> None:
    """A whole laboratory simulated: its validation cells, then its marrow, named by one confusing detector."""
    classes, chance = 6, np.random.default_rng(7)
    outcomes = np.zeros((classes + 1, classes + 1))
    for i in range(classes):
        outcomes[i, i], outcomes[i, (i + 1) % classes], outcomes[i, classes] = 0.8, 0.15, 0.05
    outcomes[-1, :-1] = 1 / classes
    held = raw_held = total = 0
    for seed in range(100):
        truth = chance.dirichlet(np.full(classes, 0.7))
        known = np.zeros((classes + 1, classes + 1))
        for i in range(classes):
            known[i] = chance.multinomial(80, outcomes[i])
        known[-1] = chance.multinomial(chance.binomial(int(known[:-1, :-1].sum()), 0.03), outcomes[-1])
        names = sum(chance.multinomial(n, outcomes[i])[:-1] for i, n in enumerate(chance.multinomial(400, truth)))
        names = names + chance.multinomial(chance.binomial(int(names.sum()), 0.03), outcomes[-1])[:-1]
        found = shares(names.tolist(), rows(known), draws=300, seed=seed)
        held += int(((found[:, 1] <= truth) & (truth <= found[:, 2])).sum())
        exact = [s.interval for _, s in Differential(scheme(classes), tuple(names.tolist())).classes]
        raw_held += sum(low <= 100 * t <= high for (low, high), t in zip(exact, truth, strict=True))
        total += classes
    assert held / total > 0.92
    assert raw_held / total < 0.75
