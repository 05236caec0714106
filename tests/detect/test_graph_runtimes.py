"""Whatever computes, the same cells are found: OpenVINO and ONNX Runtime beside torch."""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from helpers.runtimes import READER, Build, in_graphs, in_torch, untrained
from marrowscope.assemble.detectors import checkpoint_path
from marrowscope.cells.boxes import iou_matrix
from marrowscope.detect.graph_runtime import GraphRuntime, Numbers, _in_parts
from marrowscope.detect.prepare import fit, resize_to
from marrowscope.detect.runtime import Found, Runtime
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.model.prototypes import KnownCells, Prototypes
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader
from marrowscope.model.trunk import settle_folded
from marrowscope.smear.field import draw_field

KINDS = {
    "ranked": (),
    "softmax, an added class": ("model.loss=softmax", "model.box_regression=per class"),
    "a pooled level, frozen norms": (
        "model.trunk=resnet18",
        "model.trunk_norm=frozen",
        "model.strides=[4, 8, 16, 32, 64]",
    ),
}
SIZES = ((96, 128), (100, 70), (33, 200), (1, 1))


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def same_cells(a: Found, b: Found, *, at_least: float = 0.0) -> None:
    """Every find of one is in the other: IoU of .99, the same name, a score within 1e-3."""
    for one, other in ((a, b), (b, a)):
        sure = one.scores >= at_least
        alike = iou_matrix(one.boxes[sure], other.boxes) >= 0.99
        alike &= one.labels[sure, None] == other.labels
        alike &= np.abs(one.scores[sure, None] - other.scores) <= 1e-3
        assert alike.any(axis=1).all()


@pytest.fixture(scope="module", params=KINDS, ids=str)
def runtimes(request: pytest.FixtureRequest) -> tuple[Runtime, dict[str, GraphRuntime]]:
    settings = KINDS[request.param]
    build = partial(untrained, *settings, levels=5 if "pooled" in request.param else 3)
    if "added" in request.param:
        return in_torch(partial(with_a_class, build)), in_graphs(partial(with_a_class, build))
    return in_torch(build), in_graphs(build)


def with_a_class(build: Build) -> tuple[CellDetector, CellReader | None]:
    """The networks, of which the reader knows a class more, as likely as any for a crop of noise."""
    detector, reader = build()
    assert reader is not None
    crops = np.stack([noise(64 + n, 64)[:64] for n in range(6)])
    with torch.no_grad():
        seen = reader.features(torch.from_numpy(crops).permute(0, 3, 1, 2))
    known = KnownCells.of(seen, torch.tensor([0, 0, 1, 1, 2, 2]), 3)
    reader.prototypes = Prototypes(known, 1)
    return detector, reader


@pytest.mark.parametrize("size", SIZES)
def test_untrained_networks_find_the_same_in_pictures_of_any_size(
    runtimes: tuple[Runtime, dict[str, GraphRuntime]], size: tuple[int, int]
) -> None:
    truth = runtimes[0].find(noise(*size))
    assert len(truth.scores) or size == (1, 1)
    for runtime in runtimes[1].values():
        found = runtime.find(noise(*size))
        same_cells(truth, found)
        assert (found.boxes.dtype, found.labels.dtype, found.scores.dtype) == (np.float32, np.int64, np.float32)


@pytest.mark.parametrize("count", [1, 5])
def test_crops_are_read_alike(runtimes: tuple[Runtime, dict[str, GraphRuntime]], count: int) -> None:
    crops = np.stack([noise(READER.crop_px, READER.crop_px) for _ in range(count)])
    read = runtimes[0].read(crops)
    assert_allclose(read.sum(axis=1), 1, atol=1e-5)
    for runtime in runtimes[1].values():
        assert_allclose(runtime.read(crops), read, atol=1e-5)


def test_the_answer_of_one_picture_is_not_overwritten_by_the_next(
    runtimes: tuple[Runtime, dict[str, GraphRuntime]],
) -> None:
    for runtime in runtimes[1].values():
        first = runtime.find(noise(96, 128))
        before = [values.copy() for values in first]
        runtime.find(noise(64, 64))
        for now, then in zip(first, before, strict=True):
            assert_allclose(now, then, atol=0)


def test_a_field_in_which_nothing_is_proposed_has_no_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marrowscope.model.rcnn.propose", lambda *_: [torch.zeros(0, 4)])
    for runtime in (in_torch(untrained), *in_graphs(untrained).values()):
        found = runtime.find(noise(64, 64))
        assert found.boxes.shape == (0, 4)
        assert len(found.labels) == len(found.scores) == 0


def test_the_shipped_model_finds_the_same_cells_in_every_runtime() -> None:
    checkpoint = load_checkpoint(checkpoint_path("demo"))

    def build() -> tuple:  # type: ignore[type-arg]
        return checkpoint.build(), None

    reference, others = in_torch(build), in_graphs(build)
    for seed in (900_000_101, 900_000_102):
        image, truth = draw_field(seed, width=2000, height=1500, taxonomy=checkpoint.taxonomy)
        size = fit(image.width, image.height, checkpoint.model.input_size)
        picture = resize_to(image, (size.width, size.height))
        found = reference.find(picture)
        assert (found.scores >= 0.5).sum() >= len(truth.labels) - 1
        for runtime in others.values():
            same_cells(found, runtime.find(picture), at_least=0.01)


def test_settling_folded_weights_changes_no_number() -> None:
    build: Callable[..., tuple] = partial(  # type: ignore[type-arg]
        untrained, "model.trunk=resnet18", "model.trunk_norm=frozen"
    )
    plain, settled = build()[0], build()[0]
    settle_folded(settled)
    assert not any("parametrizations" in name for name, _ in settled.named_parameters())
    image = torch.from_numpy(noise(64, 96)).permute(2, 0, 1)[None]
    with torch.no_grad():
        for a, b in zip(plain.dense(image).maps, settled.dense(image).maps, strict=True):
            assert torch.equal(a, b)


def test_runtimes_say_what_they_are() -> None:
    runtimes = in_graphs(untrained)
    assert runtimes["openvino"].name == "OpenVINO, fp32"
    assert runtimes["onnx"].name == "ONNX Runtime, fp32"


def test_openvino_tells_nobody_that_it_is_used() -> None:
    in_graphs(untrained)
    assert sys.modules["openvino_telemetry"] is None
    stub = sys.modules["openvino.tools.ovc.telemetry_utils"].tm
    assert stub.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 17])
def test_a_graph_sees_the_same_number_of_rows_each_time_and_no_row_is_lost(rows: int) -> None:
    asked: list[int] = []
    out = np.empty((4, 2), np.float32)

    def graph(values: Numbers) -> list[NDArray[np.float32]]:
        asked.append(len(values))
        out[:] = values * 2  # what a graph gives back may be overwritten by its next call
        return [out, out[:, :1]]

    given = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    doubled, first = _in_parts(graph, given, 4)
    np.testing.assert_array_equal(doubled, 2 * given)
    np.testing.assert_array_equal(first, 2 * given[:, :1])
    assert set(asked) == {4}
