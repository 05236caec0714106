"""What the differential would be if cells were named as a person names them: counts corrected for known confusion.

On validation fields the truth is known, so it is known how often a cell of class i was named j, was missed, and how
often a name stood where no cell is. From the names of new fields, that gives the shares of the true classes that make
these names most likely: for two classes the estimator of Rogan and Gladen (Am J Epidemiol 1978;107:71-76), for more
the non-negative maximum likelihood, found by expectation and maximisation (Dempster, Laird, Rubin 1977).

Assumption: this laboratory's cells are confused as those of the validation fields were. Another stain or another
scanner breaks it, and reviewed cells need no correction, for a person has named them.

The 95 % interval holds both uncertainties, by a parametric bootstrap: names are drawn again (sampling of cells), and
so is every row of the confusion (few validation cells of a class). It is never narrower than the exact interval of a
count with this share, which is sampling alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from marrowscope.cells.differential import Differential
from marrowscope.cells.taxonomy import CellClass, Lineage

Confusion = tuple[tuple[int, ...], ...]
"""Counts (classes + 1, classes + 1): rows the true class, the last background; columns the name, the last missed."""

PRIOR_CELLS = 1.0
"""Weight, in validation cells, of what is known of all classes together when a class has few cells of its own."""
DRAWS = 1000
_TAIL = 0.025
_STEPS, _STILL = 300, 1e-5
"""Steps of the maximisation at most, and the change of a share below which it ends."""
_RIDGE, _LEAST = 1e-9, 1e-4
"""For a confusion that cannot be undone (two classes named alike); and a share from which the maximisation can rise."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AdjustedShare:
    """A share of the counted cells in percent, corrected, with its 95 % interval."""

    percent: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.percent:.1f} % ({low:.1f}-{high:.1f})"


@dataclass(frozen=True)
class AdjustedDifferential:
    """The corrected share of every counted class and lineage, in the order of `Differential`."""

    classes: tuple[tuple[CellClass, AdjustedShare], ...]
    lineages: tuple[tuple[Lineage, AdjustedShare], ...]


def adjust(
    differential: Differential, confusion: Confusion, *, draws: int = DRAWS, seed: int = 0
) -> AdjustedDifferential | None:
    """The differential corrected for the confusion; None where no cell was counted.

    differential: of cells that no person has reviewed, counted as the confusion was (same detector, same threshold).
    ValueError for a confusion of another size.
    """
    named = np.asarray(differential.counts, np.float64)
    counts = np.asarray(confusion, np.float64)
    if counts.shape != (len(named) + 1, len(named) + 1):
        raise ValueError(f"confusion must be {(len(named) + 1,) * 2}, got {counts.shape}")
    if not differential.total:
        return None
    chance = np.random.default_rng(seed)
    rows, ghosts = _expected_rows(counts), _ghost_share(counts)
    shares = _true_shares(named[None], rows[None], ghosts[None])
    drawn = _true_shares(
        chance.multinomial(int(named.sum()), named / named.sum(), size=draws).astype(np.float64),
        _drawn_rows(counts, draws, chance),
        _drawn_ghost_shares(counts, draws, chance),
    )
    counted = np.asarray([cell.counted for cell in differential.taxonomy])
    shares, drawn = _among(shares, counted), _among(drawn, counted)

    def share_of(labels: Iterable[int]) -> AdjustedShare:
        which = list(labels)
        return _with_interval(float(shares[0, which].sum()), drawn[:, which].sum(axis=1), differential.total)

    numbered = [(i, cell) for i, cell in enumerate(differential.taxonomy) if cell.counted]
    return AdjustedDifferential(
        tuple((cell, share_of([i])) for i, cell in numbered),
        tuple((x, share_of(i for i, c in numbered if c.lineage == x)) for x, _ in differential.lineages),
    )


