"""One field from a JPEG on disk to JSON on disk: every runtime, and torchvision's own Faster R-CNN, in one run.

    python benchmarks/field.py                              # 4000 x 3000, two cores, seed 0, 5 rounds
    python benchmarks/field.py --light real --light RUN/best --json field.json
    python benchmarks/field.py --only light                 # or torchvision, resnet101, folder
    python benchmarks/field.py --picture a.jpg              # instead of a drawn one, whose cells leave `real` in doubt
    python benchmarks/field.py --gpu                        # resnet101 at 2000 x 1500 on a GPU

torchvision eager   FasterRCNN on `resnet_fpn_backbone("resnet101")`, 1344 x 1024, all else as torchvision has it:
                    Pillow decodes, `GeneralizedRCNNTransform` normalises and resizes. Random weights.
resnet101           ours at 1344 x 1024, ranked, the same trunk, random weights, through `detect_paths`
light detectors     every --light NAME, else the shipped `demo` and `real`; through `detect_paths`, in every runtime
                    and in 8 bits, calibrated on the field itself: that is enough for the time, not for the accuracy

Random weights cost the time of trained ones in every convolution and product, but not in what follows: torchvision may
find no score of .05 or many, while our 1000 proposals, 1000 candidates for NMS and 100 cells are always reached. The
field is drawn from the seed and written once (quality 92).

Each contender lives in a process of its own, held to --threads cores, and they take turns, so that whatever else the
machine does hits all; the first round is not counted. `resident` is the most memory that process ever held (VmHWM, of
the program with its libraries; before FLOPs are counted). `GFLOP` are those of convolutions and products that torch
counts; the share of the peak is GFLOP over the time in networks (dense network, head, reading), over what products of
2048 x 2048 matrices reached in the same rounds.

folder: `detect_paths` over --copies files, against decoding alone and detection alone; the goal is 90 % of the slower.
"""

import argparse
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import simplejpeg

from contenders import (
    RUNTIMES,
    STAGES,
    TORCHVISION,
    Contender,
    in_every_runtime,
    random_checkpoint,
    runtimes_there,
    serve,
)

PARTS = ("torchvision", "resnet101", "light", "folder")
LIBRARIES = ("torch", "torchvision", "onnxruntime", "openvino", "simplejpeg", "opencv-python-headless", "pillow")
IN_NETWORKS = ("dense network", "head", "reading")


class Child:
    """A contender in its process."""

    def __init__(self, contender: Contender, options: argparse.Namespace, paths: Sequence[Path], scratch: Path) -> None:
        self.contender = contender
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (contender, theirs, list(paths), scratch, options.threads, options.seed)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.runs: list[dict[str, Any]] = []
        self.about: dict[str, Any] = {}
        self.error: str | None = None

    def settle(self) -> None:
        """Wait until it is ready, or has said why it cannot be."""
        self.error = self.answer().get("error")

    def answer(self) -> dict[str, Any]:
        """The next thing it says; an `error` where it died."""
        try:
            said: dict[str, Any] = self.connection.recv()
        except EOFError:
            return {"error": "its process ended"}
        return said

    def ask(self, what: str) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        self.connection.send(what)
        return self.answer()

    def stop(self) -> None:
        """Let it go."""
        if self.error is None:
            self.connection.send("stop")
        self.process.join(30)

    @property
    def label(self) -> str:
        """Which detector it runs, in whatever runtime."""
        return self.contender.name.split()[0]

    @property
    def seconds(self) -> float:
        """Median of the runs that count."""
        return statistics.median(r["seconds"] for r in self.runs)

    def stage_ms(self, stage: str) -> float:
        """Median milliseconds."""
        return 1000 * statistics.median(r["stages"].get(stage, 0.0) for r in self.runs)


