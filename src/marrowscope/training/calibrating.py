"""Set a detector's scores beside the truth of validation fields: probabilities, a threshold among them, the confusion.

All belong to the detector as a whole, its reader and its magnification included, so they are taken from what
`FieldDetector` says without a calibration, and they are stored in the checkpoint together.
"""

from collections.abc import Sequence
from dataclasses import replace

from marrowscope.cells.adjusted import Confusion
from marrowscope.cells.calibration import Calibration
from marrowscope.cells.detections import Detections
from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.detect.detector import one_name_per_cell
from marrowscope.evaluation.average_precision import macro_ap50
from marrowscope.evaluation.calibration import apply_calibration, cross_fitted_error, fit_calibration
from marrowscope.evaluation.matching import pool_fields
from marrowscope.evaluation.metrics import confusion_matrix
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.thresholds import choose_threshold
from marrowscope.model.checkpoint import Checkpoint

AS_GOOD = 0.004
"""Macro F1 that may be given away for a lower threshold. It hardly falls over a wide range of scores, and a cell whose
name is in doubt had better be counted, and looked at by a person, than be missing from a differential."""
_A_HAIR = 1e-3
"""Share by which the threshold lies below the last detection that counts, so that rounding does not cost it."""


def calibrated(checkpoint: Checkpoint, pairs: Sequence[EvaluatedField]) -> Checkpoint:
    """The checkpoint with its calibration, its threshold in calibrated scores, its confusion and its figures.

    pairs: what its detector says of validation fields without a calibration. Figures: `val_ap50`, `val_f1` at the
    threshold, and `val_ece`, the calibration error where one half of the fields is measured by the other's fit.
    """
    calibration = fit_calibration(pairs)
    told = pairs if calibration is None else apply_calibration(pairs, calibration)
    chosen = choose_threshold(told, within=AS_GOOD)
    threshold = chosen.score * (1 - _A_HAIR)
    figures: dict[str, float] = {"val_ap50": macro_ap50(told), "val_f1": chosen.macro_f1}
    if (error := cross_fitted_error(pairs)) is not None:
        figures["val_ece"] = error
    return replace(
        checkpoint,
        calibration=calibration,
        score_threshold=threshold,
        confusion=confusion_of_counted(told, threshold),
        fields_seen=(checkpoint.fields_seen or FieldsSeen()).with_found(counted(told, threshold)),
        metrics={**checkpoint.metrics, **figures},
    )


def confusion_of_counted(pairs: Sequence[EvaluatedField], threshold: float) -> Confusion:
    """How cells are named when they are counted: above the threshold, one name a cell (see `cells.adjusted`)."""
    kept = [
        EvaluatedField(pair.name, pair.truth, found)
        for pair, found in zip(pairs, counted(pairs, threshold), strict=True)
    ]
    return tuple(tuple(row) for row in confusion_matrix(pool_fields(kept)).tolist())


def counted(pairs: Sequence[EvaluatedField], threshold: float) -> list[Detections]:
    """What is counted in each field: detections above the threshold, one name a cell."""
    return [one_name_per_cell(pair.detections.above(threshold)) for pair in pairs]


def moved(pairs: Sequence[EvaluatedField], logits: float) -> list[EvaluatedField]:
    """What a detector says whose every logit is so much higher."""
    classes = len(pairs[0].taxonomy) if pairs else 0
    return apply_calibration(pairs, Calibration((1.0,) * classes, (logits,) * classes))
