from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from marrowscope.cells.differential import Differential, exact_interval
from marrowscope.cells.stop_rule import DEFAULT_CUTOFFS, CutOff, Standing, StopRule, judge_cutoff, worst
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy, load_taxonomy
from marrowscope.errors import BadInput

CLINICAL = load_taxonomy("clinical")
TWO = Taxonomy("two", (CellClass("BLAST", "blast", Lineage.OTHER), CellClass("REST", "rest", Lineage.OTHER)))


def two(blasts: int, total: int) -> Differential:
    return Differential(TWO, (blasts, total - blasts))


def clinical(**counts: int) -> Differential:
    cells = [0] * len(CLINICAL)
    for code, n in counts.items():
        cells[CLINICAL.index(code)] += n
    return Differential(CLINICAL, tuple(cells))


def test_a_share_that_straddles_a_cut_off_asks_for_more_even_at_500_cells() -> None:
    verdict = StopRule().judge(clinical(MYELOBLAST=97, MYELO=403), fields=50)
    assert not verdict.stop
    assert "blasts 19.4 % (16.0-23.1) straddles 20 %: count more" in verdict.reasons
    assert [c.standing for c in verdict.cutoffs] == ["above", "above", "straddles", "below"]


def test_500_cells_clear_of_every_cut_off_are_enough() -> None:
    verdict = StopRule().judge(clinical(MYELOBLAST=5, MYELO=495), fields=50)
    assert verdict.stop
    assert verdict.reasons == ("500 cells: a full count of 500",)


def test_at_the_limit_of_fields_or_cells_counting_stops_and_says_what_is_open() -> None:
    open_share = clinical(MYELOBLAST=97, MYELO=403)
    by_fields = StopRule().judge(open_share, fields=200)
    by_cells = StopRule(at_most=500).judge(open_share, fields=50)
    for verdict in (by_fields, by_cells):
        assert verdict.stop
        assert "limit" in verdict.reasons[0]
        assert any("straddles 20 %" in reason for reason in verdict.reasons)


def test_early_stopping_needs_the_wider_interval() -> None:
    rule = StopRule(cutoffs=(CutOff("blasts", ("BLAST",), 20.0),))
    # 95 % (.., 19.5) is clear of 20 %, 99 % (.., 21.4) is not.
    blasts = next(k for k in range(200) if not judge_clear(k + 1, 200, 0.95))
    assert judge_clear(blasts, 200, 0.95)
    assert not judge_clear(blasts, 200, 0.99)
    assert not rule.judge(two(blasts, 200), 20).stop
    assert rule.judge(two(10, 200), 20).stop


def judge_clear(k: int, n: int, confidence: float) -> bool:
    return exact_interval(k, n, confidence)[1] < 0.20


def test_few_cells_never_stop_however_clear_they_are() -> None:
    rule = StopRule(cutoffs=(CutOff("blasts", ("BLAST",), 20.0),))
    assert not rule.judge(two(90, 99), 1).stop
    assert rule.judge(two(90, 100), 1).stop


def test_without_cut_offs_there_is_no_early_end() -> None:
    rule = StopRule(cutoffs=())
    assert not rule.judge(two(0, 499), 10).stop
    assert rule.judge(two(0, 500), 10).stop


def test_an_empty_case_is_not_enough() -> None:
    verdict = StopRule().judge(clinical(), fields=0)
    assert not verdict.stop
    assert verdict.reasons[0] == "0 of 500 cells"
    assert all(c.standing is Standing.STRADDLES for c in verdict.cutoffs)


def test_a_cut_off_of_classes_that_the_scheme_lacks_is_left_out() -> None:
    assert [c.name for c in StopRule().judge(two(0, 500), 10).cutoffs] == ["blasts"] * 3
    assert judge_cutoff(CutOff("hairy cells", ("HAIRY",), 5), two(0, 10)) is None


def test_uncounted_cells_do_not_count_towards_enough() -> None:
    assert StopRule().judge(clinical(SMUDGE=900, MYELO=10), 5).cells == 10


@given(st.integers(0, 600), st.integers(0, 600), st.integers(1, 99))
def test_a_cut_off_is_clear_exactly_where_the_printed_interval_does_not_touch_it(a: int, b: int, at: int) -> None:
    verdict = judge_cutoff(CutOff("blasts", ("BLAST",), float(at)), two(a, a + b))
    assert verdict is not None
    low, high = exact_interval(a, a + b)
    assert verdict.clear == (100 * high < at or 100 * low > at)
    assert not verdict.early or verdict.clear  # the wider interval is the stricter one
    assert ("count more" in verdict.text) == (not verdict.clear)


