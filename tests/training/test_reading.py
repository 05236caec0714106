"""The reader learns to tell painted cells apart, its run can be taken up, and the detector stays as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny import TAXONOMY, painted_folder, tiny_recipe
from marrowscope.cells.calibration import Calibration
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.torch_runtime import TorchDetector
from marrowscope.errors import BadInput, BadRecipe
from marrowscope.model.checkpoint import READER, Checkpoint, load_checkpoint, save_checkpoint
from marrowscope.model.config import InputScale, ReaderRecipe
from marrowscope.model.rcnn import CellDetector
from marrowscope.training.augment import Augmentation
from marrowscope.training.reading import ReadingRecipe, shaken, train_reader
from marrowscope.training.validation import detect_labelled

READER_RECIPE = ReaderRecipe(
    trunk="mobilenetv3_small_050", trunk_weights="none", strides=(8, 16), frozen_stride=0, crop_px=32, dropout=0
)
RECIPE = ReadingRecipe(
    reader=READER_RECIPE,
    augmentation=Augmentation(),
    epochs=4,
    batch_size=8,
    learning_rate=4e-3,
    averaged=0.7,
    mixup=0.3,
)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledField, ...]:
    return painted_folder(tmp_path_factory.mktemp("painted"), range(16))


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    torch.manual_seed(0)
    # A high prior: untrained as it is, it takes everything for a cell, so that there is something to read.
    model = tiny_recipe("model.anchor_sizes=[[12], [24], [48]]", "model.score_prior=0.5").model
    return Checkpoint(
        weights=CellDetector(model, 2).state_dict(),
        model=model,
        taxonomy=TAXONOMY,
        scale=InputScale(factor=1.0, cell_px=22.0),
        calibration=Calibration((1.0, 1.0), (0.0, 0.0)),
    )


@pytest.fixture(scope="module")
def run(fields: tuple[LabelledField, ...], start: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train_reader(start, fields[:12], fields[12:], RECIPE, out)
    return out


def test_it_learns_to_tell_two_colours_apart(run: Path) -> None:
    made = load_checkpoint(run / "best")
    assert made.metrics["reader_val_accuracy"] > 0.9


def test_the_detector_stays_as_it_was_and_both_together_are_calibrated(run: Path, start: Checkpoint) -> None:
    made = load_checkpoint(run / "best")
    for name, value in start.weights.items():
        assert torch.equal(made.weights[name], value)
    assert made.reader == READER_RECIPE
    assert made.calibration is not None
    assert made.calibration != start.calibration
    assert made.confusion is not None
    assert 0 < made.score_threshold < 1
    assert any(name.startswith(READER) for name in made.weights)


def test_the_checkpoint_detects_and_names_by_its_reader(run: Path, fields: tuple[LabelledField, ...]) -> None:
    detector = TorchDetector.from_checkpoint(run / "best")
    for pair in detect_labelled(detector, fields[12:]):
        assert pair.detections.taxonomy == TAXONOMY


def test_a_run_taken_up_ends_with_the_weights_of_an_uninterrupted_one(
    run: Path, fields: tuple[LabelledField, ...], start: Checkpoint, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(line: dict[str, object]) -> None:
        if line["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train_reader(start, fields[:12], fields[12:], RECIPE, tmp_path, on_epoch=stop)
    torch.manual_seed(99)
    train_reader(start, fields[:12], fields[12:], RECIPE, tmp_path, resume=True)
    whole, resumed = (load_file(folder / "best" / "model.safetensors") for folder in (run, tmp_path))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert (run / "log.jsonl").read_text().count("\n") == (tmp_path / "log.jsonl").read_text().count("\n") == 4


def test_a_reader_that_is_there_already_goes_on_learning(
    run: Path, fields: tuple[LabelledField, ...], tmp_path: Path
) -> None:
    gently = RECIPE.changed(["epochs=1", "learning_rate=1e-5", "averaged=0", "mixup=0", "reader.crop_px=40"])
    train_reader(load_checkpoint(run / "best"), fields[:12], fields[12:], gently, tmp_path)
    made = load_checkpoint(tmp_path / "best")
    assert made.metrics["reader_val_accuracy"] > 0.9
    assert made.reader is not None
    assert made.reader.crop_px == 40


def test_a_share_of_the_weights_it_began_with_is_kept(
    run: Path, fields: tuple[LabelledField, ...], tmp_path: Path
) -> None:
    begun = load_checkpoint(run / "best")
    for share in (0.0, 0.25):
        recipe = RECIPE.changed(["epochs=1", f"start_share={share}"])
        train_reader(begun, fields[:12], fields[12:], recipe, tmp_path / str(share))
    learned, kept = (load_checkpoint(tmp_path / str(share) / "best").weights for share in (0.0, 0.25))
    moved = False
    for name, value in learned.items():
        if name.startswith(READER) and value.is_floating_point():
            torch.testing.assert_close(kept[name], 0.75 * value + 0.25 * begun.weights[name], rtol=1e-5, atol=1e-6)
            moved |= not torch.equal(value, begun.weights[name])
    assert moved


def test_a_share_of_no_reader_is_refused(start: Checkpoint, fields: tuple[LabelledField, ...], tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="no reader of this kind"):
        train_reader(start, fields[:12], fields[12:], RECIPE.changed(["start_share=0.5"]), tmp_path)


def test_a_folder_with_a_run_is_not_overwritten(
    run: Path, fields: tuple[LabelledField, ...], start: Checkpoint
) -> None:
    with pytest.raises(BadInput, match="--resume"):
        train_reader(start, fields[:12], fields[12:], RECIPE, run)


def test_another_recipe_is_another_run(run: Path, fields: tuple[LabelledField, ...], start: Checkpoint) -> None:
    with pytest.raises(BadRecipe, match="recipe differs"):
        train_reader(start, fields[:12], (), RECIPE.changed(["epochs=9"]), run, resume=True)


def test_fields_without_cells_are_refused(start: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no labelled cell"):
        train_reader(start, (), (), RECIPE, tmp_path)


def test_a_checkpoint_with_a_reader_survives_the_disk_at_half_precision(run: Path, tmp_path: Path) -> None:
    made = load_checkpoint(run / "best")
    save_checkpoint(tmp_path, replace(made, metrics={}), half=True)
    again = load_checkpoint(tmp_path).build_reader()
    whole = made.build_reader()
    assert again is not None
    assert whole is not None
    crops = torch.randint(0, 255, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        np.testing.assert_allclose(again(crops).softmax(1), whole(crops).softmax(1), atol=0.02)


def test_boxes_are_shaken_by_their_own_size() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 20]], np.float32), (4000, 1))
    moved = shaken(boxes, 0.1, np.random.default_rng(0))
    centre = (moved[:, :2] + moved[:, 2:]) / 2
    np.testing.assert_allclose(centre.std(axis=0), [1.0, 2.0], rtol=0.1)
    np.testing.assert_allclose(np.log((moved[:, 2] - moved[:, 0]) / 10).std(), 0.1, rtol=0.1)
    np.testing.assert_array_equal(shaken(boxes, 0.0, np.random.default_rng(0)), boxes)
