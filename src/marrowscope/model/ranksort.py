"""The general score ranking loss (paper Eq. 10-14), exact, without ever comparing a negative with a positive.

Every positive i is charged the share of negatives among everything ranked at or above it (ranking error, Eq. 13), plus
λ times how much worse the boxes above it are than those that deserve to be there (sorting error, Eq. 13-14). "Above"
is counted by a ramp of half width d, H(x) = clamp(x / 2d + 1/2, 0, 1), or for d = 0 by the hard step of Eq. 11. Each
error is handed to the examples that cause it in place of a derivative (the identity update of Rank & Sort, Oksuz et
al., ICCV 2021), so the gradient is one stored vector, and it is *not* the derivative of the value.

A ramp is the difference of two hinges, 2d H(x) = max(x + d, 0) - max(x - d, 0). Seen from a negative, every sum over
the positives is therefore linear between *knots*, the values t - d and t + d of the sorted positive logits t. A
negative matters only through the *piece* between two knots on which it lies and its distance from the knot below:
two numbers a piece (how many, how far in total) give every positive its false positives, and two numbers a piece
(value at the knot, slope) give every negative its update. Cost and limits: docs/decisions/0001-exact-ranking-loss.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from marrowscope.errors import TrainingDiverged
from marrowscope.model.processes import ALONE, Processes

Array = NDArray[np.float64]

_SMALLEST_STEP_WIDTH = 1e-6  # below, t ± d loses too many digits of d; 0 itself is exact
_BLOCK = 1 << 16  # entries worked on together on a CPU: temporaries of this length stay in a core's own cache
_PAIRS = 1 << 16  # entries of one block of the positives x positives table, for the same reason
_SAMPLE = 256  # entries looked at to guess which piece holds most of them


@dataclass(frozen=True)
class RankSortLoss:
    """`total` = ranking + λ·sorting, differentiable; `ranking` and `sorting` (unweighted) are detached, for logs."""

    total: Tensor
    ranking: Tensor
    sorting: Tensor


def rank_sort_loss(
    logits: Tensor,
    ious: Tensor,
    positive: Tensor,
    *,
    ignore: Tensor | None = None,
    sort_weight: float = 0.5,
    step_width: float = 0.5,
    together: Processes = ALONE,
) -> RankSortLoss:
    """General score ranking loss over everything one batch proposes (paper Eq. 10-14).

    logits: (M,) raw scores, one per proposal x class; 16-bit ones are worked on in float32, autocast or not.
    ious: (M,) IoU of the decoded box with its cell, a constant here; read only where `positive`, and may be 0 there.
    positive: (M,) bool; the rest are negatives, except where `ignore` (M,) bool, which wins over `positive`.
    sort_weight: λ; 1 gives Rank & Sort, 0 ranks without sorting. step_width: d, in logits; 0 or at least 1e-6.
    together: the processes whose entries are ranked in one list with these, each of which must call this. Values are
    those of the whole list; the gradient is that of one's own entries, times the number of processes (`processes.py`).

    No positive: the loss is 0, its gradient 0, still attached to `logits`. Raises ValueError for tensors that do not
    fit together, TrainingDiverged for a logit that takes part and is not finite.
    """
    _check(logits, ious, positive, ignore, sort_weight, step_width)
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        scores = logits.detach()
        scores = scores if scores.dtype == torch.float64 else scores.float()
        ranking, sorting, update = _errors_and_update(
            scores, ious.detach(), positive, ignore, sort_weight, step_width, together
        )
        values = scores.new_tensor((ranking + sort_weight * sorting, ranking, sorting))
    total: Tensor = _IdentityUpdate.apply(logits, values[0], update)
    return RankSortLoss(total, values[1], values[2])


class _IdentityUpdate(torch.autograd.Function):
    """A value computed elsewhere, whose backward pass sends the stored update, times whatever comes in."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor, update: Tensor) -> Tensor:
        ctx.save_for_backward(update)
        ctx.logits_dtype = logits.dtype
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None, None]:
        (update,) = ctx.saved_tensors
        # Scaled before it is rounded: under AMP the incoming scale keeps small updates above float16's floor.
        return (update * incoming).to(ctx.logits_dtype), None, None


