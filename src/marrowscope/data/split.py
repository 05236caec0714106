"""Split labelled fields into a training and a held-out part.

The paper splits fields at random, 80/20 (`by_field`). Fields of one specimen share a patient and a stain, so a claim
about new patients needs `by_specimen`, which keeps each specimen on one side.

Both are random by their seed but stratified, so that rare classes are not left to luck: groups are dealt out class by
class, the rarest first, to the side that lacks it most (iterative stratification: Sechidis, Tsoumakas and Vlahavas,
ECML PKDD 2011). A class that occurs in two groups or more comes to both sides, unless moving any one group there would
take another class away. The result depends on the fields and the seed, not on the order in which the fields are given.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from marrowscope.data.labelled import LabelledField, labels_of
from marrowscope.errors import BadAnnotation, BadInput

Split = tuple[tuple[LabelledField, ...], tuple[LabelledField, ...]]
_TRAINING, _HELD_OUT = 0, 1


def by_field(fields: Iterable[LabelledField], *, held_out: float = 0.2, seed: int) -> Split:
    """(training, held out) with each field for itself, as in the paper. held_out: share of the fields, 0..1."""
    fields = _sorted(fields)
    return _split([[field] for field in fields], held_out, seed)


def by_specimen(fields: Iterable[LabelledField], *, held_out: float = 0.2, seed: int) -> Split:
    """(training, held out) with all fields of a specimen on one side.

    BadAnnotation where a field has no specimen; see `labelled` for how one is found.
    """
    fields = _sorted(fields)
    groups: dict[str, list[LabelledField]] = {}
    for field in fields:
        if field.specimen is None:
            unknown = sum(f.specimen is None for f in fields)
            raise BadAnnotation(
                f"{field.name}: its specimen is not known (nor that of {unknown - 1} others). "
                "List field and specimen in specimens.tsv, or split by field."
            )
        groups.setdefault(field.specimen, []).append(field)
    return _split([groups[specimen] for specimen in sorted(groups)], held_out, seed)


def _sorted(fields: Iterable[LabelledField]) -> list[LabelledField]:
    return sorted(fields, key=lambda f: (f.name, str(f.image_path)))


def _split(groups: Sequence[Sequence[LabelledField]], held_out: float, seed: int) -> Split:
    if not 0 < held_out < 1:
        raise BadInput(f"held_out must lie between 0 and 1, got {held_out}.")
    if len(groups) < 2:
        raise BadInput(f"{len(groups)} group of fields cannot be split in two. Give at least two fields or specimens.")
    counts, group_fields = _cell_counts(groups), np.asarray([len(g) for g in groups], np.float64)
    sides = _mend(_deal(counts, group_fields, held_out, seed), counts)
    training = [f for group, side in zip(groups, sides, strict=True) if side == _TRAINING for f in group]
    kept_back = [f for group, side in zip(groups, sides, strict=True) if side == _HELD_OUT for f in group]
    return tuple(_sorted(training)), tuple(_sorted(kept_back))


def _cell_counts(groups: Sequence[Sequence[LabelledField]]) -> NDArray[np.float64]:
    """Cells by group and class, (groups, classes); classes in order of name."""
    per_group = [labels_of(group) for group in groups]
    classes = sorted(set().union(*per_group))
    counts = np.asarray([[group[c] for c in classes] for group in per_group], np.float64)
    return counts.reshape(len(groups), len(classes))


def _mend(sides: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Move single groups, while that brings more classes to both sides than before."""
    holders = counts > 0
    shared = holders.sum(axis=0) > 1

    def one_sided(dealt: NDArray[np.int64]) -> NDArray[np.bool_]:
        on_both = holders[dealt == _TRAINING].any(axis=0) & holders[dealt == _HELD_OUT].any(axis=0)
        return np.asarray(shared & ~on_both, np.bool_)

    def moved(group: int) -> NDArray[np.int64]:
        return np.where(np.arange(len(sides)) == group, 1 - sides, sides)

    while (missing := one_sided(sides)).any():
        candidates = [moved(int(g)) for g in np.flatnonzero(holders[:, missing].any(axis=1))]
        best = min(candidates, key=lambda dealt: int(one_sided(dealt).sum()))
        if one_sided(best).sum() >= missing.sum() or len(set(best.tolist())) < 2:
            break
        sides = best
    return sides


def _deal(
    counts: NDArray[np.float64], group_fields: NDArray[np.float64], held_out: float, seed: int
) -> NDArray[np.int64]:
    """The side of every group. counts: (groups, classes) cells; group_fields: (groups,) fields."""
    shares = np.asarray([1 - held_out, held_out])
    wanted_cells = shares[:, None] * counts.sum(axis=0)
    # Each side gets at least one field, however small the share.
    held_out_fields = np.clip(round(held_out * group_fields.sum()), 1, group_fields.sum() - 1)
    room = np.asarray([group_fields.sum() - held_out_fields, held_out_fields])
    has = np.zeros_like(wanted_cells, np.bool_)
    open_holders = (counts > 0).sum(axis=0)
    cells = counts.sum(axis=0)
    side_of = np.full(len(counts), -1, np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(counts))

    def deal(group: int, side: int) -> None:
        side_of[group] = side
        wanted_cells[side] -= counts[group]
        room[side] -= group_fields[group]
        has[side] |= counts[group] > 0
        open_holders[:] -= counts[group] > 0

    while (open_groups := shuffled[side_of[shuffled] < 0]).size:
        left = counts[open_groups].sum(axis=0)
        if not left.any():
            for group in open_groups:
                deal(group, _side_with_room(room, group_fields[group], room))
            break
        rarest = int(np.argmin(np.where(left > 0, left, np.inf)))
        holders = open_groups[counts[open_groups, rarest] > 0]
        # Large groups first, while there is still room to make up for them.
        holders = holders[np.argsort(-counts[holders, rarest], kind="stable")]
        for group in holders:
            # The last chance to have a class on a side; training first, as what it lacks is never learned.
            lacking = (~has).sum(axis=0)
            urgent = np.flatnonzero((counts[group] > 0) & (lacking > 0) & (open_holders <= lacking))
            if urgent.size:
                first = urgent[np.argmin(cells[urgent])]
                deal(group, int(np.argmin(has[:, first])))
            else:
                deal(group, _side_with_room(room, group_fields[group], wanted_cells[:, rarest]))
    _fill_empty_side(side_of, group_fields)
    return side_of


def _side_with_room(room: NDArray[np.float64], size: float, wish: NDArray[np.float64]) -> int:
    """The side that wishes most (ties: has more room), if at least half the group fits there."""
    best = int(np.lexsort((room, wish))[-1])
    fits = room >= size / 2
    return best if fits[best] or not fits.any() else 1 - best


def _fill_empty_side(side_of: NDArray[np.int64], group_fields: NDArray[np.float64]) -> None:
    """A few large groups may all have gone one way: the smallest of them changes sides."""
    for side in (_TRAINING, _HELD_OUT):
        if not (side_of == side).any():
            side_of[int(np.argmin(group_fields))] = side
