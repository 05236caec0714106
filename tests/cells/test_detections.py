"""Ground truth and detections are checked when they are made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_labels(["myeloblast", "erythroblast", "lymphocyte"])
BOXES = [[0, 0, 4, 4], [5, 5, 9, 9]]


def truth(boxes: Any = BOXES, labels: Any = (0, 2), difficult: Any = None) -> GroundTruth:
    return GroundTruth(boxes, labels, TAXONOMY, difficult)


def claims(boxes: Any = BOXES, labels: Any = (0, 2), scores: Any = (0.25, 0.75)) -> Detections:
    return Detections(boxes, labels, scores, TAXONOMY)


def test_plain_lists_become_arrays_of_the_promised_types() -> None:
    found, true = claims(), truth(difficult=[0, 1])
    assert (found.boxes.dtype, found.labels.dtype, found.scores.dtype) == (np.float32, np.int64, np.float32)
    assert true.difficult is not None
    assert (true.boxes.dtype, true.labels.dtype, true.difficult.dtype) == (np.float32, np.int64, np.bool_)
    assert len(found) == len(true) == 2


def test_no_cell_is_difficult_unless_said() -> None:
    assert_array_equal(truth().difficult, [False, False])


@pytest.mark.parametrize("make", [truth, claims])
@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"boxes": [0, 0, 4, 4]}, r"boxes must be \(n, 4\), got \(4,\)"),
        ({"boxes": [[0, 0, 4]] * 2}, r"boxes must be \(n, 4\), got \(2, 3\)"),
        ({"boxes": [[0, 0, 4, np.nan], [5, 5, 9, 9]]}, "boxes must be finite"),
        ({"boxes": [[0, 0, 4, np.inf], [5, 5, 9, 9]]}, "boxes must be finite"),
        ({"labels": [0]}, r"labels must be \(2,\), one a box, got \(1,\)"),
        ({"labels": []}, r"labels must be \(2,\), one a box, got \(0,\)"),
        ({"labels": [[0, 1], [1, 2]]}, r"labels must be \(2,\), one a box, got \(4,\)"),
        ({"labels": [0, 3]}, r"labels must lie in 0\.\.2, got 0\.\.3"),
        ({"labels": [-1, 2]}, r"labels must lie in 0\.\.2, got -1\.\.2"),
    ],
)
def test_a_wrong_box_or_label_is_refused(make: Callable[..., object], wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make(**wrong)


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        ([0.5], r"scores must be \(2,\), one a box, got \(1,\)"),
        ([0.5, 1.5], r"scores must lie in 0\.\.1"),
        ([-0.1, 0.5], r"scores must lie in 0\.\.1"),
        ([np.nan, 0.5], r"scores must lie in 0\.\.1"),
    ],
)
def test_a_wrong_score_is_refused(scores: list[float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        claims(scores=scores)


def test_difficult_is_one_a_box() -> None:
    with pytest.raises(ValueError, match=r"difficult must be \(2,\), one a box, got \(3,\)"):
        truth(difficult=[True, False, False])


def test_a_field_without_cells_is_a_field() -> None:
    for nothing in (truth([], []), claims([], [], []), Detections.none(TAXONOMY)):
        assert len(nothing) == 0
        assert nothing.boxes.shape == (0, 4)
        assert nothing.labels.shape == (0,)


def test_above_keeps_the_scores_from_that_one_on_in_order() -> None:
    found = claims([[i, 0, i + 1, 1] for i in range(4)], [2, 1, 0, 2], [0.5, 0.25, 0.75, 0.5])
    kept = found.above(0.5)
    assert_array_equal(kept.boxes, found.boxes[[0, 2, 3]])
    assert kept.labels.tolist() == [2, 0, 2]
    assert kept.scores.tolist() == [0.5, 0.75, 0.5]
    assert kept.taxonomy is TAXONOMY
    assert len(found.above(0)) == 4
    assert len(found.above(0.76)) == 0


@pytest.mark.parametrize("score", [0.1, 0.7, 1 / 3, 0.95])
def test_a_detection_with_just_the_score_asked_for_is_kept(score: float) -> None:
    # 0.7 is stored as 0.699999988: a comparison in float64 would drop it.
    assert len(claims(scores=[score, 0]).above(score)) == 1
    assert len(claims(scores=[score, 0]).above(np.float64(score))) == 1


def test_detections_cannot_be_exchanged_behind_the_checks() -> None:
    with pytest.raises(AttributeError):
        claims().labels = np.asarray([7, 7])  # type: ignore[misc]
