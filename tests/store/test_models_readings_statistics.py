"""Model versions and settings, readings and effort, and the archive in numbers."""

import pytest

from helpers.archive import kept_case
from marrowscope.cells.specimen import EditKind
from marrowscope.errors import BadInput, NotFound
from marrowscope.store.store import Store
from marrowscope.store.values import Effort


def test_one_model_serves_after_it_was_promoted(store: Store) -> None:
    first = store.add_model("demo", "aa" * 32, "clinical", "models/demo", "drawn", by="root")
    second = store.add_model("light", "bb" * 32, "clinical", "models/light", "real", by="root")
    assert store.serving_model() is None
    store.promote(first.id, by="root", why="first one")
    promoted = store.promote(second.id, by="root", why="better by 2 points")
    assert store.serving_model() == promoted == store.model(second.id)
    assert [(m.name, m.serving) for m in store.models()] == [("demo", False), ("light", True)]
    with pytest.raises(NotFound, match="99"):
        store.promote(99, by="root", why="typing error")
    with pytest.raises(BadInput, match="reason"):
        store.promote(first.id, by="root", why="")
    (entry,) = (e for e in store.audit(1000)[0] if e.what == "model.promote" and e.why == "better by 2 points")
    assert (entry.old, entry.new, entry.subject) == (str(first.id), str(second.id), f"model/{second.id}")


def test_weights_that_are_known_are_the_version_that_is_there(store: Store) -> None:
    first = store.add_model("demo", "aa" * 32, "clinical", "models/demo", "drawn", by="root")
    assert store.add_model("other name", "aa" * 32, "clinical", "elsewhere", "", by="root") == first
    assert store.models() == [first]


def test_a_setting_is_the_one_kept_last_and_the_trail_has_both(store: Store) -> None:
    assert store.setting("letterhead") is None
    store.set_setting("letterhead", '{"lab":"A"}', by="root")
    store.set_setting("letterhead", '{"lab":"B"}', by="root")
    assert store.setting("letterhead") == '{"lab":"B"}'
    newest = store.audit(1, 0, "setting/letterhead")[0][0]
    assert '"A"' in newest.old.replace("\\", "")
    assert '"B"' in newest.new.replace("\\", "")


def test_readers_read_beside_each_other_and_change_no_cell(store: Store) -> None:
    case = kept_case(store)
    before = case.cells()
    one, two, *_ = (cell.id for cell in before)
    store.add_readings(case.id, {two: "META", one: "BAND"}, by="anna")
    case.sign()
    store.add_readings(case.id, {one: "MYELO"}, by="ben")
    store.add_readings(case.id, {one: "PROMYELO"}, by="anna")
    read = [(r.reader, r.cell_id, r.code) for r in store.readings(case.id)]
    assert read == [("anna", one, "PROMYELO"), ("anna", two, "META"), ("ben", one, "MYELO")]
    assert case.cells() == before
    assert store.corrections(case.id) == []


def test_a_reading_names_cells_of_its_specimen(store: Store) -> None:
    case, other = kept_case(store, "M-1"), kept_case(store, "M-2")
    for readings in ({other.cells()[0].id: "BAND"}, {2**60: "BAND"}, {-1: "BAND"}):
        with pytest.raises(NotFound, match="no cell"):
            store.add_readings(case.id, {case.cells()[0].id: "BAND", **readings}, by="anna")
    for nothing in ({}, {case.cells()[0].id: ""}):
        with pytest.raises(BadInput):
            store.add_readings(case.id, nothing, by="anna")
    assert store.readings(case.id) == []


def test_effort_adds_up_by_person(store: Store) -> None:
    case = kept_case(store)
    for seconds, keys, clicks, who in ((10.5, 7, 2, "ben"), (4.5, 1, 0, "ben"), (60, 30, 9, "anna")):
        store.add_effort(case.id, seconds, keys, clicks, by=who)
    assert store.effort(case.id) == [Effort("anna", 60.0, 30, 9), Effort("ben", 15.0, 8, 2)]
    for bad in ((-1, 0, 0), (float("nan"), 0, 0), (1, -1, 0), (1, 0, 2**40)):
        with pytest.raises(BadInput):
            store.add_effort(case.id, *bad, by="ben")


def test_statistics_are_those_of_the_cells(store: Store) -> None:
    case, other = kept_case(store, "M-1", "P-1"), kept_case(store, "M-2", "P-1")
    one, two, three, _ = case.cells()
    case.rename(one, "BAND", by="ben")
    case.edit(EditKind.CONFIRM, two)
    case.edit(EditKind.REMOVE, three)
    other.rename(other.cells()[0], "BAND")
    other.rename(other.cells()[1], "LYM")
    store.undo(other.id, by="anna")
    other.sign()
    numbers = store.statistics()
    assert (numbers.patients, numbers.specimens, numbers.slides, numbers.fields, numbers.reports) == (1, 2, 2, 2, 1)
    assert (numbers.cells, numbers.reviewed) == (7, 3)
    assert numbers.by_code == {"BAND": 2, "LYM": 2, "META": 2, "MYELO": 1}
    assert numbers.renamed == {("META", "META"): 1, ("MYELO", "BAND"): 2}
    assert numbers.by_user == {"anna": {"confirm": 1, "remove": 1, "rename": 2}, "ben": {"rename": 1}}


def test_an_empty_archive_has_numbers_too(store: Store) -> None:
    numbers = store.statistics()
    assert (numbers.patients, numbers.specimens, numbers.cells, numbers.by_code) == (0, 0, 0, {})
