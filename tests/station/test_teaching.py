"""What can be taught is told from the archive, patients of the fixed set teach nothing, and a candidate only waits."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.small_archive import HEIGHT, NOW, WIDTH, add_case, grid, open_archive
from marrowscope.cells.specimen import ModelVersion
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.errors import BadInput, BadTaxonomy
from marrowscope.station.retraining import fixed_patients
from marrowscope.station.teaching import MOST, Learned, Lesson, Teachable, Teaching
from marrowscope.store.store import Store

SCHEME = load_taxonomy("clinical")
PATIENTS = [f"P-{number}" for number in range(40)]
FIXED = sorted(fixed_patients(PATIENTS))
FREE = [patient for patient in PATIENTS if patient not in FIXED]
MODEL = Taxonomy("two", tuple(cell for cell in SCHEME if cell.code in ("LYM", "EOS_SEG")))
PICTURE = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 200, np.uint8))[1].tobytes()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_archive(tmp_path) as opened:
        model = opened.add_model("two", "ab" * 32, "clinical", "models/two", "", by="admin")
        opened.promote(model.id, by="admin", why="the first")
        # One of the fixed set there is always, and it is the same whoever comes later.
        keep(opened, FIXED[0], ["LYM"])
        yield opened


def keep(store: Store, patient: str, codes: list[str], *, reviewed: bool = True) -> int:
    """A case with a field of these cells. Its id."""
    case = add_case(store, f"S-{len(store.specimens(limit=500)[0])}", patient)
    image = PICTURE + str(case.specimen.id).encode()
    store.keep_field(case.slide.id, image, width=WIDTH, height=HEIGHT, found=grid(codes), by="tess", now=NOW)
    if reviewed:
        store.accept_above(case.specimen.id, 0, by="tess", now=NOW)
    return case.specimen.id


class Pupil:
    """Remembers what it was to learn."""

    def __init__(self) -> None:
        self.lessons: list[Lesson] = []
        self.fixed: list[bool] = []

    def learn(self, lesson: Lesson) -> Learned:
        self.lessons.append(lesson)
        self.fixed.append(lesson.fixed is not None and lesson.fixed.is_dir())
        return Learned(Path("models/cd"), "cd" * 32, {"cells": 6, "recognised": 5})


def teaching(store: Store, home: Path, pupil: Pupil | None = None, model: Taxonomy = MODEL) -> Teaching:
    def knows(version: ModelVersion) -> Taxonomy:
        assert version.name == "two"
        return model

    return Teaching(store, SCHEME, home, knows=knows, learn=(pupil or Pupil()).learn)


def test_classes_that_people_named_and_the_model_does_not_know_are_told(store: Store, tmp_path: Path) -> None:
    keep(store, FREE[0], ["BASO", "BASO", "BASO", "LYM", "OTHER", "PLASMA"])
    keep(store, FREE[1], ["BASO", "BASO"])
    keep(store, FREE[2], ["BASO"], reviewed=False)
    keep(store, FIXED[0], ["BASO"])
    told = teaching(store, tmp_path).teachable()
    assert [(entry.code, entry.cells, entry.enough) for entry in told] == [("BASO", 5, True), ("PLASMA", 1, False)]
    assert told[0] == Teachable("BASO", SCHEME[SCHEME.index("BASO")].name, 5)


def test_a_model_that_knows_every_class_can_be_taught_none(store: Store, tmp_path: Path) -> None:
    keep(store, FREE[0], ["BASO"] * 6)
    assert teaching(store, tmp_path, model=SCHEME).teachable() == []


def test_the_candidate_is_made_of_named_cells_and_waits_for_an_admin(store: Store, tmp_path: Path) -> None:
    case = keep(store, FREE[0], ["BASO"] * 6 + ["LYM"])
    keep(store, FIXED[0], ["BASO"])
    pupil = Pupil()
    model = teaching(store, tmp_path, pupil).teach("BASO", by="tess")
    (lesson,) = pupil.lessons
    (field,) = lesson.fields
    names = [lesson.cell.name] * 6 + ["lymphocyte"]
    assert list(field.labels) == names
    assert field.boxes.tolist() == [list(c.box) for c in store.cells(case, order="number")[0]]
    assert field.image_path.is_file()
    assert pupil.fixed == [True]
    assert list((tmp_path / "exports").glob("*")) == []
    assert (model.name, model.serving) == (f"two + {lesson.cell.name}", False)
    assert json.loads(model.about)["recognised"] == 5


def test_no_more_cells_are_taken_than_make_sense(store: Store, tmp_path: Path) -> None:
    for patient in FREE[:4]:
        keep(store, patient, ["BASO"] * 9)
    pupil = Pupil()
    teaching(store, tmp_path, pupil).teach("BASO", by="tess")
    assert sum(len(field) for field in pupil.lessons[0].fields) == MOST


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("BASO", BadInput, "4 cells named basophil"),
        ("LYM", BadInput, "knows that class"),
        ("OTHER", BadInput, "knows that class"),
        ("NONSENSE", BadTaxonomy, "no class code"),
    ],
)
def test_what_cannot_be_taught_is_refused_in_words(
    store: Store, tmp_path: Path, code: str, error: type[Exception], words: str
) -> None:
    keep(store, FREE[0], ["BASO"] * 4)
    keep(store, FIXED[0], ["BASO"] * 4)
    with pytest.raises(error, match=words):
        teaching(store, tmp_path).teach(code, by="tess")
    assert len(store.models()) == 1
