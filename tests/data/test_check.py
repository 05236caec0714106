import csv
import io
import json
import struct
from pathlib import Path

import pytest

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.check import check_folder
from marrowscope.data.problems import ProblemKind
from marrowscope.errors import BadAnnotation

K = ProblemKind


def kinds(report) -> list[tuple[ProblemKind, str]]:
    return sorted((p.kind, p.where) for p in report.problems)


def test_a_sound_folder_has_nothing_to_report(voc_folder, cell) -> None:
    box = cell("blast", 11, 21, 60, 80)
    folder = voc_folder({"a": box, "b": box}, {"train": "a", "val": "b", "trainval": "a\nb"})
    report = check_folder(folder)
    assert report.problems == ()
    assert (report.fields, report.cells) == (2, 2)


def test_all_defects_are_in_one_report(voc_folder, cell, make_jpeg) -> None:
    good = cell("blast", 11, 21, 60, 80)
    folder = voc_folder(
        {
            "twins": good + good + cell("band", 12, 21, 60, 80),
            "boxes": cell("blast", 50, 50, 50, 60)
            + cell("blast", 60, 50, 50, 60)
            + cell("blast", 600, 50, 700, 60)
            + cell("blast", "nan", 50, 70, 60)
            + cell("blast", 10, 10, 12, 40)
            + cell("blast", 1, 1, 300, 220)
            + cell("blast", 200, 200, 321, 230)
            + cell("blast", 100.5, 100, 130, 130),
            "bomb": '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><annotation>&a;</annotation>',
            "broken": "<annotation><object>",
            "thief": "<annotation><filename>../../etc/passwd</filename></annotation>",
            "other_size": "<annotation><size><width>99</width><height>99</height></size></annotation>",
            "empty": "",
            "no_image": good,
            "bad_image": good,
            "cut_image": good,
            "strange": cell("junk", 11, 21, 60, 80),
            "copy_1": good,
            "copy_2": good,
            "leak_1": good,
            "leak_2": good,
            "both": good,
            "unlisted": good,
        },
        {
            "train": "twins\nboxes\nbomb\nbroken\nthief\nother_size\nempty\nno_image\nbad_image\ncut_image\nstrange\n"
            "copy_1\ncopy_2\nleak_1\nboth\ngone\n",
            "val": "leak_2\nboth\nleak_2\n",
        },
    )
    images = folder / "JPEGImages"
    (images / "no_image.jpg").unlink()
    (images / "bad_image.jpg").write_bytes(b"not a jpeg")
    (images / "cut_image.jpg").write_bytes((images / "cut_image.jpg").read_bytes()[:-900])
    for one, two in (("copy_1", "copy_2"), ("leak_1", "leak_2")):
        (images / f"{two}.jpg").write_bytes((images / f"{one}.jpg").read_bytes())
    make_jpeg(images / "extra.jpg", 64, 48)
    calls: list[tuple[int, int]] = []
    report = check_folder(
        folder, taxonomy=Taxonomy.from_labels(["blast", "band"]), progress=lambda done, of: calls.append((done, of))
    )
    assert kinds(report) == sorted(
        [
            (K.DUPLICATE_BOX, "twins.xml"),
            (K.OVERLAPPING_BOXES, "twins.xml"),
            (K.ZERO_AREA_BOX, "boxes.xml, object 1"),
            (K.REVERSED_BOX, "boxes.xml, object 2"),
            (K.BOX_OUTSIDE, "boxes.xml, object 3"),
            (K.NOT_A_NUMBER, "boxes.xml, object 4"),
            (K.TINY_BOX, "boxes.xml"),
            (K.HUGE_BOX, "boxes.xml"),
            (K.BOX_BEYOND_EDGE, "boxes.xml, object 7"),
            (K.FRACTIONAL_PIXEL, "boxes.xml, object 8"),
            (K.FORBIDDEN_XML, "bomb.xml"),
            (K.MALFORMED_FILE, "broken.xml"),
            (K.UNSAFE_PATH, "thief.xml"),
            (K.SIZE_MISMATCH, "other_size.xml"),
            (K.EMPTY_FIELD, "empty.xml"),
            (K.MISSING_IMAGE, "no_image.xml"),
            (K.CORRUPT_IMAGE, "bad_image.xml"),
            (K.CORRUPT_IMAGE, "JPEGImages/cut_image.jpg"),
            (K.UNKNOWN_CLASS, "strange.xml"),
            (K.DUPLICATE_IMAGE, "copy_1.xml"),
            (K.IMAGE_IN_TWO_SPLITS, "leak_1.xml"),
            (K.FIELD_IN_TWO_SPLITS, "both.xml"),
            (K.LISTED_TWICE, "ImageSets/Main/val.txt, line 3"),
            (K.MISSING_FIELD, "ImageSets/Main/train.txt, line 16"),
            (K.UNLISTED_FIELD, "unlisted.xml"),
            (K.UNLABELLED_IMAGE, "JPEGImages/extra.jpg"),
        ]
    )
    assert calls == [(i + 1, 17) for i in range(17)]
    assert report.fields == 10  # of 17: all but bomb, broken, thief, other_size, and the three bad images
    assert sum(report.counts.values()) == len(report.errors) + len(report.warnings) == 26
    assert {p.kind for p in report.warnings}.isdisjoint({p.kind for p in report.errors})


