from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.images import ImageTransfer, read_image
from marrowscope.data.labelled import LabelledField, labels_of
from marrowscope.data.problems import ProblemKind
from marrowscope.data.voc import read_voc, voc_splits, write_voc, write_voc_image
from marrowscope.data.voc_xml import annotation_xml, from_edges, to_edges
from marrowscope.errors import BadAnnotation, BadImage


def same(a: LabelledField, b: LabelledField) -> bool:
    return (
        (a.name, a.width, a.height, a.labels, a.specimen) == (b.name, b.width, b.height, b.labels, b.specimen)
        and np.array_equal(a.boxes, b.boxes)
        and np.array_equal(a.difficult, b.difficult)
        and a.image_path.read_bytes() == b.image_path.read_bytes()
    )


def test_pixels_from_one_and_inclusive_become_edges_from_zero(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell("blast", 1, 1, 320, 240) + cell("blast", 11, 21, 30, 60, difficult=1)})
    (field,) = read_voc(folder).fields
    assert field.boxes.tolist() == [[0, 0, 320, 240], [10, 20, 30, 60]]
    assert field.boxes.dtype == np.float32
    assert field.labels == ("blast", "blast")
    assert field.difficult.tolist() == [False, True]
    assert (field.name, field.width, field.height, field.specimen) == ("a", 320, 240, None)
    assert field.image_path == folder / "JPEGImages" / "a.jpg"


@given(st.tuples(*[st.integers(1, 5000)] * 4))
def test_counting_there_and_back_changes_nothing(pixels: tuple[int, int, int, int]) -> None:
    assert from_edges(*to_edges(*pixels)) == pixels


corner = st.tuples(st.integers(0, 318), st.integers(0, 238))
boxes = corner.flatmap(
    lambda p: st.tuples(st.just(p[0]), st.just(p[1]), st.integers(p[0] + 2, 320), st.integers(p[1] + 2, 240))
)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"]), min_size=1, max_size=12)
labels = words.map(str.strip).filter(bool)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(labels, boxes, st.booleans()), max_size=6), st.none() | labels)
def test_what_is_written_is_read_back(tmp_path, make_field, cells, specimen) -> None:
    field = make_field("sub/field_1", [(c[0], c[1]) for c in cells], difficult=[c[2] for c in cells], specimen=specimen)
    write_voc(tmp_path / "out", [field])
    (again,) = read_voc(tmp_path / "out").fields
    assert same(again, field if specimen else replace(field, specimen="sub"))


def test_splits_and_subfolders_survive_the_round_trip(tmp_path: Path, make_field) -> None:
    fields = [make_field(f"s{i}/f{i}", [("blast", (1, 2, 30, 40))], specimen=f"patient {i}") for i in range(3)]
    for images in ImageTransfer:
        out = tmp_path / images.value
        write_voc(out, fields, splits={"train": ["s2/f2", "s0/f0"], "val": ["s1/f1"]}, images=images)
        assert voc_splits(out) == ("train", "val")
        train, val = read_voc(out, split="train"), read_voc(out, split="val")
        assert [f.name for f in train.fields] == ["s0/f0", "s2/f2"]
        assert all(
            same(a, b) for a, b in zip((*train.fields, *val.fields), (fields[0], fields[2], fields[1]), strict=True)
        )
        assert train.problems == ()


def test_the_specimen_is_listed_else_tagged_else_the_subfolder(voc_folder, cell) -> None:
    tag = "<source><specimen> tagged </specimen></source>"
    box = cell("blast", 1, 1, 20, 20)
    folder = voc_folder({"s/a": tag + box, "s/b": tag + box, "s/c": box, "d": box})
    (folder / "specimens.tsv").write_text("field\tspecimen\ns/a\tlisted\n", encoding="utf-8")
    assert [f.specimen for f in read_voc(folder).fields] == [None, "listed", "tagged", "s"]


def test_a_specimen_list_without_its_header_is_named(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell("blast", 1, 1, 20, 20)})
    (folder / "specimens.tsv").write_text("a\tS1\n", encoding="utf-8")
    with pytest.raises(BadAnnotation, match=r"specimens\.tsv"):
        read_voc(folder)


