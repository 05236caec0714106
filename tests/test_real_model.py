"""The shipped detector of real cells keeps what its card promises, on fields and on single pictures."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from marrowscope.assemble.detectors import OpenedDetector, open_detector
from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.data.images import read_image
from marrowscope.data.voc import read_voc
from marrowscope.detect.detector import one_name_per_cell
from marrowscope.evaluation.average_precision import macro_ap50
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.model.checkpoint import WEIGHTS, load_checkpoint
from marrowscope.training.validation import detect_labelled

FOLDER = Path(str(resources.files("marrowscope"))) / "models" / "blood"


@pytest.fixture(scope="module")
def real() -> OpenedDetector:
    return open_detector("real", device="cpu")


@pytest.fixture(scope="module")
def pairs(real: OpenedDetector, data_root: Path) -> list[EvaluatedField]:
    return detect_labelled(real.detector, read_voc(data_root / "pbc_fields", split="val").fields[::3])


def test_it_is_small_and_says_what_it_is() -> None:
    assert (FOLDER / WEIGHTS).stat().st_size <= 16e6
    card = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    for word in ("CC BY 4.0", "Acevedo", "peripheral blood", "not for marrow", "seed", "train-reader", "95 %"):
        assert word in card, word


def test_its_checkpoint_knows_scale_reader_calibration_confusion_and_what_cells_look_like() -> None:
    loaded = load_checkpoint(FOLDER)
    assert len(loaded.taxonomy) == 10
    assert loaded.scale is not None
    assert loaded.reader is not None
    assert loaded.calibration is not None
    assert loaded.confusion is not None
    assert loaded.known is not None
    assert loaded.known.counts.sum() == 4320


def test_it_finds_and_names_cells_of_fields_that_it_never_learned(pairs: list[EvaluatedField]) -> None:
    # A third of the fields of the card's table, which has the numbers of all.
    assert macro_ap50(pairs) > 0.92
    macro = evaluate(pairs, bootstrap=0).classes.macro
    assert macro[2] > 0.86


def test_its_scores_are_probabilities(pairs: list[EvaluatedField]) -> None:
    error = evaluate(pairs, bootstrap=0).reliability
    assert error is not None
    assert error.error is not None
    assert error.error < 0.07


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_a_picture_of_one_cell_is_understood_at_any_magnification(
    real: OpenedDetector, data_root: Path, factor: float
) -> None:
    """Pieces of 360 x 360 pixels about a cell, as they are, half and twice as large."""
    import cv2

    found = tried = 0
    for field in read_voc(data_root / "pbc_fields", split="val").fields[:4]:
        truth: GroundTruth = field.truth(real.detector.taxonomy)
        pixels = read_image(field.image_path).pixels
        for box in truth.boxes[:4]:
            left, top = np.clip((box[:2] + box[2:]) / 2 - 180, 0, [field.width - 360, field.height - 360]).astype(int)
            piece = pixels[top : top + 360, left : left + 360]
            way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            piece = np.asarray(cv2.resize(piece, None, fx=factor, fy=factor, interpolation=way), np.uint8)
            (seen,) = real.detector.detect([FieldImage(piece, "piece")])
            cells = one_name_per_cell(seen.above(real.score_threshold))
            wanted = ((box - [left, top, left, top]) * factor)[None].astype(np.float32)
            found += bool((iou_matrix(wanted, cells.boxes) >= 0.5).any())
            tried += 1
    assert found >= 0.9 * tried
