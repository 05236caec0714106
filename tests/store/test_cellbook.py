"""Cells in the order of doubt, of some classes, reviewed or not; and how many."""

from itertools import product
from typing import Any

import pytest

from helpers.archive import Case, kept_case, new_case
from marrowscope.cells.specimen import Cell, Edit, EditKind, FoundCell
from marrowscope.errors import BadInput
from marrowscope.store.store import Store


@pytest.fixture
def case(store: Store) -> Case:
    """Twelve cells of three classes in two fields; some reviewed, one removed, one seen before."""
    case = new_case(store)
    doubts = (0.1, 0.9, 0.5, 0.5, 0.3, 0.7)
    for part in range(2):
        same = case.cells()[0].id if part else None
        case.keep(
            [
                FoundCell((i, i, i + 20, i + 20), f"C{i % 3}", 1 - d, d, same_as=same if i == 5 else None)
                for i, d in enumerate(doubts)
            ]
        )
    cells = case.cells()
    case.edit(EditKind.CONFIRM, cells[1])
    case.rename(cells[7], "C9")
    case.edit(EditKind.REMOVE, cells[4])
    return case


def test_the_most_doubtful_come_first(case: Case) -> None:
    cells, total = case.store.cells(case.id)
    assert total == len(cells) == 11
    assert [c.doubt for c in cells] == sorted((c.doubt for c in cells), reverse=True)
    assert [c.id for c in case.store.cells(case.id, order="number")[0]] == sorted(c.id for c in cells)


def test_filters_keep_what_they_say(case: Case) -> None:
    everything = case.cells()
    codes_asked = (None, (), ("C0",), ("C1", "C9"), ("no such",))
    for codes, reviewed, removed in product(codes_asked, (None, True, False), (None, True, False)):

        def wanted(cell: Cell, codes: Any = codes, reviewed: Any = reviewed, removed: Any = removed) -> bool:
            named = codes is None or cell.code in codes
            return named and reviewed in (None, cell.reviewed) and removed in (None, cell.removed)

        expected = [cell.id for cell in everything if wanted(cell)]
        cells, total = case.store.cells(case.id, codes=codes, reviewed=reviewed, removed=removed, order="number")
        assert ([cell.id for cell in cells], total) == (expected, len(expected)), (codes, reviewed, removed)


def test_pages_make_up_the_whole(case: Case) -> None:
    whole, total = case.store.cells(case.id, removed=None)
    pages = [case.store.cells(case.id, removed=None, limit=5, offset=offset) for offset in range(0, 15, 5)]
    assert [cell for page, _ in pages for cell in page] == whole
    assert {number for _, number in pages} == {total}


def test_counts_are_those_of_the_cells_that_count(case: Case) -> None:
    expected: dict[str, tuple[int, int]] = {}
    for cell in case.cells(removed=False):
        if cell.counts:
            counting, reviewed = expected.get(cell.code, (0, 0))
            expected[cell.code] = counting + 1, reviewed + cell.reviewed
    assert case.store.counts(case.id) == expected
    assert "C9" in expected


def test_an_order_that_is_none_is_refused(case: Case) -> None:
    with pytest.raises(BadInput, match="no order"):
        case.store.cells(case.id, order="beauty")  # type: ignore[arg-type]


def test_a_specimen_without_fields_has_no_cells(store: Store) -> None:
    case = new_case(store)
    other = kept_case(store, "M-2")
    assert store.cells(case.id) == ([], 0)
    assert store.counts(case.id) == {}
    assert store.field_counts(case.id) == {}
    assert store.cells(other.id)[1] == 4


def test_cells_asked_for_by_number_come_once_in_that_order_without_those_that_are_not_there(case: Case) -> None:
    known = {cell.id: cell for cell in case.cells()}
    one, two, *_ = reversed(known)
    missing = max(known) + 1
    found = case.store.cells_by_id([one, missing, two, one, 0, 2**80])
    assert found == [known[one], known[two]]


def test_names_are_those_of_the_cells_that_count(case: Case) -> None:
    counting = [cell for cell in case.cells() if cell.counts]
    assert case.store.names(case.id) == [(c.id, c.called, c.code, c.reviewed) for c in counting]


def test_what_the_model_said_of_a_field_is_told_whatever_people_did_since(case: Case) -> None:
    field = case.kept[0]
    said = case.store.model_calls(field.id)
    first, second, *_ = case.store.field_cells(field.id)
    case.rename(first, "C9")
    case.edit(EditKind.MOVE, first, box=(1, 2, 300, 200))
    case.edit(EditKind.REMOVE, second)
    case.store.apply(case.id, [Edit(EditKind.ADD, field_id=field.id, code="C9", box=(5, 5, 9, 9))], by="anna")
    assert case.store.model_calls(field.id) == said
    assert [call.code for call in said] == ["C0", "C1", "C2", "C0", "C1", "C2"]
    assert [call.box for call in said] == [(i, i, i + 20, i + 20) for i in range(6)]
    assert case.store.model_calls(case.kept[1].id)[5].same_as == first.id
    assert case.store.model_calls(10**6) == []