BAD_BOXES = [
    ((50, 60, 50, 60), ProblemKind.ZERO_AREA_BOX, "xmin 50 is not left of xmax 50"),
    ((50, 60, 90, 60), ProblemKind.ZERO_AREA_BOX, "ymin 60 is not above ymax 60"),
    ((90, 60, 50, 80), ProblemKind.REVERSED_BOX, "xmin 90 is not left of xmax 50"),
    ((51, 60, 50, 80), ProblemKind.REVERSED_BOX, "xmin 51 is not left of xmax 50"),
    ((400, 60, 500, 80), ProblemKind.BOX_OUTSIDE, "outside the field of 320 x 240"),
    ((-40, 60, -5, 80), ProblemKind.BOX_OUTSIDE, "outside"),
    (("nan", 60, 90, 80), ProblemKind.NOT_A_NUMBER, "not four numbers"),
    (("inf", 60, 90, 80), ProblemKind.NOT_A_NUMBER, "not four numbers"),
    ((1, 1, "1e999", 80), ProblemKind.NOT_A_NUMBER, "not four numbers"),
    (("ten", 60, 90, 80), ProblemKind.NOT_A_NUMBER, "'ten'"),
    (("", 60, 90, 80), ProblemKind.MISSING_VALUE, "has no xmin"),
]


@pytest.mark.parametrize(("edges", "kind", "message"), BAD_BOXES)
def test_a_bad_box_is_named_and_the_others_survive(voc_folder, cell, edges, kind, message) -> None:
    folder = voc_folder({"s/a": cell("blast", 1, 1, 20, 20) + cell("blast", *edges) + cell("band", 5, 5, 30, 30)})
    with pytest.raises(BadAnnotation, match=rf"^s/a\.xml, object 2: .*{message}.*--skip-bad\.$"):
        read_voc(folder)
    found = read_voc(folder, skip_bad=True)
    assert [p.kind for p in found.problems] == [kind]
    assert found.fields[0].labels == ("blast", "band")
    assert "\n" not in str(found.problems[0])


def test_a_cell_without_a_name_or_a_box_is_left_out(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell(" ", 1, 1, 20, 20) + "<object><name>blast</name></object>"})
    found = read_voc(folder, skip_bad=True)
    assert [(p.kind, p.where) for p in found.problems] == [
        (ProblemKind.MISSING_VALUE, "a.xml, object 1"),
        (ProblemKind.MISSING_VALUE, "a.xml, object 2"),
    ]
    assert len(found.fields[0]) == 0


def test_a_box_beyond_the_edge_is_cut_with_a_warning(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell("blast", 0, 0, 20, 20) + cell("blast", 300, 200, 330, 250)})
    found = read_voc(folder)
    assert found.fields[0].boxes.tolist() == [[0, 0, 20, 20], [299, 199, 320, 240]]
    assert [p.kind for p in found.problems] == [ProblemKind.BOX_BEYOND_EDGE] * 2


def test_fractional_pixels_are_used_with_a_warning(voc_folder, cell) -> None:
    found = read_voc(voc_folder({"a": cell("blast", 1.5, 2, 20.25, 20.0)}))
    assert found.fields[0].boxes.tolist() == [[0.5, 1, 20.25, 20]]
    assert [p.kind for p in found.problems] == [ProblemKind.FRACTIONAL_PIXEL]


ENTITIES = "".join(f'<!ENTITY {b} "{f"&{a};" * 9}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
BOMB = (
    f'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">{ENTITIES}]>'
    "<annotation><filename>&i;</filename></annotation>"
)
EXTERNAL = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        (BOMB, ProblemKind.FORBIDDEN_XML),
        (EXTERNAL, ProblemKind.FORBIDDEN_XML),
        ('<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/a.dtd"><annotation/>', ProblemKind.FORBIDDEN_XML),
        ("<annotation><object>", ProblemKind.MALFORMED_FILE),
        ("<html></html>", ProblemKind.MALFORMED_FILE),
        ('<?xml version="1.0" encoding="no-such-code"?><annotation/>', ProblemKind.MALFORMED_FILE),
        ("<annotation>\x01</annotation>", ProblemKind.MALFORMED_FILE),
    ],
)
def test_a_bomb_or_a_broken_file_costs_one_field_only(voc_folder, cell, xml, kind) -> None:
    folder = voc_folder({"a": xml, "b": cell("blast", 1, 1, 20, 20)})
    with pytest.raises(BadAnnotation, match=r"^a\.xml: "):
        read_voc(folder)
    found = read_voc(folder, skip_bad=True)
    assert [f.name for f in found.fields] == ["b"]
    assert [p.kind for p in found.problems] == [kind]


