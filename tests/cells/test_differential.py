"""The differential: counts, exact intervals judged by scipy and by enumeration, and the M:E ratio."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from marrowscope.cells.detections import Detections
from marrowscope.cells.differential import (
    Differential,
    MyeloidErythroid,
    Share,
    count_detections,
    count_labels,
    exact_interval,
)
from marrowscope.cells.taxonomy import Lineage, Taxonomy, load_taxonomy

CLINICAL = load_taxonomy("clinical")
INFINITE = float("inf")
tallies = st.lists(st.integers(0, 300), min_size=len(CLINICAL), max_size=len(CLINICAL)).map(tuple)


@st.composite
def counts_of_totals(draw: st.DrawFn) -> tuple[int, int]:
    total = draw(st.integers(1, 3000))
    return draw(st.integers(0, total)), total


@pytest.mark.parametrize(
    ("percent", "total", "printed"),
    [
        *[(1, 100, "0.0-5.4"), (1, 200, "0.1-3.6"), (1, 500, "0.3-2.3"), (1, 1000, "0.5-1.8")],
        *[(5, 100, "1.6-11.3"), (5, 200, "2.4-9.0"), (5, 500, "3.3-7.3"), (5, 1000, "3.7-6.5")],
        *[(20, 100, "12.7-29.2"), (20, 200, "14.7-26.2"), (20, 500, "16.6-23.8"), (20, 1000, "17.6-22.6")],
        (19.4, 500, "16.0-23.1"),
    ],
)
def test_intervals_are_those_of_the_table_of_exact_ones(percent: float, total: int, printed: str) -> None:
    assert str(Share(round(percent * total / 100), total)) == f"{percent:.1f} % ({printed})"


@given(counts_of_totals(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_intervals_agree_with_scipy(counted: tuple[int, int], confidence: float) -> None:
    count, total = counted
    judge = binomtest(count, total).proportion_ci(confidence, method="exact")
    assert exact_interval(count, total, confidence) == pytest.approx((judge.low, judge.high), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("total", [1, 2, 3, 7, 12, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_cover_the_truth_at_least_as_often_as_promised(total: int, confidence: float) -> None:
    intervals = [exact_interval(k, total, confidence) for k in range(total + 1)]
    # Coverage falls at the ends of the intervals: just beside them is where a narrow one would be caught.
    ends = {end + step for interval in intervals for end in interval for step in (-1e-7, 1e-7)}
    for p in (p for p in ends | {0.0, 0.5, 1.0} if 0 <= p <= 1):
        coverage = sum(
            math.comb(total, k) * p**k * (1 - p) ** (total - k)
            for k, (low, high) in enumerate(intervals)
            if low <= p <= high
        )
        assert coverage >= confidence - 1e-9, p


@given(counts_of_totals())
def test_an_interval_holds_the_proportion_and_mirrors_with_it(counted: tuple[int, int]) -> None:
    count, total = counted
    low, high = exact_interval(count, total)
    assert 0 <= low <= count / total <= high <= 1
    assert (low == 0, high == 1) == (count == 0, count == total)
    assert exact_interval(total - count, total) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(counts_of_totals())
def test_more_cells_narrow_the_interval(counted: tuple[int, int]) -> None:
    (low, high), (low_4, high_4) = exact_interval(*counted), exact_interval(4 * counted[0], 4 * counted[1])
    assert low <= low_4 <= high_4 <= high


def test_where_nothing_was_counted_anything_may_be_true() -> None:
    assert exact_interval(0, 0) == (0, 1)
    assert (Share(0, 0).percent, Share(0, 0).interval, str(Share(0, 0))) == (None, (0, 100), "-")


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match=rf"count must lie in 0\.\.total, got {count} of {total}"):
        exact_interval(count, total)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, math.nan])
def test_an_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        exact_interval(1, 5, confidence)


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_ratio_lies_in_its_interval_and_turns_over_with_it(myeloid: int, erythroid: int) -> None:
    low, high = MyeloidErythroid(myeloid, erythroid).interval
    ratio = MyeloidErythroid(myeloid, erythroid).ratio
    assert ratio == myeloid / erythroid
    assert 0 < low < ratio < high < INFINITE
    assert MyeloidErythroid(erythroid, myeloid).interval == pytest.approx((1 / high, 1 / low), rel=1e-6)


def test_the_interval_of_the_ratio_is_that_of_the_share_carried_over() -> None:
    judge = binomtest(300, 400).proportion_ci(0.95, method="exact")
    expected = judge.low / (1 - judge.low), judge.high / (1 - judge.high)
    assert MyeloidErythroid(300, 100).interval == pytest.approx(expected)
    assert str(MyeloidErythroid(300, 100)) == f"3.00 ({expected[0]:.2f}-{expected[1]:.2f})"


def test_without_erythroid_cells_the_ratio_has_a_lower_end_only() -> None:
    alone = MyeloidErythroid(10, 0)
    judge = binomtest(10, 10).proportion_ci(0.95, method="exact")
    assert alone.ratio is None
    assert alone.interval == (pytest.approx(judge.low / (1 - judge.low)), INFINITE)
    assert str(alone) == "-"


def test_without_myeloid_cells_the_ratio_is_0_and_without_both_unknown() -> None:
    assert MyeloidErythroid(0, 10).ratio == 0
    assert MyeloidErythroid(0, 10).interval[0] == 0
    assert MyeloidErythroid(0, 10).interval[1] < INFINITE
    assert MyeloidErythroid(0, 0).ratio is None
    assert MyeloidErythroid(0, 0).interval == (0, INFINITE)


@given(tallies)
def test_what_is_not_counted_stays_out_of_the_total_and_of_every_share(counts: tuple[int, ...]) -> None:
    result = Differential(CLINICAL, counts)
    assert (
        result.total
        == sum(share.count for _, share in result.classes)
        == sum(counts) - sum(n for _, n in result.uncounted)
    )
    assert all(cell.counted for cell, _ in result.classes)
    assert {cell.code for cell, _ in result.uncounted} == {
        c.code for c, n in zip(CLINICAL, counts, strict=True) if n and not c.counted
    }
    assert {share.total for _, share in result.classes} == {result.total}
    if result.total:
        assert sum(share.percent or 0 for _, share in result.classes) == pytest.approx(100)


@given(tallies)
def test_lineages_share_out_the_same_total(counts: tuple[int, ...]) -> None:
    result = Differential(CLINICAL, counts)
    assert sum(share.count for _, share in result.lineages) == result.total
    assert [lineage for lineage, _ in result.lineages] == [
        x for x in Lineage if any(c.lineage == x and c.counted for c in CLINICAL)
    ]
    for lineage, share in result.lineages:
        assert share == result.of_lineage(lineage)


def test_megakaryocytes_platelets_red_cells_and_debris_do_not_dilute_the_blasts() -> None:
    taxonomy = Taxonomy.from_labels(["myeloblast", "erythroblast", "megakaryocyte", "RBC", "platelet", "smudge cell"])
    result = Differential(taxonomy, (20, 80, 5, 900, 70, 30))
    assert result.total == 100
    assert [(c.name, s.percent) for c, s in result.classes] == [("myeloblast", 20), ("erythroblast", 80)]
    assert [n for _, n in result.uncounted] == [5, 900, 70, 30]
    assert [x for x, _ in result.lineages] == [Lineage.GRANULOCYTIC, Lineage.ERYTHROID]


def test_monocytes_lymphocytes_and_plasma_cells_are_not_myeloid_and_red_cells_not_erythroid() -> None:
    names = ["band neutrophil", "eosinophil", "proerythroblast", "erythroblast", "monocyte", "lymphocyte", "RBC"]
    result = Differential(Taxonomy.from_labels(names), (30, 10, 1, 9, 50, 70, 500))
    assert result.myeloid_erythroid == MyeloidErythroid(40, 10)


def test_labels_are_counted_class_by_class() -> None:
    taxonomy = Taxonomy.from_labels(["blast", "band", "lymphocyte"])
    assert count_labels([2, 0, 2, 2], taxonomy).counts == (1, 0, 3)
    assert count_labels([], taxonomy).counts == (0, 0, 0)


def test_detections_are_counted_over_fields_from_the_score_on() -> None:
    taxonomy = Taxonomy.from_labels(["blast", "band"])
    box = [0, 0, 1, 1]
    fields = [
        Detections([box] * 3, [0, 0, 1], [0.9, 0.3, 0.5], taxonomy),
        Detections.none(taxonomy),
        Detections([box], [1], [0.7], taxonomy),
    ]
    assert count_detections(fields, taxonomy).counts == (2, 2)
    assert count_detections(iter(fields), taxonomy, score=0.5).counts == (1, 2)
    assert count_detections([], taxonomy).counts == (0, 0)


def test_detections_of_another_scheme_are_not_counted_under_the_wrong_names() -> None:
    theirs = Taxonomy.from_labels(["band", "blast"], "theirs")
    ours = Taxonomy.from_labels(["blast", "band"], "ours")
    with pytest.raises(ValueError, match="detections of scheme 'theirs' cannot be counted in scheme 'ours'"):
        count_detections([Detections([[0, 0, 1, 1]], [0], [1.0], theirs)], ours)


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [((1,), "counts must be 2, one a class, got 1"), ((1, 2, 3), "counts must be 2"), ((1, -2), "negative, got -2")],
)
def test_counts_are_one_a_class_and_not_negative(counts: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Differential(Taxonomy.from_labels(["blast", "band"]), counts)


def test_labels_outside_the_scheme_are_refused() -> None:
    with pytest.raises(ValueError, match="counts must be 1, one a class, got 3"):
        count_labels([0, 2], Taxonomy.from_labels(["blast"]))
    with pytest.raises(ValueError, match="negative"):
        count_labels([-1], Taxonomy.from_labels(["blast"]))
