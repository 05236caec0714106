"""The audit trail: every change tells of itself, nothing told can be changed unnoticed, and no patient is in it."""

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from helpers.archive import PDF, Case, kept_case, new_case
from helpers.places import Place
from marrowscope.cells.specimen import Edit, EditKind
from marrowscope.errors import ArchiveDamaged, Conflict
from marrowscope.store import trail
from marrowscope.store.store import Store

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
PATIENT = "PATIENT-7731"


def changes(store: Store, case: Case) -> dict[str, Callable[[], object]]:
    """Every call that writes, by what it tells; in an order in which all of them succeed."""
    cell = case.cells()[0].id
    return {
        "user.add": lambda: store.add_user("hana", "Dr Ito", "admin", "hash", by="root"),
        "user.password": lambda: store.set_password_hash("hana", "new", by="root"),
        "user.role": lambda: store.set_role("hana", "admin", by="root"),
        "user.active": lambda: store.set_active("hana", True, by="root"),
        "user.full_name": lambda: store.set_full_name("hana", "Dr Sato", by="root"),
        "user.keyboard": lambda: store.set_keyboard("hana", "digits", by="root"),
        "login": lambda: store.note_login("hana", True),
        "login.failed": lambda: store.note_login("hana", False),
        "specimen.add": lambda: store.add_specimen("M-9", PATIENT, note=f"of {PATIENT}", by="root"),
        "slide.add": lambda: store.add_slide(case.id, "B", by="root"),
        "field.keep": lambda: case.keep(by="root"),
        "cells.edit": lambda: store.apply(case.id, [Edit(EditKind.RENAME, cell, code="BAND")], by="root"),
        "cells.accept": lambda: store.accept_above(case.id, 0.9, by="root"),
        "cells.undo": lambda: store.undo(case.id, by="root"),
        "cells.read": lambda: store.add_readings(case.id, {cell: "META"}, by="root"),
        "effort.add": lambda: store.add_effort(case.id, 1, 2, 3, by="root"),
        "report.draft": lambda: store.save_draft(case.id, f'{{"conclusion":"{PATIENT}"}}', by="root"),
        "report.sign": lambda: store.sign(case.id, f'{{"patient":"{PATIENT}"}}', PDF, by="root", meaning="approved"),
        "report.send": lambda: store.note_sent(1, "interface.lab:2575", "M1", by="root"),
        "report.amend": lambda: store.begin_amendment(case.id, "why not", by="root"),
        "model.add": lambda: store.add_model("light", "ab" * 32, "clinical", "m", "", by="root"),
        "model.promote": lambda: store.promote(1, by="root", why="best"),
        "setting": lambda: store.set_setting("station", "{}", by="root"),
    }


def test_every_change_leaves_exactly_one_entry(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="marrowscope")
    case = kept_case(store, patient=PATIENT)
    for what, change in changes(store, case).items():
        before = store.audit(1)[1]
        change()
        (entry,), after = store.audit(1)
        assert (entry.what, after) == (what, before + 1)
        assert entry.who in ("root", "hana")
        kind, _, key = entry.subject.partition("/")
        assert kind in ("user", "specimen", "model", "setting")
        assert key
    everything, total = store.audit(1000)
    assert len(everything) == total
    assert PATIENT not in "\n".join(map(str, everything))
    assert PATIENT not in caplog.text
    assert "specimen/1" in caplog.text
    assert store.check().ok


def test_a_change_that_fails_leaves_no_entry(store: Store) -> None:
    case = kept_case(store)
    before = store.audit(1)[1]
    with pytest.raises(Conflict):
        store.add_specimen(case.specimen.code, "P-1", by="anna")
    with pytest.raises(Conflict):
        store.apply(case.id, [Edit(EditKind.RENAME, case.cells()[0].id, code="X", expected="Y")], by="anna")
    assert store.audit(1)[1] == before


def test_asking_for_nothing_leaves_no_entry(store: Store) -> None:
    case = kept_case(store)
    before = store.audit(1)[1]
    assert store.undo(case.id, by="anna") == []
    assert store.accept_above(case.id, 1.0, by="anna") == 0
    assert store.audit(1)[1] == before


def test_an_entry_says_from_what_to_what_and_why(store: Store) -> None:
    case = kept_case(store)
    cell = case.cells()[0]
    store.apply(case.id, [Edit(EditKind.RENAME, cell.id, code="BAND")], by="anna", why="lobed", now=NOW)
    (entry,), _ = store.audit(1, 0, f"specimen/{case.id}")
    assert (entry.at, entry.who, entry.why) == (NOW, "anna", "lobed")
    box = list(cell.box)
    assert json.loads(entry.old) == {"cells": [[cell.id, "MYELO", box, False, False]]}
    assert json.loads(entry.new)["cells"] == [[cell.id, "rename", "BAND", box, True, False]]


