import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.detect.detector import one_name_per_cell

SCHEME = load_taxonomy("liu2022")


def test_a_cell_with_two_names_keeps_the_one_with_the_better_score():
    found = Detections([[0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 60, 60]], [3, 4, 4], [0.6, 0.8, 0.7], SCHEME)
    kept = one_name_per_cell(found)
    assert kept.labels.tolist() == [4, 4]
    assert kept.scores.tolist() == np.float32([0.8, 0.7]).tolist()


def test_touching_cells_of_one_class_both_count():
    found = Detections([[0, 0, 10, 10], [7, 0, 17, 10]], [3, 3], [0.6, 0.8], SCHEME)
    assert len(one_name_per_cell(found)) == 2


cells = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(4, 20), st.integers(0, 19), st.integers(1, 9)),
    max_size=12,
)


@given(cells)
def test_what_is_left_is_apart_and_what_is_gone_lay_on_something_better(rows):
    boxes = np.asarray([(x, y, x + s, y + s) for x, y, s, _, _ in rows], np.float32).reshape(-1, 4)
    found = Detections(boxes, [r[3] for r in rows], [r[4] / 10 for r in rows], SCHEME)
    kept = one_name_per_cell(found)
    apart = iou_matrix(kept.boxes, kept.boxes) - np.eye(len(kept))
    assert (apart < 0.5).all()
    for box, score in zip(found.boxes, found.scores, strict=True):
        over = iou_matrix(box[None], kept.boxes)[0] >= 0.5
        assert kept.scores[over].max() >= score
    assert len(one_name_per_cell(kept)) == len(kept)


def test_nothing_stays_nothing():
    assert len(one_name_per_cell(Detections.none(SCHEME))) == 0
