"""Ranking among two processes: what each holds, drawn from seeds, and what they do in processes of their own."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from helpers.tiny import paint, tiny_recipe
from marrowscope.model.processes import Processes
from marrowscope.model.ranksort import rank_sort_loss
from marrowscope.model.rcnn import CellDetector, batch_images

OPTIONS = [(0.5, 0.5), (1.0, 0.0), (0.0, 0.25)]
"""(sort_weight, step_width)."""
SHARES = {
    "both hold positives": ((40, 0.3), (25, 0.4)),
    "one holds no positive": ((30, 0.0), (20, 0.5)),
    "one holds nothing": ((0, 0.0), (35, 0.3)),
    "one holds positives alone": ((12, 1.0), (300, 0.02)),
    "no positive anywhere": ((9, 0.0), (4, 0.0)),
    "nothing anywhere": ((0, 0.0), (0, 0.0)),
}
"""For each process how many entries it holds, and the share of positives."""
FIELDS = {"cells in both": (1, 2), "one without cells": (1, -2), "no cells at all": (-1, -2)}
"""Seeds of one field for each process; negative: its cells are not labelled."""


def entries(name: str, place: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, IoUs, positive and ignore of a process."""
    count, share = SHARES[name][place]
    rng = np.random.default_rng([place, *name.encode()])
    logits = np.round(rng.normal(size=count), 1)  # with ties, between the processes too
    positive = rng.random(count) < share
    ious = np.where(positive, np.round(rng.random(count), 1), 0.0)
    ignore = ~positive & (rng.random(count) < 0.1)
    return torch.tensor(logits), torch.tensor(ious), torch.tensor(positive), torch.tensor(ignore)


def loss_and_gradient(parts: tuple[Tensor, ...], options: tuple[float, float], together: Processes) -> list[Tensor]:
    """Total, ranking, sorting and the gradient of the total, in one row."""
    logits, ious, positive, ignore = parts
    leaf = logits.clone().requires_grad_()
    loss = rank_sort_loss(
        leaf, ious, positive, ignore=ignore, sort_weight=options[0], step_width=options[1], together=together
    )
    (gradient,) = torch.autograd.grad(loss.total, leaf)
    return [loss.total.detach(), loss.ranking, loss.sorting, gradient]


def detector_of(scope: str) -> CellDetector:
    torch.manual_seed(0)
    settings = ("model.anchor_sizes=[[16], [22], [30]]", "model.trunk_norm=frozen", f"model.ranking_scope={scope}")
    return CellDetector(tiny_recipe(*settings).model, 2).train()


def step(network: torch.nn.Module, seeds: tuple[int, ...]) -> dict[str, Tensor]:
    """The losses of a training step on the fields with these seeds, after its backward pass."""
    fields = [paint(abs(seed)) for seed in seeds]
    images = [torch.from_numpy(field.pixels).permute(2, 0, 1) for field, _ in fields]
    targets = [
        {
            "boxes": torch.from_numpy(truth.boxes)[: None if seed > 0 else 0],
            "labels": torch.from_numpy(truth.labels)[: None if seed > 0 else 0],
            "ignored": torch.zeros(0, 4),
        }
        for seed, (_, truth) in zip(seeds, fields, strict=True)
    ]
    losses: dict[str, Tensor] = network(batch_images(images), [(i.shape[1], i.shape[2]) for i in images], targets)
    losses["total"].backward()
    return {name: value.detach() for name, value in losses.items()}


def gradients(detector: CellDetector) -> Tensor:
    return torch.cat([p.grad.flatten() for p in detector.parameters() if p.grad is not None])


def work(place: int) -> dict[str, Tensor]:
    """Everything that two processes are asked, in one start of them: importing torch is what costs."""
    told = {}
    for name in SHARES:
        for number, options in enumerate(OPTIONS):
            parts = loss_and_gradient(entries(name, place), options, Processes(2, place))
            told |= {f"{name}/{number}/{i}": part for i, part in enumerate(parts)}
    for scope, name in [("process", "cells in both"), *(("all processes", name) for name in FIELDS)]:
        detector = detector_of(scope)
        losses = step(DistributedDataParallel(detector), (FIELDS[name][place],))
        told |= {f"{scope}/{name}/{k}": v for k, v in losses.items()}
        told[f"{scope}/{name}/gradients"] = gradients(detector)
    return told


def _begin(place: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=place, world_size=2)
    save_file(work(place), folder / f"{place}.safetensors")
    distributed.destroy_process_group()


def run_two(folder: Path) -> list[dict[str, Tensor]]:
    """What the two processes told."""
    torch.multiprocessing.spawn(_begin, args=(folder,), nprocs=2)
    return [load_file(folder / f"{place}.safetensors") for place in (0, 1)]
