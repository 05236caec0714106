"""What a review cost, by case and by person."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.small_archive import NOW, Case, add_case, grid, open_archive
from marrowscope.errors import BadInput, NotFound
from marrowscope.station.effort import CaseEffort, PersonEffort, add_effort, case_effort, person_efforts


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with open_archive(tmp_path) as store:
        yield add_case(store)


def test_a_case_sums_what_all_spent_on_it_and_scales_to_two_hundred_cells(case: Case) -> None:
    case.keep(grid(["MYELO"] * 50))
    store, specimen = case.store, case.specimen.id
    assert case_effort(store, specimen).keystrokes_per_200 is None
    store.accept_above(specimen, 0, by="anna")
    add_effort(store, specimen, 30.5, 9, 1, by="anna", now=NOW)
    add_effort(store, specimen, 10, 2, 0, by="anna", now=NOW)
    add_effort(store, specimen, 20, 3, 4, by="ben", now=NOW)
    effort = case_effort(store, specimen)
    assert effort == CaseEffort(specimen, 60.5, 14, 5, cells=50, reviewed=50)
    assert effort.keystrokes_per_200 == 56


def test_a_person_is_told_by_the_middle_one_of_the_cases(case: Case) -> None:
    store = case.store
    cases = [case, add_case(store, "S-2"), add_case(store, "S-3")]
    for one, seconds in zip(cases, (10, 300, 20), strict=True):
        add_effort(store, one.specimen.id, seconds, int(seconds), 0, by="anna")
    add_effort(store, cases[0].specimen.id, 5, 1, 1, by="ben")
    assert person_efforts(store, [c.specimen.id for c in cases]) == (
        PersonEffort("anna", 3, 20, 20, 0),
        PersonEffort("ben", 1, 5, 1, 1),
    )
    assert person_efforts(store, []) == ()


def test_nothing_spent_writes_nothing(case: Case) -> None:
    _, before = case.store.audit(limit=100, offset=0)
    add_effort(case.store, case.specimen.id, 0, 0, 0, by="anna")
    assert case.store.audit(limit=100, offset=0)[1] == before
    add_effort(case.store, case.specimen.id, 1, 0, 0, by="anna")
    assert case.store.audit(limit=100, offset=0)[1] == before + 1


@pytest.mark.parametrize(
    ("seconds", "keystrokes", "clicks"),
    [(-1, 0, 0), (float("nan"), 0, 0), (4000, 1, 1), (1, -1, 0), (1, 0, -1), (1, 10**6, 0), (1, 0, 10**6)],
)
def test_what_cannot_be_is_refused(case: Case, seconds: float, keystrokes: int, clicks: int) -> None:
    with pytest.raises(BadInput, match="cannot be"):
        add_effort(case.store, case.specimen.id, seconds, keystrokes, clicks, by="anna")


def test_an_unknown_case_is_told(case: Case) -> None:
    with pytest.raises(NotFound):
        add_effort(case.store, 99, 1, 1, 1, by="anna")
