"""The station hears that stain, lamp or focus have drifted: from kept pictures and the model's own words alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.drifting import MODEL, SCHEME, keep, learned
from helpers.small_archive import Case, add_case, open_archive
from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.cells.specimen import Edit, EditKind, ModelVersion
from marrowscope.errors import BadCheckpoint
from marrowscope.evaluation.drift import ENOUGH_FIELDS, MIX, Drift, DriftReport
from marrowscope.station import drift as drifting
from marrowscope.station.drift import DriftWatch, Outlook, Training
from marrowscope.store.store import Store

LEARNED = learned()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """A case without fields, and a model in service."""
    with open_archive(tmp_path) as store:
        model = store.add_model("four", "ab" * 32, "clinical", "models/four", "", by="admin")
        store.promote(model.id, by="admin", why="the first")
        yield add_case(store)


def watch(store: Store, training: Training | None = LEARNED, *, score: float | None = None) -> DriftWatch:
    return DriftWatch(store, SCHEME, knows=lambda model: training, score=score)


def drifted(outlook: Outlook) -> set[str]:
    assert outlook.report is not None
    return {row.name for row in outlook.report.drifted}


def statistics(outlook: Outlook) -> set[str]:
    assert outlook.report is not None
    return {row.name for row in outlook.report.rows}


def test_fields_like_those_of_training_raise_no_alarm(case: Case) -> None:
    keep(case.store, case.slide.id, 12)
    outlook = watch(case.store).look()
    assert not outlook.alarm
    assert outlook.verdict() == "The last 12 fields look like those the model learned."
    assert outlook.advice() == ""
    assert {"lightness", "sharpness", "cells a field", "score", MIX} <= statistics(outlook)


def test_under_a_weaker_lamp_the_alarm_names_lightness_and_what_to_check(case: Case) -> None:
    keep(case.store, case.slide.id, 12, light=0.7)
    outlook = watch(case.store).look()
    assert outlook.alarm
    assert "lightness" in drifted(outlook)
    assert not {"score", MIX} & drifted(outlook)
    assert outlook.verdict().startswith("The last 12 fields look unlike those the model learned: ")
    assert "lightness" in outlook.verdict()
    assert "all looks" not in outlook.verdict()
    assert "lamp" in outlook.advice()


def test_the_newest_fields_of_all_cases_are_looked_at_and_no_older_ones(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drifting, "NEWEST", 10)
    keep(case.store, case.slide.id, 6, light=0.7)
    keep(case.store, case.slide.id, 4, seed=3)
    other = add_case(case.store, "S-2", "P-2")
    keep(case.store, other.slide.id, 6, seed=2)
    outlook = watch(case.store).look()
    assert outlook.report is not None
    assert (outlook.report.fields, outlook.alarm) == (10, False)


@pytest.mark.parametrize("count", [0, 1, ENOUGH_FIELDS - 1])
def test_fewer_than_five_fields_prove_nothing(case: Case, count: int) -> None:
    keep(case.store, case.slide.id, count, light=0.5)
    outlook = watch(case.store).look()
    assert not outlook.alarm
    assert outlook.verdict().startswith(f"{count} kept field")
    assert "too few" in outlook.verdict()


def test_fields_that_another_model_or_none_looked_at_are_left_alone(case: Case) -> None:
    keep(case.store, case.slide.id, 8, light=0.5)
    keep(case.store, case.slide.id, 8, light=0.5, seed=2, model_id=None)
    watching = watch(case.store)
    assert watching.look().alarm
    newer = case.store.add_model("five", "cd" * 32, "clinical", "models/five", "", by="admin")
    case.store.promote(newer.id, by="admin", why="better")
    assert watching.look().verdict().startswith("0 kept fields are too few")


def test_a_model_that_does_not_know_its_training_fields_says_so(case: Case) -> None:
    keep(case.store, case.slide.id, 8, light=0.5)

    def unreadable(model: ModelVersion) -> Training:
        raise BadCheckpoint("models/four: cut short. Fetch it anew.")

    for knows in (lambda model: None, lambda model: Training(MODEL, 0.5, FieldsSeen()), unreadable):
        outlook = DriftWatch(case.store, SCHEME, knows=knows).look()
        assert (outlook.alarm, outlook.report) == (False, None)
        assert outlook.verdict() == "The model in service (four) does not know what its training fields look like."
        assert "drift MODEL FOLDER --learn OUT" in outlook.advice()


def test_without_a_model_in_service_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with open_archive(tmp_path) as store:
        outlook = watch(store).look()
    assert (outlook.alarm, outlook.advice()) == (False, "")
    assert "No model is in service" in outlook.verdict()


def test_what_people_correct_changes_nothing(case: Case) -> None:
    fields = keep(case.store, case.slide.id, 8)
    before = watch(case.store).look().report
    for field in fields:
        first, second, *rest = case.store.field_cells(field.id)
        edits = [Edit(EditKind.RENAME, cell.id, code="PLASMA") for cell in rest]
        edits += [
            Edit(EditKind.MOVE, first.id, box=(0, 0, 150, 110)),
            Edit(EditKind.REMOVE, second.id),
            Edit(EditKind.ADD, field_id=field.id, code="PLASMA", box=(50, 50, 140, 110)),
        ]
        case.store.apply(case.specimen.id, edits, by="tess")
    after = watch(case.store).look().report
    assert before is not None
    assert after is not None
    assert after.to_dict() == before.to_dict()


def test_a_field_is_measured_once_however_often_one_asks(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    real = drifting.looks_of
    monkeypatch.setattr(drifting, "looks_of", lambda field: measured.append(field) or real(field))
    watching = watch(case.store)
    keep(case.store, case.slide.id, 6)
    first = watching.look()
    assert watching.look().report is first.report
    assert len(measured) == 6
    keep(case.store, case.slide.id, 2, seed=2)
    again = watching.look().report
    assert again is not None
    assert (len(measured), again.fields) == (8, 8)


def test_a_picture_that_cannot_be_read_is_left_out(case: Case) -> None:
    lost, spoilt, *_ = keep(case.store, case.slide.id, 8)
    case.store.image_path(lost.image).unlink()
    case.store.image_path(spoilt.image).write_bytes(b"\x89PNG\r\n\x1a\n")
    outlook = watch(case.store).look()
    assert outlook.report is not None
    assert outlook.report.fields == 6


def test_cells_are_counted_from_the_score_of_training(case: Case) -> None:
    keep(case.store, case.slide.id, 8)
    # Where the station counts from a lower score, what training would not have counted is left out ...
    strict = replace(LEARNED, score=0.99)
    report = watch(case.store, strict, score=0.5).look().report
    assert report is not None
    assert next(row for row in report.rows if row.name == "cells a field").incoming == (0, 0, 0)
    # ... and where it counts from a higher one, only looks can be compared.
    assert statistics(watch(case.store, score=0.9).look()).isdisjoint({"cells a field", "cell size", "score", MIX})


def test_the_classes_of_a_model_that_was_taught_one_since_are_not_compared(case: Case) -> None:
    keep(case.store, case.slide.id, 8)
    taught = replace(LEARNED, taxonomy=replace(MODEL, classes=(*MODEL.classes, SCHEME[SCHEME.index("PLASMA")])))
    told = statistics(watch(case.store, taught).look())
    assert MIX not in told
    assert "cells a field" in told


@pytest.mark.parametrize(
    ("names", "told", "advice"),
    [
        (
            ["all looks", "lightness", "blue to yellow"],
            "lightness, blue to yellow",
            "Check stain, lamp, exposure, white balance and focus.",
        ),
        (["all looks"], "all looks together", "Check stain, lamp, white balance and focus."),
        (["cells a field", "sharpness"], "sharpness, cells a field", "Check focus and objective."),
        (["cell size"], "cell size", "Check objective. It may be the patients, and not the pictures."),
        (["cells a field", MIX], f"cells a field, {MIX}", "It may be the patients, and not the pictures."),
        (
            ["score", "sharpness", "contrast", "lightness", "green to red", "blue to yellow"],
            "sharpness, contrast, lightness, green to red and 2 more",
            "Check stain, lamp, exposure, white balance, focus and objective.",
        ),
    ],
)
def test_what_is_said_and_what_to_check_follows_from_what_has_drifted(names: list[str], told: str, advice: str) -> None:
    finds = {"cells a field", "cell size", "score", MIX}
    rows = tuple(
        Drift(name, "finds" if name in finds else "looks", (0, 1, 2), (9, 9, 9), 8.0, 0.0, drifted=True)
        for name in names
    )
    outlook = Outlook("four", DriftReport(40, 60, rows))
    assert outlook.verdict() == f"The last 40 fields look unlike those the model learned: {told}."
    assert outlook.advice() == advice
