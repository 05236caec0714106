"""A name becomes a detector, and a runtime is chosen for it."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.runtimes import untrained
from helpers.tiny import TAXONOMY, paint
from marrowscope.assemble import detectors, exporting
from marrowscope.assemble.detectors import choose_runtime, open_detector
from marrowscope.assemble.exporting import export_fp32
from marrowscope.errors import BadCheckpoint, BadInput, MissingExtra
from marrowscope.model.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    _save(folder)
    for runtime in ("openvino", "onnx"):
        export_fp32(folder, runtime)
    return folder


def _save(folder: Path, seed: int = 0) -> None:
    detector, _ = untrained(seed=seed)
    save_checkpoint(folder, Checkpoint(detector.state_dict(), detector.recipe, TAXONOMY))


def _without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(detectors, "find_spec", lambda name: None if name in packages else find_spec(name))


@pytest.mark.parametrize(
    ("missing", "chosen"),
    [((), "openvino"), (("openvino",), "onnx"), (("openvino", "onnxruntime"), "torch"), (("onnx",), "torch")],
)
def test_auto_takes_the_quickest_that_is_installed(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], chosen: str
) -> None:
    _without(monkeypatch, *missing)
    assert choose_runtime("auto", "cpu") == chosen


def test_auto_takes_torch_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_runtime("auto", "auto") == "torch"
    assert choose_runtime("auto", "cpu") == "openvino"


def test_a_runtime_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="'tensorrt' is not known"):
        choose_runtime("tensorrt")
    with pytest.raises(BadInput, match="Leave out --device cuda"):
        choose_runtime("openvino", "cuda")


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_exported_graphs_are_used_and_find_what_torch_finds(
    folder: Path, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, _ = paint(3)
    (expected,) = open_detector(folder, device="cpu", runtime="torch").detector.detect([field])

    def never(part: object) -> bytes:
        raise AssertionError("networks were exported anew")

    monkeypatch.setattr("marrowscope.assemble.exporting.as_onnx", never)
    opened = open_detector(folder, device="cpu", runtime=runtime)
    (found,) = opened.detector.detect([field])
    assert opened.runtime == {"openvino": "OpenVINO, fp32", "onnx": "ONNX Runtime, fp32"}[runtime]
    assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), abs=1e-3)
    assert found.labels.tolist() == expected.labels.tolist()


def test_a_checkpoint_without_graphs_is_converted_when_it_is_opened(tmp_path: Path) -> None:
    _save(tmp_path)
    opened = open_detector(tmp_path, device="cpu")
    assert opened.runtime == "OpenVINO, fp32"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors"]


def test_a_conversion_is_kept_in_the_cache_and_made_again_where_it_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARROWSCOPE_CACHE", str(tmp_path / "cache"))
    made: list[object] = []
    convert = exporting.as_onnx
    monkeypatch.setattr(exporting, "as_onnx", lambda part: (made.append(part), convert(part))[1])
    _save(tmp_path)
    field, _ = paint(3)
    answers = []
    for expected in (2, 2, 4):
        (found,) = open_detector(tmp_path, device="cpu", runtime="onnx").detector.detect([field])
        answers.append(found.scores.tolist())
        assert len(made) == expected  # the dense network and the judge
        if len(answers) == 2:
            (graph,) = (tmp_path / "cache").rglob("judge.onnx")
            graph.write_bytes(graph.read_bytes()[:-100])
    assert answers[0] == answers[1] == answers[2]


def test_without_a_place_for_a_cache_a_checkpoint_is_converted_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("MARROWSCOPE_CACHE", str(tmp_path / "a file"))
    _save(tmp_path)
    assert open_detector(tmp_path, device="cpu", runtime="onnx").runtime == "ONNX Runtime, fp32"


def test_the_cache_keeps_the_newest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARROWSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(exporting, "CACHED", 1)
    for seed in (0, 1):
        _save(tmp_path, seed=seed)
        open_detector(tmp_path, device="cpu", runtime="onnx")
    assert len(list((tmp_path / "cache" / "graphs").iterdir())) == 1


def test_graphs_of_an_earlier_export_are_not_used_with_new_weights(tmp_path: Path) -> None:
    _save(tmp_path)
    export_fp32(tmp_path, "openvino")
    _save(tmp_path, seed=1)
    with pytest.raises(BadCheckpoint, match="other weights"):
        open_detector(tmp_path, device="cpu")
    assert open_detector(tmp_path, device="cpu", runtime="torch").runtime == "torch, cpu"


@pytest.mark.parametrize(("runtime", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_a_runtime_that_is_not_installed_says_what_to_install(
    folder: Path, runtime: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtra, match=rf"marrowscope\[{runtime}\]"):
        open_detector(folder, device="cpu", runtime=runtime)
