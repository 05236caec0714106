"""Specimens and slides: kept as given, found again, counted, and named once."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from helpers.archive import FOUND, kept_case, new_case
from marrowscope.cells.specimen import SpecimenState
from marrowscope.errors import BadInput, Conflict, Locked, NotFound
from marrowscope.store.store import Store


def test_a_specimen_is_kept_as_it_was_given(store: Store) -> None:
    now = datetime(2026, 5, 4, 9, 30, 12, 345678, tzinfo=timezone(timedelta(hours=8)))
    given = store.add_specimen("骨髓-1", "P-1", "trephine", date(2026, 5, 3), "tired; 疲倦", by="anna", now=now)
    assert store.specimen(given.id) == given
    assert (given.code, given.patient_code, given.material) == ("骨髓-1", "P-1", "trephine")
    assert (given.taken_on, given.note, given.state) == (date(2026, 5, 3), "tired; 疲倦", SpecimenState.OPEN)
    assert (given.created_at, given.created_by) == (now.astimezone(UTC), "anna")
    assert given.created_at.tzinfo is UTC


def test_a_specimen_code_is_taken_once_and_a_patient_may_have_many(store: Store) -> None:
    first = store.add_specimen("M-1", "P-1", by="anna")
    with pytest.raises(Conflict, match="M-1"):
        store.add_specimen("M-1", "P-2", by="anna")
    second = store.add_specimen("M-2", "P-1", by="anna")
    assert (first.patient_code, second.patient_code) == ("P-1", "P-1")
    assert store.statistics().patients == 1


@pytest.mark.parametrize("code", ["", "   ", "a\x00b", "\ud800", "x" * 201])
def test_a_code_that_cannot_be_kept_is_refused(store: Store, code: str) -> None:
    with pytest.raises(BadInput):
        store.add_specimen(code, "P-1", by="anna")
    with pytest.raises(BadInput):
        store.add_specimen("M-1", code, by="anna")
    assert store.specimens() == ([], 0)


def test_specimens_are_listed_newest_first_page_by_page(store: Store) -> None:
    codes = [f"M-{number}" for number in range(7)]
    for code in codes:
        store.add_specimen(code, "P-1", by="anna")
    listed = []
    for offset in range(0, 9, 3):
        page, total = store.specimens(limit=3, offset=offset)
        assert total == 7
        listed += [summary.specimen.code for summary in page]
    assert listed == codes[::-1]


def test_a_text_is_found_in_code_patient_and_note_in_any_case_and_as_it_stands(store: Store) -> None:
    store.add_specimen("M-100%", "P-1", by="anna")
    store.add_specimen("M-1000", "Q_2", by="anna")
    store.add_specimen("M-2", "Q12", note="Follow-Up", by="anna")

    def found(text: str) -> set[str]:
        page, total = store.specimens(text)
        assert total == len(page)
        return {summary.specimen.code for summary in page}

    assert found("m-1") == {"M-100%", "M-1000"}
    assert found("100%") == {"M-100%"}
    assert found("q_2") == {"M-1000"}
    assert found(" follow-up ") == {"M-2"}
    assert found("zzz") == set()


def test_a_list_of_one_state_holds_no_other(store: Store) -> None:
    signed, amending = kept_case(store, "M-1"), kept_case(store, "M-2")
    new_case(store, "M-3")
    signed.sign()
    amending.sign()
    store.begin_amendment(amending.id, "typing error", by="hana")
    for state, code in (("open", "M-3"), ("signed", "M-1"), ("amending", "M-2")):
        page, total = store.specimens(state=state)
        assert [(s.specimen.code, s.specimen.state.value) for s in page] == [(code, state)]
        assert total == 1
    with pytest.raises(BadInput, match="no state"):
        store.specimens(state="lost")


def test_the_numbers_of_a_specimen_follow_its_cells(store: Store) -> None:
    case = kept_case(store)
    case.keep([FOUND[0].__class__((1, 1, 9, 9), "MYELO", 0.9, 0.1, same_as=case.cells()[0].id), FOUND[1]])
    case.rename(case.cells()[1], "BAND")
    case.sign()
    summary = store.summary(case.id)
    assert (summary.slides, summary.fields, summary.cells, summary.reviewed, summary.reports) == (1, 2, 5, 1, 1)
    assert store.specimens()[0] == [summary]


def test_a_slide_label_is_taken_once_in_a_specimen(store: Store) -> None:
    case = new_case(store)
    other = store.add_specimen("M-2", "P-2", by="anna")
    with pytest.raises(Conflict, match="'A'"):
        store.add_slide(case.id, "A", by="anna")
    slide = store.add_slide(other.id, "A", "Giemsa", by="anna")
    assert store.slides(other.id) == [slide]
    assert store.slide(slide.id) == slide
    assert slide.stain == "Giemsa"


def test_a_signed_specimen_takes_no_slide(store: Store) -> None:
    case = kept_case(store)
    case.sign()
    with pytest.raises(Locked, match="amendment"):
        store.add_slide(case.id, "B", by="anna")


@pytest.mark.parametrize("number", [-1, 0, 1, 2**31, 2**80])
def test_what_is_not_there_is_not_found(store: Store, number: int) -> None:
    calls = (
        store.specimen,
        store.summary,
        store.slides,
        store.slide,
        store.fields,
        store.field,
        store.field_cells,
        store.field_counts,
        store.cell,
        store.cells,
        store.counts,
        store.corrections,
        store.readings,
        store.effort,
        store.draft,
        store.reports,
        store.report,
        store.report_pdf,
        store.model,
    )
    for call in calls:
        with pytest.raises(NotFound):
            call(number)
    with pytest.raises(NotFound):
        store.add_slide(number, "A", by="anna")


def test_a_page_of_any_size_is_answered(store: Store) -> None:
    case = kept_case(store)
    assert store.specimens(limit=-5, offset=-5) == ([], 1)
    assert store.specimens(limit=2**70, offset=0)[0][0].specimen.id == case.id
    assert store.cells(case.id, limit=1, offset=2**70) == ([], 4)