def contenders(options: argparse.Namespace, scratch: Path, shown: Path) -> list[Contender]:
    """All that were asked for and are installed."""
    box = (options.box[0], options.box[1])
    chosen = []
    if options.only != "folder":
        chosen.append(Contender(TORCHVISION, "torchvision", box=box))
    if options.only in (None, "resnet101"):
        random_checkpoint(scratch / "random", box, options.seed)
        chosen += in_every_runtime("large", "resnet101", scratch / "random", scratch, shown)
    if options.only in (None, "light", "folder"):
        from marrowscope.assemble.detectors import checkpoint_path

        for name in options.light or shipped():
            chosen += in_every_runtime("light", name, checkpoint_path(name), scratch, shown)
    return chosen


@contextmanager
def lined_up(
    chosen: Sequence[Contender], options: argparse.Namespace, paths: Sequence[Path], scratch: Path
) -> Iterator[list[Child]]:
    children = [Child(c, options, paths, scratch) for c in chosen]
    try:
        for child in children:
            child.settle()
            if child.error:
                print(f"left out: {child.contender.name}: {child.error}")
        yield [c for c in children if c.error is None]
    finally:
        for child in children:
            child.stop()


def race(children: list[Child], repeats: int) -> float:
    """All take turns; returns the median GFLOP/s of matrix products."""
    peaks = []
    for turn in range(repeats + 1):
        for child in children[:: 1 if turn % 2 else -1]:
            for _ in range(3 if child.contender.kind == "light" else 1):
                said = child.ask("run")
                if child.contender.kind == "products":
                    peaks.append(said["gflops"])
                elif turn:
                    child.runs.append(said)
    return statistics.median(peaks)


