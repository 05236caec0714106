import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from helpers.tiny import TAXONOMY, paint, tiny_recipe
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.torch_runtime import TorchDetector
from marrowscope.errors import BadCheckpoint
from marrowscope.model.checkpoint import WEIGHTS, Checkpoint, levelled, load_checkpoint, save_checkpoint
from marrowscope.model.rcnn import CellDetector

RECIPE = tiny_recipe("model.anchor_sizes=[[16], [22], [30]]")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(
        weights=CellDetector(RECIPE.model, 2).state_dict(),
        model=RECIPE.model,
        taxonomy=TAXONOMY,
        recipe=json.loads(RECIPE.model_dump_json()),
        data_hash="0123",
        epoch=7,
        score_threshold=0.25,
        metrics={"val_ap50": 0.5},
    )


def test_a_checkpoint_comes_back_whole_and_detects_the_same(checkpoint, tmp_path):
    save_checkpoint(tmp_path, checkpoint)
    back = load_checkpoint(tmp_path)
    for name in ("model", "taxonomy", "recipe", "data_hash", "epoch", "score_threshold", "metrics", "code_version"):
        assert getattr(back, name) == getattr(checkpoint, name), name
    field, _ = paint(1)
    (before,) = TorchDetector(checkpoint.build(), TAXONOMY).detect([field])
    (after,) = TorchDetector.from_checkpoint(tmp_path).detect([field])
    np.testing.assert_array_equal(before.boxes, after.boxes)
    np.testing.assert_array_equal(before.scores, after.scores)


def test_half_precision_halves_the_file_and_hardly_moves_a_score(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "full", checkpoint)
    save_checkpoint(tmp_path / "half", checkpoint, half=True)
    sizes = [(tmp_path / kind / WEIGHTS).stat().st_size for kind in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    field, _ = paint(1)
    (full,), (half,) = (TorchDetector.from_checkpoint(tmp_path / k).detect([field]) for k in ("full", "half"))
    assert abs(full.scores[0] - half.scores[0]) < 1e-3


def test_the_file_itself_may_be_named_instead_of_its_folder(checkpoint, tmp_path):
    save_checkpoint(tmp_path, checkpoint)
    assert load_checkpoint(tmp_path / WEIGHTS).epoch == 7


def test_the_run_folder_is_not_a_checkpoint_but_the_error_says_where_one_is(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "best", checkpoint)
    with pytest.raises(BadCheckpoint, match="not a marrowscope checkpoint"):
        load_checkpoint(tmp_path)


def test_foreign_weights_are_refused_with_the_way_to_use_them(checkpoint, tmp_path):
    save_file({"w": torch.zeros(3)}, tmp_path / WEIGHTS)
    with pytest.raises(BadCheckpoint, match="trunk_weights"):
        load_checkpoint(tmp_path)


def test_a_file_cut_short_is_refused(checkpoint, tmp_path):
    save_checkpoint(tmp_path, checkpoint)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadCheckpoint, match="cut short or foreign"):
        load_checkpoint(tmp_path)


def test_a_pickle_is_refused_unopened(tmp_path):
    torch.save({"w": torch.zeros(3)}, tmp_path / WEIGHTS)
    with pytest.raises(BadCheckpoint, match="not readable as safetensors"):
        load_checkpoint(tmp_path)


def test_a_header_that_misses_its_taxonomy_is_refused(checkpoint, tmp_path):
    save_checkpoint(tmp_path, checkpoint)
    with safe_open(tmp_path / WEIGHTS, framework="pt") as opened:
        metadata = opened.metadata()
    header = json.loads(metadata["checkpoint"])
    del header["taxonomy"]
    save_file(dict(checkpoint.weights), tmp_path / WEIGHTS, metadata=metadata | {"checkpoint": json.dumps(header)})
    with pytest.raises(BadCheckpoint, match="taxonomy"):
        load_checkpoint(tmp_path)


def test_weights_of_another_number_of_classes_are_refused(checkpoint):
    three = Taxonomy.from_labels(["lymphocyte", "eosinophil", "monocyte"])
    with pytest.raises(BadCheckpoint, match="do not fit"):
        replace(checkpoint, taxonomy=three).build()


def test_levelling_moves_the_threshold_to_one_half_and_changes_no_finding(checkpoint):
    field, _ = paint(1)
    # Untrained scores all but agree; spread them as training does.
    name = "heads.box_predictor.classify.weight"
    spread = replace(checkpoint, weights=dict(checkpoint.weights) | {name: checkpoint.weights[name] * 200})
    (before,) = TorchDetector(spread.build(), TAXONOMY).detect([field])
    middle = replace(spread, score_threshold=float(before.scores[len(before) // 2]))
    moved = levelled(middle)
    (after,) = TorchDetector(moved.build(), TAXONOMY).detect([field])
    assert moved.score_threshold == 0.5
    assert len(after.above(0.5)) == len(before.above(middle.score_threshold))
    np.testing.assert_allclose(after.boxes, before.boxes, atol=1e-4)
    np.testing.assert_array_equal(after.labels, before.labels)


def test_levelling_twice_is_levelling_once_and_softmax_is_left_alone(checkpoint):
    once = levelled(checkpoint)
    twice = levelled(once)
    name = "heads.box_predictor.classify.bias"
    torch.testing.assert_close(once.weights[name], twice.weights[name], atol=2e-4, rtol=0)
    softmax = replace(checkpoint, model=checkpoint.model.model_copy(update={"loss": "softmax"}))
    assert levelled(softmax) is softmax
