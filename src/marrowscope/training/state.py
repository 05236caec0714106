"""The state of a run between two steps, in one file: kill -9 at any moment, and `--resume` goes on bit for bit.

Weights, optimiser moments and random state are tensors in safetensors; where the run stands is JSON in the header.
One file, renamed into place, cannot disagree with itself.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from marrowscope.cells.files import replacing
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.labelled import LabelledField, data_hash
from marrowscope.errors import BadCheckpoint, BadInput, BadRecipe
from marrowscope.training.recipe import Recipe

STATE = "state.safetensors"


@dataclass(frozen=True, eq=False)
class RunState:
    """epoch: the one under way, from 0. position: fields of it already seen by each process. sums: its loss so far."""

    model: dict[str, Tensor]
    optimiser: dict[int, dict[str, Any]]
    random: Tensor
    epoch: int
    position: int
    step: int
    sums: dict[str, float]
    best: float
    identity: dict[str, Any]
    """What must be the same for a run to go on: recipe, data hash, classes."""

    def require(self, identity: dict[str, Any], folder: Path) -> None:
        """BadRecipe where this is the state of another run than the one that was asked for."""
        for key, now in identity.items():
            if self.identity.get(key) != now:
                raise BadRecipe(
                    f"{folder}: cannot resume, {key} differs from the run begun there. "
                    "Give the same data and recipe, or start another run."
                )


def require_unused(folder: Path) -> None:
    """BadInput where a run was begun in this folder."""
    if (folder / STATE).exists():
        raise BadInput(f"{folder}: holds a run already. Pass --resume to go on with it, or choose another folder.")


def identity_of(
    recipe: Recipe, fields: Sequence[LabelledField], taxonomy: Taxonomy, *, processes: int
) -> dict[str, Any]:
    """What must be the same for a run to go on, as JSON has it."""
    return {
        # How often the state is saved, and by how many hands samples are made, changes no weight.
        "recipe": json.loads(recipe.model_dump_json(exclude={"workers", "cache_gib", "save_minutes"})),
        "data_hash": data_hash(fields),
        "classes": list(taxonomy.names),
        "processes": processes,
    }


def agree(accelerator: Accelerator, identity: dict[str, Any], state: RunState | None) -> None:
    """BadInput where the processes do not see one run: they would wait for each other, or train apart."""
    place = None if state is None else (state.epoch, state.position, state.step)
    digest = hashlib.sha256(json.dumps([identity, place], sort_keys=True).encode()).digest()
    mine = torch.tensor([int.from_bytes(digest[:7], "big")], device=accelerator.device)
    if len(accelerator.gather(mine).unique()) > 1:
        raise BadInput(
            "the training processes do not see the same fields, recipe and run. Give every machine the same folder of "
            "fields, the same options, and an --out that all of them share."
        )


def save_state(folder: Path, state: RunState) -> None:
    """Write aside, fsync, rename."""
    tensors = {f"model.{k}": v for k, v in state.model.items()} | {"random": state.random}
    numbers: dict[str, dict[str, float]] = {}
    for index, entries in state.optimiser.items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{name}"] = value
            elif value is not None:
                numbers.setdefault(str(index), {})[name] = value
    header = {
        "epoch": state.epoch,
        "position": state.position,
        "step": state.step,
        "sums": state.sums,
        "best": state.best,
        "identity": state.identity,
        "optimiser": numbers,
    }
    copies = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with replacing(folder / STATE) as aside:
        save_file(copies, aside, metadata={"state": json.dumps(header)})


def load_state(folder: Path) -> RunState:
    """Read what `save_state` wrote. BadCheckpoint where there is none or it is not whole."""
    path = folder / STATE
    if not path.is_file():
        raise BadCheckpoint(f"{folder}: no {STATE} to resume from. Start the run without --resume.")
    try:
        with safe_open(path, framework="pt") as opened:
            header = json.loads(opened.metadata()["state"])
            tensors = {k: opened.get_tensor(k) for k in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as e:
        raise BadCheckpoint(f"{path}: not readable ({e}). Start the run anew in another folder.") from None
    optimiser: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in header["optimiser"].items()}
    model = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "model":
            model[rest] = value
        elif kind == "optimiser":
            index, _, name = rest.partition(".")
            optimiser.setdefault(int(index), {})[name] = value
    return RunState(
        model=model,
        optimiser=optimiser,
        random=tensors["random"],
        epoch=header["epoch"],
        position=header["position"],
        step=header["step"],
        sums=header["sums"],
        best=header["best"],
        identity=header["identity"],
    )


def random_state() -> Tensor:
    """State of torch's generator on the CPU, from which the baseline draws its samples."""
    return torch.get_rng_state()
