"""Matching, AP and confusion as plain loops, and the same through faster-coco-eval: the slow judges of the scales."""

from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy
from marrowscope.evaluation.pairs import EvaluatedField


def small_taxonomy(classes: int = 3) -> Taxonomy:
    """Classes A, B, C ..: the first two of one lineage, the others each of the next."""
    lineages = [Lineage.GRANULOCYTIC, Lineage.GRANULOCYTIC, Lineage.ERYTHROID, Lineage.LYMPHOID, Lineage.PLASMA]
    return Taxonomy("small", tuple(CellClass(x, f"cell {x}", lineages[i]) for i, x in enumerate("ABCDE"[:classes])))


def field(
    taxonomy: Taxonomy,
    truth: Sequence[Sequence[float]] = (),
    detections: Sequence[Sequence[float]] = (),
    name: str = "field",
) -> EvaluatedField:
    """truth: rows x1 y1 x2 y2 label [difficult]. detections: rows x1 y1 x2 y2 label score."""
    t = np.asarray([[*row, 0][:6] for row in truth], np.float64).reshape(-1, 6)
    d = np.asarray(detections, np.float64).reshape(-1, 6)
    return EvaluatedField(
        name,
        GroundTruth(t[:, :4], t[:, 4], taxonomy, t[:, 5] > 0),
        Detections(d[:, :4], d[:, 4], d[:, 5], taxonomy),
    )


def random_fields(
    seed: int,
    *,
    fields: int = 5,
    classes: int = 3,
    cells: int = 6,
    claims: int = 12,
    grid: int = 0,
    difficult: float = 0.2,
) -> list[EvaluatedField]:
    """Fields whose detections are truth jittered, relabelled now and then, or anywhere.

    grid: round boxes to whole multiples and scores to twentieths, so that overlaps and scores tie; 0 for no ties.
    """
    rng = np.random.default_rng(seed)
    taxonomy = small_taxonomy(classes)
    pairs = []
    for number in range(fields):
        n, m = rng.integers(0, cells + 1), rng.integers(0, claims + 1)
        corner, size = rng.uniform(0, 160, (n, 2)), rng.uniform(20, 60, (n, 2))
        truth = np.concatenate([corner, corner + size], axis=1)
        labels = rng.integers(0, classes, n)
        corner, size = rng.uniform(0, 160, (m, 2)), rng.uniform(20, 60, (m, 2))
        boxes, claimed = np.concatenate([corner, corner + size], axis=1), rng.integers(0, classes, m)
        if n:
            source, near = rng.integers(0, n, m), rng.random(m) < 0.8
            boxes = np.where(near[:, None], truth[source] + rng.normal(0, 4, (m, 4)), boxes)
            claimed = np.where(near & (rng.random(m) < 0.8), labels[source], claimed)
        scores = rng.random(m)
        if grid:
            truth, boxes, scores = (
                np.round(truth / grid) * grid,
                np.round(boxes / grid) * grid,
                np.round(scores * 20) / 20,
            )
        pairs.append(
            EvaluatedField(
                f"field {number:03}",
                GroundTruth(truth, labels, taxonomy, rng.random(n) < difficult),
                Detections(boxes, claimed, scores, taxonomy),
            )
        )
    return pairs


def _overlap(detection: np.ndarray, truth: np.ndarray, crowd: bool) -> float:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = detection.astype(float), truth.astype(float)
    inter = max(min(ax2, bx2) - max(ax1, bx1), 0.0) * max(min(ay2, by2) - max(ay1, by1), 0.0)
    own, other = (ax2 - ax1) * (ay2 - ay1), (bx2 - bx1) * (by2 - by1)
    union = own if crowd else own + other - inter
    return inter / union if union > 0 else 0.0


