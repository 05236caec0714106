"""Review: the order in which cells are shown, what is refused, what is warned of, and two readers of one case."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.small_archive import HEIGHT, WIDTH, Case, add_case, found, grid, open_archive, picture
from marrowscope.cells.specimen import Box, Cell, Edit, EditKind
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.errors import BadInput, BadTaxonomy, Conflict, Locked, NotFound
from marrowscope.station.review import MIN_SIDE, Review, check_box, review_order

SCHEME = load_taxonomy("clinical")


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with open_archive(tmp_path) as store:
        yield add_case(store)


@pytest.fixture
def review(case: Case) -> Review:
    return Review(case.store, SCHEME)


def cells_of(case: Case) -> list[Cell]:
    return case.store.cells(case.specimen.id, order="number", limit=1000)[0]


cells = st.lists(
    st.builds(
        Cell,
        st.integers(1, 10**6),
        st.just(1),
        st.just(1),
        st.just((0.0, 0.0, 9.0, 9.0)),
        st.sampled_from(["MYELO", "META", "LYM", "OTHER", "PLASMA"]),
        st.none(),
        st.none(),
        st.floats(0, 1),
        st.booleans(),
        st.just(False),
        st.none(),
    ),
    unique_by=lambda c: c.id,
)


@given(cells, st.randoms())
def test_the_order_is_unidentified_then_rarest_then_most_doubtful_whatever_came_first(some: list[Cell], chance) -> None:  # type: ignore[no-untyped-def]
    ordered = review_order(some, SCHEME)
    shuffled = list(some)
    chance.shuffle(shuffled)
    assert review_order(shuffled, SCHEME) == ordered
    assert sorted(c.id for c in ordered) == sorted(c.id for c in some)
    codes = [c.code for c in ordered]
    groups = list(dict.fromkeys(codes))
    # Each class stands together; the bucket first, then rarer before commoner.
    assert codes == [code for code in groups for _ in range(codes.count(code))]
    named = [code for code in groups if code != "OTHER"]
    assert "OTHER" not in groups[1:]
    assert [codes.count(code) for code in named] == sorted(codes.count(code) for code in named)
    for code in groups:
        doubts = [c.doubt for c in ordered if c.code == code]
        assert doubts == sorted(doubts, reverse=True)


def test_the_gallery_tells_of_all_groups_and_shows_the_page_asked_for(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"] * 30 + ["META"] * 12 + ["OTHER"] * 4 + ["LYM"] * 2))
    whole = review.gallery(case.specimen.id, limit=100)
    assert [(g.code, g.count, g.reviewed, g.first) for g in whole.groups] == [
        ("OTHER", 4, 0, 0),
        ("LYM", 2, 0, 4),
        ("META", 12, 0, 6),
        ("MYELO", 30, 0, 18),
    ]
    assert whole.total == len(whole.cells) == 48
    second = review.gallery(case.specimen.id, limit=40, offset=40)
    assert second.cells == whole.cells[40:]
    assert second.total == 48
    only = review.gallery(case.specimen.id, codes=["META"], limit=5)
    assert {c.code for c in only.cells} == {"META"}
    assert (only.total, len(only.cells), only.groups[0].first, only.groups[2].first) == (12, 5, -1, 0)


def test_what_was_removed_or_seen_before_is_not_shown(case: Case, review: Review) -> None:
    case.keep([found("LYM"), found("META", box=(100, 10, 140, 50))])
    first, second = cells_of(case)
    case.keep([replace(found("LYM"), same_as=first.id)])
    review.edit(case.specimen.id, [Edit(EditKind.REMOVE, second.id)], by="tech")
    gallery = review.gallery(case.specimen.id)
    assert [c.id for c in gallery.cells] == [first.id]
    assert [(g.code, g.count) for g in gallery.groups] == [("LYM", 1)]


def test_a_cell_cut_by_the_border_is_shown_as_a_later_field_has_it(case: Case, review: Review) -> None:
    case.keep([found("LYM", box=(0, 10, 15, 40)), found("META", box=(100, 10, 140, 50))])
    cut, whole = cells_of(case)
    case.keep([replace(found("LYM"), same_as=cut.id), replace(found("META"), same_as=whole.id)])
    views = review.gallery(case.specimen.id).views
    assert {cell_id: view.box for cell_id, view in views.items()} == {cut.id: (10, 10, 40, 40)}


def test_unreviewed_cells_are_what_is_left_to_do(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"] * 5))
    some = review.gallery(case.specimen.id).cells[:3]
    review.confirm(case.specimen.id, some, by="tech")
    left = review.gallery(case.specimen.id, reviewed=False)
    assert {c.id for c in left.cells}.isdisjoint(c.id for c in some)
    assert (left.total, left.groups[0].count, left.groups[0].reviewed) == (2, 5, 3)


def test_many_are_named_at_once_and_taken_back_at_once(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"] * 6 + ["META"] * 2))
    before = cells_of(case)
    named = review.rename(case.specimen.id, before, "META", by="tech", why="stage by stage")
    assert {c.code for c in named} == {"META"}
    assert all(c.reviewed for c in named)
    kinds = [c.kind for c in case.store.corrections(case.specimen.id)]
    assert kinds == [EditKind.RENAME] * 6 + [EditKind.CONFIRM] * 2
    review.undo(case.specimen.id, by="tech")
    assert cells_of(case) == before
    # The model's word stands beside the person's.
    assert {c.called for c in named} == {"MYELO", "META"}


def test_a_group_is_done_as_a_whole_or_not_at_all(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"] * 3))
    before = cells_of(case)
    edits = [Edit(EditKind.CONFIRM, before[0].id), Edit(EditKind.RENAME, before[1].id, code="META", expected="LYM")]
    with pytest.raises(Conflict):
        review.edit(case.specimen.id, edits, by="tech")
    assert cells_of(case) == before


def test_accepting_takes_what_scores_at_or_above(case: Case, review: Review) -> None:
    case.keep([found("LYM", score=0.25), found("META", score=0.5, box=(100, 10, 140, 50))])
    assert review.accept_above(case.specimen.id, 0.5, by="tech") == 1
    assert [c.reviewed for c in cells_of(case)] == [False, True]
    assert review.accept_above(case.specimen.id, 0.0, codes=["META"], by="tech") == 0
    assert review.accept_above(case.specimen.id, 0.0, codes=["LYM"], by="tech") == 1
    with pytest.raises(BadInput, match=r"0\.\.1"):
        review.accept_above(case.specimen.id, 1.5, by="tech")
    with pytest.raises(BadTaxonomy):
        review.accept_above(case.specimen.id, 0.5, codes=["nobody"], by="tech")


def test_the_unidentified_are_in_their_bucket(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO", "OTHER", "LYM"]))
    (cell,) = review.unidentified(case.specimen.id)
    assert cell.code == "OTHER"
    review.rename(case.specimen.id, [cell], "MONO", by="tech")
    assert review.unidentified(case.specimen.id) == ()


# Boxes and names


def test_a_cell_is_added_and_moved_within_its_field(case: Case, review: Review) -> None:
    field = case.keep([])
    (new,) = review.edit(
        case.specimen.id, [Edit(EditKind.ADD, field_id=field.id, code="MONO", box=(20, 20, 60, 50))], by="tech"
    )
    assert (new.code, new.called, new.reviewed, new.counts) == ("MONO", None, True, True)
    (moved,) = review.edit(case.specimen.id, [Edit(EditKind.MOVE, new.id, box=(0, 0, WIDTH, HEIGHT))], by="tech")
    assert moved.box == (0, 0, WIDTH, HEIGHT)


finite = st.floats(-50, WIDTH + 50)


@given(finite, finite, finite, finite)
def test_a_box_is_taken_exactly_where_it_lies_in_the_field_and_is_no_slip(
    x1: float, y1: float, x2: float, y2: float
) -> None:
    box = (x1, y1, x2, y2)
    good = x1 >= 0 and y1 >= 0 and x2 <= WIDTH and y2 <= HEIGHT and x2 - x1 >= MIN_SIDE and y2 - y1 >= MIN_SIDE
    if good:
        assert check_box(box, WIDTH, HEIGHT) == box
        return
    with pytest.raises(BadInput, match=r"leaves the field|less than"):
        check_box(box, WIDTH, HEIGHT)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", range(4))
def test_a_box_of_no_numbers_is_refused(side: int, value: float) -> None:
    box = [10.0, 10.0, 40.0, 40.0]
    box[side] = value
    with pytest.raises(BadInput):
        check_box((box[0], box[1], box[2], box[3]), WIDTH, HEIGHT)


INSIDE: Box = (200, 100, 240, 140)


@pytest.mark.parametrize(
    ("edit", "error", "says"),
    [
        (Edit(EditKind.RENAME, 1, code="Myelocyte"), BadTaxonomy, "'Myelocyte' is no class code"),
        (Edit(EditKind.RENAME, 1), BadInput, "gives no name"),
        (Edit(EditKind.CONFIRM), BadInput, "says no cell"),
        (Edit(EditKind.MOVE, 1), BadInput, "gives no box"),
        (Edit(EditKind.MOVE, 1, box=(-1, 0, 40, 40)), BadInput, "leaves the field"),
        (Edit(EditKind.MOVE, 1, box=(0, 0, 5, 40)), BadInput, "less than 6"),
        (Edit(EditKind.MOVE, 99, box=INSIDE), NotFound, "no cell 99"),
        (Edit(EditKind.CONFIRM, 99), NotFound, "no cell 99"),
        (Edit(EditKind.ADD, field_id=1, box=INSIDE), BadInput, "a field, a box and a name"),
        (Edit(EditKind.ADD, field_id=1, code="LYM"), BadInput, "a field, a box and a name"),
        (Edit(EditKind.ADD, code="LYM", box=INSIDE), BadInput, "a field, a box and a name"),
        (Edit(EditKind.ADD, field_id=1, code="LYM", box=(0, 0, 400, 40)), BadInput, "leaves the field"),
        (Edit(EditKind.ADD, field_id=1, code="no", box=INSIDE), BadTaxonomy, "no class code"),
        (Edit(EditKind.ADD, field_id=99, code="LYM", box=INSIDE), NotFound, "no field 99"),
        (Edit(EditKind.ADD, field_id=1, code="LYM", box=(12, 12, 42, 42)), Conflict, r"lies on cell 1 \(MYELO\)"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_by_name_and_nothing_changes(
    case: Case, review: Review, edit: Edit, error: type[Exception], says: str
) -> None:
    case.keep([found("MYELO")])
    before = cells_of(case)
    with pytest.raises(error, match=says):
        review.edit(case.specimen.id, [edit], by="tech")
    assert cells_of(case) == before
    assert case.store.corrections(case.specimen.id) == []


def test_no_edit_at_all_is_refused(case: Case, review: Review) -> None:
    with pytest.raises(BadInput, match="no edit"):
        review.edit(case.specimen.id, [], by="tech")


def test_a_cell_is_not_added_to_the_field_of_another_case(case: Case, review: Review) -> None:
    other = add_case(case.store, "S-2")
    field = other.keep([])
    with pytest.raises(BadInput, match="another case"):
        review.edit(case.specimen.id, [Edit(EditKind.ADD, field_id=field.id, code="LYM", box=INSIDE)], by="tech")


def test_a_cell_that_counts_in_an_overlapping_field_is_not_added_again(case: Case, review: Review) -> None:
    keep = case.store.keep_field
    place = {"width": WIDTH, "height": HEIGHT, "um_per_px": 0.5, "visit": "v", "y_um": 0.0, "by": "tech"}
    keep(case.slide.id, picture(), x_um=0.0, found=[found("LYM", box=(200, 100, 230, 130))], **place)  # type: ignore[arg-type]
    # 50 um to the right: what was at 200 px is now at 100.
    second = keep(case.slide.id, picture(), x_um=50.0, found=[], **place)  # type: ignore[arg-type]
    again = Edit(EditKind.ADD, field_id=second.id, code="MONO", box=(101, 99, 131, 130))
    with pytest.raises(Conflict, match=r"counted already: cell 1 \(LYM\) of field 1"):
        review.edit(case.specimen.id, [again], by="tech")
    review.edit(case.specimen.id, [replace(again, box=(151, 99, 181, 130))], by="tech")


def test_a_signed_case_is_locked(case: Case, review: Review) -> None:
    case.keep([found("MYELO")])
    case.store.sign(case.specimen.id, "{}", b"%PDF-1.7", by="doctor", meaning="signed")
    with pytest.raises(Locked):
        review.confirm(case.specimen.id, cells_of(case), by="tech")


# Warnings


def kinds(review: Review, case: Case, enough: int = 500) -> dict[str, list[str | None]]:
    result: dict[str, list[str | None]] = {}
    for warning in review.warnings(case.specimen.id, enough=enough):
        result.setdefault(warning.kind, []).append(warning.code)
    return result


def test_few_cells_and_classes_that_nobody_looked_at_are_told(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"] * 8 + ["LYM"] * 2 + ["RBC"] * 3))
    assert kinds(review, case) == {
        "few cells": [None],
        # Red cells do not enter the differential.
        "class unreviewed": ["LYM", "MYELO"],
        "cells unreviewed": [None],
    }
    lymphocytes = review.gallery(case.specimen.id, codes=["LYM"]).cells
    review.confirm(case.specimen.id, lymphocytes[:1], by="tech")
    assert kinds(review, case, enough=10) == {"class unreviewed": ["MYELO"], "cells unreviewed": [None]}
    review.accept_above(case.specimen.id, 0, by="tech")
    assert kinds(review, case, enough=10) == {}


def test_too_many_unidentified_cells_are_told_with_their_share(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"] * 19 + ["OTHER"]))
    review.accept_above(case.specimen.id, 0, by="tech")
    assert kinds(review, case, enough=20) == {}
    case.keep(grid(["OTHER"]))
    review.accept_above(case.specimen.id, 0, by="tech")
    (warning,) = review.warnings(case.specimen.id, enough=20)
    assert warning.kind == "many unidentified"
    assert "2 of 21 cells (9.5 %)" in warning.text


def test_a_case_without_cells_is_warned_of_as_such(case: Case, review: Review) -> None:
    assert kinds(review, case) == {"few cells": [None]}


# Readers


def test_two_readers_a_reader_and_the_model_and_the_case_are_compared(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"] * 4 + ["LYM"] * 4))
    ids = [c.id for c in cells_of(case)]
    case.store.add_readings(case.specimen.id, dict(zip(ids, ["MYELO"] * 4 + ["LYM"] * 4, strict=True)), by="anna")
    case.store.add_readings(
        case.specimen.id, dict(zip(ids[:6], ["META"] + ["MYELO"] * 3 + ["LYM"] * 2, strict=True)), by="ben"
    )
    both = review.agreement(case.specimen.id, "anna", "ben")
    assert both.n == 6
    assert both.observed == pytest.approx(5 / 6)
    assert [(c.first.code, c.second.code) for c in both.confusions] == [("MYELO", "META")]
    assert review.agreement(case.specimen.id, "anna", "model").observed == 1
    review.rename(case.specimen.id, cells_of(case)[:2], "META", by="tech")
    named = review.agreement(case.specimen.id, "model", "case")
    # Only what a person has reviewed is a word against the model's.
    assert (named.n, named.observed) == (2, 0)
    assert np.array_equal(named.table, review.agreement(case.specimen.id, "case", "model").table.T)


def test_readers_without_a_cell_in_common_are_told_so(case: Case, review: Review) -> None:
    case.keep(grid(["MYELO"]))
    with pytest.raises(BadInput, match="anna and model have read no cell in common"):
        review.agreement(case.specimen.id, "anna", "model")
