"""Checkpoints: weights, and everything needed to use and to trust them, in one file that cannot be half written.

A checkpoint is a folder with `model.safetensors`; its header holds the taxonomy, the recipe, the hash of the training
data, the code version, and the score threshold chosen on validation. Nothing is ever unpickled.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from marrowscope import __version__
from marrowscope.cells.adjusted import Confusion
from marrowscope.cells.calibration import Calibration
from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.cells.files import replacing
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadCheckpoint, MarrowscopeError
from marrowscope.model.config import InputScale, ModelRecipe, ReaderRecipe
from marrowscope.model.prototypes import KnownCells, Prototypes
from marrowscope.model.rcnn import CellDetector
from marrowscope.model.reader import CellReader
from marrowscope.model.traits import Traits

WEIGHTS = "model.safetensors"
FORMAT = "1"
READER = "reader."
"""Before the names of the reader's weights."""
_KNOWN = "known."
_T = TypeVar("_T")
_Network = TypeVar("_Network", bound=nn.Module)
_BIAS = "heads.box_predictor.classify.bias"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained detector with its provenance.

    recipe: the whole training recipe as plain values, for the record. score_threshold: chosen on validation (see
    `training.calibrating`), in calibrated scores where there is a calibration. metrics: the validation figures of
    `epoch`. scale, reader, calibration: see `Traits`. confusion: how validation cells were named when counted at the
    threshold (see `cells.adjusted`). fields_seen: what fields looked like in training (see `cells.fields_seen`). known:
    what the cells of each class look like to the reader. Each is None where it was not kept. added: so many classes of
    the taxonomy, the last ones, were added from a few cells (see `model.prototypes`); the weights do not know them.
    """

    weights: Mapping[str, Tensor]
    model: ModelRecipe
    taxonomy: Taxonomy
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data_hash: str = ""
    epoch: int = 0
    score_threshold: float = 0.5
    metrics: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = __version__
    scale: InputScale | None = None
    reader: ReaderRecipe | None = None
    calibration: Calibration | None = None
    confusion: Confusion | None = None
    fields_seen: FieldsSeen | None = None
    known: KnownCells | None = None
    added: int = 0

    @property
    def learned(self) -> Taxonomy:
        """The classes that the weights know: all that were not added later."""
        return self.taxonomy.keep(range(len(self.taxonomy) - self.added))

    @property
    def traits(self) -> Traits:
        """What a user of the detector must know, without the weights."""
        cell_px = self.model.middle_anchor if self.scale is None else self.scale.cell_px
        return Traits(
            self.taxonomy, self.model.input_size, self.scale, self.reader, self.calibration, cell_px, self.added
        )

    def header(self) -> dict[str, Any]:
        """Everything but the weights, as plain values."""
        return {
            "taxonomy": self.taxonomy.to_dict(),
            "model": self.model.model_dump(),
            "recipe": dict(self.recipe),
            "data_hash": self.data_hash,
            "epoch": self.epoch,
            "score_threshold": self.score_threshold,
            "metrics": dict(self.metrics),
            "code_version": self.code_version,
            "scale": self.scale and self.scale.model_dump(),
            "reader": self.reader and self.reader.model_dump(),
            "calibration": self.calibration and self.calibration.to_dict(),
            "confusion": self.confusion,
            "fields_seen": self.fields_seen and self.fields_seen.to_dict(),
            "added": self.added,
        }

    @classmethod
    def from_header(cls, header: Mapping[str, Any], weights: Mapping[str, Tensor], *, where: str) -> "Checkpoint":
        """What `header` gave, with all tensors of its file. BadCheckpoint for anything else."""
        known = {k.removeprefix(_KNOWN): v.float() for k, v in weights.items() if k.startswith(_KNOWN)}
        try:
            return cls(
                weights={k: v for k, v in weights.items() if not k.startswith(_KNOWN)},
                model=ModelRecipe.model_validate(header["model"]),
                taxonomy=Taxonomy.from_dict(header["taxonomy"], where=where),
                recipe=header["recipe"],
                data_hash=header["data_hash"],
                epoch=header["epoch"],
                score_threshold=header["score_threshold"],
                metrics=header["metrics"],
                code_version=header["code_version"],
                scale=_read(header, "scale", InputScale.model_validate),
                reader=_read(header, "reader", ReaderRecipe.model_validate),
                calibration=_read(header, "calibration", Calibration.from_dict),
                confusion=_read(header, "confusion", _counts),
                fields_seen=_read(header, "fields_seen", FieldsSeen.from_dict),
                known=KnownCells(**known) if known else None,
                added=int(header.get("added", 0)),
            )
        except (KeyError, ValidationError, TypeError, ValueError, MarrowscopeError) as e:
            raise BadCheckpoint(
                f"{where}: its header cannot be read ({type(e).__name__}: {e}). It may come from a newer marrowscope."
            ) from None

    def build(self) -> CellDetector:
        """The detector, in eval mode, on the CPU. BadCheckpoint where weights and recipe do not belong together."""
        detector = CellDetector(self.model, len(self.taxonomy) - self.added, pretrained=False)
        own = {k: v for k, v in self.weights.items() if not k.startswith(READER)}
        return _filled(detector, own)

    def build_reader(self) -> CellReader | None:
        """The reader, likewise; None where the checkpoint has none."""
        if self.reader is None:
            return None
        own = {k.removeprefix(READER): v for k, v in self.weights.items() if k.startswith(READER)}
        reader = _filled(CellReader(self.reader, len(self.taxonomy) - self.added, pretrained=False), own)
        if self.added:
            if self.known is None:
                raise BadCheckpoint(
                    f"{self.added} of its classes were added, but not what their cells look like. Fetch it anew."
                )
            reader.prototypes = Prototypes(self.known, self.added)
        return reader


def _filled(network: _Network, weights: Mapping[str, Tensor]) -> _Network:
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except RuntimeError as e:
        raise BadCheckpoint(
            f"weights do not fit the detector described beside them ({str(e).splitlines()[1].strip()}). "
            "The file was put together from two runs; train again or fetch it anew."
        ) from None
    network.eval().to(memory_format=torch.channels_last)
    return network


def levelled(checkpoint: Checkpoint) -> Checkpoint:
    """The same detector with its score threshold at one half; what it finds, and in which order, stays as it was.

    A ranking loss orders scores and cannot set their level (docs/method.md): they stay near the prior of the untrained
    detector, and a lab would read "score 0.02" beside a certain cell. So the bias of all classes is moved by one
    constant. Softmax scores are left alone, for their level means something, and so are calibrated ones: they are
    probabilities already, and the threshold is among these.
    """
    if not (shift := level_shift(checkpoint)):
        return checkpoint
    weights = dict(checkpoint.weights)
    weights[_BIAS] = weights[_BIAS] + shift
    return replace(checkpoint, weights=weights, score_threshold=0.5)


def level_shift(checkpoint: Checkpoint) -> float:
    """By how much `levelled` moves every logit; 0 where it leaves the detector alone."""
    threshold = checkpoint.score_threshold
    if checkpoint.model.loss != "ranked" or checkpoint.calibration is not None or not 0 < threshold < 1:
        return 0.0
    # A hair above one half, so that rounding does not cost the last detection that counts.
    return 1e-4 - math.log(threshold / (1 - threshold))


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write `folder/model.safetensors` aside, fsync, rename. `half`: float16 weights, for a file half the size."""
    known = {} if checkpoint.known is None else {_KNOWN + k: v for k, v in vars(checkpoint.known).items()}
    weights = {
        k: (v.half() if half and v.is_floating_point() else v).detach().cpu().contiguous().clone()
        for k, v in (*checkpoint.weights.items(), *known.items())
    }
    with replacing(folder / WEIGHTS) as aside:
        save_file(weights, aside, metadata={"marrowscope": FORMAT, "checkpoint": json.dumps(checkpoint.header())})


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint folder (or its `model.safetensors`). BadCheckpoint for anything else."""
    file = Path(path)
    if file.is_dir():
        file = file / WEIGHTS
    if not file.is_file():
        hint = " Did you mean its `best` folder?" if (file.parent / "best" / WEIGHTS).is_file() else ""
        raise BadCheckpoint(f"{path}: holds no {WEIGHTS}, so it is not a marrowscope checkpoint.{hint}")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {k: opened.get_tensor(k) for k in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as e:
        raise BadCheckpoint(f"{file}: not readable as safetensors ({e}). The file is cut short or foreign.") from None
    if metadata.get("marrowscope") != FORMAT:
        raise BadCheckpoint(
            f"{file}: weights alone, or another program's. A marrowscope checkpoint carries its taxonomy and recipe; "
            "to start training from foreign weights set model.trunk_weights in the recipe."
        )
    try:
        header = json.loads(metadata["checkpoint"])
    except (KeyError, json.JSONDecodeError) as e:
        raise BadCheckpoint(
            f"{file}: its header cannot be read ({e}). The file was changed by another program."
        ) from None
    return Checkpoint.from_header(header, weights, where=str(file))


def _read(header: Mapping[str, Any], key: str, make: Callable[[Any], _T]) -> _T | None:
    """What older checkpoints may lack."""
    return None if header.get(key) is None else make(header[key])


def _counts(rows: Sequence[Sequence[int]]) -> Confusion:
    return tuple(tuple(int(x) for x in row) for row in rows)
