"""What a model says of itself is read from its header: what drift asks, and what it does not know."""

import json
from pathlib import Path

import pytest

from helpers.small_archive import NOW
from marrowscope.assemble.detectors import REAL, checkpoint_path
from marrowscope.assemble.headers import WEIGHTS, classes_of, header_of, training_of
from marrowscope.cells.specimen import ModelVersion
from marrowscope.errors import BadCheckpoint
from marrowscope.model.checkpoint import load_checkpoint


def version(path: Path) -> ModelVersion:
    return ModelVersion(1, "some", "ab", "clinical", str(path), "", True, NOW)


def written(folder: Path, **said: object) -> ModelVersion:
    """A model whose header says this."""
    header = json.dumps({"__metadata__": {"checkpoint": json.dumps(said)}}).encode()
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    return version(folder)


def test_what_the_shipped_model_was_trained_on_is_what_its_checkpoint_says() -> None:
    path = checkpoint_path(REAL)
    training, checkpoint = training_of(version(path)), load_checkpoint(path)
    assert training is not None
    assert checkpoint.fields_seen is not None
    assert training.seen.to_dict() == checkpoint.fields_seen.to_dict()
    assert training.score == checkpoint.score_threshold
    assert training.taxonomy == checkpoint.taxonomy == classes_of(version(path))


def test_a_model_without_statistics_knows_no_training_fields(tmp_path: Path) -> None:
    assert training_of(written(tmp_path, fields_seen=None)) is None
    assert training_of(written(tmp_path, epoch=3)) is None


@pytest.mark.parametrize("seen", [{"looks": 3}, {"looks": {}, "finds": {}, "mix": [["a"]], "swatch": ""}, "none"])
def test_statistics_that_cannot_be_read_are_refused(tmp_path: Path, seen: object) -> None:
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        training_of(written(tmp_path, fields_seen=seen))


@pytest.mark.parametrize("held", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}", b'{"about": "saved answers"}'])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, held: bytes) -> None:
    (tmp_path / WEIGHTS).write_bytes(held)
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        header_of(tmp_path)
