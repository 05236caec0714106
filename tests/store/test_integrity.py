"""The integrity check: clean on a working archive, and it names what somebody has tampered with."""

import re

import pytest
from sqlalchemy import text

from helpers.archive import busy_archive
from helpers.places import Place
from marrowscope.errors import ArchiveError, BadInput
from marrowscope.store.check import check_archive
from marrowscope.store.integrity import check_rows
from marrowscope.store.store import Store


def test_a_busy_archive_is_whole(store: Store) -> None:
    busy_archive(store)
    done = []
    report = store.check(progress=lambda files, total: done.append((files, total)))
    assert report.ok, report.problems
    assert report.checked == {
        "audit entries": store.audit(1)[1],
        "specimens": 1,
        "cells": 6,
        "fields": 2,
        "groups of edits": 5,
        "reports": 2,
        "files": 4,
    }
    assert report.orphans == ()
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert store.check(quick=True).ok


TAMPERED = [
    # What the model said, and where.
    ("UPDATE cells SET called = 'BLAST' WHERE id = 4", "field 1 is not as it was"),
    ("UPDATE cells SET score = 0.99 WHERE id = 4", "field 1 is not as it was"),
    ("UPDATE cells SET called_x1 = 1 WHERE id = 1", "field 1 is not as it was"),
    ("UPDATE cells SET called = NULL WHERE id = 2", "field 1 is not as it was"),
    ("UPDATE fields SET focus = 3 WHERE id = 2", "field 2 is not as it was"),
    ("UPDATE fields SET kept_by = 'ben' WHERE id = 2", "field 2 is not as it was"),
    # What is so now.
    ("UPDATE cells SET code = 'BLAST' WHERE id = 5", "cell 5 is not as the model called it"),
    ("UPDATE cells SET x2 = 33 WHERE id = 5", "cell 5 is not as the model called it"),
    ("UPDATE cells SET code = 'BLAST' WHERE id = 1", "cell 1 is BLAST, and its corrections lead to BAND"),
    ("UPDATE cells SET y1 = 3 WHERE id = 2", "cell 2 is META, and its corrections lead to META"),
    # What people did.
    ("UPDATE corrections SET new_code = 'BLAST' WHERE id = 1", "group of edits 1 is not as it was"),
    ("UPDATE corrections SET old_code = 'BLAST' WHERE id = 1", "corrections do not follow from each other"),
    ("DELETE FROM corrections WHERE id = 2", "group of edits 2 is not as it was"),
    ("UPDATE edit_groups SET undoes = NULL", "the counter says"),
    # What was signed, and whether it is locked.
    ("UPDATE reports SET content = '[]' WHERE id = 1", "report 1 is not as it was"),
    ("UPDATE reports SET signer = 'Dr No' WHERE id = 2", "report 2 is not as it was"),
    ("DELETE FROM reports WHERE id = 2", "report 2 is in the audit trail, and its row is missing"),
    ("UPDATE specimens SET state = 'open'", "specimen/1 is open; the audit trail says signed"),
    ("UPDATE models SET serving = (1 = 0)", r"models serving: \[\]; the audit trail says 1"),
    # Counters.
    ("UPDATE tallies SET counting = counting + 1 WHERE code = 'LYM'", "specimen 1, LYM -> LYM: the counter says"),
    ("UPDATE totals SET reviewed = 0 WHERE code = 'LYM'", "all specimens, LYM -> LYM: the counter says"),
    ("UPDATE specimens SET cells = 99", "specimen 1, cells: the counter says 99, counting 4"),
    ("UPDATE specimens SET slides = 0", "specimen 1, slides: the counter says 0, counting 1"),
    ("UPDATE work SET edits = 7 WHERE who = 'ben' AND kind = 'add'", "add by ben: the counter says 7, counting 1"),
    # References.
    ("UPDATE slides SET specimen_id = 77", "slides 1 names specimens 77, which is missing"),
    ("DELETE FROM patients", "specimens 1 names patients 1, which is missing"),
]


def test_what_was_tampered_with_past_all_guards_is_named(place: Place) -> None:
    with place.open() as store:
        busy_archive(store)
        for statement, problem in TAMPERED:
            with place.tampering() as connection:
                connection.execute(text(statement))
                problems, _, _ = check_rows(connection)
            assert any(re.search(problem, told) for told in problems), (statement, problems)
        assert store.check().ok


def test_a_file_that_is_gone_or_changed_is_named_and_a_quick_check_only_misses_it(store: Store) -> None:
    case = busy_archive(store)
    first, second = case.kept
    store.image_path(first.image).unlink()
    store.image_path(second.image).write_bytes(b"other bytes")
    gone, changed = sorted(store.check().problems)
    assert (gone[:8], changed[:8]) == ("field 1:", "field 2:")
    assert "missing" in gone
    assert "changed" in changed
    assert [problem[:8] for problem in store.check(quick=True).problems] == ["field 1:"]


def test_a_half_written_file_is_an_orphan(store: Store, place: Place) -> None:
    busy_archive(store)
    folder = place.pixels / "ab"
    folder.mkdir(exist_ok=True)
    (folder / f".{'0' * 40}-{'a' * 12}").write_bytes(b"half")
    (place.pixels / "Thumbs.db").write_bytes(b"somebody else's")
    report = store.check()
    assert report.ok
    assert report.orphans == (f"ab/.{'0' * 40}-{'a' * 12}",)


def test_a_check_makes_and_migrates_nothing(empty_place: Place) -> None:
    with pytest.raises(BadInput, match="no archive"):
        check_archive(empty_place.url, empty_place.pixels)
    empty_place.open().close()
    assert check_archive(empty_place.url, empty_place.pixels).ok
    empty_place.run("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(ArchiveError, match="has schema 0001"):
        check_archive(empty_place.url, empty_place.pixels)
