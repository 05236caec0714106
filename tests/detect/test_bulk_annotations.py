"""Read back by highdicom and by wsidicom, which is another hand's reader."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from wsidicom.graphical_annotations import AnnotationInstance

from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.detect.bulk_annotations import (
    AnnotatedSlide,
    Finder,
    bulk_annotations,
    source_image,
    stand_in,
    write_bulk_annotations,
)
from marrowscope.errors import BadInput, BadSlide, MissingExtra

CLINICAL = load_taxonomy("clinical")
SLIDE = AnnotatedSlide("KM-2026-0417_A.svs", 60_000, 40_000, 0.25)
FINDER = Finder("real", "ab12" * 8)
NOW = datetime(2026, 5, 4, 9, 30, 15, tzinfo=UTC)


def some_cells(n: int = 500, seed: int = 0) -> Detections:
    chance = np.random.default_rng(seed)
    corner = chance.random((n, 2)) * (SLIDE.width - 200, SLIDE.height - 200)
    boxes = np.concatenate((corner, corner + 20 + 100 * chance.random((n, 2))), axis=1)
    labels = chance.integers(0, len(CLINICAL), n)
    return Detections(boxes.astype(np.float32), labels, chance.random(n, dtype=np.float32), CLINICAL)


def reread(path: Path) -> Detections:
    """What highdicom finds in the file, group by group."""
    boxes, labels, scores = [], [], []
    for group in hd.ann.annread(path).get_annotation_groups(graphic_type="POLYGON"):
        corners = np.asarray(group.get_graphic_data("2D"))
        assert (corners[:, 1] == np.stack((corners[:, 2, 0], corners[:, 0, 1]), axis=1)).all()
        assert (corners[:, 3] == np.stack((corners[:, 0, 0], corners[:, 2, 1]), axis=1)).all()
        boxes.append(np.concatenate((corners[:, 0], corners[:, 2]), axis=1))
        labels += [CLINICAL.index(group.label)] * len(corners)
        _, values, _ = group.get_measurements()
        scores.append(values[:, 0])
    return Detections(np.concatenate(boxes), np.asarray(labels), np.concatenate(scores), CLINICAL)


def by_class(cells: Detections) -> Detections:
    order = np.argsort(cells.labels, kind="stable")
    return Detections(cells.boxes[order], cells.labels[order], cells.scores[order], cells.taxonomy)


def write(path: Path, cells: Detections, source: Dataset | None = None) -> Path:
    write_bulk_annotations(path, cells, SLIDE, finder=FINDER, made_at=NOW, source=source)
    return path


@settings(max_examples=8, deadline=None)
@given(
    st_numpy.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(4)), elements=st.floats(0, 20_000, width=32)),
    st.integers(0, 99),
)
def test_every_cell_comes_back_with_its_place_name_and_score(
    tmp_path_factory: pytest.TempPathFactory, numbers: np.ndarray, seed: int
) -> None:
    boxes = np.concatenate((numbers[:, :2], numbers[:, :2] + 1 + numbers[:, 2:]), axis=1)
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, len(CLINICAL), len(boxes))
    cells = by_class(Detections(boxes, labels, chance.random(len(boxes), dtype=np.float32), CLINICAL))
    found = reread(write(tmp_path_factory.mktemp("ann") / "a.dcm", cells))
    assert np.array_equal(found.boxes, cells.boxes)
    assert np.array_equal(found.labels, cells.labels)
    assert np.array_equal(found.scores, cells.scores)


def test_another_reader_finds_the_same(tmp_path: Path) -> None:
    cells = by_class(some_cells(60))
    read = AnnotationInstance.open_dataset(dcmread(write(tmp_path / "a.dcm", cells)))
    found = [(group.label, cell) for group in read.groups for cell in group.annotations]
    assert [CLINICAL.index(label) for label, _ in found] == cells.labels.tolist()
    for (_, cell), (x1, y1, x2, y2), score in zip(found, cells.boxes.tolist(), cells.scores.tolist(), strict=True):
        assert cell.geometry.to_coords() == [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        assert cell.measurements[0].value == score


def test_a_class_is_named_by_snomed_where_it_has_a_code_and_by_ours_else() -> None:
    made = bulk_annotations(some_cells(), SLIDE, finder=FINDER, made_at=NOW)
    for group in made.get_annotation_groups():
        cell = CLINICAL[CLINICAL.index(group.label)]
        code = (cell.snomed_ct, "SCT") if cell.snomed_ct else (cell.code, "99MARROWSCOPE")
        found = group.annotated_property_type
        assert (found.value, found.scheme_designator, found.meaning) == (*code, cell.name)
        assert group.algorithm_identification.name == "real"


def header(width: int, height: int, **more: object) -> Dataset:
    made = stand_in(AnnotatedSlide(f"scan {width}", width, height, 0.25))
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName, made.PatientID = "Müller^Änne", "P-1"
    del made.StudyTime
    for key, value in more.items():
        setattr(made, key, value)
    return made


def save(dataset: Dataset, path: Path) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_the_dicom_image_that_was_looked_at_is_referred_to(tmp_path: Path) -> None:
    level0 = header(SLIDE.width, SLIDE.height)
    files = [save(header(SLIDE.width // 4, SLIDE.height // 4), tmp_path / "1.dcm"), save(level0, tmp_path / "2.dcm")]
    (tmp_path / "0.txt").write_text("no DICOM")
    source = source_image([*files, tmp_path / "0.txt", tmp_path / "gone.dcm"], SLIDE)
    made = dcmread(write(tmp_path / "a.dcm", some_cells(), source))
    (image,) = made.ReferencedImageSequence
    assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (level0.SOPClassUID, level0.SOPInstanceUID)
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == level0.SeriesInstanceUID
    assert made.StudyInstanceUID == level0.StudyInstanceUID
    assert (str(made.PatientName), made.PatientID) == ("Müller^Änne", "P-1")


def test_files_without_level_0_of_that_size_are_refused(tmp_path: Path) -> None:
    other = save(header(100, 100), tmp_path / "1.dcm")
    label = save(header(SLIDE.width, SLIDE.height, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), tmp_path / "2.dcm")
    for files in ([], [other], [other, label]):
        with pytest.raises(BadSlide, match="60000 x 40000"):
            source_image(files, SLIDE)


def test_without_dicom_the_reference_is_a_stand_in_of_name_size_and_scale() -> None:
    first, again = stand_in(SLIDE), stand_in(SLIDE)
    assert first == again
    others = [AnnotatedSlide("B", 60_000, 40_000, 0.25), AnnotatedSlide(SLIDE.name, 60_000, 40_000, None)]
    assert len({x.SOPInstanceUID for x in (first, *map(stand_in, others))}) == 3
    made = bulk_annotations(some_cells(), SLIDE, finder=FINDER, made_at=NOW)
    assert made.ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_the_same_cells_give_the_same_file_and_others_another_identity(tmp_path: Path) -> None:
    first = write(tmp_path / "a.dcm", some_cells())
    assert first.read_bytes() == write(tmp_path / "b.dcm", some_cells()).read_bytes()
    assert dcmread(first).SOPInstanceUID != dcmread(write(tmp_path / "c.dcm", some_cells(seed=1))).SOPInstanceUID


def test_a_slide_without_cells_has_no_annotations() -> None:
    with pytest.raises(BadInput, match=r"0417_A\.svs: no cell"):
        bulk_annotations(Detections.none(CLINICAL), SLIDE, finder=FINDER, made_at=NOW)


@pytest.mark.parametrize("box", [[-1, 0, 5, 5], [59_990, 5, 60_001, 9], [5, 39_000, 9, 40_001]])
def test_a_cell_outside_the_slide_is_named(box: list[float]) -> None:
    boxes = np.asarray([[0, 0, 60_000, 40_000], box], np.float32)
    cells = Detections(boxes, np.zeros(2, np.int64), np.ones(2, np.float32), CLINICAL)
    with pytest.raises(BadInput, match="cell 2"):
        bulk_annotations(cells, SLIDE, finder=FINDER, made_at=NOW)


def test_without_highdicom_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom.ann", None)
    with pytest.raises(MissingExtra, match=r"marrowscope\[slides\]"):
        bulk_annotations(some_cells(), SLIDE, finder=FINDER, made_at=NOW)
