"""An alarm that is false no oftener than it says, and that hears what it should."""

from dataclasses import replace

import numpy as np
import pytest

from marrowscope.cells.fields_seen import FINDS, FieldsSeen
from marrowscope.errors import BadInput
from marrowscope.evaluation.drift import ALL_LOOKS, FALSE_ALARMS, MIX, _distances, drift
from marrowscope.evaluation.drift_plot import plot_drift

NAMES = ("lightness", "green to red", "sharpness")
# Lightness and colour go together, as in pictures of thicker and thinner places.
COVARIANCE = np.array([[1, 0.95, 0], [0.95, 1, 0], [0, 0, 1]])
SHARES = (0.6, 0.3, 0.1)


def fields(rng, count, *, shift=(0, 0, 0), score=0.8, shares=SHARES, spread=1.0):
    looks = rng.multivariate_normal(np.zeros(3), COVARIANCE, count) * spread + shift
    finds = rng.poisson(12, count), rng.normal(70, 5, count), rng.normal(score, 0.03, count)
    return FieldsSeen(
        {name: tuple(looks[:, i].tolist()) for i, name in enumerate(NAMES)},
        {name: tuple(map(float, values)) for name, values in zip(FINDS, finds, strict=True)},
        tuple(tuple(row) for row in rng.multinomial(12, shares, count).tolist()),
    )


def drifted(report):
    return {row.name for row in report.drifted}


@pytest.mark.parametrize("count", [5, 40])
def test_batches_like_the_training_set_raise_no_more_alarms_than_stated(count):
    rng = np.random.default_rng(count)
    alarms = 0
    for _ in range(60):
        seen, incoming = (replace(fields(rng, n), mix=()) for n in (80, count))
        alarms += drift(seen, incoming).alarm
    assert alarms / 60 <= FALSE_ALARMS


def test_the_mix_of_classes_raises_no_more_either():
    rng = np.random.default_rng(0)
    only = [replace(fields(rng, n), looks={}, finds={}) for _ in range(12) for n in (40, 15)]
    assert sum(drift(*only[i : i + 2]).alarm for i in range(0, 24, 2)) <= 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"shift": (3, 3, 0)}, "lightness"),
        ({"shift": (0, 0, -4)}, "sharpness"),
        ({"score": 0.6}, "score"),
        ({"shares": (0.2, 0.3, 0.5)}, MIX),
    ],
)
def test_what_has_changed_is_named(change, name):
    rng = np.random.default_rng(1)
    report = drift(fields(rng, 80), fields(rng, 20, **change))
    assert report.alarm
    assert name in drifted(report)
    assert name in report.verdict()
    assert report.rows[0].drifted


def test_distances_are_those_of_leaving_each_field_out():
    rng = np.random.default_rng(8)
    seen, incoming = rng.normal(size=(9, 3)), rng.normal(size=(4, 3))
    ours, theirs = _distances(seen, incoming)

    def slow(rest, value):
        covariance, shrink = np.cov(rest, rowvar=False), 3 / (3 + len(rest))
        covariance = (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance))
        offset = value - rest.mean(axis=0)
        return np.sqrt(offset @ np.linalg.inv(covariance) @ offset)

    np.testing.assert_allclose(theirs, [slow(seen, value) for value in incoming])
    np.testing.assert_allclose(ours, [slow(np.delete(seen, i, axis=0), seen[i]) for i in range(9)])


def test_colours_that_are_usual_alone_and_not_together_are_heard():
    rng = np.random.default_rng(2)
    report = drift(fields(rng, 200), fields(rng, 30, shift=(1.2, -1.2, 0)))
    assert drifted(report) == {ALL_LOOKS}


def test_a_slide_that_is_a_little_unusual_raises_no_alarm_however_many_fields_it_has():
    rng = np.random.default_rng(3)
    seen, slide = fields(rng, 200), fields(rng, 400, shift=(0.9, 0.9, 0.5), spread=0.3)
    report = drift(seen, slide)
    assert min(row.p for row in report.rows) < 1e-6
    assert not report.alarm


def test_a_drift_in_what_is_found_alone_may_be_the_patients():
    rng = np.random.default_rng(4)
    report = drift(fields(rng, 80), fields(rng, 20, shares=(0.1, 0.1, 0.8)))
    assert "patients" in report.verdict()
    assert "patients" not in drift(fields(rng, 80), fields(rng, 20, shift=(5, 5, 5))).verdict()


def test_four_fields_prove_nothing():
    rng = np.random.default_rng(5)
    report = drift(fields(rng, 80), fields(rng, 4, shift=(9, 9, 9)))
    assert not report.alarm
    assert "too few" in report.verdict()


def test_training_fields_that_are_all_alike_are_no_trouble():
    same = FieldsSeen({"lightness": (1.0,) * 20, "sharpness": (2.0,) * 20})
    assert not drift(same, same).alarm
    other = FieldsSeen({"lightness": (1.5,) * 20, "sharpness": (2.0,) * 20})
    assert "lightness" in drifted(drift(same, other))


def test_fields_in_which_nothing_is_found_are_compared_by_the_rest():
    rng = np.random.default_rng(6)
    empty = {FINDS[0]: (0.0,) * 10, FINDS[1]: (), FINDS[2]: ()}
    report = drift(fields(rng, 60), replace(fields(rng, 10), finds=empty, mix=((0, 0, 0),) * 10))
    assert drifted(report) == {FINDS[0]}


def test_without_statistics_there_is_nothing_to_compare():
    with pytest.raises(BadInput, match="--learn"):
        drift(FieldsSeen(), FieldsSeen())


def test_a_model_that_was_taught_a_class_since_is_compared_by_all_but_its_classes():
    rng = np.random.default_rng(8)
    seen, incoming = fields(rng, 60), fields(rng, 10, shares=(*SHARES, 0.0))
    assert MIX not in {row.name for row in drift(seen, incoming).rows}
    assert {"lightness", "score"} <= {row.name for row in drift(seen, incoming).rows}


def test_the_report_is_the_same_each_time_in_every_form():
    rng = np.random.default_rng(7)
    seen, incoming = fields(rng, 50), fields(rng, 12, shift=(4, 4, 0))
    report = drift(seen, incoming)
    assert report.to_dict() == drift(seen, incoming).to_dict()
    assert report.to_dict()["alarm"] is True
    assert len(report.table().rows) == len(report.rows) == len(NAMES) + 1 + len(FINDS) + 1
    titles = [axes.get_title() for axes in plot_drift(report, seen, incoming).axes]
    assert any("drifted" in title for title in titles)
