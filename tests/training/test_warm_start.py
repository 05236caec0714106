"""A run that begins from a trained detector: the same one until it learns, whatever classes join or leave."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.tiny import TAXONOMY, paint, painted_folder, tiny_recipe
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy
from marrowscope.data.voc import read_voc
from marrowscope.detect.torch_runtime import TorchDetector
from marrowscope.errors import BadCheckpoint, BadRecipe
from marrowscope.model.checkpoint import READER, Checkpoint, load_checkpoint
from marrowscope.model.config import ReaderRecipe
from marrowscope.model.reader import CellReader
from marrowscope.training.loop import train
from marrowscope.training.reading import ReadingRecipe
from marrowscope.training.state import load_state
from marrowscope.training.warm_start import (
    GENTLY,
    begin_from,
    carried_over,
    gentle_reading,
    recipe_from,
    with_reader_of,
)

NEW = CellClass("BLUE", "blue disc", Lineage.OTHER)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    painted_folder(folder, range(4), held_out=(6, 7))
    return folder


@pytest.fixture(scope="module", params=["ranked", "softmax"])
def start(request, folder, tmp_path_factory) -> Checkpoint:
    out = tmp_path_factory.mktemp("runs") / request.param
    fields, held_out = (read_voc(folder, split=s).fields for s in ("train", "val"))
    recipe = tiny_recipe(f"model.loss={request.param}", "model.box_regression=per class", "epochs=1")
    train(fields, held_out, TAXONOMY, recipe, out, device="cpu")
    return load_checkpoint(out / "last")


def found(checkpoint: Checkpoint):
    detector = TorchDetector(checkpoint.build(), checkpoint.taxonomy, device="cpu")
    return detector.detect([paint(20)[0], paint(21)[0]])


def with_classes(start: Checkpoint, taxonomy: Taxonomy) -> Checkpoint:
    recipe = recipe_from(start, tiny_recipe())
    return Checkpoint(carried_over(start, taxonomy, recipe), recipe.model, taxonomy)


def test_the_detector_is_carried_over_without_its_reader_and_its_calibration(start):
    with_reader = replace(start, weights={**start.weights, f"{READER}head.weight": torch.zeros(2, 2)})
    carried = carried_over(with_reader, TAXONOMY, recipe_from(start, tiny_recipe()))
    assert carried.keys() == start.weights.keys()
    assert start.calibration is not None
    assert with_classes(start, TAXONOMY).calibration is None


READER_RECIPE = ReaderRecipe(trunk="mobilenetv3_small_050", strides=(8, 16), frozen_stride=0, crop_px=32)


@pytest.fixture(scope="module")
def read(start) -> Checkpoint:
    """With an untrained reader whose logits have a level of their own."""
    reader = CellReader(READER_RECIPE, 2, pretrained=False)
    torch.nn.init.constant_(reader.classify.bias, 1.5)
    weights = {READER + k: v for k, v in reader.state_dict().items()}
    return replace(start, weights={**start.weights, **weights}, reader=READER_RECIPE)


def test_a_reader_names_known_classes_as_before_and_a_new_class_gets_a_fresh_row(read):
    wider = Taxonomy("wider", (NEW, *reversed(TAXONOMY.classes)))
    detector = with_classes(read, wider)
    made = with_reader_of(read, detector, seed=0)
    old, new = read.build_reader(), made.build_reader()
    crops = torch.randint(0, 255, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        before, after = old(crops), new(crops)
    for cell in TAXONOMY:
        torch.testing.assert_close(after[:, wider.index(cell.code)], before[:, TAXONOMY.index(cell.code)])
    row = new.classify.weight.detach()[wider.index("BLUE")]
    assert float(row.std()) == pytest.approx(0.01, rel=0.3)
    assert all(not torch.equal(row, known) for known in old.classify.weight)
    assert float(new.classify.bias.detach()[wider.index("BLUE")]) == pytest.approx(1.5)
    for name, value in detector.weights.items():
        assert torch.equal(made.weights[name], value)
    # No station fetches ImageNet to go on with weights that it has.
    assert made.reader.trunk_weights == "none"


def test_where_there_was_no_reader_there_is_none(start):
    detector = with_classes(start, TAXONOMY)
    assert with_reader_of(start, detector, seed=0) is detector


@pytest.mark.parametrize(("epochs", "read_for"), [(3, 3), (60, 8)])
def test_a_reader_learns_gently_and_its_mean_forgets_where_it_began(folder, epochs, read_for):
    fields = read_voc(folder, split="train").fields
    given = gentle_reading(READER_RECIPE, tiny_recipe(f"epochs={epochs}", "seed=5"), fields)
    assert (given.epochs, given.seed, given.reader) == (read_for, 5, READER_RECIPE)
    assert given.learning_rate == pytest.approx(ReadingRecipe().learning_rate * GENTLY)
    # One step an epoch: of what it began with a fiftieth is left.
    assert given.averaged**read_for < 0.02
    many = gentle_reading(READER_RECIPE, tiny_recipe(), fields * 10_000)
    assert many.averaged == ReadingRecipe().averaged


def test_with_the_same_classes_it_finds_what_it_found(start):
    again = with_classes(start, TAXONOMY)
    for a, b in zip(found(start), found(again), strict=True):
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.scores, b.scores)
        np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("start", ["ranked"], indirect=True)  # in a softmax a new class takes its share of all
def test_classes_in_another_order_among_new_ones_keep_their_scores(start):
    wider = Taxonomy("wider", (NEW, *reversed(TAXONOMY.classes)))
    for a, b in zip(found(start), found(with_classes(start, wider)), strict=True):
        for cell in TAXONOMY:
            ours = a.scores[a.labels == TAXONOMY.index(cell.code)]
            theirs = b.scores[b.labels == wider.index(cell.code)]
            # The best of a field are there; places at the end of the list may go to the new class.
            many = min(len(ours), len(theirs), 5)
            np.testing.assert_allclose(theirs[:many], ours[:many], atol=1e-6)


def test_a_run_goes_on_from_there_and_a_second_call_changes_nothing(start, folder, tmp_path):
    fields, held_out = (read_voc(folder, split=s).fields for s in ("train", "val"))
    recipe = begin_from(start, fields, TAXONOMY, tiny_recipe("epochs=1", "learning_rate=1e-12"), tmp_path / "run")
    assert (
        begin_from(start, fields, TAXONOMY, tiny_recipe("epochs=1", "learning_rate=1e-12"), tmp_path / "run") == recipe
    )
    begun = load_state(tmp_path / "run")
    run = train(fields, held_out, TAXONOMY, recipe, tmp_path / "run", resume=True, device="cpu")
    assert run.last["epoch"] == 1
    after = load_state(tmp_path / "run")
    # At this learning rate nothing is learned: the weights are those it began with.
    for name, value in begun.model.items():
        if value.is_floating_point() and "running" not in name:
            torch.testing.assert_close(after.model[name], value, atol=1e-6, rtol=0)


def test_the_detector_is_that_of_the_start_and_it_learns_gently(start):
    asked = tiny_recipe("model.head_width=48", "epochs=7")
    given = recipe_from(start, asked)
    assert given.model.head_width == start.model.head_width
    assert given.epochs == 7
    assert 0 < given.learning_rate < asked.learning_rate


def test_a_state_begun_for_other_fields_is_refused_by_the_loop(start, folder, tmp_path):
    fields = read_voc(folder, split="train").fields
    recipe = begin_from(start, fields, TAXONOMY, tiny_recipe(), tmp_path / "run")
    with pytest.raises(BadRecipe, match="data_hash differs"):
        train(fields[1:], (), TAXONOMY, recipe, tmp_path / "run", resume=True, device="cpu")


def test_weights_of_another_detector_are_refused(start):
    recipe = recipe_from(start, tiny_recipe())
    lacking = dict(start.weights)
    lacking.pop(next(iter(lacking)))
    with pytest.raises(BadCheckpoint, match="do not fit"):
        carried_over(Checkpoint(lacking, start.model, start.taxonomy), TAXONOMY, recipe)
