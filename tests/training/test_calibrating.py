"""A checkpoint and what is fitted to it: its detector says the calibrated scores, and its threshold is among them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.tiny import TAXONOMY, paint, tiny_recipe
from marrowscope.cells.calibration import Calibration
from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.detect.torch_runtime import TorchDetector
from marrowscope.evaluation.calibration import apply_calibration
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.thresholds import choose_threshold
from marrowscope.model.checkpoint import (
    Checkpoint,
    level_shift,
    levelled,
    load_checkpoint,
    save_checkpoint,
)
from marrowscope.model.rcnn import CellDetector
from marrowscope.training.calibrating import AS_GOOD, calibrated, confusion_of_counted, moved
from oracles import evaluation_oracle as slow

RECIPE = tiny_recipe("model.anchor_sizes=[[16], [22], [30]]")
FIELDS = [paint(seed) for seed in range(4)]


def detect(checkpoint: Checkpoint) -> list[EvaluatedField]:
    """What the detector says; every second of its better finds is made true, whatever it finds."""
    pairs = []
    for field, _ in FIELDS:
        (found,) = TorchDetector(checkpoint.build(), TAXONOMY, traits=checkpoint.traits).detect([field])
        order = np.lexsort((found.boxes[:, 0], found.labels))  # the same whatever the scores are called
        best = order[found.scores[order] >= np.median(found.scores)][::2]
        pairs.append(EvaluatedField(field.name, GroundTruth(found.boxes[best], found.labels[best], TAXONOMY), found))
    return pairs


@pytest.fixture(scope="module")
def raw() -> Checkpoint:
    torch.manual_seed(0)
    weights = CellDetector(RECIPE.model, 2).state_dict()
    # Untrained scores all but agree; spread them as training does.
    name = "heads.box_predictor.classify.weight"
    spread = Checkpoint(weights | {name: weights[name] * 200}, RECIPE.model, TAXONOMY, metrics={"val_seconds": 1.0})
    scores = np.concatenate([p.detections.scores for p in detect(spread)])
    return replace(spread, score_threshold=float(np.median(scores)))


def test_moving_the_scores_is_levelling_the_weights(raw: Checkpoint) -> None:
    before = moved(detect(replace(raw, calibration=None)), level_shift(raw))
    for a, b in zip(before, detect(levelled(raw)), strict=True):
        np.testing.assert_allclose(a.detections.scores, b.detections.scores, atol=2e-4)


def test_a_calibrated_checkpoint_comes_back_and_says_what_was_fitted(raw: Checkpoint, tmp_path) -> None:
    bare = levelled(raw)
    said = detect(bare)
    made = calibrated(bare, said)
    save_checkpoint(tmp_path, made)
    back = load_checkpoint(tmp_path)
    assert (back.calibration, back.confusion) == (made.calibration, made.confusion)
    assert back.metrics.keys() == {"val_seconds", "val_ap50", "val_f1", "val_ece"}
    assert made.calibration is not None
    expected = apply_calibration(said, made.calibration)
    for a, b in zip(expected, detect(back), strict=True):
        np.testing.assert_allclose(a.detections.scores, b.detections.scores, atol=1e-6)
    assert choose_threshold(expected, within=AS_GOOD).score == pytest.approx(made.score_threshold, rel=2e-3)
    assert choose_threshold(expected, within=AS_GOOD).score > made.score_threshold


def test_a_calibrated_detector_is_not_levelled_again(raw: Checkpoint) -> None:
    made = replace(raw, calibration=Calibration((2.0, 2.0), (0.0, 1.0)), score_threshold=0.3)
    assert levelled(made) is made
    assert level_shift(made) == 0


def test_without_a_detection_nothing_is_calibrated_and_all_cells_are_missed(raw: Checkpoint) -> None:
    nothing = [EvaluatedField(f.name, truth, Detections.none(TAXONOMY)) for f, truth in FIELDS]
    made = calibrated(raw, nothing)
    assert made.calibration is None
    assert made.score_threshold == pytest.approx(0.5, rel=2e-3)
    assert made.confusion is not None
    assert sum(row[-1] for row in made.confusion) == sum(len(t) for _, t in FIELDS)


def test_the_confusion_counts_a_cell_with_two_names_once() -> None:
    box = (0, 0, 50, 50)
    pair = slow.field(slow.small_taxonomy(), [(*box, 1)], [(*box, 0, 0.9), (*box, 1, 0.8), (200, 0, 250, 50, 2, 0.4)])
    assert confusion_of_counted([pair], 0.5) == ((0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    assert confusion_of_counted([pair], 0.3)[-1] == (0, 0, 1, 0)


def test_a_header_from_before_calibration_is_still_read(raw: Checkpoint) -> None:
    header = json.loads(json.dumps(raw.header()))
    for key in ("calibration", "confusion", "scale", "reader"):
        del header[key]
    back = Checkpoint.from_header(header, raw.weights, where="old")
    assert (back.calibration, back.confusion) == (None, None)
