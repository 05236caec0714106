import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.differential import Differential, exact_interval
from marrowscope.cells.indices import Index, Myeloid, indices
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy

CLINICAL = load_taxonomy("clinical")
COUNTS = st.lists(st.integers(0, 400), min_size=len(CLINICAL), max_size=len(CLINICAL)).map(tuple)


def differential(scheme: Taxonomy = CLINICAL, **counts: int) -> Differential:
    cells = [0] * len(scheme)
    for code, n in counts.items():
        cells[scheme.index(code)] += n
    return Differential(scheme, tuple(cells))


def of(found: tuple[Index, ...], key: str) -> Index:
    return next(i for i in found if i.key == key)


@given(COUNTS)
def test_the_m_to_e_ratio_is_that_of_the_differential(counts: tuple[int, ...]) -> None:
    d = Differential(CLINICAL, counts)
    ratio = of(indices(d), "M:E")
    assert (ratio.value, ratio.interval) == (d.myeloid_erythroid.ratio, d.myeloid_erythroid.interval)


@given(COUNTS)
def test_every_interval_is_the_exact_one_of_the_proportion_and_holds_the_ratio(counts: tuple[int, ...]) -> None:
    for index in indices(Differential(CLINICAL, counts)):
        low, high = index.interval
        p_low, p_high = exact_interval(index.top, index.top + index.bottom)
        assert low / (1 + low) == pytest.approx(p_low)
        assert (1.0 if math.isinf(high) else high / (1 + high)) == pytest.approx(p_high)
        assert index.value is None or low <= index.value <= high


def test_the_maturation_indices_follow_the_stages() -> None:
    found = indices(
        differential(MYELOBLAST=1, PROMYELO=2, MYELO=4, META=8, BAND=5, NEU_SEG=10, EOS_META=16, EOS_SEG=15)
    )
    assert (of(found, "I:Mg").top, of(found, "I:Mg").bottom) == (1 + 2 + 4 + 8 + 16, 5 + 10 + 15)
    found = indices(differential(PROERYTHRO=1, NORMO_BASO=2, NORMO_POLY=4, NORMO_ORTHO=8, MEGALO_POLY=16))
    assert (of(found, "I:Me").top, of(found, "I:Me").bottom) == (1 + 2, 4 + 8 + 16)


def test_the_proliferative_pool_ends_with_the_myelocyte() -> None:
    found = of(indices(differential(MYELOBLAST=1, PROMYELO=2, MYELO=4, META=8, BAND=16, NORMO_POLY=7)), "pM:E")
    assert (found.top, found.bottom) == (7, 7)


def test_cells_without_a_stage_are_in_m_to_e_and_in_no_maturation_index() -> None:
    found = indices(differential(NEU=30, EOS=5, ERYTHRO=20))
    assert (of(found, "M:E").top, of(found, "M:E").bottom) == (35, 20)
    assert of(found, "I:Mg").value is None
    assert of(found, "I:Me").value is None


@pytest.mark.parametrize(("what", "myeloid"), [(Myeloid.GRANULOCYTES, 10), (Myeloid.WITH_MONOCYTES, 14)])
def test_whether_monocytes_are_myeloid_is_a_setting(what: Myeloid, myeloid: int) -> None:
    found = of(indices(differential(BAND=10, MONO=3, MONOBLAST=1, LYM=50, ERYTHRO=5), myeloid=what), "M:E")
    assert (found.top, found.bottom) == (myeloid, 5)


def test_without_cells_an_index_has_no_value_and_says_so() -> None:
    for index in indices(differential()):
        assert index.value is None
        assert index.interval == (0.0, math.inf)
        assert str(index) == "-"


def test_a_ratio_is_written_with_its_interval() -> None:
    low, high = exact_interval(3, 7)
    assert str(Index("x", "x", "a : b", "", 3, 4)) == f"0.75 ({low / (1 - low):.2f}-{high / (1 - high):.2f})"


def test_indices_hold_in_the_papers_own_scheme() -> None:
    paper = load_taxonomy("liu2022")
    found = indices(differential(paper, MYELO=6, BAND=3, NORMO_POLY=3, NORMO_BASO=1))
    assert [(i.top, i.bottom) for i in found] == [(9, 4), (6, 3), (1, 3), (6, 4)]


def test_every_index_says_what_it_counts_and_where_it_comes_from() -> None:
    for index in indices(differential()):
        assert " : " in index.formula
        assert index.source
