"""What every detector promises, whatever runs inside it.

To add one: a function that takes the fields it will be asked about and gives a Detector, and a line in DETECTORS.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import torch
from numpy.testing import assert_allclose, assert_array_equal

from helpers import runtimes
from helpers.runtimes import READER
from helpers.tiny import TAXONOMY, tiny_recipe
from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.images import read_image
from marrowscope.detect.detector import Detector
from marrowscope.detect.field_detector import FieldDetector
from marrowscope.detect.replay_runtime import ReplayDetector
from marrowscope.detect.saved import DetectedField, SavedDetections
from marrowscope.detect.torch_runtime import TorchDetector
from marrowscope.model.config import InputScale
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.traits import Traits
from oracles.blob_detector import BlobDetector

# Empty; one cell; cells at the edges; portrait; smaller than any input box.
SIZES = ((640, 480), (1200, 900), (1200, 900), (900, 1200), (180, 140))


def blobs(fields: Sequence[FieldImage]) -> Detector:
    return BlobDetector()


def replay(fields: Sequence[FieldImage]) -> Detector:
    """Saved answers, unsorted and partly outside, as a file from elsewhere may hold them."""
    rng = np.random.default_rng(3)
    taxonomy = Taxonomy.from_labels(["myeloblast", "promyelocyte", "erythroblast"])
    saved = []
    for n, field in enumerate(fields):
        corners = rng.uniform(0, (field.width, field.height), (4 * n, 2))
        boxes = np.concatenate((corners, corners + rng.uniform(10, 200, (4 * n, 2))), axis=1)
        found = Detections(boxes, rng.integers(0, 3, 4 * n), rng.uniform(0, 1, 4 * n), taxonomy)
        saved.append(DetectedField(Path(f"elsewhere/{field.name}.jpg"), field.name, field.width, field.height, found))
    return ReplayDetector(SavedDetections(taxonomy, tuple(saved)))


def torch_detector(fields: Sequence[FieldImage]) -> Detector:
    """An untrained network: it claims much and means nothing, but keeps every promise."""
    torch.manual_seed(0)
    recipe = tiny_recipe("model.anchor_sizes=[[20], [40], [80]]", "model.input_size=[192, 144]").model
    return TorchDetector(CellDetector(recipe, 2), TAXONOMY)


def in_graphs(runtime: str) -> Callable[[Sequence[FieldImage]], Detector]:
    """An untrained network that reads every cell a second time, in another runtime."""

    def make(fields: Sequence[FieldImage]) -> Detector:
        traits = Traits(TAXONOMY, (192, 144), InputScale(factor=0.16, cell_px=14), READER)
        return FieldDetector(runtimes.in_graphs(runtimes.untrained)[runtime], traits)

    return make


DETECTORS = [
    pytest.param(blobs, id="blobs"),
    pytest.param(replay, id="replay"),
    pytest.param(torch_detector, id="torch"),
    pytest.param(in_graphs("openvino"), id="openvino"),
    pytest.param(in_graphs("onnx"), id="onnx"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few fields as JPEG: violet discs on pale ground."""
    folder = tmp_path_factory.mktemp("fields")
    rng = np.random.default_rng(7)
    for n, (width, height) in enumerate(SIZES):
        pixels = np.full((height, width, 3), (236, 222, 232), np.uint8)
        for _ in range(3 * n):
            centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            shade = int(rng.integers(0, 90))
            cv2.circle(pixels, centre, int(rng.integers(12, 70)), (shade, shade // 2, shade), cv2.FILLED)
        pixels = np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
        (folder / f"field_{n}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, quality=92))
    return folder


@pytest.fixture(scope="module")
def fields(folder: Path) -> list[FieldImage]:
    return [read_image(p) for p in sorted(folder.iterdir())]


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest, fields: list[FieldImage]) -> Detector:
    make: Callable[[Sequence[FieldImage]], Detector] = request.param
    return make(fields)


def same(a: Detections, b: Detections) -> None:
    assert_array_equal(a.labels, b.labels)
    assert_allclose(a.boxes, b.boxes, atol=0.05)
    assert_allclose(a.scores, b.scores, atol=1e-4)


def test_it_is_a_detector_with_a_taxonomy_and_an_input_size(detector: Detector) -> None:
    assert isinstance(detector, Detector)
    assert isinstance(detector.taxonomy, Taxonomy)
    width, height = detector.input_size
    assert width >= 1
    assert height >= 1


def test_no_field_gives_an_empty_list(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_a_field_without_cells_gives_one_empty_answer_of_the_right_shape(
    detector: Detector, fields: list[FieldImage]
) -> None:
    (found,) = detector.detect([fields[0]])
    assert found.boxes.shape[1] == 4
    assert len(found.above(0.5)) == 0


def test_every_answer_is_sorted_inside_its_field_and_within_the_taxonomy(
    detector: Detector, fields: list[FieldImage]
) -> None:
    answers = detector.detect(fields)
    assert len(answers) == len(fields)
    for field, found in zip(fields, answers, strict=True):
        assert found.taxonomy == detector.taxonomy
        assert (np.diff(found.scores) <= 0).all()
        x1, y1, x2, y2 = found.boxes.T
        assert (x1 >= 0).all()
        assert (y1 >= 0).all()
        assert (x1 < x2).all()
        assert (y1 < y2).all()
        assert (x2 <= field.width).all()
        assert (y2 <= field.height).all()


def test_answers_come_in_the_order_of_the_fields(detector: Detector, fields: list[FieldImage]) -> None:
    forwards, backwards = detector.detect(fields), detector.detect(fields[::-1])
    for a, b in zip(forwards, backwards[::-1], strict=True):
        same(a, b)


def test_a_batch_finds_what_single_fields_find(detector: Detector, fields: list[FieldImage]) -> None:
    together = detector.detect(fields)
    for field, found in zip(fields, together, strict=True):
        same(found, detector.detect([field])[0])


def test_asking_twice_gives_the_same_answer(detector: Detector, fields: list[FieldImage]) -> None:
    for a, b in zip(detector.detect(fields), detector.detect(fields), strict=True):
        same(a, b)


def test_pixels_are_not_changed(detector: Detector, fields: list[FieldImage]) -> None:
    before = [f.pixels.copy() for f in fields]
    detector.detect(fields)
    for field, pixels in zip(fields, before, strict=True):
        assert_array_equal(field.pixels, pixels)


def test_a_reduced_decode_finds_every_sure_cell_at_the_same_place(
    detector: Detector, fields: list[FieldImage], folder: Path
) -> None:
    reduced = [read_image(p, at_least=detector.input_size) for p in sorted(folder.iterdir())]
    for full, small in zip(detector.detect(fields), detector.detect(reduced), strict=True):
        for one, other in ((full, small), (small, full)):
            sure = one.above(0.6)
            overlap = iou_matrix(sure.boxes, other.boxes) * (sure.labels[:, None] == other.labels)
            assert (overlap.max(axis=1, initial=0) > 0.8).all()


def test_the_reduced_decode_of_this_test_is_a_reduced_one(folder: Path) -> None:
    reduced = read_image(folder / "field_1.jpg", at_least=BlobDetector().input_size)
    assert 300 <= reduced.pixels.shape[0] < 900
    assert (reduced.width, reduced.height) == (1200, 900)