def _errors_and_update(
    scores: Tensor,
    ious: Tensor,
    positive: Tensor,
    ignore: Tensor | None,
    sort_weight: float,
    step_width: float,
    together: Processes,
) -> tuple[float, float, Tensor]:
    """Mean ranking error, mean sorting error, and the update of all M scores, in the dtype of `scores`."""
    where_positive = _true_indices(positive if ignore is None else positive & ~ignore)
    where_not_negative = where_positive if ignore is None else _true_indices(positive | ignore)
    scores = _finite(scores, ignore)
    mine = torch.stack([values.index_select(0, where_positive).double() for values in (scores, ious)])
    everybodys, first = together.gathered(mine)
    count = everybodys.shape[1]
    if count == 0:
        return 0.0, 0.0, torch.zeros_like(scores)

    # All that has the length of the positives is float64 on the CPU: too little to be worth a kernel launch a step.
    logits_and_ious = everybodys.cpu().numpy()
    order = logits_and_ious[0].argsort(kind="stable")
    own, ious_of_positives = logits_and_ious[:, order]
    if not np.isfinite(ious_of_positives).all():
        raise TrainingDiverged("ranking loss: the IoU of a positive is not finite. Look for broken predicted boxes.")
    positive_rank, sorting_error, sorting_update = _sort_positives(own, ious_of_positives, step_width)
    ranking_error, update = _rank_against_negatives(
        scores, where_not_negative, own, positive_rank, step_width, together
    )
    own_update = np.empty_like(own)
    own_update[order] = (sort_weight * sorting_update - ranking_error) / count
    own_update = own_update[first : first + len(where_positive)]
    update.index_copy_(0, where_positive, torch.from_numpy(own_update).to(update)).mul_(together.count)
    return float(ranking_error.mean()), float(sorting_error.mean()), update