def show(children: list[Child], peak: float) -> dict[str, Any]:
    """Two tables; what they say, as values."""
    baseline = next((c.seconds for c in children if c.contender.name == TORCHVISION), None)
    print(f"\nproducts of 2048 x 2048 float32 matrices: {peak:.0f} GFLOP/s (median of the rounds)\n")
    print(
        "| contender | s a field | fastest | times torchvision | resident MiB | GFLOP | GFLOP/s in networks | of peak |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    rows: dict[str, Any] = {}
    for child in children:
        gflop = child.about["gflop"]
        networks_s = sum(child.stage_ms(s) for s in IN_NETWORKS) / 1000
        speed = gflop / networks_s if gflop else None
        faster = baseline / child.seconds if baseline else None
        fastest = min(r["seconds"] for r in child.runs)
        cells = [
            child.contender.name,
            f"{child.seconds:.3f}",
            f"{fastest:.3f}",
            f"{faster:.1f}" if faster else "",
            f"{child.about['resident_mib']:.0f}",
            f"{gflop:.1f}" if gflop else "",
            f"{speed:.0f}" if speed else "",
            f"{100 * speed / peak:.0f} %" if speed else "",
        ]
        print("| " + " | ".join(cells) + " |")
        rows[child.contender.name] = {
            "seconds": child.seconds,
            "fastest": fastest,
            "times_torchvision": faster,
            "stages_ms": {s: child.stage_ms(s) for s in STAGES},
            "gflops_in_networks": speed,
            **child.about,
        }
    used = [s for s in STAGES if any(child.stage_ms(s) > 0.05 for child in children)]
    print("\n| ms, median | " + " | ".join(used) + " |\n|---|" + "---:|" * len(used))
    for child in children:
        print(f"| {child.contender.name} | " + " | ".join(f"{child.stage_ms(s):.1f}" for s in used) + " |")
    return rows


def shipped() -> list[str]:
    """The light detectors that come with this installation."""
    from marrowscope.assemble.detectors import SHIPPED, checkpoint_path
    from marrowscope.errors import BadCheckpoint

    there = []
    for name in SHIPPED:
        with suppress(BadCheckpoint):
            checkpoint_path(name)
            there.append(name)
    return there


def goals(children: list[Child]) -> None:
    """How far each is from what it should reach."""
    seconds = {c.contender.name: c.seconds for c in children}
    if TORCHVISION not in seconds:
        return
    print()
    for child in children:
        name, times = child.contender.name, seconds[TORCHVISION] / child.seconds
        if child.contender.kind == "large":
            print(f"{name}: {times:.1f} times as fast as torchvision eager; goal 3")
        elif child.contender.kind == "light":
            print(
                f"{name}: {times:.1f} times as fast as torchvision eager (goal 20), {child.seconds:.3f} s a field "
                f"(goal .4), {child.about['resident_mib']:.0f} MiB (goal 1500)"
            )


def folders(
    light: Sequence[Contender], options: argparse.Namespace, paths: Sequence[Path], scratch: Path
) -> dict[str, Any]:
    """Throughput of a folder, for every light contender."""
    print(
        f"\n| fields/s of {len(paths)} files | decode alone | detection alone | both | of the slower | both, drawing |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    rows = {}
    for contender in light:
        with lined_up([contender], options, paths, scratch) as children:
            for child in children:
                rate = child.ask("throughput")
                slower = min(rate["decode alone"], rate["detection alone"])
                print(
                    f"| {contender.name} | {rate['decode alone']:.2f} | {rate['detection alone']:.2f} | "
                    f"{rate['both']:.2f} | {100 * rate['both'] / slower:.0f} % | {rate['both, drawing']:.2f} |"
                )
                rows[contender.name] = rate
    return rows


def machine(options: argparse.Namespace, data: bytes) -> dict[str, Any]:
    cpu = platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": options.threads,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "libraries": versions,
        "seed": options.seed,
        "size": simplejpeg.decode_jpeg_header(data)[1::-1],
        "box": options.box,
        "field_sha256": hashlib.sha256(data).hexdigest(),
        "rounds": options.repeat,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="rounds that count; light detectors run 3 times in each")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--light", action="append", metavar="NAME", help="light detectors; else those that are shipped")
    parser.add_argument(
        "--int8", action="append", default=[], metavar="FOLDER", help="light detectors exported as int8"
    )
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 3000), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--box", type=int, nargs=2, default=(1344, 1024), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--copies", type=int, default=24, help="files of the folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    parser.add_argument("--picture", type=Path, help="a JPEG instead of the drawn field")
    parser.add_argument("--gpu", action="store_true", help="resnet101 on a GPU instead")
    options = parser.parse_args()
    if options.gpu:
        from field_gpu import race_on_gpu

        race_on_gpu(options.repeat, options.seed, options.json)
        return
    from marrowscope.smear.field import draw_field

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if options.picture is not None:
            data = options.picture.read_bytes()
        else:
            drawn = draw_field(options.seed, width=options.size[0], height=options.size[1])[0].pixels
            data = simplejpeg.encode_jpeg(drawn, quality=92)
        paths = [scratch / f"field_{i:03d}.jpg" for i in range(options.copies)]
        for path in paths:
            path.write_bytes(data)
        about = machine(options, data)
        print("\n".join(f"{k}: {v}" for k, v in about.items()), flush=True)
        print(f"runtimes: {', '.join(runtimes_there())} of {', '.join(RUNTIMES)}")
        chosen = contenders(options, scratch, paths[0])
        result: dict[str, Any] = {"machine": about}
        if options.only != "folder":
            with lined_up([*chosen, Contender("products", "products")], options, paths, scratch) as children:
                peak = race(children, options.repeat)
                raced = [c for c in children if c.contender.kind != "products"]
                for child in raced:
                    child.about = child.ask("about")
                for child in raced:
                    # The same networks in another runtime: torch counted them.
                    alike = [c.about["gflop"] for c in raced if c.label == child.label]
                    child.about["gflop"] = child.about["gflop"] or max(filter(None, alike), default=None)
                result["gemm_gflops"] = peak
                result["fields"] = show(raced, peak)
                goals(raced)
        if options.only in (None, "light", "folder"):
            light = [c for c in chosen if c.kind == "light"]
            result["folder"] = folders(light, options, paths, scratch)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
