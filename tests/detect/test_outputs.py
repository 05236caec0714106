"""Every format, read back by something that does not share the writer's code."""

import csv
import json
import os
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import Lineage, Taxonomy, load_taxonomy
from marrowscope.detect.outputs import (
    Format,
    coco_dataset,
    coco_results,
    csv_rows,
    qupath_geojson,
    read_qupath_geojson,
    voc_xml,
    write_field,
    write_run,
    yolo_text,
)
from marrowscope.detect.palette import LINEAGE_COLOURS
from marrowscope.detect.saved import DetectedField, SavedDetections, read_detections, write_detections
from marrowscope.detect.sources import Unreadable
from marrowscope.errors import BadInput

TAXONOMY = load_taxonomy("liu2022")


@st.composite
def detected_fields(draw: st.DrawFn, max_cells: int = 8) -> DetectedField:
    """A field with detections of any legal kind."""
    width, height = draw(st.integers(20, 5000)), draw(st.integers(20, 5000))
    n = draw(st.integers(0, max_cells))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    low = rng.uniform(0, 0.9, (n, 2))
    size = np.asarray([width, height])
    boxes = np.concatenate((low * size, (low + rng.uniform(0.01, 1, (n, 2)) * (1 - low)) * size), axis=1)
    scores = np.sort(rng.uniform(0, 1, n))[::-1]
    found = Detections(boxes, rng.integers(0, len(TAXONOMY), n), scores, TAXONOMY)
    name = draw(st.text("a1é细胞🔬 .-&<>,;\"'\n\t", min_size=1, max_size=8))
    return DetectedField(Path("fields") / f"{name}.jpg", name, width, height, found)


def same(a: DetectedField, b: DetectedField) -> None:
    assert (a.path, a.name, a.width, a.height) == (b.path, b.name, b.width, b.height)
    assert_array_equal(a.detections.boxes, b.detections.boxes)
    assert_array_equal(a.detections.scores, b.detections.scores)
    assert_array_equal(a.detections.labels, b.detections.labels)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("saved")


@given(st.lists(detected_fields(), max_size=4), st.booleans())
def test_detections_json_reads_back_bit_for_bit(place: Path, fields: list[DetectedField], lost: bool) -> None:
    unreadable = (Unreadable(Path("bad.jpg"), "is truncated"),) if lost else ()
    saved = SavedDetections(TAXONOMY, tuple(fields), unreadable, {"score_threshold": 0.25})
    write_detections(place / "detections.json", saved)
    read = read_detections(place / "detections.json")
    assert read.taxonomy == TAXONOMY
    assert read.unreadable == unreadable
    assert read.about["score_threshold"] == 0.25
    assert len(read.fields) == len(fields)
    for a, b in zip(fields, read.fields, strict=True):
        same(a, b)


FIELD = DetectedField(
    Path("specimen/field_7.jpg"),
    "field_7",
    400,
    300,
    Detections(
        np.asarray([[10, 20, 110, 140], [0, 0, 50.5, 60], [350, 250, 400, 300]]),
        np.asarray([TAXONOMY.index(n) for n in ("promyelocyte", "lymphoblast", "promyelocyte")]),
        np.asarray([0.9, 0.75, 0.3]),
        TAXONOMY,
    ),
)
EMPTY = DetectedField(Path("specimen/empty.jpg"), "empty", 400, 300, Detections.none(TAXONOMY))


def test_the_keys_that_others_script_against_are_there(tmp_path: Path) -> None:
    write_detections(tmp_path / "d.json", SavedDetections(TAXONOMY, (FIELD, EMPTY)))
    values = json.loads((tmp_path / "d.json").read_text())
    field = values["fields"][0]
    assert (field["path"], field["width"], field["height"]) == ("specimen/field_7.jpg", 400, 300)
    assert field["detections"][0]["class"] == "promyelocyte"
    assert field["detections"][0]["score"] == 0.9
    assert field["detections"][0]["box"] == [10, 20, 110, 140]
    assert values["fields"][1]["detections"] == []
    assert values["unreadable"] == []
    assert len((tmp_path / "d.json").read_text().splitlines()) == 6, (
        "one line a field, besides the head and the two lines of the foot"
    )