@given(st.integers(0, 300), st.integers(0, 1200), st.integers(0, 250))
def test_a_verdict_always_gives_a_reason(blasts: int, rest: int, fields: int) -> None:
    verdict = StopRule().judge(two(blasts, blasts + rest), fields)
    assert verdict.reasons
    assert verdict.stop or any("count more" in r or "of 500 cells" in r for r in verdict.reasons)


def test_the_rule_survives_a_round_trip_and_defaults_fill_what_is_left_out() -> None:
    rule = StopRule(fields=100, cells=300, cutoffs=(CutOff("plasma cells", ("PLASMA",), 10.0),))
    assert StopRule.from_dict(rule.to_dict()) == rule
    assert StopRule.from_dict({"cells": 200}).cutoffs == DEFAULT_CUTOFFS
    assert StopRule.from_dict({"cutoffs": []}).cutoffs == ()


def test_a_lab_that_plans_more_or_less_need_not_say_the_limits() -> None:
    assert StopRule(cells=2000).at_most == 2000
    assert StopRule(cells=50).at_least == 50


@pytest.mark.parametrize(
    "values",
    [
        {"cells": 0},
        {"fields": 0},
        {"cells": "many"},
        {"colour": "red"},
        {"cutoffs": [{"name": "x", "codes": [], "at": 5}]},
        {"cutoffs": [{"name": "x", "codes": ["A"], "at": 0}]},
        {"cutoffs": [{"name": "x", "codes": ["A"], "at": 100}]},
        {"cutoffs": [{"name": " ", "codes": ["A"], "at": 5}]},
        {"cutoffs": [{"name": "x"}]},
        {"cutoffs": 3},
    ],
)
def test_what_cannot_be_a_rule_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        StopRule.from_dict(values)


def test_the_cut_off_to_speak_of_first_is_one_that_straddles() -> None:
    verdict = StopRule().judge(clinical(MYELOBLAST=97, MYELO=403), fields=50)
    first = worst(verdict.cutoffs)
    assert first is not None
    assert first.at == 20
    assert worst(()) is None


@cache
def decisions(look_every: int) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For every look: whether the rule stops at k blasts, and the printed interval there."""
    rule = StopRule(cutoffs=tuple(CutOff("blasts", ("BLAST",), at) for at in (5.0, 10.0, 20.0)))
    table = {}
    for n in range(rule.at_least, rule.at_most + 1, look_every):
        counts = range(min(n, int(0.4 * n) + 20) + 1)
        stops = np.asarray([rule.judge(two(k, n), 1).stop for k in counts])
        ends = np.asarray([exact_interval(k, n) for k in counts])
        table[n] = stops, ends[:, 0], ends[:, 1]
    return table


def outcomes(p: float, look_every: int = 10) -> tuple[float, float]:
    """(chance that the verdict is on the wrong side of a cut-off, coverage of the printed interval), exactly."""
    state, before, wrong, covered = np.ones(1), 0, 0.0, 0.0
    for n, (stops, low, high) in decisions(look_every).items():
        step = n - before
        state = np.convolve(state, binom.pmf(np.arange(step + 1), step, p))[: len(stops)]
        before = n
        ending = np.where(stops, state, 0.0)
        covered += float(ending[(low <= p) & (p <= high)].sum())
        sides = np.zeros(len(stops), np.bool_)
        for at in (0.05, 0.1, 0.2):
            sides |= (low > at) & (p < at) | (high < at) & (p >= at)
        wrong += float(ending[sides].sum())
        state = np.where(stops, 0.0, state)
    return wrong, covered


@pytest.mark.parametrize("p", [0.05, 0.0999, 0.1, 0.1999, 0.2])
def test_looking_again_and_again_costs_what_the_module_says_it_costs(p: float) -> None:
    wrong, covered = outcomes(p)
    assert wrong <= 0.08
    assert covered >= 0.85


@pytest.mark.parametrize("p", [0.005, 0.02, 0.075, 0.15, 0.28])
def test_away_from_every_cut_off_the_printed_interval_keeps_its_promise(p: float) -> None:
    wrong, covered = outcomes(p)
    assert wrong <= 0.01
    assert covered >= 0.94


def test_a_number_fixed_beforehand_keeps_95_percent_without_an_if() -> None:
    low, high = np.asarray([exact_interval(k, 500) for k in range(501)]).T
    for p in (0.05, 0.1, 0.2):
        assert binom.pmf(np.arange(501), 500, p)[(low <= p) & (p <= high)].sum() >= 0.95
