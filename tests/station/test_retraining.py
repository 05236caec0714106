"""Reviewed fields become training data: whole, with the name of every word's author, and a set that stays apart."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.small_archive import HEIGHT, NOW, WIDTH, Case, add_case, found, grid, open_archive
from marrowscope.cells.specimen import Cell, Edit, EditKind
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.data.check import check_folder
from marrowscope.data.voc import read_voc
from marrowscope.errors import ArchiveDamaged, BadInput, BadTaxonomy
from marrowscope.station.retraining import ABOUT, FIXED, PROVENANCE, TRAIN, export_reviewed, fixed_patients
from marrowscope.store.store import Store

SCHEME = load_taxonomy("clinical")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_archive(tmp_path) as opened:
        yield opened


def cells_of(case: Case) -> list[Cell]:
    return case.store.cells(case.specimen.id, removed=None, order="number", limit=1000)[0]


def accept(case: Case) -> None:
    case.store.accept_above(case.specimen.id, 0, by="anna", now=NOW)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / PROVENANCE).read_text(encoding="utf-8").splitlines()]


def test_every_word_arrives_and_the_picture_byte_for_byte(store: Store, tmp_path: Path) -> None:
    case = add_case(store, "S-1")
    model = store.add_model("first", "ab" * 32, "clinical", "m", "", by="admin")
    image = b"\xff\xd8\xff\xe0 not decoded here"
    store.keep_field(
        case.slide.id, image, width=WIDTH, height=HEIGHT, model_id=model.id, found=grid(["MYELO", "LYM"]), by="tech"
    )
    first, second = cells_of(case)
    store.apply(case.specimen.id, [Edit(EditKind.RENAME, first.id, code="META")], by="anna", why="nucleus", now=NOW)
    store.apply(case.specimen.id, [Edit(EditKind.CONFIRM, second.id)], by="ben", now=NOW)
    made = export_reviewed(store, tmp_path / "out", now=NOW)
    assert (made.fields, made.cells, made.specimens, made.training, made.fixed) == (
        1,
        2,
        1,
        (),
        ("S-1/field_0001",),
    )
    assert (made.folder / "JPEGImages/S-1/field_0001.jpg").read_bytes() == image
    meta, lymphocyte = lines(made.folder)
    assert meta == {
        "specimen": "S-1",
        "field": "S-1/field_0001",
        "part": "fixed",
        "image": store.fields(case.specimen.id)[0].image,
        "model": {"name": "first", "digest": "ab" * 32},
        "cell": first.id,
        "box": [5, 5, 35, 35],
        "called": "MYELO",
        "score": 0.9,
        "code": "META",
        "name": "neutrophilic metamyelocyte",
        "same_as": None,
        "by": "anna",
        "at": NOW.isoformat(),
        "how": "rename",
        "why": "nucleus",
    }
    assert (lymphocyte["by"], lymphocyte["how"], lymphocyte["name"]) == ("ben", "confirm", "lymphocyte")


def test_the_folder_is_read_back_as_it_was_reviewed(store: Store, tmp_path: Path) -> None:
    case = add_case(store, "M 24/0117")
    case.keep(grid(["MYELO", "OTHER", "LYM", "BAND"]))
    accept(case)
    gone = cells_of(case)[3]
    field = store.fields(case.specimen.id)[0]
    edits = [
        Edit(EditKind.REMOVE, gone.id),
        Edit(EditKind.ADD, field_id=field.id, code="PLASMA", box=(200, 150, 240, 190)),
    ]
    store.apply(case.specimen.id, edits, by="anna")
    made = export_reviewed(store, tmp_path / "out")
    (read,) = read_voc(made.folder).fields
    assert read.specimen == "M_24_0117"
    assert read.labels == ("neutrophilic myelocyte", "unidentified", "lymphocyte", "plasma cell")
    assert read.difficult.tolist() == [False, True, False, False]
    assert [SCHEME[SCHEME.index(label)].code for label in read.labels] == ["MYELO", "OTHER", "LYM", "PLASMA"]
    assert read.boxes[3].tolist() == [200, 150, 240, 190]
    assert made.unidentified == 1
    assert [row["how"] for row in lines(made.folder)] == ["confirm"] * 3 + ["add"]
    assert not [p for p in check_folder(made.folder).problems if p.severity == "error"]


def test_no_code_of_a_patient_is_anywhere_in_the_folder(store: Store, tmp_path: Path) -> None:
    for number in range(3):
        case = add_case(store, f"S-{number}", f"PATIENT-{number}-SECRET")
        case.keep(grid(["MYELO"]))
        accept(case)
    made = export_reviewed(store, tmp_path / "out")
    everything = [p for p in made.folder.rglob("*") if p.is_file()]
    assert len(everything) > 6
    for path in everything:
        assert "secret" not in str(path).casefold()
        assert b"secret" not in path.read_bytes().lower()


def test_a_field_with_a_cell_that_nobody_reviewed_stays_out_and_is_told(store: Store, tmp_path: Path) -> None:
    case = add_case(store)
    case.keep(grid(["MYELO", "LYM"]))
    case.keep(grid(["MYELO"]))
    case.keep([])
    one, two, three = cells_of(case)
    store.apply(case.specimen.id, [Edit(EditKind.CONFIRM, cell.id) for cell in (one, three)], by="anna")
    made = export_reviewed(store, tmp_path / "out")
    assert made.fixed == ("S-1/field_0002",)
    assert [(entry.field, entry.why) for entry in made.left_out] == [
        (1, "1 of its cells was not reviewed"),
        (3, "it shows no cell"),
    ]
    # A word that was taken back is no word.
    store.apply(case.specimen.id, [Edit(EditKind.CONFIRM, two.id)], by="ben")
    assert export_reviewed(store, tmp_path / "both").fields == 2
    store.undo(case.specimen.id, by="ben")
    assert export_reviewed(store, tmp_path / "again").fixed == made.fixed


def test_what_stands_after_undo_is_who_spoke_before(store: Store, tmp_path: Path) -> None:
    case = add_case(store)
    case.keep(grid(["MYELO"]))
    (cell,) = cells_of(case)
    store.apply(case.specimen.id, [Edit(EditKind.RENAME, cell.id, code="META")], by="anna")
    store.apply(case.specimen.id, [Edit(EditKind.RENAME, cell.id, code="BAND")], by="ben")
    store.undo(case.specimen.id, by="ben")
    (line,) = lines(export_reviewed(store, tmp_path / "out").folder)
    assert (line["code"], line["by"]) == ("META", "anna")


def test_a_cell_seen_again_bears_the_name_given_where_it_counts(store: Store, tmp_path: Path) -> None:
    case = add_case(store)
    case.keep(grid(["MYELO", "LYM"]))
    counted, gone = cells_of(case)
    case.keep(
        [replace(found("MYELO"), same_as=counted.id), replace(found("LYM", box=(99, 9, 140, 50)), same_as=gone.id)]
    )
    edits = [Edit(EditKind.RENAME, counted.id, code="META"), Edit(EditKind.REMOVE, gone.id)]
    store.apply(case.specimen.id, edits, by="anna")
    made = export_reviewed(store, tmp_path / "out")
    # What is no cell in one field is none in the other.
    assert [(row["field"][-4:], row["code"], row["by"]) for row in lines(made.folder)] == [
        ("0001", "META", "anna"),
        ("0002", "META", "anna"),
    ]


def test_nothing_reviewed_makes_no_folder(store: Store, tmp_path: Path) -> None:
    add_case(store).keep(grid(["MYELO"]))
    with pytest.raises(BadInput, match="no field is reviewed throughout"):
        export_reviewed(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_leaves_nothing_that_looks_whole(store: Store, tmp_path: Path) -> None:
    case = add_case(store)
    case.keep(grid(["MYELO"]))
    broken = case.keep(grid(["LYM"]))
    accept(case)
    store.image_path(broken.image).unlink()
    with pytest.raises(ArchiveDamaged):
        export_reviewed(store, tmp_path / "new" / "out")
    assert not (tmp_path / "new" / "out").exists()
    assert [p.name for p in (tmp_path / "new").glob(".*")] == []


def test_a_folder_that_is_there_is_not_written_into(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="is there already"):
        export_reviewed(store, tmp_path / "out")


def test_a_name_that_the_scheme_lacks_is_told_with_its_cell(store: Store, tmp_path: Path) -> None:
    case = add_case(store)
    case.keep(grid(["HAIRY"]))
    accept(case)
    with pytest.raises(BadTaxonomy, match="cell 1 is called 'HAIRY'"):
        export_reviewed(store, tmp_path / "out")


@pytest.mark.parametrize("codes", [("a/b", "a b", "A_B"), ("../x", "...", "x"), ("骨髓 12", "骨髓-12", "12")])
def test_specimens_of_any_code_get_folders_of_their_own(store: Store, tmp_path: Path, codes: tuple[str, ...]) -> None:
    for code in codes:
        case = add_case(store, code, f"of {code}")
        case.keep(grid(["MYELO"]))
        accept(case)
    made = export_reviewed(store, tmp_path / "out")
    assert len({f.specimen for f in read_voc(made.folder).fields}) == 3
    assert len({name.casefold() for name in (*made.training, *made.fixed)}) == 3
    assert {row["specimen"] for row in lines(made.folder)} == set(codes)


# The fixed set


patients = st.sets(st.text(min_size=1, max_size=8), max_size=60)


@given(patients, patients)
def test_who_is_held_out_stays_held_out_when_patients_are_added(before: set[str], later: set[str]) -> None:
    first, second = fixed_patients(before), fixed_patients(before | later)
    trained = before - first
    # Whoever was learned from is never compared on afterwards: that is what the set is for.
    assert not trained & second
    assert first <= before
    assert bool(first) == bool(before)


def test_about_the_share_asked_for_is_held_out() -> None:
    many = {f"patient {n}" for n in range(4000)}
    assert len(fixed_patients(many)) == pytest.approx(800, abs=80)
    assert fixed_patients(["one"]) == {"one"}
    assert fixed_patients([]) == frozenset()


def test_both_specimens_of_a_patient_are_on_one_side_and_lists_say_which(store: Store, tmp_path: Path) -> None:
    for number in range(12):
        case = add_case(store, f"S-{number}", f"P-{number // 2}")
        case.keep(grid(["MYELO", "LYM"]))
        accept(case)
    made = export_reviewed(store, tmp_path / "out", now=NOW)
    held_out = fixed_patients(f"P-{n}" for n in range(6))
    sides = {part: {f.name.split("/")[0] for f in read_voc(made.folder, split=part).fields} for part in (TRAIN, FIXED)}
    assert sides[FIXED] == {f"S-{n}" for n in range(12) if f"P-{n // 2}" in held_out}
    assert sides[TRAIN] == {f"S-{n}" for n in range(12)} - sides[FIXED]
    assert (made.fixed_specimens, made.specimens) == (len(sides[FIXED]), 12)
    assert {row["part"] for row in lines(made.folder) if row["specimen"] in sides[FIXED]} == {"fixed"}
    about = json.loads((made.folder / ABOUT).read_text(encoding="utf-8"))
    assert about["fields"] == {"train": len(made.training), "fixed": len(made.fixed)}
    assert about["made_at"] == NOW.isoformat(timespec="seconds")


def test_choosing_cases_moves_nobody_out_of_the_fixed_set(store: Store, tmp_path: Path) -> None:
    ids = {}
    for number in range(6):
        case = add_case(store, f"S-{number}", f"P-{number}")
        case.keep(grid(["MYELO"]))
        accept(case)
        ids[f"S-{number}"] = case.specimen.id
    whole = export_reviewed(store, tmp_path / "whole")
    free = [name.split("/")[0] for name in whole.training]
    some = export_reviewed(store, tmp_path / "some", specimens=[ids[code] for code in free])
    assert (some.training, some.fixed) == (whole.training, ())


def test_the_same_archive_gives_the_same_folder(store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(3):
        case = add_case(store, f"S-{number}", f"P-{number}")
        case.keep(grid(rng.choice(["MYELO", "LYM", "OTHER"], 8).tolist()))
        accept(case)
    a, b = (export_reviewed(store, tmp_path / name, now=NOW).folder for name in ("a", "b"))
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    assert all((a / f).read_bytes() == (b / f).read_bytes() for f in files)
