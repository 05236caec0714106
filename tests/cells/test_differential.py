import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from marrowscope.cells.detections import Detections
from marrowscope.cells.differential import (
    Differential,
    MyeloidErythroid,
    Share,
    count_detections,
    count_labels,
    exact_interval,
)
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy

SCHEME = load_taxonomy("liu2022")


@given(st.integers(0, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_the_exact_binomial_one(case):
    count, total = case
    low, high = exact_interval(count, total)
    if total == 0:
        assert (low, high) == (0, 1)
        return
    judged = binomtest(count, total).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((judged.low, judged.high), abs=1e-9)


@pytest.mark.parametrize("total", [5, 20, 60])
@pytest.mark.parametrize("truth", [0.01, 0.05, 0.2, 0.5, 0.93])
def test_the_interval_holds_the_truth_at_least_as_often_as_it_says(total, truth):
    covered = sum(
        binom.pmf(count, total, truth)
        for count in range(total + 1)
        if exact_interval(count, total)[0] <= truth <= exact_interval(count, total)[1]
    )
    assert covered >= 0.95


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (97, 500, "19.4 % (16.0-23.1)"),
        (20, 100, "20.0 % (12.7-29.2)"),
        (100, 500, "20.0 % (16.6-23.8)"),
        (1, 100, "1.0 % (0.0-5.4)"),
        (0, 0, "-"),
    ],
)
def test_a_share_reads_as_a_doctor_reads_it(count, total, text):
    assert str(Share(count, total)) == text


def test_more_than_all_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.total"):
        exact_interval(3, 2)


@given(st.lists(st.integers(0, 19), max_size=80))
def test_shares_add_up_to_the_whole_by_class_and_by_lineage(labels):
    counted = count_labels(labels, SCHEME)
    assert counted.total == len(labels)
    assert sum(s.count for _, s in counted.classes) == sum(s.count for _, s in counted.lineages) == len(labels)


def test_what_is_not_counted_stays_outside_the_total():
    scheme = Taxonomy.from_labels(["myelocyte", "RBC", "Platelets"])
    counted = count_labels([0, 0, 1, 1, 1, 2], scheme)
    assert counted.total == 2
    assert [(c.name, n) for c, n in counted.uncounted] == [("RBC", 3), ("Platelets", 1)]
    assert [c.name for c, _ in counted.classes] == ["myelocyte"]


def test_the_ratio_carries_over_the_interval_of_the_share():
    ratio = MyeloidErythroid(300, 100)
    low, high = exact_interval(300, 400)
    assert ratio.ratio == 3
    assert ratio.interval == pytest.approx((low / (1 - low), high / (1 - high)))


def test_without_erythroid_cells_the_ratio_is_open_upwards():
    assert MyeloidErythroid(10, 0).ratio is None
    assert math.isinf(MyeloidErythroid(10, 0).interval[1])
    assert str(MyeloidErythroid(10, 0)) == "-"


def test_monocytes_are_not_myeloid_in_the_ratio():
    labels = [SCHEME.index(x) for x in ("myelocyte", "monoblast", "orthochromatic erythroblast")]
    ratio = count_labels(labels, SCHEME).myeloid_erythroid
    assert (ratio.myeloid, ratio.erythroid) == (1, 1)


def test_only_detections_with_the_score_are_counted():
    found = Detections([[0, 0, 5, 5]] * 2, [0, 1], [0.9, 0.2], SCHEME)
    assert count_detections([found, found], SCHEME, score=0.5).counts[:2] == (2, 0)


def test_counts_of_another_scheme_are_refused():
    with pytest.raises(ValueError, match="20, one a class, got 3"):
        Differential(SCHEME, (1, 2, 3))
