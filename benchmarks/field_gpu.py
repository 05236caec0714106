"""`resnet101` on a GPU (`python benchmarks/field.py --gpu`): 2000 x 1500, in several ways, alone and in batches.

From pixels in pinned memory, already fitted, to boxes, labels and scores back on the CPU: what a GPU adds to or takes
from a field. Random weights. A batch is detected at once; `latency` is the time of the batch.

eager            as `TorchRuntime` runs it, float32 with TF32 products
channels_last    the same, maps pixel by pixel
bf16             channels_last under autocast to bfloat16
compiled         bf16, what is done to every pixel through torch.compile
CUDA graphs      compiled with mode="reduce-overhead", which replays a graph
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCHES = (1, 2, 4, 8, 16, 32)
SIZE = (2000, 1500)
GOAL = 60
"""Fields a second."""


def ways(device: str, seed: int) -> dict[str, Callable[[], tuple[Any, bool]]]:
    """Name -> how to build a detector, and whether it runs in bfloat16."""
    import torch

    from marrowscope.model.config import ModelRecipe
    from marrowscope.model.rcnn import CellDetector

    def built(*, last: bool, mode: str | None = None) -> Any:
        torch.manual_seed(seed)
        model = CellDetector(ModelRecipe(trunk_weights="none"), 20).eval().to(device)
        if last:
            model = model.to(memory_format=torch.channels_last)
        if mode:
            # Nothing else: suppression and pooling depend on what is found.
            model.dense = torch.compile(model.dense, mode=mode)
        return model

    return {
        "eager": lambda: (built(last=False), False),
        "channels_last": lambda: (built(last=True), False),
        "bf16": lambda: (built(last=True), True),
        "compiled": lambda: (built(last=True, mode="default"), True),
        "CUDA graphs": lambda: (built(last=True, mode="reduce-overhead"), True),
    }


def seconds_of_batch(model: Any, batch: Any, size: tuple[int, int], *, bf16: bool, repeats: int) -> list[float]:
    """Seconds of each batch, the first three left out: they compile, choose kernels and record graphs."""
    import torch

    device = next(model.parameters()).device
    seconds = []
    for _ in range(repeats + 3):
        started = time.perf_counter()
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = model.detect(batch.to(device, non_blocking=True), [size] * len(batch))
            for one in found:
                # Waits for the GPU.
                one["boxes"].cpu(), one["labels"].cpu(), one["scores"].cpu()
        seconds.append(time.perf_counter() - started)
    return seconds[3:]


def race_on_gpu(repeats: int, seed: int, out: Path | None) -> None:
    """Print the table; one line and an exit status of 2 where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        print("--gpu: torch sees no GPU here. Run it on a machine with one, and with a torch built for CUDA.")
        raise SystemExit(2)
    from marrowscope.model.rcnn import batch_images

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(seed)
    field = torch.randint(0, 256, (3, SIZE[1], SIZE[0]), dtype=torch.uint8)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {SIZE[0]} x {SIZE[1]}, seed {seed}\n")
    print("| way | batch | latency ms | fields/s | GPU GiB |\n|---|---:|---:|---:|---:|")
    rows = []
    for name, build in ways("cuda", seed).items():
        model, bf16 = build()
        rates: dict[int, float] = {}
        for size in BATCHES:
            torch.cuda.reset_peak_memory_stats()
            batch = batch_images([field] * size).pin_memory()
            try:
                spent = seconds_of_batch(model, batch, (SIZE[1], SIZE[0]), bf16=bf16, repeats=max(repeats, 10))
            except torch.OutOfMemoryError:
                break
            seconds = statistics.median(spent)
            rates[size] = size / seconds
            gib = torch.cuda.max_memory_allocated() / 2**30
            print(f"| {name} | {size} | {1000 * seconds:.1f} | {rates[size]:.1f} | {gib:.1f} |")
            rows.append({"way": name, "batch": size, "seconds": seconds, "fields_per_second": rates[size], "gib": gib})
            if rates[size] < 1.02 * max((r for s, r in rates.items() if s < size), default=0.0):
                break  # larger batches bring no more
        del model
        torch.cuda.empty_cache()
    best = max(rows, key=lambda r: float(str(r["fields_per_second"])))
    print(f"\nbest: {best['way']}, batch {best['batch']}, {best['fields_per_second']:.1f} fields/s; goal {GOAL}")
    if out:
        about = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "size": SIZE, "seed": seed}
        out.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
