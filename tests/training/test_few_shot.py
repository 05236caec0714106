"""A third colour is learned from a few painted discs: told apart, kept in the checkpoint, and no harm to the others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from helpers.runtimes import READER as READER_RECIPE
from helpers.tiny import TAXONOMY, tiny_recipe
from marrowscope.cells.calibration import Calibration
from marrowscope.cells.detections import GroundTruth
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import CellClass, Taxonomy, load_taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.data.voc import write_voc_image
from marrowscope.detect.field_detector import FieldDetector
from marrowscope.detect.runtime import Found
from marrowscope.errors import BadCheckpoint, BadInput
from marrowscope.model.checkpoint import READER, Checkpoint, load_checkpoint, save_checkpoint
from marrowscope.model.config import InputScale
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader
from marrowscope.training.few_shot import (
    Eye,
    SeenCells,
    add_class,
    class_named,
    drawn,
    is_named,
    known_cells,
    see_fields,
    see_pictures,
    with_class,
)
from marrowscope.training.reading import ReadingRecipe, train_reader
from marrowscope.training.warm_start import carried_over, with_reader_of

THREE = Taxonomy.from_labels(["lymphocyte", "eosinophil", "basophil"])
COLOURS = ((70, 40, 140), (210, 90, 60), (40, 160, 60))


def discs(seed: int, labels: Sequence[int]) -> tuple[FieldImage, GroundTruth]:
    """Discs of these classes in a row, each of its class's colour, give or take a little."""
    rng = np.random.default_rng(seed)
    pixels = np.full((60, 50 * len(labels), 3), (232, 220, 228), np.uint8)
    boxes = []
    for place, label in enumerate(labels):
        x, y, radius = 50 * place + 25, 30, int(rng.integers(14, 20))
        colour = np.clip(np.asarray(COLOURS[label]) + rng.normal(0, 12, 3), 0, 255)
        cv2.circle(pixels, (x, y), radius, tuple(float(c) for c in colour), cv2.FILLED)
        boxes.append((x - radius, y - radius, x + radius, y + radius))
    truth = GroundTruth(np.asarray(boxes, np.float32), np.asarray(labels), THREE)
    return FieldImage(pixels, f"discs_{seed:03d}"), truth


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledField, ...]:
    folder = tmp_path_factory.mktemp("discs")
    return tuple(write_voc_image(folder, *discs(seed, [0, 1, 2, seed % 2])) for seed in range(10))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """An untrained detector whose reader knows no class, but sees colours."""
    torch.manual_seed(0)
    model = tiny_recipe("model.anchor_sizes=[[12], [24], [48]]").model
    reader = CellReader(READER_RECIPE, 2, pretrained=False).state_dict()
    return Checkpoint(
        CellDetector(model, 2).state_dict() | {READER + name: value for name, value in reader.items()},
        model,
        TAXONOMY,
        scale=InputScale(factor=1.0, cell_px=34.0),
        reader=READER_RECIPE,
        calibration=Calibration((1.0, 2.0), (0.0, 1.0)),
        confusion=((1, 0, 0), (0, 1, 0), (0, 0, 0)),
    )


@pytest.fixture(scope="module")
def seen(checkpoint: Checkpoint, fields: tuple[LabelledField, ...]) -> SeenCells:
    return see_fields(Eye(checkpoint), fields, well=is_named("basophil"), on_field=lambda: None)


@pytest.fixture(scope="module")
def grown(checkpoint: Checkpoint, seen: SeenCells) -> Checkpoint:
    return grow(checkpoint, seen)


def grow(checkpoint: Checkpoint, seen: SeenCells, shots: int = 10) -> Checkpoint:
    known = known_cells(seen, TAXONOMY)
    new = drawn(seen.named(is_named("basophil")), shots)
    return add_class(checkpoint, Eye(checkpoint), class_named("basophil"), new, known, new[:0])[0]


