"""Platt, temperature and isotonic calibration, each fitted on one half of the fields and measured on the other.

    python benchmarks/calibration.py PAIRS.npz [--repeats 10]

PAIRS is what `marrowscope evaluate` leaves of a checkpoint without calibration. Printed: expected calibration error
(score >= .05, 15 bins of equally many), its mean over classes, and the log loss of all detections, means over halvings.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression, minimize_scalar
from scipy.special import expit, logit

from marrowscope.cells.calibration import TINY
from marrowscope.evaluation import calibration
from marrowscope.evaluation.matching import Floats, pool_fields
from marrowscope.evaluation.pairs import load_pairs
from marrowscope.evaluation.reliability import Judged, calibration_error, judge, reliability

Map = Callable[[Judged], Floats]


def platt(slope_sd: float, offset_sd: float) -> Callable[[Judged, int], Map]:
    """Ours, with other widths of the prior by which a class may leave the fit of all."""

    def fit(judged: Judged, classes: int) -> Map:
        before = calibration.SLOPE_SD, calibration.OFFSET_SD
        calibration.SLOPE_SD, calibration.OFFSET_SD = slope_sd, offset_sd
        try:
            found = calibration._fit(judged, classes)
        finally:
            calibration.SLOPE_SD, calibration.OFFSET_SD = before
        assert found is not None
        return lambda other: found.apply(other.score.astype(np.float32), other.label).astype(np.float64)

    return fit


def temperature(judged: Judged, classes: int) -> Map:
    """One slope a class and no offset."""
    slopes = np.ones(classes)
    for label in range(classes):
        mine = judged.select(judged.label == label)
        logits = logit(np.clip(mine.score, TINY, 1 - TINY))

        def loss(log_slope: float, at: Floats = logits, right: np.ndarray = mine.right) -> float:
            scaled = np.exp(log_slope) * at
            return float(np.logaddexp(0, scaled).sum() - scaled[right].sum())

        slopes[label] = np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)
    return lambda other: np.asarray(expit(slopes[other.label] * logit(np.clip(other.score, TINY, 1 - TINY))))


def isotonic(judged: Judged, classes: int) -> Map:
    """A rising staircase a class."""
    steps = []
    for label in range(classes):
        mine = judged.select(judged.label == label)
        order = np.argsort(mine.score, kind="stable")
        if len(order):
            steps.append((mine.score[order], isotonic_regression(mine.right[order].astype(float)).x))
        else:
            steps.append((np.zeros(1), np.zeros(1)))

    def apply(other: Judged) -> Floats:
        told = np.zeros(len(other.score))
        for label, (scores, heights) in enumerate(steps):
            mine = other.label == label
            told[mine] = np.interp(other.score[mine], scores, heights)
        return told

    return apply


def measure(judged: Judged, classes: int, fields: int, fit: Callable[[Judged, int], Map], repeats: int) -> Floats:
    """The three numbers, (3,)."""
    chance, rows = np.random.default_rng(0), []
    for _ in range(repeats):
        first = np.isin(judged.field, chance.permutation(fields)[: fields // 2])
        told = np.zeros(len(judged.score))
        for half in (first, ~first):
            told[half] = fit(judged.select(~half), classes)(judged.select(half))
        rows.append(numbers(Judged(judged.field, judged.label, told, judged.right), classes))
    return np.asarray(np.mean(rows, axis=0))


def numbers(judged: Judged, classes: int) -> tuple[float, float, float]:
    """Calibration error, its mean over classes, log loss."""
    of_classes = [e for e in reliability(judged, classes).classes if e is not None]
    sure = np.clip(judged.score, 1e-4, 1 - 1e-4)
    loss = -np.log(np.where(judged.right, sure, 1 - sure)).mean()
    return calibration_error(judged) or 0.0, float(np.mean(of_classes)), float(loss)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    pairs = load_pairs(given.pairs)
    classes, judged = len(pairs[0].taxonomy), judge(pool_fields(pairs))
    print(f"{len(pairs)} fields, {len(judged.score)} detections, {int(judged.right.sum())} right")
    print(f"{'':34s}    ECE  by class  log loss")
    maps: dict[str, Callable[[Judged, int], Map]] = {"temperature, a class": temperature, "isotonic, a class": isotonic}
    for widths in ((0.001, 0.001), (0.25, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (10.0, 10.0)):
        maps[f"Platt, priors {widths[0]:g} and {widths[1]:g}"] = platt(*widths)
    print(f"{'as it comes':34s} " + " ".join(f"{x:8.4f}" for x in numbers(judged, classes)))
    for name, fit in maps.items():
        row = measure(judged, classes, len(pairs), fit, given.repeats)
        print(f"{name:34s} " + " ".join(f"{x:8.4f}" for x in row))


if __name__ == "__main__":
    main()
