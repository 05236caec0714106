import numpy as np
import pytest

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import load_taxonomy

SCHEME = load_taxonomy("liu2022")
BOX = [[0, 0, 5, 5]]


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "message"),
    [
        ([[1, 2, 3]], [0], [0.5], r"must be \(n, 4\)"),
        (BOX, [0, 1], [0.5], r"labels must be \(1,\)"),
        (BOX, [20], [0.5], r"labels must lie in 0\.\.19"),
        (BOX, [-1], [0.5], r"labels must lie in 0\.\.19"),
        (BOX, [0], [0.5, 0.5], r"scores must be \(1,\)"),
        (BOX, [0], [1.5], r"scores must lie in 0\.\.1"),
        (BOX, [0], [np.nan], r"scores must lie in 0\.\.1"),
        ([[0, 0, np.inf, 5]], [0], [0.5], "finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(boxes, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        Detections(boxes, labels, scores, SCHEME)


def test_above_keeps_the_score_itself():
    found = Detections(BOX * 3, [0, 1, 2], [0.2, 0.5, 0.9], SCHEME)
    assert found.above(0.5).labels.tolist() == [1, 2]
    assert len(Detections.none(SCHEME)) == 0


def test_no_cell_is_difficult_unless_said():
    assert GroundTruth(BOX, [3], SCHEME).difficult.tolist() == [False]
    with pytest.raises(ValueError, match="difficult must be"):
        GroundTruth(BOX, [3], SCHEME, np.asarray([True, False]))


def test_a_field_knows_its_original_size_behind_a_reduced_decode():
    pixels = np.zeros((30, 40, 3), np.uint8)
    assert (FieldImage(pixels, "a").width, FieldImage(pixels, "a").height) == (40, 30)
    assert FieldImage(pixels, "a", 400, 300).width == 400
    with pytest.raises(ValueError, match="uint8 RGB"):
        FieldImage(pixels.astype(np.float32), "a")
    with pytest.raises(ValueError, match="uint8 RGB"):
        FieldImage(pixels[..., 0], "a")