@pytest.mark.parametrize(
    "name", ["../../secret.jpg", "/etc/passwd", "..\\..\\secret.jpg", "C:\\secret.jpg", "x/../../y.jpg"]
)
def test_a_file_name_that_leads_out_of_the_folder_is_refused(voc_folder, make_jpeg, name) -> None:
    folder = voc_folder({"a": f"<annotation><filename>{name}</filename></annotation>"})
    make_jpeg(folder.parent / "secret.jpg", 320, 240)
    found = read_voc(folder, skip_bad=True)
    assert found.fields == ()
    assert [p.kind for p in found.problems] == [ProblemKind.UNSAFE_PATH]


def test_an_image_is_found_by_the_fields_name_where_the_written_one_is_not_there(voc_folder) -> None:
    folder = voc_folder({"a": "<annotation><filename>renamed.png</filename></annotation>"})
    assert read_voc(folder).fields[0].image_path.name == "a.jpg"


def test_the_size_comes_from_the_image_and_must_agree_with_the_file(voc_folder) -> None:
    size = "<annotation><size><width>{}</width><height>{}</height></size></annotation>"
    folder = voc_folder({"a": "<annotation/>", "b": size.format(0, 0), "c": size.format(240, 320)})
    found = read_voc(folder, skip_bad=True)
    assert [(f.name, f.width, f.height) for f in found.fields] == [("a", 320, 240), ("b", 320, 240)]
    assert [(p.kind, p.where) for p in found.problems] == [(ProblemKind.SIZE_MISMATCH, "c.xml")]


def test_a_missing_and_a_corrupt_image_are_named(voc_folder, cell) -> None:
    folder = voc_folder({name: cell("blast", 1, 1, 20, 20) for name in "abc"})
    (folder / "JPEGImages" / "a.jpg").unlink()
    (folder / "JPEGImages" / "b.jpg").write_bytes(b"no jpeg")
    with pytest.raises(BadImage, match=r"a\.xml: image 'a\.jpg' is not in JPEGImages"):
        read_voc(folder)
    found = read_voc(folder, skip_bad=True)
    assert [p.kind for p in found.problems] == [ProblemKind.MISSING_IMAGE, ProblemKind.CORRUPT_IMAGE]
    assert [f.name for f in found.fields] == ["c"]


def test_a_missing_split_is_an_error_that_lists_those_there_are(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell("blast", 1, 1, 20, 20)}, {"train": "a\n", "val": ""})
    with pytest.raises(BadAnnotation, match=r"no split 'test'. Splits here: train, val\."):
        read_voc(folder, split="test")
    with pytest.raises(BadAnnotation, match="no split"):
        read_voc(folder, split="../Main/train")
    assert read_voc(folder, split="val").fields == ()


def test_a_folder_without_splits_offers_none_and_all(voc_folder, cell) -> None:
    folder = voc_folder({"b": cell("blast", 1, 1, 20, 20), "a": ""})
    (folder / "Annotations" / "._a.xml").write_bytes(b"macOS litter")
    assert voc_splits(folder) == ()
    assert [f.name for f in read_voc(folder).fields] == ["a", "b"]
    with pytest.raises(BadAnnotation, match="none: it has no ImageSets"):
        read_voc(folder, split="train")
    with pytest.raises(BadAnnotation, match="has no folder Annotations"):
        read_voc(folder / "Annotations")


def test_split_lists_are_read_as_people_write_them(voc_folder, cell) -> None:
    box = cell("blast", 1, 1, 20, 20)
    text = "\ufefffield 1\r\n\r\n b.jpg \r\nc -1\r\nb\r\n"
    folder = voc_folder({"field 1": box, "b": box, "c": box, "d": box}, {"train": text})
    found = read_voc(folder, split="train")
    assert [f.name for f in found.fields] == ["b", "c", "field 1"]
    assert [(p.kind, p.where) for p in found.problems] == [
        (ProblemKind.LISTED_TWICE, "ImageSets/Main/train.txt, line 5")
    ]


