"""Fields are kept in the scheme's words, and every cell of the glass counts once however many fields show it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.small_archive import NOW, Case, add_case, open_archive, picture
from marrowscope.cells.calibration import Calibration
from marrowscope.cells.detections import Detections
from marrowscope.cells.specimen import Edit, EditKind
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy, load_taxonomy
from marrowscope.errors import BadTaxonomy, Locked, NotFound
from marrowscope.instrument.camera import Frame
from marrowscope.instrument.stage import Position
from marrowscope.station.desk import Desk, best_views, doubt_of, found_cells, is_cut, translation

CLINICAL = load_taxonomy("clinical")
MODEL = load_taxonomy("liu2022")
WIDTH, HEIGHT, SCALE = 480, 270, 0.276
"""The simulated field of 132 x 75 um, at a quarter of its pixels."""


@dataclass(frozen=True)
class Kept:
    """What the live view hands over, as far as the desk looks at it."""

    frame: Frame
    jpeg: bytes
    detections: Detections
    visit: str | None
    position: Position | None
    focus: float | None = 12.5


class Glass:
    """A slide with known cells, and fields of it as a detector would see them: cut at the border, jittered."""

    def __init__(self, seed: int, cells: int = 60, side: float = 160) -> None:
        self.chance = np.random.default_rng(seed)
        places: list[tuple[float, float, float]] = []
        while len(places) < cells:
            x, y, size = *self.chance.uniform(-side, side, 2), self.chance.uniform(8, 16)
            if all(np.hypot(x - a, y - b) >= (size + s) / 2 for a, b, s in places):
                places.append((x, y, size))
        self.cells = np.asarray(places)
        self.labels = self.chance.integers(0, len(MODEL), cells)
        self.shown: set[int] = set()

    def frame(self, x: float, y: float, *, error_um: float = 0.0, visit: str | None = "v1") -> Kept:
        corner = np.asarray([x, y]) - np.asarray([WIDTH, HEIGHT]) * SCALE / 2
        boxes, labels = [], []
        for number, (cx, cy, size) in enumerate(self.cells):
            whole = (
                np.asarray([cx - size / 2, cy - size / 2, cx + size / 2, cy + size / 2]) - np.tile(corner, 2)
            ) / SCALE
            # A detector is right to within a pixel or so, and does not see slivers.
            box = np.clip(whole + self.chance.normal(0, 1, 4), 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
            if min(box[2] - box[0], box[3] - box[1]) * SCALE >= 0.35 * size:
                boxes.append(box)
                labels.append(self.labels[number])
                self.shown.add(number)
        angle = self.chance.uniform(0, 2 * np.pi)
        told = Position(x + error_um * np.cos(angle), y + error_um * np.sin(angle), 0.0)
        scores = np.full(len(boxes), 0.8, np.float32)
        detections = Detections(np.asarray(boxes), np.asarray(labels, np.int64), scores, MODEL)
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        return Kept(Frame(pixels, 1, 0.0, SCALE), picture(4, 4), detections, visit, told)


@pytest.fixture
def case(tmp_path: Path) -> Any:
    with open_archive(tmp_path) as store:
        yield add_case(store)


def counted(case: Case) -> int:
    return sum(n for n, _ in case.store.counts(case.specimen.id).values())


@pytest.mark.parametrize("seed", range(6))
def test_the_cells_of_overlapping_fields_count_as_often_as_they_are_on_the_glass(case: Case, seed: int) -> None:
    glass, desk = Glass(seed), Desk(case.store, CLINICAL)
    plain = 0
    # A path by hand: right, down, back, with steps of a third of a field, each place known to 2.5 um.
    for x, y in [(x, 0) for x in range(-80, 81, 40)] + [(x, 40) for x in range(80, -81, -40)]:
        field = desk.keep(glass.frame(x, y, error_um=2.5), case.slide.id, None, "tech", now=NOW)
        plain += len(case.store.field_cells(field.id))
    assert counted(case) == len(glass.shown)
    assert plain > 1.5 * len(glass.shown)


def test_without_a_calibration_places_are_in_pixels_and_cells_count_once_too(case: Case) -> None:
    glass, desk = Glass(2), Desk(case.store, CLINICAL)
    for x in (0, 30, 60):
        kept = glass.frame(x, 0)
        assert kept.position is not None
        frame = replace(kept.frame, um_per_px=None)
        place = Position(kept.position.x_um / SCALE, kept.position.y_um / SCALE, 0)
        desk.keep(replace(kept, frame=frame, position=place), case.slide.id, None, "tech")
    assert counted(case) == len(glass.shown)


def test_a_field_kept_twice_counts_once(case: Case) -> None:
    glass, desk = Glass(1), Desk(case.store, CLINICAL)
    for _ in range(3):
        desk.keep(glass.frame(0, 0, error_um=3), case.slide.id, None, "tech")
    assert counted(case) == len(glass.shown)
    # Whatever is seen again points to a cell that counts, never to one that was itself seen before.
    cells, _ = case.store.cells(case.specimen.id, limit=1000)
    counting = {c.id for c in cells if c.counts}
    assert {c.same_as for c in cells if c.same_as is not None} <= counting


def test_another_visit_or_another_slide_is_another_place(case: Case) -> None:
    glass, desk = Glass(1), Desk(case.store, CLINICAL)
    desk.keep(glass.frame(0, 0), case.slide.id, None, "tech")
    once = counted(case)
    desk.keep(glass.frame(0, 0, visit="v2"), case.slide.id, None, "tech")
    assert counted(case) == 2 * once
    other = case.store.add_slide(case.specimen.id, "B", by="tech")
    desk.keep(glass.frame(0, 0), other.id, None, "tech")
    assert counted(case) == 3 * once


def test_uploaded_pictures_are_never_compared(case: Case) -> None:
    glass, desk = Glass(1), Desk(case.store, CLINICAL)
    shown = glass.frame(0, 0).detections
    for visit, place in ((None, (0.0, 0.0)), ("v1", None), (None, None)):
        desk.keep_picture(
            case.slide.id, picture(), shown, width=WIDTH, height=HEIGHT, visit=visit, place_um=place, by="tech"
        )
    assert counted(case) == 3 * len(shown)


def test_what_a_person_removed_is_counted_and_asked_about_again(case: Case) -> None:
    glass, desk = Glass(3), Desk(case.store, CLINICAL)
    field = desk.keep(glass.frame(0, 0), case.slide.id, None, "tech")
    gone = case.store.field_cells(field.id)[0]
    before = counted(case)
    case.store.apply(case.specimen.id, [Edit(EditKind.REMOVE, gone.id)], by="tech")
    desk.keep(glass.frame(0, 0), case.slide.id, None, "tech")
    assert counted(case) == before


def test_the_field_is_in_the_archive_with_its_place_and_its_bytes(case: Case) -> None:
    kept = Glass(1).frame(12, -7)
    field = Desk(case.store, CLINICAL).keep(kept, case.slide.id, None, "tech", now=NOW)
    assert case.store.field(field.id) == field
    assert (field.width, field.height, field.um_per_px, field.visit, field.focus) == (WIDTH, HEIGHT, SCALE, "v1", 12.5)
    assert (field.x_um, field.y_um) == (kept.position.x_um, kept.position.y_um)  # type: ignore[union-attr]
    assert (field.kept_at, field.kept_by) == (NOW, "tech")
    assert case.store.image(field.image) == kept.jpeg


def test_a_signed_case_or_an_unknown_slide_takes_no_field(case: Case) -> None:
    desk, kept = Desk(case.store, CLINICAL), Glass(1, cells=3).frame(0, 0)
    with pytest.raises(NotFound):
        desk.keep(kept, 99, None, "tech")
    case.store.sign(case.specimen.id, "{}", b"%PDF-1.7", by="doctor", meaning="signed")
    with pytest.raises(Locked):
        desk.keep(kept, case.slide.id, None, "tech")


def test_the_best_view_of_a_cell_is_a_whole_one(case: Case) -> None:
    glass, desk = Glass(4, cells=1, side=1), Desk(case.store, CLINICAL)
    x, y, _ = glass.cells[0]
    half = WIDTH * SCALE / 2
    # Its middle lies on the left border of the first field; the second shows all of it.
    first = desk.keep(glass.frame(x + half, y), case.slide.id, None, "tech")
    second = desk.keep(glass.frame(x, y), case.slide.id, None, "tech")
    (cut,), (whole,) = case.store.field_cells(first.id), case.store.field_cells(second.id)
    assert whole.same_as == cut.id
    assert best_views([cut, whole], [first, second]) == {cut.id: whole}
    assert best_views([cut], [first]) == {cut.id: cut}


# Words and doubt


def test_a_model_of_the_paper_speaks_clinical_words() -> None:
    assert translation(MODEL, CLINICAL) == tuple(cell.code for cell in MODEL)


def test_every_scheme_is_understood_and_only_the_unknown_goes_into_the_bucket() -> None:
    model = Taxonomy.from_labels(["Lymphocyte", "IG", "hairy cell", "unidentified", "band"])
    assert translation(model, CLINICAL) == ("LYM", "OTHER", "OTHER", "OTHER", "BAND")


def test_without_a_bucket_an_unknown_class_is_named() -> None:
    model = Taxonomy("m", (CellClass("HAIRY", "hairy cell", Lineage.LYMPHOID),))
    with pytest.raises(BadTaxonomy, match="hairy cell"):
        translation(model, MODEL)


@given(st.floats(0, 1), st.floats(0, 1))
def test_doubt_falls_with_the_score_and_rises_with_a_second_name(score: float, second: float) -> None:
    assert 0 <= doubt_of(score, second) <= 1
    assert doubt_of(score) <= doubt_of(score, second)
    assert doubt_of(1.0, 0.0) == 0
    assert doubt_of(0.0, second) == 1
    assert doubt_of(min(score + 0.1, 1), second) <= doubt_of(score, second)


def detections(*rows: tuple[tuple[float, float, float, float], str, float]) -> Detections:
    boxes = np.asarray([r[0] for r in rows], np.float32)
    labels = np.asarray([MODEL.index(r[1]) for r in rows])
    return Detections(boxes, labels, np.asarray([r[2] for r in rows], np.float32), MODEL)


def test_a_cell_with_two_names_is_kept_once_by_the_better_and_doubted_more() -> None:
    a, b = (10, 10, 40, 40), (100, 10, 130, 40)
    cells = found_cells(detections((a, "MYELO", 0.75), (a, "META", 0.5), (b, "MYELO", 0.75)), CLINICAL, 200, 100)
    assert [(c.code, c.score, c.doubt) for c in cells] == [("MYELO", 0.75, 0.5), ("MYELO", 0.75, 0.25)]


def test_doubt_follows_the_calibrated_score_so_the_likelier_error_comes_first_and_ties_by_number() -> None:
    boxes = [(40.0 * i, 10.0, 40.0 * i + 30, 40.0) for i in range(4)]
    raw = np.asarray([0.9, 0.8, 0.8, 0.7], np.float32)
    # Of META a raw .7 means more than a .9 of MYELO.
    labels = np.asarray([MODEL.index(x) for x in ("MYELO", "MYELO", "MYELO", "META")])
    offsets = [3.0 if cell.code == "META" else -2.0 for cell in MODEL]
    calibration = Calibration((1.0,) * len(MODEL), tuple(offsets))
    said = calibration.apply(raw, labels)
    order = np.argsort(-said, kind="stable")
    cells = found_cells(
        Detections(np.asarray(boxes, np.float32)[order], labels[order], said[order], MODEL), CLINICAL, 200, 100
    )
    doubts = {cell.box[0]: cell.doubt for cell in cells}
    assert list(doubts) == [120.0, 0.0, 40.0, 80.0]
    np.testing.assert_allclose([doubts[b[0]] for b in boxes], 1 - said, atol=1e-6)
    assert doubts[120.0] < doubts[0.0] < doubts[40.0] == doubts[80.0]


def test_boxes_are_cut_at_the_field_and_what_lies_outside_is_no_cell() -> None:
    cells = found_cells(
        detections(((-10, 10, 40, 40), "LYM", 0.5), ((300, 10, 340, 40), "LYM", 0.5)), CLINICAL, 200, 100
    )
    assert [c.box for c in cells] == [(0.0, 10.0, 40.0, 40.0)]
    assert is_cut(cells[0].box, 200, 100)
    assert not is_cut((10, 10, 40, 40), 200, 100)
