"""A page of the gallery in review order, without looking at the rest of the case.

The order is that of `station.review`: unidentified cells first, then class by class, the rarest first, within a class
the most doubtful first. The archive's counters tell how many cells each class has, so only the classes that a page
touches are read, each by its index: a case of 20,000 cells costs what one of 200 does.
"""

from collections.abc import Sequence

from marrowscope.cells.specimen import Cell
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.store.store import Store


def review_page(
    store: Store,
    scheme: Taxonomy,
    specimen_id: int,
    *,
    codes: Sequence[str] | None = None,
    reviewed: bool | None = None,
    limit: int,
    offset: int,
) -> tuple[list[Cell], int]:
    """Cells that count, from place `offset` of the review order on, and how many there are in all.

    codes, reviewed: only such cells. NotFound without such a case.
    """
    wanted: dict[str, int] = {}
    for code, (n, seen) in store.counts(specimen_id).items():
        of_class = n if reviewed is None else seen if reviewed else n - seen
        if of_class and (codes is None or code in codes):
            wanted[code] = of_class
    place = {cell.code: number for number, cell in enumerate(scheme)}
    order = sorted(wanted, key=lambda code: (code != scheme.other, wanted[code], place.get(code, len(place)), code))
    found: list[Cell] = []
    before = 0
    for code in order:
        first = max(offset - before, 0)
        if first < wanted[code] and len(found) < limit:
            some, _ = store.cells(
                specimen_id,
                codes=[code],
                reviewed=reviewed,
                counting=True,
                order="doubt",
                limit=limit - len(found),
                offset=first,
            )
            found += some
        before += wanted[code]
    return found, sum(wanted.values())
