"""Exported graphs on disk are whole, and those of the weights beside them, or they are refused."""

from pathlib import Path

import pytest

from marrowscope.detect.graphs import RECORD, GraphRecord, read_record, sha256_of, write_graphs
from marrowscope.errors import BadCheckpoint


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    return file


def write(weights: Path, content: bytes = b"graph") -> GraphRecord:
    record = GraphRecord(runtime="onnx", precision="fp32", weights=sha256_of(weights))
    return write_graphs(weights.parent / "onnx", record, lambda aside: _fill(aside, content))


def _fill(folder: Path, content: bytes) -> None:
    (folder / "dense.onnx").write_bytes(content)


def test_what_was_written_is_read(weights: Path) -> None:
    written = write(weights)
    assert read_record(weights.parent / "onnx", weights) == written
    assert set(written.files) == {"dense.onnx"}


def test_no_folder_is_no_graphs(weights: Path) -> None:
    assert read_record(weights.parent / "onnx", weights) is None


def test_an_export_takes_the_place_of_an_earlier_one(weights: Path) -> None:
    write(weights, b"one")
    written = write(weights, b"another")
    assert read_record(weights.parent / "onnx", weights) == written
    assert sorted(p.name for p in weights.parent.iterdir()) == ["model.safetensors", "onnx"]


def test_an_export_that_fails_leaves_what_was_there(weights: Path) -> None:
    written = write(weights)

    def fail(aside: Path) -> None:
        (aside / "dense.onnx").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_graphs(weights.parent / "onnx", written, fail)
    assert read_record(weights.parent / "onnx", weights) == written
    assert sorted(p.name for p in weights.parent.iterdir()) == ["model.safetensors", "onnx"]


def test_graphs_of_other_weights_are_refused(weights: Path) -> None:
    write(weights)
    weights.write_bytes(b"other weights")
    with pytest.raises(BadCheckpoint, match=r"made of other weights.*Export the checkpoint again"):
        read_record(weights.parent / "onnx", weights)


@pytest.mark.parametrize("content", [b"", b"grap", b"Graph"])
def test_a_graph_that_was_changed_or_cut_short_is_refused(weights: Path, content: bytes) -> None:
    write(weights)
    (weights.parent / "onnx" / "dense.onnx").write_bytes(content)
    with pytest.raises(BadCheckpoint, match="not as it was exported"):
        read_record(weights.parent / "onnx", weights)


@pytest.mark.parametrize("text", ["", "[]", '{"runtime": "onnx"}', '{"surprise": 1}'])
def test_a_record_that_cannot_be_read_is_refused(weights: Path, text: str) -> None:
    write(weights)
    (weights.parent / "onnx" / RECORD).write_text(text)
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        read_record(weights.parent / "onnx", weights)