def test_each_disc_left_out_is_recognised_by_the_others_and_no_other_is_mistaken(
    checkpoint: Checkpoint, seen: SeenCells
) -> None:
    others = seen.named(lambda name: name != "basophil")
    new = seen.named(is_named("Basophil"))
    made, told = add_class(
        checkpoint, Eye(checkpoint), class_named("basophil"), new, known_cells(seen, TAXONOMY), others
    )
    assert (told.cells, told.recognised, told.others, told.mistaken) == (10, 10, 30, 0)
    assert told.recall == pytest.approx((1, 0.692, 1), abs=1e-3)
    assert made.taxonomy.names == ("lymphocyte", "eosinophil", "basophil")
    assert made.learned == TAXONOMY
    assert made.recipe["added"] == [told.to_dict()]


def test_the_class_is_in_the_file_and_the_weights_are_what_they_were(
    checkpoint: Checkpoint, grown: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, grown)
    back = load_checkpoint(tmp_path)
    assert (back.added, len(back.taxonomy), back.traits.added) == (1, 3, 1)
    assert back.weights.keys() == checkpoint.weights.keys()
    reader, again = grown.build_reader(), back.build_reader()
    assert reader is not None
    assert again is not None
    crops = torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(reader(crops), again(crops))
    assert back.build().heads.box_predictor.classify.out_features == 2
    with pytest.raises(BadCheckpoint, match="added"):
        replace(back, known=None).build_reader()


class FindsAll:
    """Finds every disc, takes each for an eosinophil, and reads with the reader of a checkpoint."""

    name = "finds all"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.reader = checkpoint.build_reader()

    def find(self, picture: np.ndarray) -> Found:
        boxes = discs(3, [0, 1, 2, 0])[1].boxes
        return Found(boxes, np.ones(4, np.int64), np.full(4, 0.9, np.float32))

    def read(self, crops: np.ndarray) -> np.ndarray:
        assert self.reader is not None
        with torch.no_grad():
            return self.reader(torch.from_numpy(crops.copy()).permute(0, 3, 1, 2)).softmax(dim=1).numpy()


def test_a_field_detector_gives_the_new_name_to_the_new_cell_alone(checkpoint: Checkpoint, grown: Checkpoint) -> None:
    field, truth = discs(3, [0, 1, 2, 0])
    before, after = (
        FieldDetector(FindsAll(made), replace(made.traits, input_size=(200, 60), scale=None, calibration=None)).detect(
            [field]
        )[0]
        for made in (checkpoint, grown)
    )
    np.testing.assert_allclose(after.boxes[after.labels == 2], truth.boxes[2:3])
    # A known cell has the names that it had.
    first = [found.scores[(found.boxes[:, 0] < 40) & (found.labels < 2)] for found in (before, after)]
    np.testing.assert_allclose(first[1], first[0], atol=1e-4)


def test_the_score_of_an_added_name_is_how_surely_it_is_a_cell_times_how_surely_of_that_name(
    grown: Checkpoint,
) -> None:
    field, _ = discs(3, [0, 1, 2, 0])
    runtime = FindsAll(grown)
    (found,) = FieldDetector(runtime, replace(grown.traits, input_size=(200, 60), scale=None)).detect([field])
    (raw,) = FieldDetector(runtime, replace(grown.traits, input_size=(200, 60), scale=None, calibration=None)).detect(
        [field]
    )
    assert grown.calibration is not None
    a_cell = float(grown.calibration.of_a_cell(np.asarray([0.9], np.float32))[0])
    np.testing.assert_allclose(found.scores[found.labels == 2], raw.scores[raw.labels == 2] / 0.9 * a_cell, rtol=1e-5)


