import dataclasses
from collections import Counter

import numpy as np
import pytest

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.labelled import LabelledField, data_hash, labels_of
from marrowscope.data.problems import Problem, ProblemKind, ProblemLog, Severity, quote
from marrowscope.errors import BadAnnotation, BadImage

CELLS = [("blast", (1, 2, 30, 40)), ("band", (5, 6, 70, 80)), ("junk", (9, 9, 50, 50))]


def test_labels_outside_the_taxonomy_are_left_out_of_the_truth(make_field) -> None:
    taxonomy = Taxonomy.from_labels(["band", "blast"])
    field = make_field("a", CELLS, difficult=[True, False, False])
    truth = field.truth(taxonomy)
    assert truth.boxes.tolist() == [[1, 2, 30, 40], [5, 6, 70, 80]]
    assert truth.labels.tolist() == [1, 0]
    assert truth.difficult is not None
    assert truth.difficult.tolist() == [True, False]
    assert len(make_field("b", [("junk", (1, 1, 9, 9))]).truth(taxonomy)) == 0


def test_unequal_lengths_and_sizes_are_refused(make_field) -> None:
    field = make_field("a", CELLS)
    with pytest.raises(ValueError, match="equally many"):
        dataclasses.replace(field, labels=("blast",))
    with pytest.raises(ValueError, match="size must be positive"):
        dataclasses.replace(field, width=0)
    with pytest.raises(ValueError, match=r"boxes must be \(n, 4\)"):
        dataclasses.replace(field, boxes=np.zeros((3, 5)))


def test_only_keeps_the_chosen_cells(make_field) -> None:
    kept = make_field("a", CELLS, difficult=[True, False, True], specimen="S").only(np.asarray([True, False, True]))
    assert kept.labels == ("blast", "junk")
    assert kept.boxes.tolist() == [[1, 2, 30, 40], [9, 9, 50, 50]]
    assert kept.difficult.tolist() == [True, True]
    assert kept.specimen == "S"


def test_labels_are_counted_as_written(make_field) -> None:
    assert labels_of([make_field("a", CELLS), make_field("b", CELLS[:1])]) == Counter(blast=2, band=1, junk=1)


def test_the_hash_does_not_see_order_or_place(make_field, tmp_path) -> None:
    a, b = make_field("a", CELLS), make_field("b", CELLS[:2])
    elsewhere = tmp_path / "copy.jpg"
    elsewhere.write_bytes(a.image_path.read_bytes())
    turned = LabelledField("a", elsewhere, 320, 240, a.boxes[::-1], a.labels[::-1], a.difficult[::-1], "S")
    assert data_hash([a, b]) == data_hash([b, turned])
    assert len(data_hash([])) == 64


def test_the_hash_sees_every_change(make_field) -> None:
    a, b = make_field("a", CELLS), make_field("b", CELLS[:2])
    moved = a.boxes.copy()
    moved[0, 0] += 0.25
    others = [
        [a],
        [a, a],
        [dataclasses.replace(a, name="c"), b],
        [dataclasses.replace(a, width=321), b],
        [dataclasses.replace(a, boxes=moved), b],
        [dataclasses.replace(a, labels=("blast", "blast", "junk")), b],
        [dataclasses.replace(a, difficult=np.asarray([True, False, False])), b],
        [dataclasses.replace(a, labels=("band", "blast", "junk")), b],
    ]
    hashes = {data_hash(fields) for fields in others} | {data_hash([a, b])}
    assert len(hashes) == len(others) + 1
    before = data_hash([a, b])
    a.image_path.write_bytes(a.image_path.read_bytes() + b"\0")
    assert data_hash([a, b]) != before
    a.image_path.unlink()
    with pytest.raises(BadImage, match=r"a\.jpg"):
        data_hash([a])


def test_a_problem_is_one_line_whatever_the_file_said() -> None:
    hostile = quote("blast\n\x1b[31mall clear\0" + "x" * 500)
    problem = Problem(ProblemKind.UNKNOWN_CLASS, "a.xml", f"is called {hostile}", "Correct it.")
    assert "\n" not in str(problem)
    assert "\x1b" not in str(problem)
    assert len(str(problem)) < 120


def test_a_log_raises_errors_or_keeps_them_and_always_keeps_warnings() -> None:
    strict, lenient = ProblemLog(skip_bad=False), ProblemLog(skip_bad=True)
    for log in (strict, lenient):
        log.add(ProblemKind.TINY_BOX, "a.xml", "is tiny", "Look.")
    lenient.add(ProblemKind.REVERSED_BOX, "a.xml", "is reversed", "Turn it.")
    with pytest.raises(BadAnnotation, match=r"^a\.xml: is reversed\. Turn it\.$"):
        strict.add(ProblemKind.REVERSED_BOX, "a.xml", "is reversed", "Turn it.")
    with pytest.raises(BadImage):
        strict.add(ProblemKind.MISSING_IMAGE, "a.xml", "has no image", "Restore it.")
    assert [p.severity for p in lenient.found] == [Severity.WARNING, Severity.ERROR]
    assert [p.severity for p in strict.found] == [Severity.WARNING]
