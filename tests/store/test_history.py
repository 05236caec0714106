"""Any sequence of edits and undos: history leads from the model's calls to the present, and undo leads exactly back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from helpers.archive import HEIGHT, WIDTH, Case, new_case
from marrowscope.cells.specimen import Box, Cell, Correction, Edit, EditKind, FoundCell, SpecimenState
from marrowscope.errors import Conflict, Locked
from marrowscope.store.store import Store

WHO = st.sampled_from(("anna", "ben"))
CODES = st.sampled_from(("MYELO", "META", "BAND", "LYM"))
EDGE_X, EDGE_Y = st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2)
BOXES = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), EDGE_X, EDGE_Y, st.integers(1, 90), st.integers(1, 90))
SCORES = st.floats(0, 1)
FOUND = st.builds(FoundCell, box=BOXES, code=CODES, score=SCORES, doubt=SCORES)
WISHES = st.tuples(st.sampled_from(EditKind), st.integers(0, 30), CODES, BOXES)


def as_found(cell: Cell, box: Box) -> Cell:
    """The cell before anybody edited it. One that a person added was not there."""
    return replace(cell, code=cell.called or cell.code, box=box, reviewed=False, removed=cell.called is None)


def after(cell: Cell, correction: Correction) -> Cell:
    """What a correction does to a cell, told from its kind alone."""
    cell = replace(cell, code=correction.new_code or cell.code, box=correction.new_box or cell.box)
    match correction.kind:
        case EditKind.REMOVE:
            return replace(cell, removed=True)
        case EditKind.RESTORE:
            return replace(cell, removed=False)
        case EditKind.ADD:
            return replace(cell, removed=False, reviewed=True)
        case EditKind.RENAME | EditKind.CONFIRM:
            return replace(cell, reviewed=True)
    return cell


class History(RuleBasedStateMachine):
    """A case that two people work on. `before`: what stood before each group of each person, to be led back to."""

    store: Store

    @initialize(found=st.lists(FOUND, min_size=1, max_size=5))
    def begin(self, found: list[FoundCell]) -> None:
        self.case: Case = new_case(self.store, f"M-{self.store.specimens()[1]}")
        self.groups: list[tuple[str, set[int], dict[int, Cell]]] = []
        self.boxes: dict[int, Box] = {}
        self._keep(found)

    def _keep(self, found: list[FoundCell]) -> None:
        field = self.case.keep(found)
        self.boxes |= {cell.id: cell.box for cell in self.store.field_cells(field.id)}

    def cells(self) -> dict[int, Cell]:
        return {cell.id: cell for cell in self.case.cells()}

    def locked(self) -> bool:
        return self.store.specimen(self.case.id).state is SpecimenState.SIGNED

    @rule(found=st.lists(FOUND, max_size=3), again=st.booleans())
    def keep(self, found: list[FoundCell], again: bool) -> None:
        if self.locked():
            with pytest.raises(Locked):
                self.case.keep(found)
            return
        seen = min(self.cells())
        self._keep([replace(cell, same_as=seen if again else None) for cell in found])

    @rule(who=WHO, wishes=st.lists(WISHES, min_size=1, max_size=4))
    def edit(self, who: str, wishes: list[Any]) -> None:
        before = self.cells()
        numbers = sorted(before)
        edits = []
        for kind, number, code, box in wishes:
            if kind is EditKind.ADD:
                edits.append(Edit(kind, field_id=self.case.kept[-1].id, code=code, box=box))
            else:
                edits.append(Edit(kind, cell_id=numbers[number % len(numbers)], code=code, box=box))
        try:
            done = self.store.apply(self.case.id, edits, by=who)
        except (Conflict, Locked):
            assert self.cells() == before
            return
        assert {cell.id: cell for cell in done}.items() <= self.cells().items()
        self.groups.append((who, {cell.id for cell in done}, before))

    @rule(who=WHO, score=SCORES)
    def accept(self, who: str, score: float) -> None:
        before = self.cells()
        wanted = {
            c.id for c in before.values() if not (c.removed or c.reviewed or c.score is None) and c.score >= score
        }
        try:
            assert self.store.accept_above(self.case.id, score, by=who) == len(wanted)
        except Locked:
            return
        assert {c.id for c in self.cells().values() if c.reviewed and not before[c.id].reviewed} == wanted
        if wanted:
            self.groups.append((who, wanted, before))

    @rule(who=WHO)
    def undo(self, who: str) -> None:
        before = self.cells()
        mine = [number for number, (person, _, _) in enumerate(self.groups) if person == who]
        try:
            done = self.store.undo(self.case.id, by=who)
        except Locked:
            assert self.locked()
            return
        except Conflict:
            _, touched, _ = self.groups[mine[-1]]
            assert any(touched & later for _, later, _ in self.groups[mine[-1] + 1 :])
            assert self.cells() == before
            return
        if not mine:
            assert done == []
            return
        _, touched, stood = self.groups.pop(mine[-1])
        assert {cell.id for cell in done} == touched
        now = self.cells()
        for number in touched:
            # A cell that the group added did not stand at all: now it is removed.
            assert now[number] == stood[number] if number in stood else now[number].removed
        assert all(now[number] == before[number] for number in now.keys() - touched)

    @rule()
    def sign_or_amend(self) -> None:
        if self.locked():
            self.store.begin_amendment(self.case.id, "more", by="hana")
        else:
            self.case.sign()

    @invariant()
    def history_leads_to_the_present(self) -> None:
        if not hasattr(self, "case"):
            return
        cells, corrections = self.cells(), self.store.corrections(self.case.id)
        # All of them, one after the other: names and places.
        stands = {cell.id: (cell.called, self.boxes.get(cell.id)) for cell in cells.values()}
        for one in corrections:
            assert (one.old_code, one.old_box) == stands[one.cell_id]
            stands[one.cell_id] = one.new_code, one.new_box
        assert stands == {cell.id: (cell.code, cell.box) for cell in cells.values()}
        # Those alone that were not taken back: everything.
        undone = {one.undoes for one in corrections}
        valid = [one for one in corrections if one.undoes is None and one.group not in undone]
        found = {cell.id: as_found(cell, self.boxes.get(cell.id, cell.box)) for cell in cells.values()}
        for one in valid:
            found[one.cell_id] = after(found[one.cell_id], one)
        for number, cell in cells.items():
            if found[number].removed and cell.called is None:
                assert cell.removed
            else:
                assert found[number] == cell

    def teardown(self) -> None:
        report = self.store.check(quick=True)
        assert report.ok, report.problems


def test_any_sequence_of_edits_and_undos_keeps_its_history(store: Store) -> None:
    # One archive for all examples: each works on a specimen of its own, and the archive gets fuller.
    machine = type("HistoryHere", (History,), {"store": store})
    run_state_machine_as_test(machine, settings=settings(max_examples=12, stateful_step_count=20, deadline=None))


@pytest.mark.slow
def test_any_long_sequence_of_edits_and_undos_keeps_its_history(store: Store) -> None:
    machine = type("HistoryHere", (History,), {"store": store})
    run_state_machine_as_test(machine, settings=settings(max_examples=150, stateful_step_count=50, deadline=None))