def test_a_box_is_named_by_the_numbers_in_the_file(voc_folder, cell) -> None:
    report = check_folder(voc_folder({"a": cell("blast", 10, 10, 12, 40)}))
    assert "'blast' at (10, 10, 12, 40)" in report.problems[0].what


def test_an_image_too_large_to_decode_is_reported_once(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell("blast", 1, 1, 20, 20)}, images=False)
    header = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 4000, 1, 24, 0, 0, 0, 0, 0, 0)
    (folder / "JPEGImages").mkdir()
    (folder / "JPEGImages" / "a.bmp").write_bytes(header)
    report = check_folder(folder)
    assert [p.kind for p in report.problems] == [K.IMAGE_TOO_LARGE]
    assert "60000 x 4000" in report.problems[0].what


def test_the_report_is_written_three_ways_that_agree(voc_folder, cell) -> None:
    folder = voc_folder({"a": cell("blast", 50, 50, 50, 60) + cell("blast", 10, 10, 12, 40)})
    report = check_folder(folder)
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    content = json.loads(report.to_json())
    assert content["problems"] == rows
    assert (content["errors"], content["warnings"]) == (1, 1)
    assert content["counts"] == {"zero-area box": 1, "tiny box": 1}
    text = report.to_text()
    assert "1 fields with 1 cells can be used; 1 errors, 1 warnings" in text
    assert all(str(p) in text for p in report.problems)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadAnnotation, match="has no folder Annotations"):
        check_folder(tmp_path)


def test_nested_lists_by_convention_are_no_leak(voc_folder, cell) -> None:
    box = cell("blast", 11, 21, 60, 80)
    lists = {"train": "a", "val": "b", "trainval": "a\nb", "blast_train": "a 1", "blast_val": "b -1", "test": "c"}
    assert check_folder(voc_folder({"a": box, "b": box, "c": box}, lists)).problems == ()
    lists["test"] = "a\nc"
    report = check_folder(voc_folder({"a": box, "b": box, "c": box}, lists))
    assert [p.kind for p in report.problems] == [K.FIELD_IN_TWO_SPLITS]


def test_bccds_two_boxes_without_area_are_found(data_root: Path) -> None:
    report = check_folder(data_root / "bccd" / "BCCD")
    assert [(p.kind, p.where) for p in report.errors] == [
        (K.ZERO_AREA_BOX, "BloodImage_00338.xml, object 13"),
        (K.ZERO_AREA_BOX, "BloodImage_00343.xml, object 4"),
    ]
    assert report.counts[K.OVERLAPPING_BOXES] == 7
    assert (report.fields, report.cells) == (364, 4886)


def test_the_wright_stained_fields_are_sound(data_root: Path) -> None:
    report = check_folder(data_root / "pbc_fields")
    assert report.problems == ()
    assert (report.fields, report.cells) == (408, 4896)
