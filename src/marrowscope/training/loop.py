"""Training: fields in, checkpoints out.

RUN/best and RUN/last are checkpoints; RUN/log.jsonl has one line an epoch; RUN/tensorboard the same as curves;
RUN/state.safetensors is what `--resume` reads. Chance depends on (seed, epoch, field) and on torch's generator, whose
state is saved, so a resumed run ends with the very weights of an uninterrupted one on the CPU.
"""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from marrowscope.cells.boxes import Boxes, as_boxes
from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.cells.files import write_atomically
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.data.looks import fields_seen, pictures
from marrowscope.detect.torch_runtime import TorchDetector
from marrowscope.errors import BadInput, TrainingDiverged
from marrowscope.evaluation.thresholds import choose_threshold
from marrowscope.model.anchors import fit_anchor_sizes
from marrowscope.model.checkpoint import Checkpoint, level_shift, levelled, save_checkpoint
from marrowscope.model.rcnn import CellDetector, batch_images
from marrowscope.training.calibrating import calibrated, moved
from marrowscope.training.dataset import FieldDataset, Sample, collate
from marrowscope.training.recipe import Recipe
from marrowscope.training.sampling import EpochSampler, repeat_factors
from marrowscope.training.state import (
    STATE,
    RunState,
    agree,
    identity_of,
    load_state,
    random_state,
    require_unused,
    save_state,
)
from marrowscope.training.validation import detect_labelled

LOG = "log.jsonl"
PATIENCE = timedelta(hours=6)
"""How long processes wait for one another: the first validates alone, and the usual ten minutes may be too short."""


@dataclass(frozen=True)
class StepReport:
    """Where a run stands after a step: steps and epochs from 1."""

    epoch: int
    epochs: int
    step_in_epoch: int
    steps_in_epoch: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class Run:
    """What training left behind: the folder, and the log's last line."""

    folder: Path
    last: dict[str, Any]


def learning_rate(recipe: Recipe, step: int, steps_in_epoch: int) -> float:
    """The learning rate of optimiser step `step`, counted from 0; a function of nothing else, so it resumes itself."""
    whole = steps_in_epoch * recipe.epochs
    if recipe.schedule == "one cycle":
        warmup = min(recipe.warmup_iterations, whole // 4)
        if step < warmup:
            share = 0.5 - 0.5 * math.cos(math.pi * (step + 1) / warmup)
            return recipe.learning_rate * max(share, 0.02)
        share = (step - warmup) / max(whole - warmup, 1)
        return recipe.learning_rate * max(0.5 + 0.5 * math.cos(math.pi * share), 0.001)
    warm = min(1.0, 0.1 + 0.9 * step / recipe.warmup_iterations) if recipe.warmup_iterations else 1.0
    return float(recipe.learning_rate * warm * recipe.step_factor ** (step // steps_in_epoch // recipe.step_epochs))


def fitted(recipe: Recipe, dataset: FieldDataset) -> Recipe:
    """The recipe with `anchor_sizes = "fit"` replaced by sizes fitted to the dataset's boxes."""
    if recipe.model.anchor_sizes != "fit":
        return recipe
    sizes = fit_anchor_sizes(_all_boxes(dataset), len(recipe.model.strides))
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"anchor_sizes": sizes})})


def _all_boxes(dataset: FieldDataset) -> Boxes:
    return as_boxes([box for field in dataset.boxes_per_field for box in field])