def test_a_file_with_only_the_required_keys_is_read(tmp_path: Path) -> None:
    cells = [{"class": c, "score": 0.5, "box": [0, 0, 5, 5]} for c in ("blob", "ant")]
    record = {"path": "a.jpg", "width": 10, "height": 10, "detections": cells}
    (tmp_path / "d.json").write_text(json.dumps({"fields": [record]}))
    read = read_detections(tmp_path / "d.json")
    assert read.taxonomy.names == ("ant", "blob")
    assert read.fields[0].detections.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "no list `fields`"),
        ('{"fields": 3}', "no list `fields`"),
        ('{"fields": [3]}', "field 1"),
        ('{"fields": [{"path": "a.jpg", "width": 1, "height": 1}]}', r"field 1 \(a.jpg\).*detections.*missing"),
        ('{"fields": [{"path": "a.jpg", "width": 1, "height": 1, "detections": [{"class": "b"}]}]}', "score"),
        (
            '{"fields": [{"path": "a.jpg", "width": 1, "height": 1, '
            '"detections": [{"class": "b", "score": 2, "box": [0, 0, 1, 1]}]}]}',
            r"scores must lie in 0\.\.1",
        ),
        (
            '{"fields": [{"path": "a.jpg", "width": 1, "height": 1, '
            '"detections": [{"class": "b", "score": 1, "box": [0, 0, 1]}]}]}',
            r"field 1 \(a.jpg\)",
        ),
        (
            '{"taxonomy": {"name": "t", "classes": [{"code": "MYELO"}]}, "fields": [{"path": "a.jpg", "width": 1, '
            '"height": 1, "detections": [{"class": "b", "score": 1, "box": [0, 0, 1, 1]}]}]}',
            r"field 1 \(a.jpg\).*'b' is no class",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        read_detections(tmp_path / "d.json")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_detections(tmp_path / "d.json")


@given(st.lists(detected_fields(), max_size=4))
def test_csv_has_one_row_a_cell_and_exact_numbers(place: Path, fields: list[DetectedField]) -> None:
    with (place / "d.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows(csv_rows(fields))
    with (place / "d.csv").open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == sum(len(f.detections) for f in fields)
    numbers = np.asarray([[r[k] for k in ("score", "x1", "y1", "x2", "y2")] for r in rows], np.float32).reshape(-1, 5)
    if fields:
        assert_array_equal(numbers[:, 0], np.concatenate([f.detections.scores for f in fields]))
        assert_array_equal(numbers[:, 1:], np.concatenate([f.detections.boxes for f in fields]))
        codes = [TAXONOMY[int(x)].code for f in fields for x in f.detections.labels]
        assert [r["code"] for r in rows] == codes


@given(detected_fields())
def test_yolo_shares_of_the_field_lead_back_to_the_box(field: DetectedField) -> None:
    rows = np.asarray([line.split() for line in yolo_text(field).splitlines()], float).reshape(-1, 6)
    assert_array_equal(rows[:, 0], field.detections.labels)
    assert (rows[:, 1:] <= 1).all()
    centre, size = rows[:, 1:3], rows[:, 3:5]
    boxes = np.concatenate((centre - size / 2, centre + size / 2), axis=1) * ([field.width, field.height] * 2)
    assert_allclose(boxes, field.detections.boxes, atol=1e-3)
    assert_allclose(rows[:, 5], field.detections.scores, atol=1e-6)


def test_yolo_of_a_known_box() -> None:
    assert yolo_text(FIELD).splitlines()[0].split()[1:5] == ["0.15000000", "0.26666667", "0.25000000", "0.40000000"]
    assert yolo_text(EMPTY) == ""


@given(st.lists(detected_fields(), min_size=1, max_size=3))
def test_coco_results_are_the_annotations_of_the_data_set(fields: list[DetectedField]) -> None:
    results, dataset = list(coco_results(fields)), coco_dataset(fields, TAXONOMY)
    images = {i["id"]: i for i in dataset["images"]}
    names = {c["id"]: c["name"] for c in dataset["categories"]}
    assert len({a["id"] for a in dataset["annotations"]}) == len(dataset["annotations"]) == len(results)
    claims = [(f, k) for f in fields for k in range(len(f.detections))]
    for annotation, result, (field, k) in zip(dataset["annotations"], results, claims, strict=True):
        assert {key: annotation[key] for key in result} == result
        x, y, w, h = result["bbox"]
        assert_allclose([x, y, x + w, y + h], field.detections.boxes[k], rtol=1e-6, atol=1e-4)
        assert annotation["area"] == w * h
        assert names[result["category_id"]] == TAXONOMY[int(field.detections.labels[k])].name
        assert images[result["image_id"]]["width"] == field.width


def test_coco_is_accepted_by_a_coco_evaluator(tmp_path: Path) -> None:
    faster = pytest.importorskip("faster_coco_eval")
    write_run([FIELD, EMPTY], TAXONOMY, tmp_path, [Format.COCO])
    truth = faster.COCO(str(tmp_path / "coco" / "dataset.json"))
    found = truth.loadRes(str(tmp_path / "coco" / "results.json"))
    evaluation = faster.COCOeval_faster(truth, found, "bbox")
    evaluation.run()
    assert evaluation.stats[0] == pytest.approx(1.0)


@given(detected_fields())
def test_voc_counts_from_one_and_includes_both_ends(field: DetectedField) -> None:
    claims = field.detections
    wide = np.round(claims.boxes[:, 2:]) - np.round(claims.boxes[:, :2])
    kept = (wide > 1).all(axis=1)
    root = ElementTree.fromstring(voc_xml(field))
    objects = root.findall("object")
    assert len(objects) == kept.sum()
    for entry, box, label in zip(objects, claims.boxes[kept], claims.labels[kept], strict=True):
        written = [int(entry.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax")]
        assert_allclose(np.asarray(written) - [1, 1, 0, 0], box, atol=0.5)
        assert 1 <= written[0] < written[2] <= field.width
        assert 1 <= written[1] < written[3] <= field.height
        assert entry.findtext("name") == TAXONOMY[int(label)].name


@given(detected_fields())
def test_geojson_reads_back(field: DetectedField) -> None:
    values = json.loads(json.dumps(qupath_geojson(field)))
    read = read_qupath_geojson(values, TAXONOMY)
    assert_array_equal(read.boxes, field.detections.boxes)
    assert_array_equal(read.labels, field.detections.labels)
    assert_array_equal(read.scores, field.detections.scores)


@given(detected_fields())
def test_every_geojson_feature_is_what_qupath_expects(field: DetectedField) -> None:
    values = qupath_geojson(field)
    assert values["type"] == "FeatureCollection"
    assert len({f["id"] for f in values["features"]}) == len(field.detections)
    for feature, label in zip(values["features"], field.detections.labels, strict=True):
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert len(ring) == 5
        assert ring[0] == ring[-1]
        properties = feature["properties"]
        cell = TAXONOMY[int(label)]
        assert properties["objectType"] == "detection"
        assert properties["classification"] == {"name": cell.name, "color": list(LINEAGE_COLOURS[cell.lineage])}
        assert 0 <= properties["measurements"]["score"] <= 1
    assert values == qupath_geojson(field), "ids are the same the next time"


def test_twins_get_ids_of_their_own() -> None:
    twins = Detections([[0, 0, 9, 9]] * 2, np.asarray([1, 1]), np.asarray([0.5, 0.5]), TAXONOMY)
    features = qupath_geojson(DetectedField(Path("a.jpg"), "a", 10, 10, twins))["features"]
    assert features[0]["id"] != features[1]["id"]


def test_outlines_drawn_in_qupath_become_boxes_and_objects_without_class_are_passed_over() -> None:
    outline = {"type": "Polygon", "coordinates": [[[5, 9], [20, 4], [12, 30], [5, 9]]]}
    cell = {"objectType": "annotation", "classification": {"name": "Promyelocyte", "color": [1, 2, 3]}}
    features = [{"geometry": outline, "properties": cell}, {"geometry": outline, "properties": {"isLocked": True}}]
    for values in ({"type": "FeatureCollection", "features": features}, features, features[0]):
        read = read_qupath_geojson(values, TAXONOMY)
        assert read.boxes.tolist() == [[5, 4, 20, 30]]
        assert read.scores.tolist() == [1.0]
    with pytest.raises(BadInput, match="object 1"):
        read_qupath_geojson([{"properties": cell}], TAXONOMY)


def test_every_format_lands_where_it_is_said(tmp_path: Path) -> None:
    for field in (FIELD, EMPTY):
        write_field(field, tmp_path, Format)
    write_run([FIELD, EMPTY], TAXONOMY, tmp_path, Format)
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == [
        "coco/dataset.json",
        "coco/results.json",
        "detections.csv",
        "geojson/empty.geojson",
        "geojson/field_7.geojson",
        "voc/empty.xml",
        "voc/field_7.xml",
        "yolo/classes.txt",
        "yolo/empty.txt",
        "yolo/field_7.txt",
    ]


def test_a_file_name_that_is_no_utf8_spoils_no_output(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\x01")
    odd = DetectedField(Path(f"{name}.jpg"), "odd", 400, 300, FIELD.detections)
    write_field(odd, tmp_path, Format)
    write_run([odd], TAXONOMY, tmp_path, Format)
    write_detections(tmp_path / "d.json", SavedDetections(TAXONOMY, (odd,)))
    assert read_detections(tmp_path / "d.json").fields[0].path == odd.path


def test_every_lineage_has_a_colour_of_its_own() -> None:
    assert set(LINEAGE_COLOURS) == set(Lineage)
    assert len(set(LINEAGE_COLOURS.values())) == len(Lineage)


def test_an_unknown_class_in_a_scheme_with_other_becomes_other() -> None:
    scheme = Taxonomy("t", (TAXONOMY[0], TAXONOMY[1]), other=TAXONOMY[1].code)
    feature = {
        "geometry": {"coordinates": [[[0, 0], [5, 0], [5, 5], [0, 0]]]},
        "properties": {"classification": {"name": "tumour"}},
    }
    assert read_qupath_geojson(feature, scheme).labels.tolist() == [1]
