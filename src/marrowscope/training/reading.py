"""Training of the reader: crops of labelled cells in, a checkpoint that reads each cell again out.

The detector is left as it is. Fields are augmented as for the detector, at the finer scale at which the reader will see
them, and the cells are cut from them, so a crop may hold neighbours that touch, or end at the field's edge. Boxes are
shaken as much as a detector's are off. RUN/log.jsonl has one line an epoch, RUN/state.safetensors is what `resume`
reads, and RUN/best is the detector's checkpoint with the reader of the last epoch: a mean of the weights over many
steps, which needs no validation to be chosen (Izmailov et al. 2018, arXiv:1803.05407). At the end detector and reader
together are calibrated on the validation fields.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from marrowscope.cells.boxes import Boxes
from marrowscope.cells.files import write_atomically
from marrowscope.data.labelled import LabelledField, data_hash
from marrowscope.detect.reading import cut_cells
from marrowscope.detect.torch_runtime import TorchDetector
from marrowscope.errors import BadInput, BadRecipe
from marrowscope.model.checkpoint import READER, Checkpoint, load_checkpoint, save_checkpoint
from marrowscope.model.config import InputScale, ReaderRecipe
from marrowscope.model.reader import CellReader
from marrowscope.training.augment import Augmentation
from marrowscope.training.calibrating import calibrated
from marrowscope.training.dataset import FieldDataset
from marrowscope.training.few_shot import remembered
from marrowscope.training.loop import LOG, Run, StepReport, kept_lines
from marrowscope.training.recipe import Changeable
from marrowscope.training.sampling import EpochSampler
from marrowscope.training.state import STATE, RunState, load_state, random_state, require_unused, save_state
from marrowscope.training.validation import detect_labelled


class ReadingRecipe(Changeable):
    """How a reader is trained."""

    reader: ReaderRecipe = ReaderRecipe()
    augmentation: Augmentation = Augmentation(
        horizontal_flip=0.5,
        vertical_flip=0.5,
        rotation=0.75,
        rotation_degrees=180,
        translation=0.5,
        scaling=0.5,
        scaling_fraction=0.25,
        noise=0.3,
        noise_sigma=(2, 8),
        colour=0.75,
        colour_strength=0.12,
        crowding=0.5,
        min_visible=0.4,
    )
    shaken: float = Field(0.07, ge=0, lt=0.5)
    """Standard deviation of a box's centre and of the logarithm of its side, in sides."""
    epochs: int = Field(24, gt=0)
    batch_size: int = Field(36, gt=0)
    """Crops a step, at least: whole fields are taken until there are so many."""
    learning_rate: float = Field(8e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Neighbours in maturation are labelled as people can, and no name is certain."""
    balance: float = Field(0.5, ge=0, le=1)
    """Classes weigh by their count to the power of minus this."""
    mixup: float = Field(0.0, ge=0)
    """Alpha of the beta distribution by which each batch is blended with itself in another order, labels alike; 0 for
    never (Zhang et al. 2018, arXiv:1710.09412)."""
    averaged: float = Field(0.998, ge=0, lt=1)
    """Share of the mean weights that is kept at each step."""
    start_share: float = Field(0.0, ge=0, lt=1)
    """Share of the weights that training began with in those that it ends with, where it went on from a reader: what
    that knew beyond these fields is kept (Wortsman et al. 2022, arXiv:2109.01903)."""
    seed: int = Field(0, ge=0)


def train_reader(
    start: Checkpoint,
    fields: Sequence[LabelledField],
    validation: Sequence[LabelledField],
    recipe: ReadingRecipe,
    out: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None,
) -> Run:
    """Train a reader for the detector of `start`, on the device, else the GPU there is, else the CPU.

    Where `start` has a reader of the same trunk and classes, training goes on from that, as for a finer crop.
    BadInput without a labelled cell, where `out` holds a run and `resume` is false, or where `start` has classes that
    its detector never learned; BadRecipe where a resumed run would not be the same run, or a share of an earlier reader
    is asked for and there is none.
    """
    out = Path(out)
    if start.added:
        raise BadInput(
            f"{start.taxonomy.names[-1]} was added from a few cells, and the detector never learned it. "
            "Train that first: `marrowscope train --start`."
        )
    if not any(len(f.truth(start.taxonomy).boxes) for f in fields):
        raise BadInput("no labelled cell to train on. Check the folder with `marrowscope data check`.")
    if not resume:
        require_unused(out)
    torch.manual_seed(recipe.seed)
    run = _ReaderRun(start, fields, validation, recipe, out, device)
    if resume and (out / STATE).exists():
        run.take_up(load_state(out))
    return run.run(on_step, on_epoch)


class _ReaderRun:
    """One run. What it holds between epochs is a `RunState`."""

    def __init__(
        self,
        start: Checkpoint,
        fields: Sequence[LabelledField],
        validation: Sequence[LabelledField],
        recipe: ReadingRecipe,
        out: Path,
        device: str | None,
    ) -> None:
        self.start, self.recipe, self.out = start, recipe, out
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        plain = FieldDataset(
            fields, start.taxonomy, size=start.model.input_size, augmentation=Augmentation.none(), seed=0, cache_gib=0
        )
        scale = start.scale or plain.scale
        if scale is None:
            raise BadInput("no labelled cell to train on. Check the folder with `marrowscope data check`.")
        self.scale: InputScale = scale
        size = self._size()
        self.dataset = FieldDataset(
            fields, start.taxonomy, size=size, augmentation=recipe.augmentation, seed=recipe.seed
        )
        self.validation = FieldDataset(validation, start.taxonomy, size=size, augmentation=Augmentation.none(), seed=0)
        self.sampler = EpochSampler(len(self.dataset), seed=recipe.seed)
        self.reader = CellReader(recipe.reader, len(start.taxonomy)).to(memory_format=torch.channels_last)
        self.earlier = _reader_of(start, recipe.reader)
        if self.earlier is not None:
            self.reader.load_state_dict(self.earlier)
        elif recipe.start_share:
            raise BadRecipe(
                f"start_share={recipe.start_share}: there is no reader of this kind to go on from. Train a first round "
                "without it."
            )
        self.reader.to(self.device)
        self.mean = AveragedModel(self.reader, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaged), use_buffers=True)
        self.optimiser = torch.optim.AdamW(_groups(self.reader, recipe.weight_decay), lr=recipe.learning_rate)
        counts = np.bincount(np.concatenate(self.dataset.labels_per_field), minlength=len(start.taxonomy))
        weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -recipe.balance, 0)
        self.weights = torch.tensor(weights / weights.sum() * (counts > 0).sum(), dtype=torch.float32).to(self.device)
        # A plan: pasted neighbours make it a few more.
        self.steps = max(1, round(counts.sum() / recipe.batch_size))
        self.epoch, self.step = 0, 0
        self.identity = {
            "recipe": json.loads(recipe.model_dump_json()),
            "data_hash": data_hash(fields),
            "classes": list(start.taxonomy.names),
        }

    def _size(self) -> tuple[int, int]:
        """(width, height) inside which fields are fitted, so that a middle-sized cell fills its crop as it is."""
        reader = self.recipe.reader
        finer = max(1.0, reader.crop_px / (reader.context * self.scale.cell_px))
        width, height = self.start.model.input_size
        return math.ceil(width * finer), math.ceil(height * finer)

    def take_up(self, state: RunState) -> None:
        """Go on from a saved state, if it is of this very run."""
        state.require(self.identity, self.out)
        for prefix, network in (("now.", self.reader), ("mean.", self.mean)):
            network.load_state_dict({k.removeprefix(prefix): v for k, v in state.model.items() if k.startswith(prefix)})
        packed = self.optimiser.state_dict()
        packed["state"] = state.optimiser
        self.optimiser.load_state_dict(packed)
        torch.set_rng_state(state.random)
        self.epoch, self.step = state.epoch, state.step

    def run(self, on_step: Callable[[StepReport], None], on_epoch: Callable[[dict[str, Any]], None]) -> Run:
        """Every epoch that is still to come."""
        self.out.mkdir(parents=True, exist_ok=True)
        lines = kept_lines(self.out / LOG, self.epoch)
        while self.epoch < self.recipe.epochs:
            started = time.monotonic()
            loss = self._train_epoch(on_step)
            self.epoch += 1
            line = {"epoch": self.epoch, "seconds": round(time.monotonic() - started, 2), "loss": loss}
            if len(self.validation):
                line |= self._validate()
            lines.append(line)
            save_checkpoint(self.out / "best", self._checkpoint(line))
            write_atomically(self.out / LOG, "".join(json.dumps(x) + "\n" for x in lines))
            self._save()
            on_epoch(line)
        if len(self.validation):
            self._calibrate()
        self._remember()
        return Run(self.out, lines[-1])

    def _calibrate(self) -> None:
        made = load_checkpoint(self.out / "best")
        if made.confusion is not None:
            return  # a run that was over already
        detector = TorchDetector(
            made.build(),
            made.taxonomy,
            reader=made.build_reader(),
            device=self.device,
            traits=replace(made.traits, calibration=None),
        )
        save_checkpoint(self.out / "best", calibrated(made, detect_labelled(detector, self.validation.fields)))

    def _remember(self) -> None:
        made = load_checkpoint(self.out / "best")
        if made.known is None and (more := remembered(made, self.dataset.fields, self.device)) is not made:
            save_checkpoint(self.out / "best", more)

    def _train_epoch(self, on_step: Callable[[StepReport], None]) -> float:
        self.reader.train()
        self.dataset.set_epoch(self.epoch)
        self.sampler.set_epoch(self.epoch)
        total, count = 0.0, 0
        for images, labels in self._batches():
            rate = self._learning_rate()
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            loss = self._loss(images.to(self.device), labels.to(self.device), count)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.mean.update_parameters(self.reader)
            self.step += 1
            value = float(loss.detach())
            total, count = total + value, count + 1
            on_step(StepReport(self.epoch + 1, self.recipe.epochs, count, max(self.steps, count), value, rate))
        return total / max(count, 1)

    def _loss(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        recipe = self.recipe

        def of(logits: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(logits, labels, self.weights, label_smoothing=recipe.label_smoothing)

        if not recipe.mixup:
            return of(self.reader(images), labels)
        rng = np.random.default_rng([recipe.seed, self.epoch, step, 3])
        share = float(rng.beta(recipe.mixup, recipe.mixup))
        other = torch.from_numpy(rng.permutation(len(labels))).to(self.device)
        logits = self.reader(share * images + (1 - share) * images[other])
        return share * of(logits, labels) + (1 - share) * of(logits, labels[other])

    def _learning_rate(self) -> float:
        """A cosine up over the first epoch, one down over the rest."""
        whole, warm = self.steps * self.recipe.epochs, self.steps
        if self.step < warm:
            return self.recipe.learning_rate * max(0.5 - 0.5 * math.cos(math.pi * (self.step + 1) / warm), 0.02)
        share = min((self.step - warm) / max(whole - warm, 1), 1.0)
        return self.recipe.learning_rate * max(0.5 + 0.5 * math.cos(math.pi * share), 0.005)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Crops (n, 3, S, S) uint8 and labels (n,) of whole fields, `batch_size` of them or a few more."""
        crops: list[NDArray[np.uint8]] = []
        labels: list[Tensor] = []
        for place, index in enumerate(self.sampler):
            sample = self.dataset[index]
            rng = np.random.default_rng([self.recipe.seed, self.epoch, place, 2])
            boxes = shaken(sample.boxes.numpy(), self.recipe.shaken, rng)
            crops.append(self._cut(sample.image, boxes))
            labels.append(sample.labels)
            if sum(map(len, labels)) >= self.recipe.batch_size:
                yield _as_images(np.concatenate(crops)), torch.cat(labels)
                crops, labels = [], []
        # A batch norm cannot learn from the few crops that may be left over.

    def _cut(self, image: Tensor, boxes: Boxes) -> NDArray[np.uint8]:
        reader = self.recipe.reader
        return cut_cells(image.permute(1, 2, 0).numpy(), boxes, side_px=reader.crop_px, context=reader.context)

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Accuracy and mean recall of the reader on true boxes; nothing where no cell has a name."""
        network = copy.deepcopy(self.mean.module).eval()
        network.load_state_dict(self._outcome())
        named, true = [], []
        for index in range(len(self.validation)):
            sample = self.validation[index]
            if len(sample.labels):
                images = _as_images(self._cut(sample.image, sample.boxes.numpy())).to(self.device)
                named.append(network(images).argmax(dim=1).cpu().numpy())
                true.append(sample.labels.numpy())
        if not named:
            return {}
        said, is_ = np.concatenate(named), np.concatenate(true)
        recalls = [float((said[is_ == k] == k).mean()) for k in np.unique(is_)]
        return {"val_accuracy": float((said == is_).mean()), "val_recall": float(np.mean(recalls))}

    def _outcome(self) -> dict[str, Tensor]:
        """Weights of the reader, were training over now."""
        weights: dict[str, Tensor] = self.mean.module.state_dict()
        share = self.recipe.start_share
        if self.earlier is None or not share:
            return weights
        return {
            name: torch.lerp(now, self.earlier[name].to(now), share) if now.is_floating_point() else now
            for name, now in weights.items()
        }

    def _checkpoint(self, line: dict[str, Any]) -> Checkpoint:
        own = {k: v for k, v in self.start.weights.items() if not k.startswith(READER)}
        mine = {READER + k: v for k, v in self._outcome().items()}
        return replace(
            self.start,
            weights=own | mine,
            reader=self.recipe.reader,
            scale=self.scale,
            recipe={**self.start.recipe, "reading": json.loads(self.recipe.model_dump_json())},
            metrics={**self.start.metrics, **{f"reader_{k}": v for k, v in line.items() if k.startswith("val_")}},
            # What was fitted to the detector's own scores says nothing of the reader's.
            calibration=None,
            confusion=None,
            known=None,
        )

    def _save(self) -> None:
        weights = {f"now.{k}": v for k, v in self.reader.state_dict().items()}
        weights |= {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        save_state(
            self.out,
            RunState(
                model=weights,
                optimiser=self.optimiser.state_dict()["state"],
                random=random_state(),
                epoch=self.epoch,
                position=0,
                step=self.step,
                sums={},
                best=0.0,
                identity=self.identity,
            ),
        )


def _reader_of(start: Checkpoint, recipe: ReaderRecipe) -> dict[str, Tensor] | None:
    """Weights to begin with: those of the reader that `start` has, if it is built alike."""
    if start.reader is None or (start.reader.trunk, start.reader.strides) != (recipe.trunk, recipe.strides):
        return None
    earlier = start.build_reader()
    return None if earlier is None else earlier.state_dict()


def shaken(boxes: Boxes, spread: float, rng: np.random.Generator) -> Boxes:
    """Boxes (n, 4) moved and resized by chance: `spread` is the standard deviation of both, in sides."""
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    centre = centre + spread * rng.standard_normal(centre.shape) * size
    half = size / 2 * np.exp(spread * rng.standard_normal((len(boxes), 1)))
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _as_images(crops: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2)


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Norms and biases are not decayed."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
