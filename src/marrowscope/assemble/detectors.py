"""The composition root: a name or a path becomes a `Detector`; here alone a runtime is chosen and imported.

demo                     the model that comes with marrowscope for the demonstration, trained on the synthetic smear
real                     the one for real fields, trained on blood cells until a lab trains on its own
RUN/best, a folder       a checkpoint, run by torch
detections.json          saved answers, played back: no torch, no model
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from marrowscope.cells.adjusted import Confusion
from marrowscope.detect.detector import Detector
from marrowscope.errors import BadCheckpoint, BadInput

DEMO, REAL = "demo", "real"
SHIPPED = {DEMO: "smear", REAL: "blood"}
"""Names of the models that come with marrowscope -> their folders below `models`."""
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, eq=False)
class OpenedDetector:
    """A detector, the score from which its detections count (chosen on validation), and where it came from.

    confusion: how it names cells when counted at that score, where its checkpoint knows (`cells.adjusted`).
    """

    detector: Detector
    score_threshold: float
    path: Path
    confusion: Confusion | None = None


def checkpoint_path(name: str | Path) -> Path:
    """The path that a name stands for: `demo` and `real` are shipped models, everything else is a path already.

    BadCheckpoint where the shipped model is not part of this installation. A folder of that name: `./demo`.
    """
    if str(name) not in SHIPPED:
        return Path(name)
    shipped = Path(str(resources.files("marrowscope"))) / "models" / SHIPPED[str(name)]
    if not shipped.is_dir():
        raise BadCheckpoint(
            f"the shipped model is missing: no {shipped}. Install a release of marrowscope, or give a checkpoint."
        )
    return shipped


def open_detector(name: str | Path, *, device: str = "auto") -> OpenedDetector:
    """The detector of a checkpoint or of a `detections.json`. BadInput (BadCheckpoint) where it is neither."""
    path = checkpoint_path(name)
    if path.suffix.lower() == ".json":
        from marrowscope.detect.replay_runtime import ReplayDetector
        from marrowscope.detect.saved import read_detections

        saved = read_detections(path)
        # Whatever lies below the run's threshold is not in the file, so 0 keeps all that there is.
        threshold = saved.about.get("score_threshold", 0.0)
        return OpenedDetector(ReplayDetector(saved), float(threshold), path)
    from marrowscope.detect.torch_runtime import TorchDetector
    from marrowscope.model.checkpoint import load_checkpoint

    if not path.exists():
        raise BadCheckpoint(f"{path}: no such checkpoint. Give a folder such as RUN/best, or 'real' or 'demo'.")
    checkpoint = load_checkpoint(path)
    detector = TorchDetector(
        checkpoint.build(),
        checkpoint.taxonomy,
        reader=checkpoint.build_reader(),
        device=choose_device(device),
        traits=checkpoint.traits,
    )
    return OpenedDetector(detector, checkpoint.score_threshold, path, checkpoint.confusion)


def choose_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` takes the GPU where there is one. BadInput for a GPU that is not there."""
    if name not in DEVICES:
        raise BadInput(f"device '{name}' is not known. Choose one of {', '.join(DEVICES)}.")
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise BadInput("device 'cuda': torch sees no GPU here. Choose cpu or auto, or install a torch with CUDA.")
    return "cuda" if there and name != "cpu" else "cpu"


def use_threads(count: int) -> None:
    """Let torch compute with this many CPU threads; 0 leaves the choice to torch."""
    if count:
        import torch

        torch.set_num_threads(count)
