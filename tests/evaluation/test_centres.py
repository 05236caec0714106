"""Centres side by side: the numbers of each are those of evaluating it alone, and equal centres do not differ."""

import numpy as np
import pytest

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.evaluation.centres import Centre, differences_of, measure_centre, mix_table, nucleated
from marrowscope.evaluation.centres_report import write_centres
from marrowscope.evaluation.matching import pool_fields
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.reliability import calibration_error, judge

TAXONOMY = Taxonomy.from_labels(["lymphocyte", "eosinophil", "RBC"])


def centre(name, seed, *, fields=12, misses=0.1, coarse=False, shares=(0.5, 0.5)):
    """Cells side by side, of which some are missed and some misnamed; a coarse centre's labels name no class."""
    rng = np.random.default_rng(seed)
    pairs, whole, counted = [], [], []
    for number in range(fields):
        count = 8
        left = np.arange(count) * 20.0
        boxes = np.stack([left, left * 0, left + 15, left * 0 + 15], axis=1)
        labels = rng.choice(2, count, p=shares)
        kept = rng.random(count) >= misses
        named = np.where(rng.random(count) < 0.2, 1 - labels, labels)
        found = Detections(boxes[kept], named[kept], rng.uniform(0.5, 1, count)[kept], TAXONOMY)
        truth = GroundTruth(boxes, labels, TAXONOMY)
        if coarse:
            truth = GroundTruth(boxes[:0], labels[:0], TAXONOMY)
        pairs.append(EvaluatedField(f"{name}_{number}", truth, found))
        whole.append(nucleated(f"{name}_{number}", truth, boxes.tolist() if coarse else [], found))
        counted.append(found)
    return Centre(name, pairs, whole, counted)


def measured(made, seed=0):
    return measure_centre(made, threshold=0.5, bootstrap=60, seed=seed)


def test_numbers_of_a_centre_are_those_of_evaluating_it():
    made = centre("home", 0)
    scores, alone = measured(made), evaluate(made.pairs, threshold=0.5, bootstrap=60, seed=0)
    assert scores.by_class is not None
    assert str(scores.by_class.classes.of_all("f1")) == str(alone.classes.of_all("f1"))
    assert scores.calibration.value == pytest.approx(calibration_error(judge(pool_fields(made.pairs))))
    assert scores.calibration.low < scores.calibration.value < scores.calibration.high + 0.05
    assert (scores.fields, scores.cells, scores.found.total) == (12, 96, sum(map(len, made.counted)))
    drawn = scores.share_draws
    np.testing.assert_allclose(drawn.sum(axis=0), 1)


def test_a_centre_whose_labels_name_no_class_is_measured_by_the_cells_found():
    fine, coarse = centre("home", 1), centre("away", 1, coarse=True)
    a, b = measured(fine), measured(coarse)
    assert b.by_class is None
    assert b.labelled is None
    assert b.calibration.value is None
    assert str(a.nucleated.classes.of_class(0, "recall")) == str(b.nucleated.classes.of_class(0, "recall"))
    numbers = [d.number for d in differences_of([a, b])]
    assert numbers == ["Recall, any name", "Precision, any name", "share of lymphocyte", "share of eosinophil"]


def test_a_centre_does_not_differ_from_its_like_and_does_from_a_worse_one():
    home, like = measured(centre("home", 2, fields=30)), measured(centre("like", 3, fields=30), seed=1)
    worse = measured(centre("worse", 4, fields=30, misses=0.6, shares=(0.9, 0.1)), seed=2)
    changes = {(d.centre, d.number): d.change for d in differences_of([home, like, worse])}
    for number in ("Recall", "F1", "Recall, any name", "share of lymphocyte"):
        assert changes["like", number].low < 0 < changes["like", number].high
    assert changes["worse", "Recall"].high < 0
    assert changes["worse", "Recall, any name"].value == pytest.approx(-0.5, abs=0.1)
    assert changes["worse", "share of lymphocyte"].low > 0


def test_what_no_differential_counts_is_no_nucleated_cell():
    truth = GroundTruth([[0, 0, 9, 9], [20, 0, 29, 9]], [0, 2], TAXONOMY)
    found = Detections([[0, 0, 9, 9], [20, 0, 29, 9]], [1, 2], [0.9, 0.8], TAXONOMY)
    pair = nucleated("field", truth, [[40, 0, 49, 9]], found)
    assert (len(pair.truth), len(pair.detections)) == (2, 1)
    assert pair.detections.scores.tolist() == pytest.approx([0.9])


def test_the_folder_holds_tables_and_a_picture(tmp_path):
    centres = [measured(centre("home", 5)), measured(centre("away", 6, coarse=True), seed=1)]
    table, changes = write_centres(tmp_path, centres)
    assert [row[0] for row in table.rows] == ["home", "away"]
    assert {row[0] for row in changes.rows} == {"away"}
    assert mix_table(centres).columns == ("Class", "home, found", "home, labelled", "away, found")
    page = (tmp_path / "centres.md").read_text(encoding="utf-8")
    for text in ("centres.png", "home, labelled", "Less the same at home"):
        assert text in page
    assert (tmp_path / "centres.png").stat().st_size > 10_000
    assert (tmp_path / "differences.csv").is_file()


def test_a_single_centre_without_draws_has_numbers_and_no_intervals():
    alone = measure_centre(centre("home", 7), threshold=0.5, bootstrap=0)
    assert alone.calibration.value is not None
    assert alone.calibration.low is None
    assert differences_of([alone]) == ()