def _sort_positives(own: Array, ious: Array, step_width: float) -> tuple[Array, Array, Array]:
    """Among P positives: rank r+, sorting error c - t, and update of λ = 1 before the division by P.

    Works on the P x P table of H in blocks of rows. In order of falling IoU the boxes that deserve to be above i are
    the first `deserving[i]` columns, so only the narrow band in which the rows of a block disagree needs a mask.
    """
    order = (-ious).argsort(kind="stable")
    falling = ious[order]
    deserving = np.searchsorted(-falling, -falling, side="right")
    box_loss = 1 - falling
    # The hard step compares the logits themselves: moved ones may round to a tie.
    rows_at = (own[order] - own[0]) / (2 * step_width) if step_width > 0 else own[order]
    columns_at = rows_at + 0.5 if step_width > 0 else rows_at
    count = len(own)
    place = np.arange(count)
    rank, error, update = np.empty(count), np.empty(count), np.zeros(count)
    row_count = max(1, _PAIRS // count)
    for start in range(0, count, row_count):
        here = slice(start, min(start + row_count, count))
        first, last = deserving[start], deserving[here.stop - 1]
        table = columns_at - rows_at[here, None]
        table = table.clip(0, 1, out=table) if step_width > 0 else (table >= 0).astype(np.float64)
        surely_kept, band, wrong = table[:, :first], table[:, first:last], table[:, first:]
        kept = band * (place[first:last] < deserving[here, None])
        band -= kept  # and `wrong`, the same memory, is what its name says
        kept_rank = surely_kept.sum(1) + kept.sum(1)
        kept_loss = surely_kept @ box_loss[:first] + kept @ box_loss[first:last]
        wrong_rank, wrong_loss = wrong.sum(1), wrong @ box_loss[first:]
        rank[here] = kept_rank + wrong_rank
        # (c - t) / wrong_rank, without cancellation: how much worse the wrong are than the kept, on average.
        excess = np.divide(wrong_loss, wrong_rank, out=np.zeros_like(wrong_rank), where=wrong_rank > 0)
        share = np.where(wrong_rank > 0, excess - kept_loss / kept_rank, 0.0) / rank[here]
        error[here] = share * wrong_rank
        update[first:] += share @ wrong
    update -= error
    back = np.empty_like(order)
    back[order] = place
    return rank[back], error[back], update[back]


def _rank_against_negatives(
    scores: Tensor,
    where_not_negative: Tensor,
    own: Array,
    positive_rank: Array,
    step_width: float,
    together: Processes,
) -> tuple[Array, Tensor]:
    """Ranking error of the P positives (sorted, everybody's), and the update of all M scores, 0 unless negative.

    One piece usually holds nearly all negatives: below every ramp in a trained detector (the relevance filter), within
    every ramp in a new one. That piece needs no look-up: it is worked on as a whole, and only the rest one by one.
    """
    knots = _Knots(own, step_width)
    exact_edges = knots.edges(np.float64 if scores.dtype == torch.float64 else np.float32)
    edges = torch.from_numpy(exact_edges).to(scores.device)
    bottom, top = exact_edges[0].item(), exact_edges[-1].item()
    # Below the first knot a negative counts 0, above the last 1, however far off: brought near, sums stay small.
    near = scores.clamp(bottom, top).index_fill_(0, where_not_negative, bottom)

    sample = near[:: len(near) // _SAMPLE | 1].cpu().numpy()
    main = int(np.bincount(exact_edges.searchsorted(sample, side="right"), minlength=2)[1:].argmax())
    low, high = exact_edges[main].item(), exact_edges[main + 1].item() if main + 1 < len(edges) else float("inf")
    where_rest = _indices_outside(near, low, high)
    whole = len(where_rest) < len(near) // 2
    rest = near.index_select(0, where_rest) if whole else near

    pieces, distances, counts, totals = _locate(rest, edges)
    if whole:
        along = near.clamp_(low, min(high, top)).sub_(low)
        width = float(exact_edges[main + 1] - exact_edges[main]) if main + 1 < len(edges) else 0.0
        counts[main] += len(along) - len(rest)
        totals[main] += sum(block.sum(dtype=torch.float64).item() for block in _blocks(along))
        totals[main] -= counts[main + 1 :].sum() * width

    # Of the negatives of other processes these sums are all that counts.
    sums = together.summed(torch.from_numpy(np.stack((counts, totals))).to(scores.device))
    counts, totals = sums.cpu().numpy()
    false_positives = knots.false_positives(counts, totals)
    rank = positive_rank + false_positives
    values, slopes = knots.weigh(1 / (rank * len(own)))
    heights, gradients = torch.from_numpy(np.stack((values, slopes))).to(scores)
    update = torch.cat(
        [
            distance.mul_(gradients.index_select(0, piece)).add_(heights.index_select(0, piece))
            for piece, distance in zip(pieces, distances, strict=True)
        ]
    )
    if whole:
        update = along.mul_(slopes[main]).add_(values[main]).index_copy_(0, where_rest, update)
    return false_positives / rank, update


class _Knots:
    """The sorted knots of P sorted positive logits, and the two sums over them.

    Every sum runs from its small end over terms of one sign, and distances between knots are taken as differences of
    logits plus differences of ± d: nothing cancels, and a large offset common to all logits costs no digits.
    """

    def __init__(self, own: Array, step_width: float) -> None:
        self.step_width = step_width
        if step_width == 0:
            self.logits, self.shifts = own, np.zeros_like(own)
            return
        knots = np.concatenate((own - step_width, own + step_width))
        origin = knots.argsort(kind="stable")
        starts_ramp = origin < len(own)
        self.logits, self.shifts = own[origin % len(own)], np.where(starts_ramp, -step_width, step_width)
        self.gaps = (self.logits[1:] - self.logits[:-1]) + (self.shifts[1:] - self.shifts[:-1])
        place = np.empty_like(origin)
        place[origin] = np.arange(len(origin))
        self.ramp_starts, self.ramp_ends = place[: len(own)], place[len(own) :]
        self.started = np.concatenate(([0], starts_ramp.cumsum()))  # positives whose ramp starts below each piece
        self.ended = np.arange(len(self.started)) - self.started  # ... and those whose ramp ends below it

    def edges(self, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """Lower edge of each piece: just under the first knot, then the knots, rounded up: s >= knot means the same."""
        knots = self.logits + self.shifts
        rounded = knots.astype(dtype)
        rounded = np.where(rounded < knots, np.nextafter(rounded, dtype("inf")), rounded)
        self.rounding = (rounded - self.logits) - self.shifts
        return np.concatenate((np.nextafter(rounded[:1], dtype("-inf")), rounded))

    def false_positives(self, counts: Array, totals: Array) -> Array:
        """FP of each positive, from how many negatives each piece holds and their summed distance to its lower edge."""
        at_or_above = counts[:0:-1].cumsum()[::-1]
        if self.step_width == 0:
            return at_or_above
        # hinge[q] = sum over negatives s of max(s - knot q, 0), built from the top knot down.
        hinge = totals[1:] + counts[1:] * self.rounding
        hinge[:-1] += at_or_above[1:] * self.gaps
        hinge = hinge[::-1].cumsum()[::-1]
        return np.maximum(hinge[self.ramp_starts] - hinge[self.ramp_ends], 0) / (2 * self.step_width)

    def weigh(self, weights: Array) -> tuple[Array, Array]:
        """Sum over positives of weight x H as a function of a negative's logit: value at each lower edge, and slope."""
        summed = np.concatenate(([0.0], weights.cumsum()))
        if self.step_width == 0:
            return summed, np.zeros_like(summed)
        slopes = (summed[self.started] - summed[self.ended]) / (2 * self.step_width)
        values = np.concatenate(([0.0, 0.0], (slopes[1:-1] * self.gaps).cumsum()))
        values[1:] += slopes[1:] * self.rounding
        return values, slopes


def _locate(values: Tensor, edges: Tensor) -> tuple[list[Tensor], list[Tensor], NDArray[np.int64], Array]:
    """By blocks, the piece of each value and its distance from that piece's lower edge; then both summed by piece."""
    counts = torch.zeros(len(edges), dtype=torch.int64, device=edges.device)
    totals = torch.zeros(len(edges), dtype=torch.float64, device=edges.device)
    pieces, distances = [], []
    piece_of = _piece_finder(edges, len(values))
    for block in _blocks(values):
        piece = piece_of(block)
        distance = block - edges.index_select(0, piece)
        counts += piece.bincount(minlength=len(edges))
        totals.scatter_add_(0, piece.long(), distance.double())
        pieces.append(piece)
        distances.append(distance)
    return pieces, distances, counts.cpu().numpy(), totals.cpu().numpy()


def _piece_finder(edges: Tensor, value_count: int) -> Callable[[Tensor], Tensor]:
    """How to find, for each value, the last edge at or below it (int32). No value lies below the first.

    A binary search costs a CPU 15-70 ns a value, nearly all of it mispredicted branches. For many values a table over
    equal cells of the line gives the piece at once. Rounding cannot spoil it: a cell's number never falls as its value
    rises, so values in a cell without an edge all lie on one piece. Those in the few cells with one are searched for.
    """
    knots = edges[1:]

    def search(values: Tensor) -> Tensor:
        return torch.bucketize(values, knots, right=True, out_int32=True)

    cell_count = min(1 << 16, max(1 << 12, 1 << (16 * len(knots)).bit_length()))
    if edges.device.type != "cpu" or value_count < 2 * cell_count:
        return search
    span = (knots[-1] - knots[0]).item()
    if not (span > 0 and 0 < cell_count / span < float("inf")):
        return search

    def cell_of(values: Tensor) -> Tensor:
        return (values - knots[0]).mul_(cell_count / span).clamp_(0, cell_count - 1).to(torch.int32)

    knot_cell = cell_of(knots)
    knots_in = knot_cell.bincount(minlength=cell_count)
    piece_of_cell = (knots_in.cumsum(0) - knots_in).to(torch.int32)
    piece_of_cell[knot_cell] = -1

    def look_up(values: Tensor) -> Tensor:
        piece = piece_of_cell.index_select(0, cell_of(values))
        mixed = torch.from_numpy(np.flatnonzero(piece.numpy() < 0))
        return piece.index_copy_(0, mixed, search(values.index_select(0, mixed)))

    return look_up


def _blocks(values: Tensor) -> tuple[Tensor, ...]:
    """Views that fit a core's cache; on a GPU the whole, since there every block would cost kernel launches."""
    return values.split(_BLOCK) if values.device.type == "cpu" and len(values) > _BLOCK else (values,)


def _true_indices(mask: Tensor) -> Tensor:
    """Indices of the true entries. NumPy's is several times faster than torch's where true ones are rare."""
    return torch.from_numpy(np.flatnonzero(mask.numpy())) if mask.device.type == "cpu" else mask.nonzero().squeeze(1)


def _indices_outside(values: Tensor, low: float, high: float) -> Tensor:
    """Indices of the values not in [low, high). NumPy compares several times faster than torch on a CPU."""
    if values.device.type != "cpu":
        return ((values < low) | (values >= high)).nonzero().squeeze(1)
    array = values.numpy()
    return torch.from_numpy(np.flatnonzero((array < low) | (array >= high)))


def _finite(scores: Tensor, ignore: Tensor | None) -> Tensor:
    """The scores, with ignored ones that are not finite set to 0; raise if any other is not."""
    if len(scores) == 0:
        return scores
    low, high = scores.aminmax()
    if math.isfinite((high - low).item()):
        return scores
    broken = ~scores.isfinite()
    taking_part = broken if ignore is None else broken & ~ignore
    if bool(taking_part.any()):
        first = int(taking_part.nonzero()[0])
        raise TrainingDiverged(
            f"ranking loss: {int(taking_part.sum())} of {len(scores)} logits are not finite, "
            f"the first is entry {first}, {scores[first].item()}. Lower the learning rate, or clip gradients."
        )
    return scores.masked_fill(broken, 0)


def _check(
    logits: Tensor, ious: Tensor, positive: Tensor, ignore: Tensor | None, sort_weight: float, step_width: float
) -> None:
    if logits.dim() != 1 or not logits.is_floating_point():
        raise ValueError(f"logits must be (M,) floating point, got {tuple(logits.shape)} {logits.dtype}")
    if not ious.is_floating_point():
        raise ValueError(f"ious must be floating point, got {ious.dtype}")
    for name, values in (("ious", ious), ("positive", positive), ("ignore", ignore)):
        if values is None:
            continue
        if values.shape != logits.shape:
            raise ValueError(f"{name} must have the shape of logits, {tuple(logits.shape)}, got {tuple(values.shape)}")
        if values.device != logits.device:
            raise ValueError(f"{name} must be on the device of logits, {logits.device}, got {values.device}")
        if name != "ious" and values.dtype != torch.bool:
            raise ValueError(f"{name} must be bool, got {values.dtype}")
    if not 0 <= sort_weight < float("inf"):
        raise ValueError(f"sort_weight must be finite and at least 0, got {sort_weight}")
    if step_width != 0 and not _SMALLEST_STEP_WIDTH <= step_width < float("inf"):
        raise ValueError(f"step_width must be 0, or finite and at least {_SMALLEST_STEP_WIDTH}, got {step_width}")
