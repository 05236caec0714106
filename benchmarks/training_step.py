"""One training step with the ranked losses against the softmax baseline, and what the loader gives, both in one run.

    python benchmarks/training_step.py                      # recipe `light`, two cores, seed 0
    python benchmarks/training_step.py --recipe blood
    python benchmarks/training_step.py --recipe light --profile

A step is forward, backward, clipping and the optimiser, as `training.loop` does it, on the same batches for both. The
baseline is the same recipe with `model.loss=softmax`: the same trunk, pyramid, proposals and head; its RPN learns from
256 sampled anchors an image, its heads from at most 512 proposals, which are all of them where the recipe makes 200.
The two take turns, the first --warm steps are not counted, and both learn as they go: so do the logits spread, as far
as so few steps spread them. What decides is the median of the ratios of neighbouring steps, in CPU time of the process
(the wall clock is printed too), so that a busy machine disturbs little, and both alike.

Fields are drawn from the seed at --field pixels and come through `FieldDataset` with the recipe's augmentation. The
last table says how many samples one process makes a second, first (decoded from JPEG) and from memory, against what
the steps consume.

parts: time inside a module's forward; `matching, ranking` is what is left of RPN and heads: labels of anchors or
proposals, decoding, NMS, losses. The gradient of every part is in `backward`.
"""

import argparse
import hashlib
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
import torchvision
from torch import nn
from torch.profiler import ProfilerActivity, profile

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.model.rcnn import CellDetector, batch_images
from marrowscope.smear.field import draw_field
from marrowscope.training.dataset import FieldDataset, Sample
from marrowscope.training.loop import fitted
from marrowscope.training.recipe import Recipe, load_recipe

LOSSES = ("ranked", "softmax")
WITHIN = 1.1
"""The goal: a ranked step costs at most this many softmax steps."""


class Stopwatch:
    """CPU seconds (of all threads) by part; parts may lie within one another."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge what happens inside to this part."""
        started = time.process_time()
        yield
        self.spent[name].append(time.process_time() - started)

    def watch(self, name: str, module: nn.Module) -> None:
        """Charge a module's forward to this part."""
        started: list[float] = []
        module.register_forward_pre_hook(lambda *_: started.append(time.process_time()))
        module.register_forward_hook(lambda *_: self.spent[name].append(time.process_time() - started.pop()))

    def clear(self) -> None:
        """Forget what was measured."""
        self.spent.clear()

    def median_ms(self, name: str) -> float:
        """Of all steps."""
        return 1000 * statistics.median(self.spent[name])


class Contender:
    """A detector in training under one loss."""

    def __init__(self, recipe: Recipe, classes: int) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = CellDetector(recipe.model, classes).to(memory_format=torch.channels_last).train()
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser: torch.optim.Optimizer
        if recipe.optimiser == "sgd":
            self.optimiser = torch.optim.SGD(learned, lr=recipe.learning_rate / 10, momentum=recipe.momentum)
        else:
            self.optimiser = torch.optim.AdamW(learned, lr=recipe.learning_rate / 10)
        self.watch = Stopwatch()
        self.wall: list[float] = []
        model = self.model
        for name, module in {
            "trunk": model.trunk,
            "pyramid": model.pyramid,
            "RPN convolutions": model.proposals.head,
            "RPN": model.proposals,
            "RoIAlign": model.heads.box_roi_pool,
            "box head": model.heads.box_head,
            "heads": model.heads,
        }.items():
            self.watch.watch(name, module)

    def step(self, samples: Sequence[Sample]) -> None:
        """Learn from one batch."""
        started = time.perf_counter()
        with self.watch.part("step"):
            images = batch_images([s.image for s in samples])
            sizes = [(s.image.shape[1], s.image.shape[2]) for s in samples]
            targets = [{k: getattr(s, k) for k in ("boxes", "labels", "ignored")} for s in samples]
            with self.watch.part("forward"):
                losses = self.model(images, sizes, targets)
            with self.watch.part("backward"):
                losses["total"].backward()
            with self.watch.part("optimiser"):
                if self.recipe.clip_norm:
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
                self.optimiser.step()
                self.optimiser.zero_grad()
        self.wall.append(time.perf_counter() - started)

    def parts(self) -> dict[str, float]:
        """Median CPU ms of each part, apart from one another."""
        ms = self.watch.median_ms
        inside = {n: ms(n) for n in ("trunk", "pyramid", "RPN convolutions", "RoIAlign", "box head")}
        rest = ms("RPN") - inside["RPN convolutions"] + ms("heads") - inside["RoIAlign"] - inside["box head"]
        return inside | {"matching, ranking": rest, "backward": ms("backward"), "optimiser": ms("optimiser")}


