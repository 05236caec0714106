"""Seconds to evaluate a test set of the paper's size, against the COCO toolkits, in one run.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py

798 fields x 100 detections x 20 classes, made from a seed: cells as large and as many as in the paper's fields, several
detections on each, some misnamed. The best of `--repeats` runs is given, as wall and as processor time (on a shared
machine the latter tells more). pycocotools joins if it is installed. The AP of all must agree to 1e-6, or this fails.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import time
from collections.abc import Callable

# Before NumPy is loaded: the claim is about one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.evaluation.average_precision import macro_ap50
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField


def make_fields(fields: int, detections: int, seed: int) -> list[EvaluatedField]:
    rng = np.random.default_rng(seed)
    taxonomy = load_taxonomy("liu2022")
    pairs = []
    for number in range(fields):
        cells = 1 + rng.poisson(13)
        corner, size = rng.uniform(0, [3600, 2600], (cells, 2)), rng.uniform(240, 480, (cells, 2))
        truth, labels = np.concatenate([corner, corner + size], axis=1), rng.integers(0, 20, cells)
        source = rng.integers(0, cells, detections)
        boxes = truth[source] + rng.normal(0, 25, (detections, 4))
        claimed = np.where(rng.random(detections) < 0.6, labels[source], rng.integers(0, 20, detections))
        scores = rng.random(detections) * np.where(claimed == labels[source], 1, 0.6)
        pairs.append(
            EvaluatedField(
                f"{number}", GroundTruth(truth, labels, taxonomy), Detections(boxes, claimed, scores, taxonomy)
            )
        )
    return pairs


def coco_dictionaries(pairs: list[EvaluatedField]) -> tuple[dict, list[dict]]:
    annotations, results = [], []
    for image, pair in enumerate(pairs, 1):
        for (x1, y1, x2, y2), label in zip(pair.truth.boxes.tolist(), pair.truth.labels.tolist(), strict=True):
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": label + 1, "iscrowd": 0}
            annotations.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
        d = pair.detections
        for (x1, y1, x2, y2), label, score in zip(d.boxes.tolist(), d.labels.tolist(), d.scores.tolist(), strict=True):
            row = {"image_id": image, "category_id": label + 1, "score": score}
            results.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    categories = [{"id": i + 1, "name": c.name} for i, c in enumerate(pairs[0].taxonomy)]
    images = [{"id": i} for i in range(1, len(pairs) + 1)]
    return {"info": {}, "images": images, "categories": categories, "annotations": annotations}, results


def toolkit(coco: type, evaluator: type, truth: dict, results: list[dict]) -> np.ndarray:
    """AP of each class at each threshold; indexing the truth and reading the results are part of the job."""
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco()
        known.dataset = truth
        known.createIndex()
        judge = evaluator(known, known.loadRes(results), "bbox")
        # COCO's area ranges small, medium, large mean nothing for cells: one range, as ours.
        judge.params.areaRng, judge.params.areaRngLbl = judge.params.areaRng[:1], ["all"]
        judge.params.maxDets = [100]
        judge.evaluate()
        judge.accumulate()
    return np.asarray(judge.eval["precision"])[:, :, :, 0, -1].mean(axis=1).T


def best_of(job: Callable[[], object], repeats: int) -> tuple[float, float, object]:
    wall, processor, result = float("inf"), float("inf"), None
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        result = job()
        wall = min(wall, time.perf_counter() - start)
        processor = min(processor, time.process_time() - start_processor)
    return wall, processor, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=798)
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    pairs = make_fields(options.fields, options.detections, options.seed)
    truth, results = coco_dictionaries(pairs)

    jobs: dict[str, tuple[Callable[[], object], int]] = {
        "macro_ap50 (a training epoch)": (lambda: macro_ap50(pairs), options.repeats),
        "evaluate, threshold given, no intervals": (
            lambda: evaluate(pairs, threshold=0.5, bootstrap=0),
            options.repeats,
        ),
        "evaluate, threshold chosen, no intervals": (lambda: evaluate(pairs, bootstrap=0), options.repeats),
        "evaluate, threshold chosen, 1000 draws": (lambda: evaluate(pairs), 2),
        "faster-coco-eval, AP only": (lambda: toolkit(COCO, COCOeval_faster, truth, results), options.repeats),
    }
    if importlib.util.find_spec("pycocotools"):
        from pycocotools.coco import COCO as PlainCOCO  # noqa: N811
        from pycocotools.cocoeval import COCOeval

        jobs["pycocotools, AP only"] = (lambda: toolkit(PlainCOCO, COCOeval, truth, results), 2)
    else:
        print("pycocotools is not installed: left out")

    print(f"{len(pairs)} fields, {len(truth['annotations'])} cells, {len(results)} detections, seed {options.seed}\n")
    print("| job | wall s | processor s |\n| --- | ---: | ---: |")
    ours, theirs = None, {}
    for name, (job, repeats) in jobs.items():
        wall, processor, result = best_of(job, repeats)
        print(f"| {name} | {wall:.2f} | {processor:.2f} |")
        if name.startswith("evaluate, threshold given"):
            ours = result.classes.values[:, [3, 5]]
        elif "AP only" in name:
            theirs[name] = np.stack([result[:, 0], result.mean(axis=1)], axis=1)
    print()
    for name, values in theirs.items():
        difference = float(np.abs(values - ours).max())
        print(f"largest difference of any class's AP@50 or mAP to {name.split(',')[0]}: {difference:.1e}")
        if difference > 1e-6:
            raise SystemExit("the APs do not agree")


if __name__ == "__main__":
    main()