def train(
    fields: Sequence[LabelledField],
    validation: Sequence[LabelledField],
    taxonomy: Taxonomy,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None,
) -> Run:
    """Train a detector by the recipe; see the module's text for what is left in `out`.

    Under `torchrun` each process takes its share of every epoch, and the first one validates and writes
    (docs/training-on-many-machines.md). All must be given the same, and see the same `out`, else BadInput.

    BadInput without training fields or where `out` already holds a run and `resume` is false. BadRecipe where a
    resumed run would not be the same run. TrainingDiverged, naming the fields, when a loss is not finite.
    """
    if not any(len(f.boxes) for f in fields):
        raise BadInput("no labelled cell to train on. Check the folder with `marrowscope data check`.")
    accelerator = Accelerator(
        mixed_precision=recipe.precision,
        gradient_accumulation_steps=recipe.accumulate,
        cpu=device == "cpu",
        dataloader_config=DataLoaderConfiguration(),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if resume and not (out / STATE).is_file():
        resume = False  # killed before its first save: the run starts over
    if not resume and accelerator.is_main_process:
        require_unused(out)
    torch.manual_seed(recipe.seed)
    dataset = FieldDataset(
        fields,
        taxonomy,
        size=recipe.model.input_size,
        augmentation=recipe.augmentation,
        seed=recipe.seed,
        cache_gib=recipe.cache_gib,
    )
    recipe = fitted(recipe, dataset)
    identity = identity_of(recipe, fields, taxonomy, processes=accelerator.num_processes)
    state = load_state(out) if resume else None
    agree(accelerator, identity, state)
    trainer = _Trainer(recipe, identity, dataset, list(validation), taxonomy, Path(out), accelerator, on_step, on_epoch)
    if state is not None:
        trainer.take_up(state)
    return trainer.run()


class _Trainer:
    """One run. What it holds between steps is exactly a `RunState`."""

    def __init__(
        self,
        recipe: Recipe,
        identity: dict[str, Any],
        dataset: FieldDataset,
        validation: list[LabelledField],
        taxonomy: Taxonomy,
        out: Path,
        accelerator: Accelerator,
        on_step: Callable[[StepReport], None],
        on_epoch: Callable[[dict[str, Any]], None],
    ) -> None:
        self.recipe, self.identity = recipe, identity
        self.dataset, self.validation, self.taxonomy = dataset, validation, taxonomy
        self.out, self.accelerator, self.on_step, self.on_epoch = out, accelerator, on_step, on_epoch
        detector = CellDetector(recipe.model, len(taxonomy)).to(memory_format=torch.channels_last)
        self.optimiser = _optimiser(recipe, detector)
        self.model: nn.Module
        self.model, self.optimiser = accelerator.prepare(detector, self.optimiser)
        repeats = repeat_factors(dataset.labels_per_field, recipe.repeat_factor) if recipe.repeat_factor else None
        self.sampler = EpochSampler(len(dataset), seed=recipe.seed, repeats=repeats)
        self.epoch = self.position = self.step = 0
        self.sums: dict[str, float] = {}
        self.best = -1.0

    def take_up(self, state: RunState) -> None:
        """Go on from a saved state, if it is of this very run."""
        state.require(self.identity, self.out)
        bare = self.accelerator.unwrap_model(self.model)
        bare.load_state_dict(state.model)
        packed = self.optimiser.state_dict()
        packed["state"] = state.optimiser
        self.optimiser.load_state_dict(packed)
        torch.set_rng_state(state.random)
        self.epoch, self.position, self.step = state.epoch, state.position, state.step
        self.sums, self.best = dict(state.sums), state.best

    def run(self) -> Run:
        """Every epoch that is still to come."""
        last: dict[str, Any] = {}
        if self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            lines = kept_lines(self.out / LOG, self.epoch)
            last = lines[-1] if lines else {}
            write_atomically(self.out / LOG, "".join(json.dumps(line) + "\n" for line in lines))
            write_atomically(self.out / "recipe.json", self.recipe.model_dump_json(indent=2) + "\n")
        while self.epoch < self.recipe.epochs:
            started = time.monotonic()
            self._train_epoch()
            seconds = time.monotonic() - started
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                last = self._close_epoch(seconds)
            self.epoch, self.position, self.sums = self.epoch + 1, 0, {}
            self._save()
        return Run(self.out, last)

    @property
    def steps_in_epoch(self) -> int:
        """Optimiser steps of an epoch without repeats, from which the schedule is drawn."""
        per_step = self.recipe.batch_size * self.recipe.accumulate * self.accelerator.num_processes
        return max(math.ceil(len(self.dataset) / per_step), 1)

    def _batches(self) -> tuple[Iterator[list[Sample]], int]:
        """What is left of the epoch for this process, and how many batches that is."""
        self.dataset.set_epoch(self.epoch)
        self.sampler.set_epoch(self.epoch)
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        order = self.sampler.order()
        # Every process takes as many fields as the others: DDP waits for all of them at each step.
        even = np.resize(order, -(-len(order) // ranks) * ranks).tolist()
        mine = even[rank::ranks][self.position :]
        workers = min(self.recipe.workers, len(mine))
        loader = DataLoader(
            self.dataset,
            batch_size=self.recipe.batch_size,
            sampler=mine,
            num_workers=workers,
            collate_fn=collate,
            generator=torch.Generator(),  # its own, so that starting workers leaves torch's alone
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_interrupts_to_the_parent,
        )
        return iter(loader), len(loader)

    def _train_epoch(self) -> None:
        self.model.train()
        batches, count = self._batches()
        done = self.position // self.recipe.batch_size
        saved = time.monotonic()
        for number, samples in enumerate(batches, 1):
            rate = learning_rate(self.recipe, self.step, self.steps_in_epoch)
            for group in self.optimiser.param_groups:
                group["lr"] = rate * group["times"]
            with self.accelerator.accumulate(self.model):
                losses = self._losses(samples)
                self.accelerator.backward(losses["total"])
                if self.accelerator.sync_gradients and self.recipe.clip_norm:
                    self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
                self.optimiser.step()
                self.optimiser.zero_grad()
            self.position += len(samples)
            for name, value in losses.items():
                self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
            self.sums["batches"] = self.sums.get("batches", 0.0) + 1
            total = float(losses["total"].detach())
            self.on_step(StepReport(self.epoch + 1, self.recipe.epochs, done + number, done + count, total, rate))
            if self.accelerator.sync_gradients:
                self.step += 1
                if time.monotonic() - saved > 60 * self.recipe.save_minutes:
                    self._save()
                    saved = time.monotonic()

    def _losses(self, samples: list[Sample]) -> dict[str, Tensor]:
        device = self.accelerator.device
        images = batch_images([s.image for s in samples]).to(device, non_blocking=True)
        sizes = [(s.image.shape[1], s.image.shape[2]) for s in samples]
        targets = [{k: getattr(s, k).to(device) for k in ("boxes", "labels", "ignored")} for s in samples]
        names = ", ".join(s.name for s in samples)
        try:
            losses: dict[str, Tensor] = self.model(images, sizes, targets)
        except TrainingDiverged as e:
            raise TrainingDiverged(f"epoch {self.epoch + 1}, fields {names}: {e}") from e
        if not torch.isfinite(losses["total"]):
            raise TrainingDiverged(
                f"epoch {self.epoch + 1}, fields {names}: the loss is {float(losses['total'])}. Look at these fields, "
                "or lower learning_rate; the last good state is kept."
            )
        return losses

    def _close_epoch(self, seconds: float) -> dict[str, Any]:
        batches = self.sums.pop("batches", 1.0)
        line: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "seconds": round(seconds, 2),
            "learning_rate": learning_rate(self.recipe, max(self.step - 1, 0), self.steps_in_epoch),
            "loss": {k: v / batches for k, v in sorted(self.sums.items())},
        }
        bare = self.accelerator.unwrap_model(self.model)
        checkpoint = Checkpoint(
            weights=bare.state_dict(),
            model=self.recipe.model,
            taxonomy=self.taxonomy,
            recipe=json.loads(self.recipe.model_dump_json()),
            data_hash=self.identity["data_hash"],
            epoch=self.epoch + 1,
            scale=self.dataset.scale,
            fields_seen=self._fields_seen,
        )
        if self.validation:
            checkpoint = self._validated(checkpoint, bare)
        line |= {**checkpoint.metrics, "score_threshold": checkpoint.score_threshold}
        save_checkpoint(self.out / "last", checkpoint)
        score = line.get("val_ap50", float(self.epoch + 1))
        if score > self.best or math.isnan(score):
            self.best = score
            save_checkpoint(self.out / "best", checkpoint)
        with (self.out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        _to_tensorboard(self.out / "tensorboard", line)
        self.on_epoch(line)
        return line

    @cached_property
    def _fields_seen(self) -> FieldsSeen:
        """How the training fields look."""
        return fields_seen(pictures([field.image_path for field in self.dataset.fields]))

    def _validated(self, checkpoint: Checkpoint, model: CellDetector) -> Checkpoint:
        """The checkpoint levelled and calibrated on the validation fields, with its figures there."""
        started = time.monotonic()
        pairs = detect_labelled(TorchDetector(model, self.taxonomy, device=self.accelerator.device), self.validation)
        raw = replace(checkpoint, score_threshold=choose_threshold(pairs).score)
        # Levelling moves every logit alike, so what the levelled detector says need not be detected again.
        done = calibrated(levelled(raw), moved(pairs, level_shift(raw)))
        return replace(done, metrics={**done.metrics, "val_seconds": round(time.monotonic() - started, 2)})

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        save_state(
            self.out,
            RunState(
                model=self.accelerator.unwrap_model(self.model).state_dict(),
                optimiser=self.optimiser.state_dict()["state"],
                random=random_state(),
                epoch=self.epoch,
                position=self.position,
                step=self.step,
                sums=self.sums,
                best=self.best,
                identity=self.identity,
            ),
        )


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; only the one that trains should speak of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _optimiser(recipe: Recipe, detector: CellDetector) -> torch.optim.Optimizer:
    # Biases and norms are not decayed by AdamW; SGD decays all, as the paper's does.
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim > 1 or recipe.optimiser == "sgd"
            groups.setdefault((name.startswith("trunk."), decayed), []).append(parameter)
    described = [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
            "times": recipe.trunk_learning_rate if in_trunk else 1.0,
        }
        for (in_trunk, decayed), parameters in groups.items()
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(described, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(described, lr=recipe.learning_rate)


def kept_lines(path: Path, epochs: int) -> list[dict[str, Any]]:
    """The log's lines of the epochs that the state knows of: a line may be newer, or cut short by a power cut."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if line["epoch"] <= epochs:
            lines.append(line)
    return lines


def _to_tensorboard(folder: Path, line: dict[str, Any]) -> None:
    with SummaryWriter(str(folder)) as writer:
        for name, value in line["loss"].items():
            writer.add_scalar(f"loss/{name}", value, line["epoch"])
        for name, value in line.items():
            if isinstance(value, int | float) and name != "epoch":
                writer.add_scalar(name, value, line["epoch"])
