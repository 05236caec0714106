"""Predictions are what Label Studio's own library accepts for the project, and lead back to the boxes."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from helpers.neighbours import CONFIG, SCHEME, Judge
from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.label_studio import read_label_studio
from marrowscope.errors import BadInput
from marrowscope.neighbours.label_studio import prediction, read_labelling

TASK = {"id": 7, "data": {"image": "/data/local-files/?d=slide_1/field.png"}}


def found(*cells: tuple[int, float, tuple[float, float, float, float]]) -> Detections:
    boxes = np.asarray([box for _, _, box in cells], np.float32).reshape(-1, 4)
    labels = np.asarray([label for label, _, _ in cells], np.int64)
    return Detections(boxes, labels, np.asarray([score for _, score, _ in cells], np.float32), SCHEME)


SOME = found((0, 0.9, (10, 20, 60, 80)), (1, 0.7, (0, 0, 320, 240)), (2, 0.5, (5, 5, 9, 9)))


def predicted(detections: Detections = SOME, config: str = CONFIG) -> dict[str, Any]:
    return prediction(detections, (320, 240), read_labelling(config, SCHEME), "model 1")[0]


def test_a_class_goes_by_name_code_or_alias_and_a_result_bears_the_alias() -> None:
    regions = predicted()["result"]
    assert [r["value"]["rectanglelabels"] for r in regions] == [["lymphocyte"], ["MYELO"]]
    assert {(r["from_name"], r["to_name"]) for r in regions} == {("cell", "field")}


def test_a_cell_for_which_the_project_has_no_label_is_left_out_and_told() -> None:
    labelling = read_labelling(CONFIG, SCHEME)
    assert labelling.unlabelled == ("segmented neutrophil",)
    _, left_out = prediction(SOME, (320, 240), labelling, "m")
    assert left_out == {"segmented neutrophil": 1}


def test_a_label_that_is_no_class_does_not_become_the_class_for_everything_else() -> None:
    scheme = Taxonomy("t", SCHEME.classes, other=SCHEME[2].code)
    assert read_labelling(CONFIG, scheme).unlabelled == ("segmented neutrophil",)


def test_a_box_is_percent_of_the_picture_and_the_score_of_a_prediction_is_the_mean() -> None:
    one = predicted(found((0, 0.5, (32, 24, 64, 120)), (0, 1.0, (0, 0, 32, 24))))
    value = one["result"][0]["value"]
    assert [value[k] for k in ("x", "y", "width", "height", "rotation")] == [10, 10, 10, 40, 0]
    assert one["score"] == 0.75
    assert predicted(Detections.none(SCHEME)) == {"model_version": "model 1", "score": None, "result": []}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("<View>", "not readable as XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "not readable as XML"),
        ("<View/>", "no RectangleLabels"),
        (
            '<View><Text name="field" value="$t"/><RectangleLabels name="c" toName="field"/></View>',
            "no RectangleLabels",
        ),
        (CONFIG.replace("$image", "here.jpg"), "names no data"),
        (CONFIG.replace("lymphocyte", "cat").replace("MYELO", "dog").replace("Lymphozyt", "cow"), "none of its labels"),
    ],
)
def test_a_config_that_cannot_be_used_says_why(config: str, message: str) -> None:
    with pytest.raises(BadInput, match=f"labelling config: .*{message}"):
        read_labelling(config, SCHEME)


side = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(st.integers(0, 1), side, side, side, side, side), max_size=5))
def test_accepted_predictions_come_back_as_the_same_boxes(place: Path, cells: list[tuple[Any, ...]]) -> None:
    boxes = [(k, s, (320 * min(a, b), 240 * min(c, d), 320 * max(a, b), 240 * max(c, d))) for k, s, a, b, c, d in cells]
    detections = found(*(cell for cell in boxes if cell[2][0] + 0.01 < cell[2][2] and cell[2][1] + 0.01 < cell[2][3]))
    export = [TASK | {"annotations": [{"result": predicted(detections)["result"]}]}]
    (place / "export.json").write_text(json.dumps(export))
    (field,) = read_label_studio(place / "export.json", place).fields
    assert (field.name, field.specimen) == ("slide_1/field", "slide_1")
    assert_allclose(field.boxes, detections.boxes, atol=1e-4)
    assert field.labels == tuple(("lymphocyte", "MYELO")[k] for k in detections.labels)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cv2

    folder = tmp_path_factory.mktemp("labelled")
    (folder / "slide_1").mkdir()
    cv2.imwrite(str(folder / "slide_1" / "field.png"), np.zeros((240, 320, 3), np.uint8))
    return folder


def spoilt() -> list[dict[str, Any]]:
    """Predictions that are wrong in one thing each."""
    whole = []
    for change in (
        {"from_name": "nobody"},
        {"to_name": "nobody"},
        {"type": "polygonlabels"},
        {"value": {"rectanglelabels": ["segmented neutrophil"]}},
        {"value": {"x": 101}},
    ):
        one = copy.deepcopy(predicted())
        region = one["result"][0]
        value = change.pop("value", {})
        region.update(change)
        region["value"].update(value)
        whole.append(one)
    return whole + [predicted() | {"score": 2}]


def judged(judge: Judge) -> None:
    """The library accepts what we say, and would not accept what is wrong."""
    right = [predicted(), predicted(Detections.none(SCHEME))]
    said = judge.errors(CONFIG, right + spoilt(), [TASK])
    assert said[:2] == [[], []]
    assert all(said[2:]), said


def test_label_studios_own_library_accepts_the_predictions_and_no_wrong_ones(judge: Judge) -> None:
    judged(judge)


@pytest.mark.slow
def test_label_studios_own_library_as_it_is_installed_alone(judge_of_its_own: Judge) -> None:
    judged(judge_of_its_own)


@pytest.mark.slow
def test_label_studios_own_converter_reads_the_same_boxes_from_an_export(judge_of_its_own: Judge, place: Path) -> None:
    annotation = {"id": 1, "completed_by": 1, "result": predicted()["result"]}
    (place / "export.json").write_text(json.dumps([TASK | {"annotations": [annotation]}]))
    (place / "config.xml").write_text(CONFIG)
    judge_of_its_own.run("coco", str(place))
    theirs = json.loads((place / "coco" / "result.json").read_text())
    (ours,) = read_label_studio(place / "export.json", place).fields
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in theirs["annotations"])]
    assert_allclose(boxes, ours.boxes, atol=1e-3)
    names = {c["id"]: c["name"] for c in theirs["categories"]}
    assert [names[a["category_id"]] for a in theirs["annotations"]] == list(ours.labels)
