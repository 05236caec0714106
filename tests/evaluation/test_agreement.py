"""Agreement of two readers: printed examples, the slow oracle, and what must hold for any two readers."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import Lineage, load_taxonomy
from marrowscope.errors import BadInput
from marrowscope.evaluation.agreement import agreement, cohen_kappa, maturation_weights
from oracles import agreement_oracle as oracle

SCHEME = load_taxonomy("clinical")
FEW = [SCHEME.index(code) for code in ("MYELOBLAST", "PROMYELO", "MYELO", "META", "BAND", "NEU_SEG", "LYM", "PLASMA")]

readers = st.lists(st.tuples(st.sampled_from(FEW), st.sampled_from(FEW)), min_size=2, max_size=60)


def split(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def draw(seed: int, n: int, agree: float) -> tuple[list[int], list[int]]:
    """Two readers who agree on a share of the cells and otherwise say anything."""
    rng = np.random.default_rng(seed)
    first = rng.choice(FEW, n, p=np.asarray([1, 2, 4, 4, 4, 6, 2, 1]) / 24)
    second = np.where(rng.random(n) < agree, first, rng.choice(FEW, n))
    return first.tolist(), second.tolist()


def test_the_textbook_example_of_fleiss() -> None:
    """Statistical Methods for Rates and Proportions, 2nd ed. 1981, Table 13.1: kappa .68, standard error .087."""
    result = cohen_kappa([[75, 1, 4], [5, 4, 1], [0, 0, 10]])
    assert result.observed == pytest.approx(0.89)
    assert result.expected == pytest.approx(0.66)
    assert result.kappa.value == pytest.approx(0.676, abs=5e-4)
    assert result.kappa.high is not None
    assert (result.kappa.high - 0.6765) / 1.96 == pytest.approx(0.0877, abs=1e-3)


@given(readers)
def test_kappa_and_its_interval_are_those_of_the_slow_oracle(pairs: list[tuple[int, int]]) -> None:
    first, second = split(pairs)
    result = agreement(first, second, SCHEME)
    expected = oracle.kappa(first, second)
    if expected is None:
        assert result.kappa.value is None
        return
    assert result.kappa.value == pytest.approx(expected, abs=1e-9)
    if first != second:
        half = 1.959963984540054 * oracle.standard_error(first, second)
        assert result.kappa.low == pytest.approx(max(expected - half, -1), abs=1e-7)
        assert result.kappa.high == pytest.approx(min(expected + half, 1), abs=1e-7)


@given(readers)
def test_weighted_kappa_over_maturation_is_that_of_the_slow_oracle(pairs: list[tuple[int, int]]) -> None:
    first, second = split(pairs)
    result = agreement(first, second, SCHEME, weights="linear").maturation.get(Lineage.GRANULOCYTIC)
    line = {label: SCHEME[label].stage for label in FEW if SCHEME[label].lineage == Lineage.GRANULOCYTIC}
    both = [(line[a], line[b]) for a, b in pairs if a in line and b in line]
    if not both:
        assert result is None
        return
    assert result is not None
    span = max(s for s in (c.stage for c in SCHEME if c.lineage == Lineage.GRANULOCYTIC) if s) - 1
    stages = split([(a or 0, b or 0) for a, b in both])

    def weight(a: int, b: int) -> float:
        return 1 - abs(a - b) / span

    expected = oracle.kappa(*stages, weight)
    assert result.n == len(both)
    assert result.kappa.value == (None if expected is None else pytest.approx(expected, abs=1e-9))
    if expected is not None and stages[0] != stages[1]:
        half = 1.959963984540054 * oracle.standard_error(*stages, weight)
        assert result.kappa.low == pytest.approx(max(expected - half, -1), abs=1e-6)


@pytest.mark.parametrize(("seed", "agree"), [(1, 0.5), (2, 0.75), (3, 0.9)])
def test_resampling_the_cells_gives_nearly_the_analytic_interval(seed: int, agree: float) -> None:
    first, second = draw(seed, 160, agree)
    estimate = agreement(first, second, SCHEME).kappa
    low, high = oracle.bootstrap_interval(first, second, draws=400)
    assert estimate.low == pytest.approx(low, abs=0.03)
    assert estimate.high == pytest.approx(high, abs=0.03)


@given(readers)
def test_who_is_called_first_does_not_matter(pairs: list[tuple[int, int]]) -> None:
    first, second = split(pairs)
    one, other = agreement(first, second, SCHEME), agreement(second, first, SCHEME)
    assert np.array_equal(one.table, other.table.T)
    assert _numbers(one.kappa) == pytest.approx(_numbers(other.kappa), nan_ok=True)
    assert {(c.first.code, c.second.code, c.count) for c in one.confusions} == {
        (c.second.code, c.first.code, c.count) for c in other.confusions
    }


@given(readers)
def test_the_parts_add_up(pairs: list[tuple[int, int]]) -> None:
    first, second = split(pairs)
    result = agreement(first, second, SCHEME)
    assert result.n == result.table.sum() == len(pairs)
    assert sum(row.both for row in result.by_class) + sum(c.count for c in result.confusions) == len(pairs)
    assert sum(row.first for row in result.by_class) == sum(row.second for row in result.by_lineage) == len(pairs)
    for row in result.by_class:
        label = SCHEME.index(row.code)
        assert row.positive.value == pytest.approx(oracle.positive_agreement(first, second, label))
        assert row.positive.low is not None and row.positive.high is not None  # noqa: PT018
        assert row.positive.low <= row.positive.value <= row.positive.high  # type: ignore[operator]
    # Agreeing on the class is agreeing on the lineage.
    assert (result.lineages.observed or 0) >= (result.observed or 0) - 1e-12


def test_readers_who_agree_on_everything_still_have_an_interval() -> None:
    first, _ = draw(1, 40, 1.0)
    few, many = agreement(first, first, SCHEME), agreement(first * 10, first * 10, SCHEME)
    assert few.kappa.value == many.kappa.value == few.kappa.high == 1
    assert few.kappa.low is not None and many.kappa.low is not None  # noqa: PT018
    assert 0.8 < few.kappa.low < many.kappa.low < 1


def test_one_class_alone_has_no_kappa() -> None:
    result = agreement([3] * 9, [3] * 9, SCHEME)
    assert result.observed == 1
    assert result.kappa.value is None


def test_a_near_stage_weighs_more_than_a_far_one_and_a_square_forgives_more() -> None:
    linear, square = maturation_weights([1, 2, 4, 6], "linear"), maturation_weights([1, 2, 4, 6])
    assert (np.diag(linear) == 1).all()
    assert linear[0, 3] == square[0, 3] == 0
    assert (np.diff(linear[0]) < 0).all()
    assert (square >= linear).all()


def test_neighbouring_stages_hurt_weighted_kappa_less_than_distant_ones() -> None:
    first = [SCHEME.index(c) for c in ("MYELOBLAST", "PROMYELO", "MYELO", "META", "BAND", "NEU_SEG")] * 8
    near, far = list(first), list(first)
    near[0], far[0] = SCHEME.index("PROMYELO"), SCHEME.index("NEU_SEG")
    of = [agreement(first, second, SCHEME).maturation[Lineage.GRANULOCYTIC].kappa.value for second in (near, far)]
    assert of[1] < of[0] < 1  # type: ignore[operator]
    # Plain kappa hardly tells them apart (only by what is expected).
    plain = [agreement(first, second, SCHEME).kappa.value for second in (near, far)]
    assert plain[0] == pytest.approx(plain[1], abs=0.002)


def test_confusions_come_commonest_first() -> None:
    a, b, c = FEW[:3]
    result = agreement([a, a, a, b, c], [b, b, c, b, a], SCHEME)
    assert [(x.first.code, x.second.code, x.count) for x in result.confusions] == [
        (SCHEME[i].code, SCHEME[j].code, n) for i, j, n in ((a, b, 2), *sorted([(a, c, 1), (c, a, 1)]))
    ]


@pytest.mark.parametrize(("first", "second", "says"), [([1], [1, 2], "1 and 2 cells"), ([], [], "read by both")])
def test_readers_without_the_same_cells_are_refused(first: list[int], second: list[int], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        agreement(first, second, SCHEME)


def test_a_label_outside_the_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.39"):
        agreement([40], [0], SCHEME)


@given(readers)
def test_it_can_be_written_as_json(pairs: list[tuple[int, int]]) -> None:
    first, second = split(pairs)
    result: dict[str, Any] = json.loads(json.dumps(agreement(first, second, SCHEME).to_dict(), allow_nan=False))
    assert result["n"] == len(pairs)


def _numbers(estimate: Any) -> list[float]:
    return [float("nan") if v is None else v for v in (estimate.value, estimate.low, estimate.high)]