def test_a_second_class_may_follow_the_first(checkpoint: Checkpoint, grown: Checkpoint, seen: SeenCells) -> None:
    assert grown.known is not None
    far = seen.named(is_named("basophil")) + 5 * grown.known.covariance.diagonal().sqrt()
    made, told = add_class(grown, Eye(grown), class_named("hairy cell"), far, grown.known, far[:0])
    assert (made.added, made.taxonomy.names[-1], told.recognised) == (2, "hairy cell", 10)
    assert made.calibration == checkpoint.calibration
    assert made.confusion is None


def test_fewer_than_five_cells_are_refused(checkpoint: Checkpoint, seen: SeenCells) -> None:
    with pytest.raises(BadInput, match="4 labelled cells of basophil: a class is added from 5"):
        grow(checkpoint, seen, shots=4)


def test_a_class_that_is_known_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(BadInput, match="knows that class already"):
        with_class(TAXONOMY, class_named("Lymphocyte"))


def test_a_scheme_with_a_bucket_takes_a_class_that_it_does_not_have() -> None:
    clinical = load_taxonomy("clinical")
    grown = with_class(clinical, CellClass("HAIRY", "hairy cell", clinical[0].lineage, aliases=("myeloblast", "hc")))
    assert grown.find("hairy cell") == len(clinical)
    assert grown[len(clinical)].aliases == ("hc",)
    assert grown.find("myeloblast") == clinical.find("myeloblast")


def test_memory_wants_every_known_class(seen: SeenCells) -> None:
    with pytest.raises(BadInput, match="no cell of neutrophil"):
        known_cells(seen, Taxonomy.from_labels(["lymphocyte", "neutrophil"]))


def test_memory_does_not_want_the_bucket_of_the_unidentified(seen: SeenCells) -> None:
    bucket = replace(class_named("unidentified"), code="OTHER")
    known = known_cells(seen, Taxonomy("lab", (*TAXONOMY, bucket), other="OTHER"))
    assert known.counts.tolist()[2:] == [0]


def test_a_detector_without_a_reader_is_refused_with_the_way_to_one(checkpoint: Checkpoint) -> None:
    with pytest.raises(BadCheckpoint, match="train-reader"):
        Eye(replace(checkpoint, reader=None))


def test_a_picture_of_one_cell_is_seen_much_as_the_cell_in_its_field(checkpoint: Checkpoint, tmp_path: Path) -> None:
    field, truth = discs(5, [2, 2, 0])
    eye = Eye(checkpoint)
    crops = eye.cut(field.pixels, truth.boxes)
    for number, crop in enumerate(crops):
        cv2.imwrite(str(tmp_path / f"{number}.png"), crop[:, :, ::-1])
    alone = see_pictures(eye, sorted(tmp_path.glob("*.png")), "basophil").features
    torch.testing.assert_close(alone, eye.see_well(crops), rtol=0.02, atol=0.02)


def test_difficult_cells_are_not_learned_from(checkpoint: Checkpoint, fields: tuple[LabelledField, ...]) -> None:
    hidden = replace(fields[0], difficult=np.asarray([False, False, True, False]))
    seen = see_fields(Eye(checkpoint), [hidden], well=is_named("basophil"), on_field=lambda: None)
    assert "basophil" not in seen.names


def test_training_from_it_learns_the_class_like_any_other(grown: Checkpoint) -> None:
    recipe = tiny_recipe("model.anchor_sizes=[[12], [24], [48]]")
    weights = carried_over(grown, THREE, recipe)
    assert weights["heads.box_predictor.classify.weight"].shape[0] == 3
    detector = replace(grown, weights=weights, added=0, known=None, reader=None)
    reader = with_reader_of(grown, detector, seed=0).build_reader()
    assert reader is not None
    assert reader.prototypes is None
    assert reader.classify.out_features == 3


def test_a_reader_is_not_trained_beside_a_detector_that_never_learned_the_class(
    grown: Checkpoint, fields: tuple[LabelledField, ...], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="train --start"):
        train_reader(grown, fields, (), ReadingRecipe(), tmp_path)
