"""What fields look like in numbers comes back from a checkpoint's header, and never grows without end."""

import json

import numpy as np
import pytest

from marrowscope.cells.detections import Detections
from marrowscope.cells.fields_seen import FINDS, MOST_FIELDS, FieldsSeen, found_in, sampled
from marrowscope.cells.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_labels(["lymphocyte", "eosinophil"])


def test_it_comes_back_from_json_to_five_digits():
    seen = FieldsSeen(
        {"lightness": (78.123456, 80.0)}, {"score": (0.5,)}, ((1, 2),), np.arange(12, dtype=np.uint8).reshape(4, 3)
    )
    back = FieldsSeen.from_dict(json.loads(json.dumps(seen.to_dict())))
    assert back.looks == {"lightness": (78.123, 80.0)}
    assert (back.finds, back.mix) == (seen.finds, seen.mix)
    np.testing.assert_array_equal(back.swatch, seen.swatch)


@pytest.mark.parametrize("wrong", [{}, {"looks": {}, "finds": {}, "mix": [], "swatch": "!"}, {"looks": 3}])
def test_something_else_is_refused(wrong):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        FieldsSeen.from_dict(wrong)


def test_what_is_found_is_counted_field_by_field():
    some = Detections([[0, 0, 10, 10], [0, 0, 30, 30], [5, 5, 25, 25]], [1, 0, 1], [0.9, 0.8, 0.7], TAXONOMY)
    finds, mix = found_in([some, Detections.none(TAXONOMY)])
    assert [finds[name] for name in FINDS] == [(3.0, 0.0), (20.0,), (pytest.approx(0.8),)]
    assert mix == ((1, 2), (0, 0))


def test_of_many_fields_so_many_are_kept_evenly_spread():
    many = range(3 * MOST_FIELDS)
    kept = sampled(many, MOST_FIELDS)
    assert (len(kept), kept[0], kept[-1]) == (MOST_FIELDS, 0, many[-1])
    assert set(np.diff(kept)) <= {2, 3, 4}
    assert sampled([4, 5], 2) == [4, 5]
