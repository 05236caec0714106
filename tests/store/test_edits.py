"""Corrections and undo: a person's word stands beside the model's, which is never overwritten."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from helpers.archive import FOUND, WIDTH, Case, kept_case, new_case
from helpers.places import Place
from marrowscope.cells.specimen import Cell, Edit, EditKind
from marrowscope.errors import BadInput, Conflict, Locked, NotFound
from marrowscope.store import database
from marrowscope.store.store import Store

BOX = (50.5, 40.25, 90, 80)


@pytest.fixture
def case(store: Store) -> Case:
    return kept_case(store)


def call_of(cell: Cell) -> tuple[object, ...]:
    return cell.called, cell.score, cell.doubt, cell.same_as, cell.field_id


def test_every_kind_of_edit_does_what_it_says_and_leaves_the_call_alone(case: Case) -> None:
    one, two, three, _ = before = case.cells()
    renamed = case.rename(one, "BAND")
    assert (renamed.code, renamed.called, renamed.reviewed) == ("BAND", "MYELO", True)
    confirmed = case.edit(EditKind.CONFIRM, two)
    assert (confirmed.code, confirmed.reviewed) == ("META", True)
    moved = case.edit(EditKind.MOVE, two, box=BOX)
    assert (moved.box, moved.code, moved.reviewed) == (BOX, "META", True)
    assert case.edit(EditKind.MOVE, three, box=BOX).reviewed is False
    removed = case.edit(EditKind.REMOVE, three)
    assert (removed.removed, removed.counts) == (True, False)
    assert case.edit(EditKind.RESTORE, three).removed is False
    (added,) = case.store.apply(case.id, [Edit(EditKind.ADD, field_id=case.kept[0].id, code="LYM", box=BOX)], by="anna")
    assert (added.code, added.called, added.score, added.doubt, added.reviewed) == ("LYM", None, None, 0.0, True)
    assert added.box == BOX
    after = case.cells()
    assert [call_of(cell) for cell in after[:4]] == [call_of(cell) for cell in before]
    assert after == [renamed, moved, case.store.cell(three.id), before[3], added]


def test_a_correction_tells_who_when_old_and_new_and_why(case: Case) -> None:
    cell = case.cells()[0]
    case.store.apply(
        case.id,
        [Edit(EditKind.RENAME, cell.id, code="BAND"), Edit(EditKind.MOVE, cell.id, box=BOX)],
        by="ben",
        why="second look",
    )
    rename, move = case.store.corrections(case.id)
    assert (rename.kind, rename.old_code, rename.new_code, rename.by) == (EditKind.RENAME, "MYELO", "BAND", "ben")
    assert (move.kind, move.old_box, move.new_box, move.why) == (EditKind.MOVE, FOUND[0].box, BOX, "second look")
    assert rename.group == move.group
    assert (rename.cell_id, rename.specimen_id, rename.undoes) == (cell.id, case.id, None)
    assert rename.at.utcoffset() is not None


def test_the_newest_corrections_are_the_end_of_them_all(case: Case) -> None:
    for code in ("A", "B", "C"):
        case.rename(case.cells()[0], code)
    everything = case.store.corrections(case.id)
    assert [c.new_code for c in everything] == ["A", "B", "C"]
    assert case.store.corrections(case.id, newest=2) == everything[1:]


def test_a_group_is_done_wholly_or_not_at_all(case: Case) -> None:
    before, statistics = case.cells(), case.store.statistics()
    good = Edit(EditKind.RENAME, before[0].id, code="BAND")
    added = Edit(EditKind.ADD, field_id=case.kept[0].id, code="LYM", box=BOX)
    for bad, error in (
        (Edit(EditKind.RENAME, 10_000, code="X"), NotFound),
        (Edit(EditKind.RENAME, before[1].id, code="X", expected="LYM"), Conflict),
        (Edit(EditKind.RESTORE, before[1].id), Conflict),
        (Edit(EditKind.RENAME, before[1].id), BadInput),
        (Edit(EditKind.RENAME, before[1].id, code=""), BadInput),
        (Edit(EditKind.RENAME, code="X"), BadInput),
        (Edit(EditKind.MOVE, before[1].id), BadInput),
        (Edit(EditKind.MOVE, before[1].id, box=(5, 5, 5, 9)), BadInput),
        (Edit(EditKind.MOVE, before[1].id, box=(5, 5, float("inf"), 9)), BadInput),
        (Edit(EditKind.ADD, code="X", box=BOX), BadInput),
        (Edit(EditKind.ADD, field_id=999, code="X", box=BOX), NotFound),
        (Edit(EditKind.ADD, field_id=2**50, code="X", box=BOX), NotFound),
        (Edit(EditKind.ADD, field_id=case.kept[0].id, code="X", box=(WIDTH, 0, WIDTH + 5, 5)), BadInput),
    ):
        with pytest.raises(error):
            case.store.apply(case.id, [added, good, bad], by="anna")
    assert case.cells() == before
    assert case.store.corrections(case.id) == []
    assert case.store.statistics() == statistics
    assert case.store.check().ok


def test_nothing_is_no_edit(case: Case) -> None:
    with pytest.raises(BadInput, match="No edit"):
        case.store.apply(case.id, [], by="anna")


def test_what_another_has_renamed_meanwhile_is_a_conflict(case: Case) -> None:
    cell = case.cells()[0]
    case.rename(cell, "BAND", by="ben")
    with pytest.raises(Conflict, match="BAND by now, not MYELO"):
        case.store.apply(case.id, [Edit(EditKind.RENAME, cell.id, code="META", expected="MYELO")], by="anna")
    case.store.apply(case.id, [Edit(EditKind.RENAME, cell.id, code="META", expected="BAND")], by="anna")


def test_edits_of_one_cell_in_one_group_follow_each_other(case: Case) -> None:
    cell = case.cells()[0]
    edits = [
        Edit(EditKind.RENAME, cell.id, code="BAND", expected="MYELO"),
        Edit(EditKind.REMOVE, cell.id, expected="BAND"),
        Edit(EditKind.RESTORE, cell.id),
        Edit(EditKind.MOVE, cell.id, box=BOX),
    ]
    (after,) = case.store.apply(case.id, edits, by="anna")
    assert (after.code, after.box, after.removed) == ("BAND", BOX, False)
    assert case.store.undo(case.id, by="anna") == [cell]
    assert case.store.check().ok


def test_a_removed_cell_is_restored_before_anything_else(case: Case) -> None:
    cell = case.cells()[0]
    case.edit(EditKind.REMOVE, cell)
    for kind in (EditKind.RENAME, EditKind.CONFIRM, EditKind.MOVE, EditKind.REMOVE):
        with pytest.raises(Conflict, match="was removed"):
            case.edit(kind, cell, code="X", box=BOX)


def test_a_cell_of_another_specimen_is_not_found(case: Case) -> None:
    other = kept_case(case.store, "M-2")
    with pytest.raises(NotFound, match="no cell"):
        case.rename(other.cells()[0], "X")
    with pytest.raises(NotFound, match="no field"):
        case.store.apply(case.id, [Edit(EditKind.ADD, field_id=other.kept[0].id, code="X", box=BOX)], by="anna")


def test_a_signed_specimen_is_locked_until_it_is_amended(case: Case) -> None:
    cell = case.cells()[0]
    case.rename(cell, "BAND")
    case.sign()
    before = case.cells()
    for attempt in (
        lambda: case.rename(cell, "META"),
        lambda: case.store.undo(case.id, by="anna"),
        lambda: case.store.accept_above(case.id, 0.0, by="anna"),
        lambda: case.store.save_draft(case.id, "{}", by="anna"),
        case.sign,
    ):
        with pytest.raises(Locked, match="amendment"):
            attempt()
    assert case.cells() == before
    case.store.begin_amendment(case.id, "wrong name", by="hana")
    assert case.rename(cell, "META").code == "META"


def test_undo_takes_back_ones_own_groups_newest_first(case: Case) -> None:
    start = case.cells()
    case.rename(start[0], "A1", by="anna")
    case.rename(start[1], "B1", by="ben")
    case.rename(start[0], "A2", by="anna")
    assert [c.code for c in case.store.undo(case.id, by="anna")] == ["A1"]
    assert [c.code for c in case.store.undo(case.id, by="anna")] == ["MYELO"]
    assert case.store.undo(case.id, by="anna") == []
    assert [c.code for c in case.cells()] == ["MYELO", "B1", "MYELO", "LYM"]
    assert case.store.undo(case.id, by="ben") == [start[1]]
    assert case.cells() == start


def test_undo_restores_everything_a_group_did(case: Case) -> None:
    start = case.cells()
    case.edit(EditKind.CONFIRM, start[3])
    middle = case.cells()
    case.store.apply(
        case.id,
        [
            Edit(EditKind.RENAME, start[0].id, code="BAND"),
            Edit(EditKind.MOVE, start[0].id, box=BOX),
            Edit(EditKind.REMOVE, start[1].id),
            Edit(EditKind.CONFIRM, start[2].id),
            Edit(EditKind.RENAME, start[3].id, code="OTHER"),
            Edit(EditKind.ADD, field_id=case.kept[0].id, code="LYM", box=BOX),
        ],
        by="anna",
    )
    assert len(case.store.undo(case.id, by="anna")) == 5
    *back, added = case.cells()
    assert back == middle
    assert added.removed
    assert case.store.counts(case.id) == {"LYM": (1, 1), "META": (1, 0), "MYELO": (2, 0)}
    undone = [c for c in case.store.corrections(case.id) if c.undoes is not None]
    assert len(undone) == 6
    assert {c.undoes for c in undone} == {case.store.corrections(case.id)[1].group}


def test_undo_does_not_undo_what_another_has_done_since(case: Case) -> None:
    cell = case.cells()[0]
    case.rename(cell, "A", by="anna")
    case.rename(cell, "B", by="ben")
    with pytest.raises(Conflict, match="ben"):
        case.store.undo(case.id, by="anna")
    assert case.store.cell(cell.id).code == "B"
    case.store.undo(case.id, by="ben")
    assert case.store.undo(case.id, by="anna") == [cell]


def test_undo_stays_within_its_specimen(case: Case) -> None:
    other = kept_case(case.store, "M-2")
    case.rename(case.cells()[0], "A")
    assert case.store.undo(other.id, by="anna") == []
    assert case.cells()[0].code == "A"


def test_accepting_confirms_every_unreviewed_cell_at_or_above_a_score(case: Case) -> None:
    one, two, three, four = case.cells()
    case.edit(EditKind.REMOVE, four)
    case.rename(one, "BAND")
    assert case.store.accept_above(case.id, three.score or 0, by="ben") == 1
    assert [c.reviewed for c in case.cells()] == [True, False, True, False]
    assert case.store.accept_above(case.id, 0.0, codes=["MYELO"], by="ben") == 0
    assert case.store.accept_above(case.id, 0.0, codes=["META"], by="ben") == 1
    case.store.undo(case.id, by="ben")
    case.store.undo(case.id, by="ben")
    assert [c.reviewed for c in case.cells()] == [True, False, False, False]
    assert two.code == "META"


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_a_score_to_accept_lies_in_0_to_1(case: Case, score: float) -> None:
    with pytest.raises(BadInput, match="score"):
        case.store.accept_above(case.id, score, by="anna")


def test_thousands_are_accepted_and_taken_back_at_once(store: Store) -> None:
    case = new_case(store)
    case.keep([FOUND[0]] * 1500)
    assert store.accept_above(case.id, 0.5, by="anna") == 1500
    assert store.counts(case.id) == {"MYELO": (1500, 1500)}
    assert len(store.undo(case.id, by="anna")) == 1500
    assert store.counts(case.id) == {"MYELO": (1500, 0)}
    assert store.check().ok


REWRITING = (
    "UPDATE cells SET called = 'LYM'",
    "UPDATE cells SET called = NULL",
    "UPDATE cells SET score = 1.0",
    "UPDATE cells SET doubt = 0.0",
    "UPDATE cells SET called_x1 = 0, code = 'LYM'",
    "UPDATE cells SET same_as = id",
    "UPDATE cells SET field_id = field_id + 1",
    "DELETE FROM cells WHERE id = 1",
    "DELETE FROM specimens",
    "UPDATE corrections SET new_code = 'LYM'",
    "DELETE FROM corrections",
    "UPDATE edit_groups SET who = 'ben'",
    "UPDATE fields SET image = 'x'",
    "DELETE FROM fields",
    "UPDATE reports SET content = 'x'",
    "DELETE FROM reports",
)


def test_the_database_itself_refuses_to_rewrite_what_happened(case: Case, place: Place) -> None:
    case.rename(case.cells()[0], "BAND")
    case.sign()
    before = case.cells()
    engine = place.engine()
    for statement in REWRITING:
        with pytest.raises(DBAPIError, match=r"not to be changed|nothing is deleted"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()
    assert case.cells() == before
    assert case.store.check().ok


def test_the_database_lets_a_person_rename(case: Case, place: Place) -> None:
    engine = place.engine()
    with database.writing(engine) as connection:
        changed = connection.execute(text("UPDATE cells SET code = 'BAND', called = called WHERE id = 1"))
        assert changed.rowcount == 1
    engine.dispose()
    # The guards let it pass; the check does not.
    assert "cell 1 is not as the model called it" in case.store.check().problems[0]
