"""CVAT's own driver takes what the function gives, and would refuse what is wrong."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from helpers.neighbours import SCHEME, KnownCells
from marrowscope.assemble.detectors import OpenedDetector
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.saved import DetectedField, SavedDetections, write_detections
from marrowscope.errors import BadImage, MissingExtra
from marrowscope.neighbours import cvat

auto_annotation = pytest.importorskip("cvat_sdk.auto_annotation")
driver = pytest.importorskip("cvat_sdk.auto_annotation.driver")
models = pytest.importorskip("cvat_sdk.models")

FIELD = Image.new("RGB", (320, 240), "white")


def context(threshold: float | None = None) -> Any:
    return driver._DetectionFunctionContextImpl(frame_name="slide_1/field.png", conf_threshold=threshold)


def through_cvat(function: Any, names: list[str], shapes: list[Any], kind: str = "rectangle") -> list[Any]:
    """What `annotate_task` would upload as frame 5 of a task with these labels."""
    labels = [
        models.Label(id=100 + i, name=name, type=kind, attributes=[], sublabels=[]) for i, name in enumerate(names)
    ]
    mapper = driver._AnnotationMapper(
        logging.getLogger("cvat"), function.spec.labels, labels, allow_unmatched_labels=True, conv_mask_to_poly=False
    )
    tags, kept = mapper.validate_and_remap(shapes, 5)
    assert tags == []
    return list(kept)


@pytest.fixture
def function(opened: OpenedDetector) -> cvat.CellFunction:
    return cvat.CellFunction(opened)


def test_cvat_takes_the_cells_as_rectangles_of_the_labels_that_the_task_has(function, known: KnownCells) -> None:
    shapes = function.detect(context(), FIELD)
    kept = through_cvat(function, ["myelocyte", "lymphocyte"], shapes)
    assert [(s.label_id, s.frame, str(s.type), str(s.source)) for s in kept] == [
        (101, 5, "rectangle", "auto"),
        (100, 5, "rectangle", "auto"),
    ]
    assert_allclose([s.points for s in kept], known.boxes[:2])


def test_one_cell_gets_one_name_and_the_threshold_is_the_models_unless_cvat_says_one(function) -> None:
    assert len(function.detect(context(), FIELD)) == 3
    assert len(function.detect(context(0.1), FIELD)) == 3, "the fourth is another name of the first"
    assert len(function.detect(context(0.65), FIELD)) == 2
    assert function.detect(context(1.0), FIELD) == []


def test_cvat_refuses_a_label_or_a_shape_that_is_wrong(function) -> None:
    with pytest.raises(auto_annotation.BadFunctionError, match="unknown label ID"):
        through_cvat(function, list(SCHEME.names), [auto_annotation.rectangle(99, [0, 0, 1, 1])])
    with pytest.raises(auto_annotation.BadFunctionError, match="shape of type"):
        through_cvat(function, list(SCHEME.names), [auto_annotation.polygon(0, [0, 0, 1, 1, 2, 0])])
    with pytest.raises(auto_annotation.BadFunctionError, match="'rectangle' in the function"):
        through_cvat(function, list(SCHEME.names), function.detect(context(), FIELD), kind="polygon")


def test_a_picture_is_seen_as_files_are(function, known: KnownCells) -> None:
    clear = Image.new("RGBA", (320, 240), (10, 200, 30, 0))
    function.detect(context(), clear)
    (field,) = known.seen
    assert field.pixels.shape == (240, 320, 3)
    assert (field.pixels == 255).all(), "what is transparent is empty slide"
    with pytest.raises(BadImage, match=r"slide_1/field\.png"):
        function.detect(context(), Image.new("F", (320, 240)))


def test_create_opens_a_detector_by_name_as_cvat_cli_does(known: KnownCells, tmp_path: Path) -> None:
    cells = known.detect([])
    assert cells == []
    (found,) = KnownCells().detect([object()])  # type: ignore[list-item]
    saved = SavedDetections(SCHEME, (DetectedField(Path("slide_1/field.png"), "field", 320, 240, found),))
    write_detections(tmp_path / "d.json", saved)
    function = cvat.create(model=str(tmp_path / "d.json"))
    assert [label.name for label in function.spec.labels] == list(SCHEME.names)


def test_without_cvats_package_the_remedy_is_said(opened: OpenedDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cvat_sdk", None)
    with pytest.raises(MissingExtra, match=r"marrowscope\[cvat\]"):
        cvat.CellFunction(opened)


def test_names_are_labels_as_cvat_wants_them() -> None:
    scheme = Taxonomy.from_labels(["a b", "骨髓 cell"])
    detector = KnownCells()
    detector.taxonomy = scheme
    function = cvat.CellFunction(OpenedDetector(detector, 0.5, Path(), "by heart"))
    assert [label.id for label in function.spec.labels] == [0, 1]
    assert np.unique([label.name for label in function.spec.labels]).size == 2
