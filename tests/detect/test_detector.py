"""What `settle` does to what a runtime found."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.detector import settle

TAXONOMY = Taxonomy.from_labels(["myeloblast", "erythroblast", "lymphocyte"])
FIELD = FieldImage(np.zeros((3, 4, 3), np.uint8), "f", width=400, height=300)


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.tuples(
            arrays(np.float32, (n, 4), elements=st.floats(-100, 600, width=32)),
            arrays(np.int64, n, elements=st.integers(0, 2)),
            arrays(np.float32, n, elements=st.floats(0, 1, width=32)),
        )
    )
)
def test_what_is_settled_is_inside_sorted_and_nothing_else_is_lost(found) -> None:  # type: ignore[no-untyped-def]
    boxes, labels, scores = found
    settled = settle(boxes, labels, scores, TAXONOMY, FIELD)
    assert (np.diff(settled.scores) <= 0).all()
    assert (settled.boxes[:, :2] < settled.boxes[:, 2:]).all()
    assert (settled.boxes >= 0).all()
    assert (settled.boxes <= [400, 300, 400, 300]).all()
    inside = [
        score
        for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist(), strict=True)
        if max(x1, 0) < min(x2, 400) and max(y1, 0) < min(y2, 300)
    ]
    assert settled.scores.tolist() == sorted(inside, reverse=True)


def test_equal_scores_keep_their_order() -> None:
    boxes = np.asarray([[0, 0, 10 + n, 10] for n in range(3)], np.float32)
    settled = settle(boxes, np.asarray([0, 1, 2]), np.full(3, 0.5, np.float32), TAXONOMY, FIELD)
    assert_array_equal(settled.labels, [0, 1, 2])