def test_the_trail_is_read_newest_first_by_page_and_by_subject(store: Store) -> None:
    first, second = kept_case(store, "M-1"), new_case(store, "M-2")
    entries, total = store.audit(1000)
    assert [e.id for e in entries] == list(range(total, 0, -1))
    assert store.audit(2, 1) == (entries[1:3], total)
    of_first, number = store.audit(10, 0, f"specimen/{first.id}")
    assert (number, [e.what for e in of_first]) == (3, ["field.keep", "slide.add", "specimen.add"])
    assert store.audit(10, 0, f"specimen/{second.id}")[1] == 2
    assert store.audit(10, 0, "specimen/99") == ([], 0)


def test_each_entry_is_sealed_onto_the_one_before(store: Store) -> None:
    kept_case(store)
    entries = store.audit(1000)[0][::-1]
    assert entries[0].previous == trail.BEGINNING
    assert all(later.previous == earlier.digest for earlier, later in pairwise(entries))
    assert all(trail.digest_of(entry) == entry.digest for entry in entries)
    report = store.verify()
    assert (report.ok, report.digest, report.checked) == (True, entries[-1].digest, {"audit entries": len(entries)})


def test_a_trail_that_was_written_anew_lacks_the_digest_written_down(store: Store) -> None:
    kept_case(store)
    written_down = store.audit(1)[0][0].digest
    store.add_specimen("M-2", "P-2", by="anna")
    assert store.verify(written_down).ok
    assert "written anew" in store.verify("ab" * 32).problems[0]


def test_the_database_refuses_to_change_or_delete_entries(store: Store, place: Place) -> None:
    kept_case(store)
    engine = place.engine()
    statements = [
        "UPDATE audit SET who = 'ben' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "DELETE FROM audit_head",
    ]
    if place.on_sqlite:
        statements.append("REPLACE INTO audit SELECT * FROM audit WHERE id = 2")
    else:
        statements.append("TRUNCATE audit")
    for statement in statements:
        with pytest.raises(DBAPIError, match=r"not to be changed|nothing is deleted"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()
    assert store.verify().ok


TAMPERED = (
    ("UPDATE audit SET who = 'ben' WHERE id = 2", r"audit entry 2 \(slide.add by ben\) was changed"),
    ("UPDATE audit SET new = '{}' WHERE id = 3", r"audit entry 3 .* was changed"),
    ("UPDATE audit SET why = 'because' WHERE id = 1", r"audit entry 1 .* was changed"),
    ("UPDATE audit SET digest = previous WHERE id = 2", r"audit entry 2 .* was changed"),
    ("UPDATE audit SET previous = digest WHERE id = 2", r"audit entry 2 does not follow entry 1"),
    ("DELETE FROM audit WHERE id = 2", r"audit entry 2 is missing"),
    ("DELETE FROM audit WHERE id IN (2, 3)", r"audit entry 2-3 is missing"),
    ("DELETE FROM audit WHERE id = 1", r"audit entry 1 is missing"),
    ("DELETE FROM audit WHERE id > 4", r"has 4 entries and should have 5"),
    ("DELETE FROM audit", r"has 0 entries and should have 5"),
    ("DELETE FROM audit_head", r"head of the audit trail is missing"),
    ("UPDATE audit_head SET digest = 'x'", r"audit entry 5, the newest, is not the one"),
)


def test_tampering_is_named(place: Place) -> None:
    with place.open() as store:
        kept_case(store)
        store.add_specimen("M-2", "P-2", by="anna")
        store.add_specimen("M-3", "P-3", by="anna")
        for statement, problem in TAMPERED:
            with place.tampering() as connection:
                connection.execute(text(statement))
                chain = trail.ChainCheck()
                chain.read_all(connection)
            (told,) = chain.problems
            assert re.search(problem, told), (statement, told)
        assert store.verify().ok


def test_without_the_head_of_the_trail_nothing_is_written(place: Place) -> None:
    with place.tampering() as connection:
        connection.execute(text("DELETE FROM audit_head"))
        entry = {"at": NOW, "who": "anna", "what": "slide.add", "subject": "specimen/1"}
        with pytest.raises(ArchiveDamaged, match="head of the audit trail"):
            trail.append(connection, **entry, old=None, new=None, why="")  # type: ignore[arg-type]
