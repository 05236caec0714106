import json

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.detect.detector import one_name_per_cell
from marrowscope.detect.outputs import Format
from marrowscope.detect.run import detect_paths

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


class TwoNames:
    """Calls the one cell of every field by two names."""

    taxonomy = SCHEME
    input_size = (64, 48)

    def detect(self, fields):
        boxes = [[5, 5, 30, 30], [6, 5, 30, 30]]
        return [Detections(boxes, [3, 4], [0.9, 0.7], SCHEME) for _ in fields]


def test_a_run_counts_the_cell_once_and_keeps_both_claims_on_record(tmp_path):
    picture = tmp_path / "field.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 230, np.uint8))
    run = detect_paths(TwoNames(), [picture], tmp_path / "out", formats=(Format.CSV,), score=0.5)
    assert (run.cells, run.differential.total) == (1, 1)
    assert len((tmp_path / "out" / "detections.csv").read_text().splitlines()) == 2  # a header and a cell
    record = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [d["score"] for d in record["fields"][0]["detections"]] == [0.9, 0.7]