def test_a_split_naming_a_field_that_is_not_there_is_an_error(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell("blast", 1, 1, 20, 20)}, {"train": "a\ngone\n../a\n"})
    with pytest.raises(BadAnnotation, match=r"train\.txt, line 2: 'gone' has no Annotations/gone\.xml"):
        read_voc(folder, split="train")
    found = read_voc(folder, split="train", skip_bad=True)
    assert [p.kind for p in found.problems] == [ProblemKind.MISSING_FIELD, ProblemKind.UNSAFE_PATH]
    assert len(found.fields) == 1


def test_what_voc_cannot_hold_is_refused_before_it_is_written(tmp_path: Path, make_field) -> None:
    thin = np.asarray([[5, 5, 6, 20]], np.float32)
    with pytest.raises(BadAnnotation, match=r"a\.jpg, object 1: .*less than two pixels"):
        annotation_xml("a.jpg", 320, 240, thin, ["blast"])
    with pytest.raises(BadAnnotation, match="characters that XML forbids"):
        annotation_xml("a.jpg", 320, 240, thin + [0, 0, 9, 0], ["bl\x00ast"])
    field = make_field("a", [])
    with pytest.raises(BadAnnotation, match="two fields have this name"):
        write_voc(tmp_path / "o", [field, field])
    with pytest.raises(BadAnnotation, match="'gone' was not written"):
        write_voc(tmp_path / "p", [field], splits={"train": ["gone"]})
    for name in ("../a", "/a", "a//b", ""):
        with pytest.raises(BadAnnotation, match="leads out"):
            write_voc(tmp_path / "q", [LabelledField(name, field.image_path, 9, 9, np.zeros((0, 4)), (), np.zeros(0))])


def test_pixels_and_truth_become_a_labelled_field(tmp_path: Path) -> None:
    taxonomy = Taxonomy.from_labels(["myelocyte", "blast & co <1>"])
    pixels = np.full((60, 80, 3), (180, 120, 160), np.uint8)
    truth = GroundTruth(
        np.asarray([[0, 0, 10, 12], [5, 6, 80, 60]]), np.asarray([1, 0]), taxonomy, np.asarray([True, False])
    )
    field = write_voc_image(tmp_path, FieldImage(pixels, "S1/f1"), truth, specimen="S-1")
    (again,) = read_voc(tmp_path).fields
    assert same(field, again)
    assert again.labels == ("blast & co <1>", "myelocyte")
    assert again.specimen == "S-1"
    assert (again.boxes == truth.boxes).all()
    assert (again.truth(taxonomy).labels == truth.labels).all()
    assert np.abs(read_image(again.image_path).pixels.astype(int) - pixels).max() <= 2
    with pytest.raises(ValueError, match="not those of the original"):
        write_voc_image(tmp_path, FieldImage(pixels, "x", 160, 120), truth)


def test_bccd_is_survivable_and_its_two_bad_boxes_are_named(data_root: Path) -> None:
    folder = data_root / "bccd" / "BCCD"
    with pytest.raises(BadAnnotation, match=r"^BloodImage_00338\.xml, object 13: xmin 504 is not left of xmax 504\."):
        read_voc(folder)
    found = read_voc(folder, skip_bad=True)
    assert [p.where for p in found.problems] == ["BloodImage_00338.xml, object 13", "BloodImage_00343.xml, object 4"]
    assert {p.kind for p in found.problems} == {ProblemKind.ZERO_AREA_BOX}
    assert len(found.fields) == 364
    assert labels_of(found.fields) == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    assert voc_splits(folder) == ("test", "train", "trainval", "val")


def test_the_wright_stained_fields_are_read_without_a_problem(data_root: Path) -> None:
    train = read_voc(data_root / "pbc_fields", split="train")
    val = read_voc(data_root / "pbc_fields", split="val")
    assert (len(train.fields), len(val.fields)) == (360, 48)
    assert train.problems == val.problems == ()
    assert {(f.width, f.height) for f in train.fields} == {(1404, 1056)}
