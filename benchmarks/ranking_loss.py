"""The ranking loss, value and gradient, against the plain loop over positives, both in one run.

    python benchmarks/ranking_loss.py                      # one thread, seed 0, 9 repeats
    python benchmarks/ranking_loss.py --threads 2 --repeats 25

The loop is `tests/oracles/rank_sort_loop.py`: one vectorised pass over the relevant logits a positive, in float32, as
the loss is usually written. It hands back a finished gradient and pays nothing for autograd; ours is timed through
`backward()`. Times are CPU time of the process, and the two take turns, so that a busy machine disturbs little, and
both alike. Three situations:

early      all logits ~ N(0, .1), as a new detector gives them: every negative is relevant, nearly all within every ramp
trained    positives ~ N(2, 1), negatives ~ N(-6, 1): few negatives are relevant
spread     all logits ~ N(0, 2): every negative is relevant and they lie anywhere, which is the worst case for us

`extra` is the most tensor memory a call holds beyond its inputs, in vectors of M float32 (the gradient itself is one)
and in MiB; small rows are dominated by one block of the P x P table. `differs`: largest difference of two gradients.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's share of the work; --threads sets torch's

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from marrowscope.model.ranksort import rank_sort_loss

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from oracles.rank_sort_loop import rank_sort_loop

SIZES = ((100, 10_000), (300, 21_000), (500, 50_000), (2000, 268_000), (60, 757_000))
FLOORS = {"early": (10, 10, 10, 8, 3)}


def draw(situation: str, positives: int, negatives: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, IoUs and the mask of positives, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    count = positives + negatives
    positive = torch.zeros(count, dtype=torch.bool)
    positive[torch.randperm(count, generator=generator)[:positives]] = True
    noise = torch.randn(count, generator=generator)
    ious = torch.rand(count, generator=generator) * 0.5 + 0.5
    match situation:
        case "early":
            return noise * 0.1, ious, positive
        case "spread":
            return noise * 2, ious, positive
        case _:
            return torch.where(positive, noise + 2, noise - 6), ious, positive


def seconds_of(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@contextmanager
def silent_stderr() -> Iterator[None]:
    """The profiler reports its own comings and goings from C++; what we print goes to stdout."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def peak_bytes(work: Callable[[], object]) -> int:
    """Most tensor memory held at once, as torch's allocator reports it (NumPy's masks and indices not included)."""
    with silent_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    held = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    table = Table("situation", "P", "N", title="CPU milliseconds, value + gradient: median (fastest)")
    for name in ("loop", "ours", "times faster", "floor", "extra", "differs"):
        table.add_column(name, justify="right")
    for situation in ("early", "trained", "spread"):
        for row, (positives, negatives) in enumerate(SIZES):
            logits, ious, positive = draw(situation, positives, negatives, options.seed)
            leaf = logits.clone().requires_grad_()

            def ours(leaf: Tensor = leaf, ious: Tensor = ious, positive: Tensor = positive) -> None:
                leaf.grad = None
                rank_sort_loss(leaf, ious, positive).total.backward()

            def loop(logits: Tensor = logits, ious: Tensor = ious, positive: Tensor = positive) -> Tensor:
                return rank_sort_loop(logits, ious, positive)[2]

            ours()
            differs = (loop() - leaf.grad).abs().max().item()
            loop_s, ours_s = [], []
            for _ in range(options.repeats):
                loop_s.append(seconds_of(loop))
                ours_s += [seconds_of(ours) for _ in range(3)]
            ratio = statistics.median(loop_s) / statistics.median(ours_s)
            leaf.grad = None
            extra = peak_bytes(ours)
            floor = f"{FLOORS[situation][row]}" if situation in FLOORS else ""
            table.add_row(
                situation,
                f"{positives:,}",
                f"{negatives:,}",
                *(f"{statistics.median(s) * 1e3:.2f} ({min(s) * 1e3:.2f})" for s in (loop_s, ours_s)),
                f"{ratio:.1f} ({min(loop_s) / min(ours_s):.1f})",
                floor,
                f"{extra / 4 / len(logits):.1f} ({extra / 2**20:.1f} MiB)",
                f"{differs:.0e}",
            )

    console = Console(width=max(120, Console().width))
    console.print(
        f"Python {platform.python_version()}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{os.cpu_count()} cores, threads {options.threads}, seed {options.seed}, repeats {options.repeats}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    console.print(table)


if __name__ == "__main__":
    main()
