"""The key flow: two keys a wrong cell, one a page, and nothing is lost on the way."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.specimen import Edit, EditKind
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.station.keyboards import keyboard_of
from marrowscope.station.keyflow import PLACES, Accept, KeyFlow, Press, ShownCell, Undo, keys_by_class, press_for

SCHEME = load_taxonomy("clinical")
KEYBOARD = keyboard_of("default", SCHEME)
COUNTER = keyboard_of("counter", SCHEME)
KEY = keys_by_class(KEYBOARD)
CODES = sorted(KEY)
ENTER, DELETE, ESCAPE, SPACE, QUEUE = (Press(c) for c in ("Enter", "Delete", "Escape", "Space", "Backquote"))
RIGHT, DOWN = Press("ArrowRight"), Press("ArrowDown")


def flow(count: int = 100, keyboard=KEYBOARD) -> KeyFlow:  # type: ignore[no-untyped-def]
    cells = [ShownCell(n + 1000, "MYELO", 0.5 + n / (3 * count), 0.5 - n / (3 * count)) for n in range(count)]
    return KeyFlow(cells, keyboard)


def test_a_wrong_cell_costs_its_place_and_its_class_and_the_hand_is_empty_again() -> None:
    page = flow()
    assert page.press(page.place_of(27)) is None
    assert page.hand == (27,)
    wish = page.press(KEY["META"])
    assert wish == (Edit(EditKind.RENAME, 1027, code="META", expected="MYELO"),)
    assert page.hand == ()
    assert page.cells[27] == ShownCell(1027, "META", page.cells[27].score, page.cells[27].doubt, reviewed=True)
    assert page.keystrokes == 2


def test_enter_with_an_empty_hand_confirms_what_is_left_of_the_page_and_turns_it() -> None:
    page = flow(100)
    page.press(page.place_of(3))
    page.press(KEY["META"])
    wish = page.press(ENTER)
    assert isinstance(wish, tuple)
    assert {e.cell_id for e in wish} == {1000 + n for n in range(40) if n != 3}
    assert {(e.kind, e.expected, e.code) for e in wish} == {(EditKind.CONFIRM, "MYELO", None)}
    assert page.shown == range(40, 80)
    # The last page is shorter, and stays.
    page.press(ENTER)
    assert len(page.press(ENTER)) == 20  # type: ignore[arg-type]
    assert page.shown == range(80, 100)
    assert page.press(ENTER) is None


@given(st.sets(st.integers(0, 199), max_size=30))
def test_any_wrong_cells_are_set_right_with_two_keys_each_and_one_a_page(wrong: set[int]) -> None:
    page = flow(200)
    for _ in range(page.pages):
        for position in page.shown:
            if position in wrong:
                page.press(page.place_of(position))
                page.press(KEY["NEU_SEG"])
        page.press(ENTER)
    assert {p for p, c in enumerate(page.cells) if c.code == "NEU_SEG"} == wrong
    assert all(c.reviewed for c in page.cells)
    assert page.keystrokes == 2 * len(wrong) + 5


def test_the_name_that_a_cell_bears_already_confirms_it() -> None:
    page = flow()
    page.press(page.place_of(0))
    assert page.press(KEY["MYELO"]) == (Edit(EditKind.CONFIRM, 1000, expected="MYELO"),)


def test_a_key_without_a_cell_at_its_place_does_nothing() -> None:
    page = flow(5)
    assert page.press(Press(PLACES[5])) is None
    assert page.hand == ()


def test_shift_and_a_place_add_to_the_hand_and_take_away_from_it() -> None:
    page = flow(keyboard=COUNTER)
    for position in (0, 11, 2):
        page.press(Press(PLACES[position], shift=True))
    page.press(Press(PLACES[11], shift=True))
    assert page.hand == (0, 2)
    wish = page.press(press_for("Numpad9"))
    assert isinstance(wish, tuple)
    assert [(e.cell_id, e.code) for e in wish] == [(1000, "META"), (1002, "META")]


def test_a_number_pad_key_with_an_empty_hand_does_nothing() -> None:
    page = flow(keyboard=COUNTER)
    assert page.press(press_for("Numpad9")) is None
    assert page.hand == ()


def test_arrows_walk_and_take_what_they_meet_over_the_edge_of_the_page_too() -> None:
    page = flow(100)
    page.press(RIGHT)
    assert page.hand == (1,)
    for _ in range(4):
        page.press(DOWN)
    assert page.hand == (41,)
    assert page.page == 1
    page.press(Press("ArrowRight", shift=True))
    assert page.hand == (41, 42)


def test_arrows_stop_at_both_ends() -> None:
    page = flow(15)
    page.press(Press("ArrowUp"))
    assert page.cursor == 0
    page.press(Press("End"))
    page.press(DOWN)
    page.press(DOWN)
    assert page.cursor == 10


def test_a_pinned_hand_keeps_its_cells_while_the_cursor_walks() -> None:
    page = flow()
    page.press(SPACE)
    page.press(SPACE)
    page.press(RIGHT)
    page.press(RIGHT)
    assert page.hand == (0,)
    page.press(SPACE)
    assert page.hand == (0, 2)
    page.press(KEY["BAND"])
    assert not page.pinned
    assert [p for p, c in enumerate(page.cells) if c.code == "BAND"] == [0, 2]


def test_the_queue_brings_the_most_doubtful_cell_that_nobody_reviewed_until_none_is_left() -> None:
    cells = [ShownCell(n, "MYELO", None, doubt) for n, doubt in enumerate((0.1, 0.9, 0.5, 0.9))]
    page = KeyFlow(cells, KEYBOARD)
    met = []
    page.press(QUEUE)
    while page.hand:
        met.append(page.hand[0])
        page.press(KEY["BAND"] if page.hand[0] == 2 else ENTER)
    assert met == [1, 3, 2, 0]
    assert all(c.reviewed for c in page.cells)
    assert not page.queue


def test_the_queue_passes_what_was_removed_and_escape_ends_it() -> None:
    page = flow(3)
    page.press(QUEUE)
    page.press(DELETE)
    assert page.hand == (1,)
    page.press(ESCAPE)
    page.press(page.place_of(2))
    page.press(ENTER)
    assert page.hand == ()


def test_delete_removes_and_delete_again_brings_back() -> None:
    page = flow(3)
    page.press(page.place_of(1))
    assert page.press(DELETE) == (Edit(EditKind.REMOVE, 1001, expected="MYELO"),)
    assert page.press(ENTER) == tuple(Edit(EditKind.CONFIRM, n, expected="MYELO") for n in (1000, 1002))
    page.press(page.place_of(1))
    assert page.press(DELETE) == (Edit(EditKind.RESTORE, 1001, expected="MYELO"),)


def test_a_removed_cell_takes_no_name() -> None:
    page = flow(3)
    page.press(page.place_of(1))
    page.press(DELETE)
    page.press(page.place_of(1))
    assert page.press(KEY["BAND"]) is None
    assert page.cells[1].code == "MYELO"


def test_accepting_takes_exactly_the_cells_at_or_above_the_threshold() -> None:
    page = flow(100)
    page.threshold = float(page.cells[60].score or 0)
    assert page.press(Press("Equal")) == Accept(page.threshold)
    assert [c.reviewed for c in page.cells] == [n >= 60 for n in range(100)]


def test_the_threshold_moves_in_steps_and_stays_a_score() -> None:
    page = flow(1)
    for _ in range(30):
        page.press(Press("BracketRight"))
    assert page.threshold == 1
    page.press(Press("BracketLeft"))
    assert page.threshold == 0.95
    for _ in range(30):
        page.press(Press("BracketLeft"))
    assert page.threshold == 0


@pytest.mark.parametrize("press", [Press("Backspace"), Press("KeyZ", control=True)])
def test_undo_takes_back_one_group_at_a_time(press: Press) -> None:
    page = flow(50)
    first = list(page.cells)
    page.press(page.place_of(4))
    page.press(KEY["BAND"])
    second = list(page.cells)
    page.press(ENTER)
    assert page.press(press) == Undo()
    assert page.cells == second
    assert page.press(press) == Undo()
    assert page.cells == first
    assert page.press(press) is None


def test_control_never_names_and_takes_the_whole_page_with_a() -> None:
    page = flow(100)
    page.press(page.place_of(0))
    assert page.press(Press("KeyM", control=True)) is None
    page.press(Press("KeyA", control=True))
    assert page.hand == tuple(range(40))


def test_shift_and_control_count_as_keys_of_their_own() -> None:
    page = flow()
    page.press(Press("KeyA", control=True))
    page.press(KEY["EOS_MYELO"])
    assert page.keystrokes == 4


def test_an_empty_gallery_takes_every_key() -> None:
    page = KeyFlow([], KEYBOARD)
    for code in (
        *PLACES,
        "Enter",
        "Space",
        "Delete",
        "ArrowDown",
        "Backquote",
        "PageDown",
        "End",
        "Equal",
        "Backspace",
    ):
        page.press(Press(code))
    assert page.hand == ()


ANY = st.builds(
    Press,
    st.sampled_from(
        [*PLACES, "Enter", "Delete", "Space", "Escape", "Backquote", "Backspace", "Equal", "PageDown", "PageUp", "Home"]
        + ["End", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Numpad5", "F1", "Tab"]
    ),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(ANY, max_size=80), st.integers(0, 90))
def test_whatever_is_typed_the_wishes_tell_all_that_changed(presses: list[Press], count: int) -> None:
    """An archive that does what is asked, and undoes by group, holds what the page shows."""
    page = flow(count)
    archive = {c.id: c for c in page.cells}
    history: list[dict[int, ShownCell]] = []
    for press in presses:
        wish = page.press(press)
        if isinstance(wish, Undo):
            archive = history.pop()
        elif wish is not None:
            before, archive = archive, dict(archive)
            if isinstance(wish, Accept):
                for cell in archive.values():
                    if (cell.score or 0) >= wish.above and not cell.removed:
                        archive[cell.id] = ShownCell(cell.id, cell.code, cell.score, cell.doubt, True, False)
            else:
                for edit in wish:
                    _do(archive, edit)
            # Where nobody was left to accept there is no group to undo.
            if archive != before:
                history.append(before)
    assert [archive[c.id] for c in page.cells] == page.cells
    assert page.cursor in range(max(count, 1))
    assert all(position in range(count) for position in page.hand)


def _do(archive: dict[int, ShownCell], edit: Edit) -> None:
    assert edit.cell_id is not None
    cell = archive[edit.cell_id]
    assert edit.expected == cell.code
    removed = {EditKind.REMOVE: True, EditKind.RESTORE: False}.get(edit.kind, cell.removed)
    reviewed = cell.reviewed or edit.kind in (EditKind.RENAME, EditKind.CONFIRM)
    archive[cell.id] = ShownCell(cell.id, edit.code or cell.code, cell.score, cell.doubt, reviewed, removed)


def test_no_class_key_is_a_key_that_walks_or_confirms() -> None:
    """So that no layout can take a command away from the technician."""
    written = {press_for(key).code for key in KEYBOARD.keys}
    places_and_digits = {*PLACES, *(f"Digit{d}" for d in string.digits)}
    assert written <= places_and_digits
