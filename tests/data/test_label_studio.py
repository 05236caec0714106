"""What Label Studio exports becomes training data."""

import json
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from marrowscope.data.convert import LabelFormat, convert, detect_format, read_labels
from marrowscope.data.label_studio import read_label_studio
from marrowscope.data.problems import ProblemKind
from marrowscope.data.voc import read_voc
from marrowscope.errors import BadAnnotation, BadImage, BadInput

BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
"""Percent of 320 x 240: (32, 48, 128, 144) in pixels."""


def region(label: str = "blast", **changes: Any) -> dict[str, Any]:
    value = BOX | {"rectanglelabels": [label]} | changes.pop("value", {})
    size = {"original_width": 320, "original_height": 240, "image_rotation": 0}
    return size | {"id": "a", "type": "rectanglelabels", "from_name": "c", "to_name": "i", "value": value} | changes


def task(*regions: dict[str, Any], image: str = "/data/local-files/?d=a.jpg", **changes: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": list(regions)}]} | changes


@pytest.fixture
def export(tmp_path: Path, make_field):
    """Writes an export beside its picture `made/a.jpg` of 320 x 240, and gives its path."""
    make_field("a", [])

    def write(*tasks: Any) -> Path:
        path = tmp_path / "made" / "export.json"
        path.write_text(json.dumps(tasks))
        return path

    return write


def kinds(path: Path) -> list[ProblemKind]:
    return [p.kind for p in read_labels(path, skip_bad=True).problems]


def test_boxes_are_pixels_and_labels_as_written(export) -> None:
    path = export(task(region(), region("骨髓 cell", value={"x": 0, "y": 0, "width": 100, "height": 100})))
    assert detect_format(path) is LabelFormat.LABEL_STUDIO
    found = read_labels(path)
    assert found.problems == ()
    (field,) = found.fields
    assert field.boxes.tolist() == [[32, 48, 128, 144], [0, 0, 320, 240]]
    assert field.labels == ("blast", "骨髓 cell")
    assert (field.name, field.specimen, field.width, field.height) == ("a", None, 320, 240)


def test_of_a_turned_box_the_upright_one_around_it_is_taken(export) -> None:
    # A quarter turn clockwise about the top left corner: 96 wide and 96 high lie left of it then.
    (field,) = read_labels(export(task(region(value={"x": 50, "rotation": 90})))).fields
    assert_allclose(field.boxes, [[160 - 96, 48, 160, 48 + 96]], atol=1e-4)
    (field,) = read_labels(export(task(region(value={"x": 50, "rotation": 45})))).fields
    half = 96 / 2**0.5
    assert_allclose(field.boxes, [[160 - half, 48, 160 + half, 48 + 2 * half]], atol=1e-4)


def test_a_rectangle_and_its_labels_are_one_cell_and_what_is_no_region_is_none(export) -> None:
    labels = region(type="labels", value={"labels": ["blast"]})
    choice = {"id": "b", "type": "choices", "value": {"choices": ["good stain"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}
    found = read_labels(export(task(region(type="rectangle"), labels, choice, relation)))
    assert found.problems == ()
    assert found.fields[0].labels == ("blast",)


def test_only_an_annotation_that_was_submitted_makes_a_field(export) -> None:
    nobody, skipped = task(annotations=[]), task(annotations=[{"was_cancelled": True, "result": [region()]}])
    found = read_labels(export(nobody, skipped))
    assert (found.fields, [p.kind for p in found.problems]) == ((), [ProblemKind.UNLABELLED_IMAGE] * 2)
    (field,) = read_labels(export(task())).fields
    assert len(field) == 0, "somebody looked and saw no cell"


def test_of_several_annotations_ground_truth_counts_else_the_newest(export) -> None:
    old = {"result": [region("old")], "updated_at": "2026-11-01T10:00:00Z"}
    new = {"result": [region("new")], "updated_at": "2026-11-02T10:00:00Z"}
    for annotations, label in (([old, new], "new"), ([new, old], "new"), ([old | {"ground_truth": True}, new], "old")):
        found = read_labels(export(task(annotations=annotations)))
        assert found.fields[0].labels == (label,)
        assert [p.kind for p in found.problems] == [ProblemKind.LISTED_TWICE]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (region(value={"width": 0}), ProblemKind.ZERO_AREA_BOX),
        (region(value={"x": "left"}), ProblemKind.NOT_A_NUMBER),
        (region(value={"x": float("nan")}), ProblemKind.NOT_A_NUMBER),
        (region(value={"x": 120}), ProblemKind.BOX_OUTSIDE),
        (region(value={"rectanglelabels": []}), ProblemKind.MISSING_VALUE),
        (region(value={"rectanglelabels": ["a", "b"]}), ProblemKind.MISSING_VALUE),
        (region(type="polygonlabels"), ProblemKind.MISSING_VALUE),
    ],
)
def test_a_bad_region_is_named_and_the_others_survive(export, bad, kind) -> None:
    path = export(task(region(), bad))
    with pytest.raises(BadAnnotation, match=r"^export\.json, task '1', region 2: "):
        read_labels(path)
    found = read_labels(path, skip_bad=True)
    assert [p.kind for p in found.problems] == [kind]
    assert found.fields[0].boxes.tolist() == [[32, 48, 128, 144]]


def test_a_field_of_another_size_or_without_its_picture_is_left_out(export) -> None:
    assert kinds(export(task(region(original_width=240)))) == [ProblemKind.SIZE_MISMATCH]
    assert kinds(export(task(data={"text": "no picture"}))) == [ProblemKind.MISSING_VALUE]
    with pytest.raises(BadImage, match=r"gone\.jpg does not exist"):
        read_labels(export(task(image="/data/local-files/?d=gone.jpg")))


@pytest.mark.parametrize(
    "image",
    [
        "/data/local-files/?d=deep/down/a.jpg",
        "/data/upload/3/a.jpg",
        "http://host:8080/data/upload/3/a.jpg?token=1",
        "https://pictures.lab/a.jpg",
        "a.jpg",
    ],
)
def test_a_picture_that_was_moved_is_found_by_its_name(export, image: str) -> None:
    (field,) = read_labels(export(task(region(), image=image))).fields
    assert field.name == "a"


def test_the_path_among_local_files_comes_first_and_names_field_and_specimen(export, tmp_path, make_field) -> None:
    make_field("slide 1/a", [])
    (field,) = read_labels(export(task(region(), image="/data/local-files/?d=slide%201/a.jpg"))).fields
    assert (field.name, field.specimen) == ("slide 1/a", "slide 1")
    data = {"image": "/data/local-files/?d=slide%201/a.jpg", "specimen": "S 7"}
    assert read_labels(export(task(region(), data=data))).fields[0].specimen == "S 7"


@pytest.mark.parametrize("image", ["/data/local-files/?d=../a.jpg", "/data/../../made/a.jpg", "../made/a.jpg"])
def test_no_task_leads_out_of_the_image_folder(export, image: str) -> None:
    assert kinds(export(task(region(), image=image))) == [ProblemKind.UNSAFE_PATH]


def test_a_picture_in_two_tasks_is_one_field(export) -> None:
    found = read_labels(export(task(region("first")), task(region("second"), id=2)))
    assert [f.labels for f in found.fields] == [("first",)]
    assert [p.kind for p in found.problems] == [ProblemKind.LISTED_TWICE]


def test_an_export_becomes_voc_with_the_pictures_of_another_folder(export, tmp_path: Path) -> None:
    path = export(task(region()))
    elsewhere = path.rename(tmp_path / "export.json")
    read, _ = convert(elsewhere, tmp_path / "voc", to=LabelFormat.VOC, image_folder=tmp_path / "made")
    assert len(read.fields) == 1
    (field,) = read_voc(tmp_path / "voc").fields
    assert (field.labels, field.boxes.tolist()) == (("blast",), [[32, 48, 128, 144]])


def test_what_is_no_export_is_told(export, tmp_path: Path) -> None:
    path = export({"image": "a.jpg", "label": []})
    with pytest.raises(BadAnnotation, match="not as JSON-MIN"):
        read_labels(path)
    path.write_text("[")
    with pytest.raises(BadAnnotation, match="not readable as JSON"):
        read_label_studio(path, tmp_path)
    with pytest.raises(BadAnnotation, match="no split 'val'"):
        read_labels(export(), split="val")
    with pytest.raises(BadInput, match="read, not written"):
        convert(path, tmp_path / "out", to=LabelFormat.LABEL_STUDIO)
