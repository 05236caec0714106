"""Agreement of two readers as plain loops over cells, as the definitions are printed; and its spread by resampling."""

import random
from collections.abc import Callable, Sequence
from statistics import quantiles

Weight = Callable[[int, int], float]


def same(i: int, j: int) -> float:
    return 1.0 if i == j else 0.0


def kappa(first: Sequence[int], second: Sequence[int], weight: Weight = same) -> float | None:
    """(observed - expected) / (1 - expected), expected over every pair of one reader's cell and the other's."""
    n = len(first)
    observed = sum(weight(a, b) for a, b in zip(first, second, strict=True)) / n
    expected = sum(weight(a, b) for a in first for b in second) / n**2
    return None if abs(1 - expected) < 1e-12 else (observed - expected) / (1 - expected)


def standard_error(first: Sequence[int], second: Sequence[int], weight: Weight = same) -> float:
    """Fleiss, Cohen and Everitt 1969, eq. 13, cell by cell of the table."""
    n = len(first)
    classes = sorted(set(first) | set(second))
    p = {(i, j): 0.0 for i in classes for j in classes}
    for a, b in zip(first, second, strict=True):
        p[a, b] += 1 / n
    row = {i: sum(p[i, j] for j in classes) for i in classes}
    column = {j: sum(p[i, j] for i in classes) for j in classes}
    expected = sum(row[i] * column[j] * weight(i, j) for i in classes for j in classes)
    observed = sum(p[i, j] * weight(i, j) for i in classes for j in classes)
    row_mean = {i: sum(column[j] * weight(i, j) for j in classes) for i in classes}
    column_mean = {j: sum(row[i] * weight(i, j) for i in classes) for j in classes}
    total = 0.0
    for i in classes:
        for j in classes:
            total += p[i, j] * (weight(i, j) * (1 - expected) - (row_mean[i] + column_mean[j]) * (1 - observed)) ** 2
    total -= (observed * expected - 2 * expected + observed) ** 2
    return (max(total, 0.0) / n) ** 0.5 / (1 - expected) ** 2


def bootstrap_interval(
    first: Sequence[int], second: Sequence[int], weight: Weight = same, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """2.5th and 97.5th percentile of kappa over cells drawn with replacement."""
    chance = random.Random(seed)
    pairs = list(zip(first, second, strict=True))
    values = []
    for _ in range(draws):
        drawn = chance.choices(pairs, k=len(pairs))
        value = kappa([a for a, _ in drawn], [b for _, b in drawn], weight)
        if value is not None:
            values.append(value)
    cuts = quantiles(values, n=40, method="inclusive")
    return cuts[0], cuts[-1]


def positive_agreement(first: Sequence[int], second: Sequence[int], label: int) -> float:
    """How often the other says `label` too, when one of the readers, taken at random, says it."""
    said = sum((a == label) + (b == label) for a, b in zip(first, second, strict=True))
    echoed = sum(2 * (a == b == label) for a, b in zip(first, second, strict=True))
    return echoed / said