def draw_fields(folder: Path, count: int, size: tuple[int, int], seed: int) -> list[LabelledField]:
    fields = []
    for number in range(count):
        image, truth = draw_field(seed + number, width=size[0], height=size[1])
        path = folder / f"{image.name}.jpg"
        path.write_bytes(simplejpeg.encode_jpeg(image.pixels, quality=92))
        names = [truth.taxonomy[int(x)].name for x in truth.labels]
        fields.append(LabelledField(image.name, path, *size, truth.boxes, tuple(names), np.zeros(len(names), np.bool_)))
    return fields


def loaded(dataset: FieldDataset) -> tuple[list[Sample], float, float]:
    """All samples, with CPU seconds a sample when decoded and when kept in memory."""
    seconds, samples = [], []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        started = time.process_time()
        samples = [dataset[i] for i in range(len(dataset))]
        seconds.append((time.process_time() - started) / len(dataset))
    return samples, seconds[0], seconds[1]


def show(contenders: dict[str, Contender]) -> None:
    print("\n| CPU ms, median | " + " | ".join(LOSSES) + " |\n|---|---:|---:|")
    rows = {name: c.parts() for name, c in contenders.items()}
    for part in rows[LOSSES[0]]:
        print(f"| {part} | " + " | ".join(f"{rows[name][part]:.1f}" for name in LOSSES) + " |")
    print("| **step** | " + " | ".join(f"**{contenders[n].watch.median_ms('step'):.1f}**" for n in LOSSES) + " |")
    wall = {n: 1000 * statistics.median(contenders[n].wall) for n in LOSSES}
    print("| step, wall clock | " + " | ".join(f"{wall[n]:.1f}" for n in LOSSES) + " |")
    ours, theirs = (contenders[n] for n in LOSSES)
    pairs = zip(ours.watch.spent["step"], theirs.watch.spent["step"], strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    wall_ratio = statistics.median(a / b for a, b in zip(ours.wall, theirs.wall, strict=True))
    print(f"\nranked / softmax: {ratio:.3f} in CPU time, {wall_ratio:.3f} by the wall clock; goal {WITHIN} or less")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="light", help="a shipped recipe or a TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--field", type=int, nargs=2, default=(1408, 1056), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--warm", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=24)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="also the operators of one step of each")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)  # as in a worker of the loader
    recipe = load_recipe(options.recipe).changed([*options.set, f"seed={options.seed}"])
    taxonomy = load_taxonomy("liu2022")
    with tempfile.TemporaryDirectory() as folder:
        fields = draw_fields(Path(folder), options.fields, (options.field[0], options.field[1]), options.seed)
        sha = hashlib.sha256(b"".join(f.image_path.read_bytes() for f in fields)).hexdigest()[:12]
        dataset = FieldDataset(
            fields, taxonomy, size=recipe.model.input_size, augmentation=recipe.augmentation, seed=recipe.seed
        )
        recipe = fitted(recipe, dataset)
        samples, first_s, cached_s = loaded(dataset)
    size = recipe.batch_size
    batches = [[samples[(i + k) % len(samples)] for k in range(size)] for i in range(0, len(samples), size)]
    contenders = {n: Contender(recipe.changed([f"model.loss={n}"]), len(taxonomy)) for n in LOSSES}
    for number in range(options.warm + options.repeats):
        if number == options.warm:
            for contender in contenders.values():
                contender.watch.clear()
                contender.wall.clear()
        order = LOSSES if number % 2 else LOSSES[::-1]
        for name in order:
            contenders[name].step(batches[number % len(batches)])
    model = recipe.model
    print(
        f"recipe {recipe.name}: {model.trunk}, {model.input_size[0]} x {model.input_size[1]}, batch {size}, "
        f"{model.training_proposals} proposals, {len(taxonomy)} classes; {options.fields} drawn fields of "
        f"{options.field[0]} x {options.field[1]} (sha256 {sha}), seed {options.seed}\n"
        f"{options.repeats} steps after {options.warm}; torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}, "
        f"{options.threads} threads, load {os.getloadavg()[0]:.1f}"
    )
    show(contenders)
    step_s = contenders["ranked"].watch.median_ms("step") / 1000
    print("\n| one loading process | samples/s | a step consumes/s | share of a step |\n|---|---:|---:|---:|")
    for what, seconds in (("first epoch, from JPEG", first_s), ("from memory", cached_s)):
        share = seconds * size / step_s
        print(f"| {what} | {1 / seconds:.0f} | {size / step_s * options.threads:.1f} | {100 * share:.1f} % |")
    if options.profile:
        for name, contender in contenders.items():
            with profile(activities=[ProfilerActivity.CPU], record_shapes=False) as recorded:
                contender.step(batches[0])
            print(f"\n{name}\n{recorded.key_averages().table(sort_by='self_cpu_time_total', row_limit=25)}")


if __name__ == "__main__":
    main()