def match_field(
    pair: EvaluatedField, iou: float, label: int | None, max_detections: int = 100
) -> list[tuple[int, int]]:
    """(detection, truth or -1) in order of falling score; label None matches by place alone."""
    truth, claims = pair.truth, pair.detections
    cells = [t for t in range(len(truth)) if label is None or truth.labels[t] == label]
    cells.sort(key=lambda t: truth.difficult[t])
    wanted = [d for d in range(len(claims)) if label is None or claims.labels[d] == label]
    wanted.sort(key=lambda d: -claims.scores[d])
    taken: set[int] = set()
    result = []
    for d in wanted[: max_detections if label is not None else None]:
        best, reached = -1, min(iou, 1 - 1e-10)
        for t in cells:
            if t in taken:
                continue
            if best >= 0 and not truth.difficult[best] and truth.difficult[t]:
                break
            overlap = _overlap(claims.boxes[d], truth.boxes[t], bool(truth.difficult[t]))
            if overlap >= reached:
                best, reached = t, overlap
        if best >= 0 and not truth.difficult[best]:
            taken.add(best)
        result.append((d, best))
    return result


def ranking(
    pairs: Sequence[EvaluatedField], label: int, iou: float, at_least: float = 0.0, max_detections: int = 100
) -> tuple[list[tuple[float, bool]], int]:
    """(score, hit) of every detection that counts, best first, and the number of cells to find."""
    rows, cells = [], 0
    for pair in pairs:
        cells += sum(1 for t in range(len(pair.truth)) if pair.truth.labels[t] == label and not pair.truth.difficult[t])
        for d, t in match_field(pair, iou, label, max_detections):
            if not (t >= 0 and pair.truth.difficult[t]) and pair.detections.scores[d] >= np.float32(at_least):
                rows.append((float(pair.detections.scores[d]), t >= 0))
    rows.sort(key=lambda row: -row[0])
    return rows, cells


def average_precision(rows: Sequence[tuple[float, bool]], cells: int) -> float:
    """Mean over the 101 recalls of the best precision at that recall or more."""
    if not cells:
        return float("nan")
    points, hits = [], 0
    for n, (_, hit) in enumerate(rows, 1):
        hits += hit
        points.append((hits / cells, hits / n))
    return sum(max((p for r, p in points if r >= x), default=0.0) for x in np.linspace(0, 1, 101)) / 101


def operating_point(rows: Sequence[tuple[float, bool]], cells: int) -> tuple[float, float, float]:
    """Recall, precision, F1 of all rows."""
    if not cells:
        return (float("nan"),) * 3
    hits = sum(hit for _, hit in rows)
    recall, precision = hits / cells, hits / len(rows) if rows else 0.0
    return recall, precision, 2 * recall * precision / (recall + precision) if hits else 0.0


def coco_results(pairs: Sequence[EvaluatedField]) -> np.ndarray:
    """AP of each class at each of the ten thresholds by faster-coco-eval, NaN where it says -1."""
    return coco_average_precisions(*coco_dictionaries(pairs), COCO, COCOeval_faster)


def coco_dictionaries(pairs: Sequence[EvaluatedField]) -> tuple[dict, list[dict]]:
    """Truth and detections in COCO's format; difficult cells are crowds."""
    annotations, results = [], []
    for image, pair in enumerate(pairs, 1):
        for box, label, crowd in zip(pair.truth.boxes.tolist(), pair.truth.labels, pair.truth.difficult, strict=True):
            xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": int(label) + 1, "bbox": xywh}
                | {"area": xywh[2] * xywh[3], "iscrowd": int(crowd)}
            )
        d = pair.detections
        for box, label, score in zip(d.boxes.tolist(), d.labels, d.scores.tolist(), strict=True):
            xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            results.append({"image_id": image, "category_id": int(label) + 1, "bbox": xywh, "score": score})
    truth = {
        "images": [{"id": i} for i in range(1, len(pairs) + 1)],
        "categories": [{"id": i + 1, "name": c.name} for i, c in enumerate(pairs[0].taxonomy)],
        "annotations": annotations,
    }
    return truth, results


def coco_average_precisions(truth: dict, results: list[dict], coco: type, evaluator: type) -> np.ndarray:
    """AP (classes, thresholds) by a COCO toolkit with the usual interface."""
    known = coco(truth)
    classes = len(truth["categories"])
    if not results:
        wanted = {a["category_id"] for a in truth["annotations"] if not a["iscrowd"]}
        return np.asarray([[0.0 if k + 1 in wanted else np.nan] * 10 for k in range(classes)])
    judge = evaluator(known, known.loadRes(results), "bbox")
    judge.evaluate()
    judge.accumulate()
    precision = np.asarray(judge.eval["precision"])[:, :, :, 0, -1]
    return np.where(precision < 0, np.nan, precision).mean(axis=1).T