def _prior(counts: _Floats) -> _Floats:
    """What a class without validation cells is taken to be, (classes + 1, classes + 1): as often right as all are."""
    classes = len(counts) - 1
    right, cells = np.trace(counts[:-1, :-1]), counts[:-1].sum()
    accuracy = (right + 0.5) / (cells + 1)
    prior = np.full(counts.shape, (1 - accuracy) / classes)
    prior[np.diag_indices(classes)] = accuracy
    # A ghost, a name where no cell is, may bear any name, and cannot be missed.
    prior[-1] = [*[1 / classes] * classes, 0]
    return prior * PRIOR_CELLS


def _expected_rows(counts: _Floats) -> _Floats:
    """Share of each outcome of each true class."""
    whole = counts + _prior(counts)
    return np.asarray(whole / whole.sum(axis=1, keepdims=True))


def _drawn_rows(counts: _Floats, draws: int, chance: np.random.Generator) -> _Floats:
    """The same, drawn from what the validation cells leave possible (Dirichlet), (draws, classes + 1, classes + 1)."""
    gammas = chance.standard_gamma(np.broadcast_to(counts + _prior(counts), (draws, *counts.shape)))
    return np.asarray(gammas / gammas.sum(axis=2, keepdims=True))


def _ghosts_and_cells(counts: _Floats) -> tuple[float, float]:
    return float(counts[-1, :-1].sum()), float(counts[:-1, :-1].sum())


def _ghost_share(counts: _Floats) -> _Floats:
    """Share of the names that stand where no cell is."""
    ghosts, cells = _ghosts_and_cells(counts)
    return np.asarray((ghosts + 0.5) / (ghosts + cells + 1))


def _drawn_ghost_shares(counts: _Floats, draws: int, chance: np.random.Generator) -> _Floats:
    ghosts, cells = _ghosts_and_cells(counts)
    return np.asarray(chance.beta(ghosts + 0.5, cells + 0.5, size=draws))


def _true_shares(named: _Floats, rows: _Floats, ghosts: _Floats) -> _Floats:
    """Shares of the true classes (n, classes) from names (n, classes), rows (n, classes + 1, ...), ghosts (n,)."""
    found = np.maximum(1 - rows[:, :-1, -1:], 1e-9)
    given = rows[:, :-1, :-1] / found
    haunted = ghosts[:, None] * rows[:, -1, :-1]
    names = named / named.sum(axis=1, keepdims=True)
    real = _inverted(names - haunted, given)
    real *= (1 - ghosts[:, None]) / real.sum(axis=1, keepdims=True)
    for _ in range(_STEPS):
        expected = np.matmul(real[:, None], given)[:, 0] + haunted
        ratio = np.divide(names, expected, out=np.zeros_like(names), where=expected > 0)
        before, real = real, real * np.matmul(given, ratio[:, :, None])[:, :, 0]
        real *= (1 - ghosts[:, None]) / np.maximum(real.sum(axis=1, keepdims=True), 1e-300)
        if np.abs(real - before).max() < _STILL:
            break
    there = real / found[:, :, 0]
    return np.asarray(there / there.sum(axis=1, keepdims=True))


def _inverted(names: _Floats, given: _Floats) -> _Floats:
    """Where to start: the confusion undone by plain algebra, which is the answer unless a share comes out negative."""
    square = given @ given.transpose(0, 2, 1) + _RIDGE * np.eye(given.shape[1])
    undone = np.linalg.solve(square, given @ names[:, :, None])[:, :, 0]
    return np.asarray(np.maximum(undone, _LEAST))


def _among(shares: _Floats, counted: NDArray[np.bool_]) -> _Floats:
    """Shares among the counted classes alone."""
    kept = np.where(counted, shares, 0.0)
    return np.asarray(kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-300))


def _with_interval(share: float, drawn: _Floats, total: int) -> AdjustedShare:
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
    cells = share * total
    if cells > 0:
        low = min(low, betaincinv(cells, total - cells + 1, _TAIL))
    if cells < total:
        high = max(high, betaincinv(cells + 1, total - cells, 1 - _TAIL))
    return AdjustedShare(100 * share, (100 * max(float(low), 0.0), 100 * min(float(high), 1.0)))
