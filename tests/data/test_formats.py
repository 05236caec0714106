"""COCO, YOLO, and from any format to any other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.clean import infer_taxonomy
from marrowscope.data.coco import read_coco, write_coco
from marrowscope.data.convert import WRITTEN, LabelFormat, convert, detect_format, read_labels, splits_of
from marrowscope.data.labelled import LabelledField, data_hash
from marrowscope.data.problems import ProblemKind
from marrowscope.data.voc import read_voc, write_voc
from marrowscope.data.yolo import read_yolo, write_yolo, yolo_splits
from marrowscope.errors import BadAnnotation, BadTaxonomy

SCHEME = Taxonomy.from_labels(["myelocyte", "blast", "骨髓 cell"])
CELLS = [("blast", (1, 2, 30, 40)), ("骨髓 cell", (0, 0, 320, 240)), ("myelocyte", (5.25, 6.5, 70.125, 80))]
side = st.floats(0, 320, width=32)
float_boxes = (
    st.tuples(side, side, side, side)
    .map(lambda e: (min(e[0], e[2]), min(e[1], e[3]) * 0.75, max(e[0], e[2]), max(e[1], e[3]) * 0.75))
    .map(lambda e: tuple(float(np.float32(v)) for v in e))
)
quick = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cells_of(field: LabelledField) -> list[tuple[object, ...]]:
    return sorted(
        (label, *box, mark)
        for label, box, mark in zip(field.labels, field.boxes.tolist(), field.difficult.tolist(), strict=True)
    )


@quick
@given(st.lists(st.tuples(st.sampled_from(SCHEME.names), float_boxes, st.booleans()), max_size=6))
def test_coco_gives_back_exact_floats(tmp_path, make_field, cells) -> None:
    cells = [c for c in cells if c[1][0] < c[1][2] and c[1][1] < c[1][3]]
    field = make_field("sub/a", [(c[0], c[1]) for c in cells], difficult=[c[2] for c in cells], specimen="S 1")
    write_coco(tmp_path / "coco.json", [field], SCHEME)
    found = read_coco(tmp_path / "coco.json", tmp_path / "made")
    assert found.problems == ()
    (again,) = found.fields
    assert cells_of(again) == cells_of(field)
    assert (again.name, again.width, again.height, again.specimen) == ("sub/a", 320, 240, "S 1")


@quick
@given(st.lists(st.tuples(st.sampled_from(SCHEME.names), float_boxes), max_size=6))
def test_yolo_gives_boxes_back_within_a_millionth_of_the_field(tmp_path, make_field, cells) -> None:
    cells = [c for c in cells if c[1][0] + 0.01 < c[1][2] and c[1][1] + 0.01 < c[1][3]]
    field = make_field("sub/a", cells)
    write_yolo(tmp_path / "yolo", {"train": [field]}, SCHEME)
    found = read_yolo(tmp_path / "yolo")
    assert found.problems == ()
    (again,) = found.fields
    assert again.name == "sub/a"
    assert again.labels == field.labels
    assert np.abs(again.boxes - field.boxes).max(initial=0) <= 1.05e-6 * 320 + 2e-5  # and float32's own step


def test_whole_pixels_survive_yolo_with_six_decimals(tmp_path: Path, make_field) -> None:
    field = make_field("a", [("blast", (0, 7, 313, 240)), ("blast", (11, 13, 17, 19))])
    write_yolo(tmp_path / "y", {"train": [field]}, SCHEME)
    path = tmp_path / "y" / "labels" / "train" / "a.txt"
    rounded = [
        " ".join([n, *(f"{float(v):.6f}" for v in rest)])
        for n, *rest in map(str.split, path.read_text().split("\n")[:-1])
    ]
    path.write_text("\n".join(rounded))
    found = read_yolo(tmp_path / "y")
    assert found.fields[0].boxes.tolist() == field.boxes.tolist()
    assert found.problems == ()


def test_a_label_outside_the_scheme_is_not_lost_in_silence(tmp_path: Path, make_field) -> None:
    field = make_field("a", [("junk", (1, 1, 9, 9))])
    with pytest.raises(BadTaxonomy, match="'junk' is no class"):
        write_coco(tmp_path / "c.json", [field], SCHEME)
    with pytest.raises(BadTaxonomy, match="'junk' is no class"):
        write_yolo(tmp_path / "y", {"train": [field]}, SCHEME)


def coco(tmp_path: Path, make_field, **changes: object) -> Path:
    make_field("a", [])
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 320, "height": 240}],
        "categories": [{"id": 3, "name": "blast"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}],
    } | changes
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"bbox": [1, 2, 0, 20]}, ProblemKind.ZERO_AREA_BOX),
        ({"bbox": [1, 2, -5, 20]}, ProblemKind.REVERSED_BOX),
        ({"bbox": [1, 2, 10]}, ProblemKind.NOT_A_NUMBER),
        ({"bbox": None}, ProblemKind.NOT_A_NUMBER),
        ({"bbox": [1, 2, float("nan"), 10]}, ProblemKind.NOT_A_NUMBER),
        ({"bbox": [1, 2, 10, 20], "category_id": 9}, ProblemKind.MISSING_VALUE),
        ({"bbox": [1, 2, 10, 20], "image_id": 9}, ProblemKind.MISSING_FIELD),
    ],
)
def test_a_bad_coco_annotation_is_named_and_the_others_survive(tmp_path, make_field, changes, kind) -> None:
    good = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}
    path = coco(tmp_path, make_field, annotations=[good, good | changes])
    with pytest.raises(BadAnnotation, match=r"^coco\.json, .*annotation 2: "):
        read_coco(path, tmp_path / "made")
    found = read_coco(path, tmp_path / "made", skip_bad=True)
    assert [p.kind for p in found.problems] == [kind]
    assert found.fields[0].boxes.tolist() == [[1, 2, 11, 22]]


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ({"file_name": "../a.jpg"}, ProblemKind.UNSAFE_PATH),
        ({"file_name": "/etc/passwd"}, ProblemKind.UNSAFE_PATH),
        ({}, ProblemKind.UNSAFE_PATH),
        ({"file_name": "gone.jpg"}, ProblemKind.MISSING_IMAGE),
        ({"file_name": "a.jpg", "width": 240, "height": 320}, ProblemKind.SIZE_MISMATCH),
    ],
)
def test_a_bad_coco_image_is_left_out(tmp_path, make_field, image, kind) -> None:
    found = read_coco(coco(tmp_path, make_field, images=[{"id": 7} | image]), tmp_path / "made", skip_bad=True)
    assert found.fields == ()
    assert [p.kind for p in found.problems] == [kind]


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "{}", '{"images": [], "annotations": [], "categories": [1]}', "[" * 100_000]
)
def test_what_is_no_coco_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadAnnotation, match=r"x\.json: "):
        read_coco(tmp_path / "x.json", tmp_path)
    with pytest.raises(BadAnnotation, match="not readable"):
        read_coco(tmp_path / "gone.json", tmp_path)


def yolo(tmp_path: Path, make_jpeg, line: str, yaml: str | None = None) -> Path:
    make_jpeg(tmp_path / "y" / "train" / "images" / "a.jpg", 320, 240)
    labels = tmp_path / "y" / "train" / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    (labels / "a.txt").write_text(f"0 0.5 0.5 0.5 0.5\n{line}\n")
    (tmp_path / "y" / "data.yaml").write_text(yaml or "train: ../train/images\nnames: [blast, band]\nnc: 2\n")
    return tmp_path / "y"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0.5 0.5 0 0.5", ProblemKind.ZERO_AREA_BOX),
        ("0 0.5 0.5 -0.1 0.5", ProblemKind.REVERSED_BOX),
        ("0 1.5 0.5 0.1 0.1", ProblemKind.BOX_OUTSIDE),
        ("0 0.5 nan 0.1 0.1", ProblemKind.NOT_A_NUMBER),
        ("0 0.5 0.5 0.1", ProblemKind.NOT_A_NUMBER),
        ("2 0.5 0.5 0.1 0.1", ProblemKind.MISSING_VALUE),
        ("0.5 0.5 0.5 0.1 0.1", ProblemKind.MISSING_VALUE),
    ],
)
def test_a_bad_yolo_line_is_named_and_the_others_survive(tmp_path, make_jpeg, line, kind) -> None:
    folder = yolo(tmp_path, make_jpeg, line)
    with pytest.raises(BadAnnotation, match=r"^train/labels/a\.txt, line 2: "):
        read_yolo(folder)
    found = read_yolo(folder, skip_bad=True)
    assert [p.kind for p in found.problems] == [kind]
    assert found.fields[0].boxes.tolist() == [[80, 60, 240, 180]]


def test_a_yolo_list_of_images_and_an_image_without_labels_are_read(tmp_path: Path, make_jpeg) -> None:
    folder = yolo(tmp_path, make_jpeg, "", "train: train.txt\nval: [val/images]\nnames: {0: blast}\n")
    make_jpeg(folder / "val" / "images" / "a.jpg", 64, 48)
    (folder / "train.txt").write_text("./train/images/a.jpg\n")
    assert yolo_splits(folder) == ("train", "val")
    (val,) = read_yolo(folder, split="val").fields
    assert len(val) == 0
    both = read_yolo(folder).fields
    assert [f.name for f in both] == ["a", "val/a"]
    (folder / "train.txt").write_text("../../etc/passwd\ngone.jpg\n/etc/hostname.jpg\n")
    found = read_yolo(folder, split="train", skip_bad=True)
    assert [p.kind for p in found.problems] == [ProblemKind.MISSING_IMAGE] * 3


@pytest.mark.parametrize(
    "yaml", ["[", "just text", "train: train/images", "train: train/images\nnames: 5", "names: {x: y}"]
)
def test_a_bad_data_yaml_is_refused(tmp_path, make_jpeg, yaml) -> None:
    with pytest.raises(BadAnnotation, match=r"data\.yaml"):
        read_yolo(yolo(tmp_path, make_jpeg, "", yaml))
    with pytest.raises(BadAnnotation, match=r"no data\.yaml"):
        read_yolo(tmp_path)


def test_a_yolo_split_that_is_not_there_is_an_error_that_lists_those_there_are(tmp_path, make_jpeg) -> None:
    with pytest.raises(BadAnnotation, match=r"no split 'val'. Splits here: train\."):
        read_yolo(yolo(tmp_path, make_jpeg, ""), split="val")


@pytest.mark.parametrize("first", WRITTEN)
@pytest.mark.parametrize("second", WRITTEN)
def test_any_format_becomes_any_other_and_voc_again(tmp_path, make_field, first, second) -> None:
    cells = [("blast", (1, 2, 30, 40)), ("myelocyte", (5, 6, 70, 80))]
    fields = [make_field(f"s{i}/f{i}", cells[: i % 3], specimen=f"patient {i}") for i in range(5)]
    splits = {"train": ["s0/f0", "s1/f1", "s2/f2"], "val": ["s3/f3", "s4/f4"]}
    write_voc(tmp_path / "0", fields, splits=splits)
    convert(tmp_path / "0", tmp_path / "1", to=first)
    convert(tmp_path / "1", tmp_path / "2", to=second)
    last, scheme = convert(tmp_path / "2", tmp_path / "3", to=LabelFormat.VOC)
    assert last.problems == ()
    assert scheme.names == ("myelocyte", "blast")
    assert detect_format(tmp_path / "1") is first
    assert splits_of(tmp_path / "1") == ("train", "val")
    for split, names in splits.items():
        assert [f.name for f in read_labels(tmp_path / "2", split=split).fields] == names
        again = read_voc(tmp_path / "3", split=split).fields
        for old, new in zip(read_voc(tmp_path / "0", split=split).fields, again, strict=True):
            assert cells_of(old) == cells_of(new)
            assert replace(old, boxes=new.boxes).specimen == new.specimen
            assert old.image_path.read_bytes() == new.image_path.read_bytes()


def test_a_folder_of_no_format_and_a_split_that_is_not_there_are_refused(tmp_path: Path, make_field) -> None:
    with pytest.raises(BadAnnotation, match="no labels that are understood"):
        detect_format(tmp_path)
    write_voc(tmp_path / "v", [make_field("a", [("blast", (1, 2, 30, 40))])])
    convert(tmp_path / "v", tmp_path / "c", to=LabelFormat.COCO)
    assert splits_of(tmp_path / "c") == ("train",)
    with pytest.raises(BadAnnotation, match=r"no split 'val'\. Splits here: train"):
        read_labels(tmp_path / "c", split="val")


def test_bccd_goes_to_coco_and_back(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "bccd" / "BCCD"
    before = read_voc(folder, split="val", skip_bad=True)
    write_coco(tmp_path / "val.json", before.fields, infer_taxonomy(before.fields))
    after = read_coco(tmp_path / "val.json", folder / "JPEGImages")
    assert after.problems == ()
    assert [cells_of(f) for f in after.fields] == [cells_of(f) for f in before.fields]
    assert data_hash(after.fields) == data_hash(before.fields)
