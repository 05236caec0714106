"""Cells: the gallery, corrections, blind readings, and the differential they add up to."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from marrowscope.cells.specimen import Box, Edit
from marrowscope.cells.specimen import Cell as ArchiveCell
from marrowscope.errors import BadTaxonomy
from marrowscope.web.gallery import review_page
from marrowscope.web.permissions import Reader, Technician
from marrowscope.web.routes.cases import PICTURE
from marrowscope.web.routes.parts import CodeQuery, Limit, Offset, PathId
from marrowscope.web.schemas.review import (
    Accept,
    Accepted,
    Agreement,
    AgreementRow,
    Cell,
    CellOrder,
    CellPage,
    Confused,
    Correction,
    DifferentialView,
    EditedCells,
    Edits,
    Effort,
    EffortOf,
    EffortSum,
    Estimate,
    MaturationAgreement,
    Reading,
    Readings,
)
from marrowscope.web.services import Works
from marrowscope.web.tallies import differential_view

router = APIRouter(tags=["review"])


def _edited(cells: Sequence[ArchiveCell]) -> EditedCells:
    return EditedCells(cells=[Cell.of(c) for c in cells])


def _box(corners: list[float]) -> Box:
    x1, y1, x2, y2 = corners
    return x1, y1, x2, y2


@router.get("/specimens/{specimen_id}/cells")
def cells(
    specimen_id: PathId,
    works: Works,
    who: Reader,
    code: Annotated[list[CodeQuery] | None, Query(max_length=100, description="of these classes only")] = None,
    reviewed: bool | None = None,
    removed: bool = False,
    order: CellOrder = CellOrder.DOUBT,
    limit: Limit = 200,
    offset: Offset = 0,
) -> CellPage:
    """The gallery: cells that count, unidentified ones first, then the rarest class, most doubtful first.

    removed: those that people said are no cells, instead.
    """
    if order is CellOrder.DOUBT and not removed:
        page, total = review_page(
            works.store, works.scheme, specimen_id, codes=code, reviewed=reviewed, limit=limit, offset=offset
        )
        return CellPage(items=[Cell.of(c) for c in page], total=total)
    found, total = works.store.cells(
        specimen_id,
        codes=code,
        reviewed=reviewed,
        removed=removed,
        counting=None if removed else True,
        order=order.value,
        limit=limit,
        offset=offset,
    )
    return CellPage(items=[Cell.of(c) for c in found], total=total)


@router.get("/cells/{cell_id}/crop", response_class=Response, responses=PICTURE)
def cell_crop(
    cell_id: PathId,
    request: Request,
    works: Works,
    who: Reader,
    size: Annotated[int, Query(ge=32, le=512)] = 128,
) -> Response:
    """A square picture of a cell and its surroundings, `size` pixels a side."""
    cell = works.store.cell(cell_id)
    return works.pictures.crop(request, works.store.field(cell.field_id), cell, size)


@router.post("/specimens/{specimen_id}/edits")
def edit_cells(specimen_id: PathId, body: Edits, works: Works, who: Technician) -> EditedCells:
    """Rename, confirm, move, add, remove, restore: all of them or none. 423 where the case is signed."""
    edits = [
        Edit(e.kind, e.cell_id, e.field_id, e.code, None if e.box is None else _box(e.box), e.expected)
        for e in body.edits
    ]
    return _edited(works.review.edit(specimen_id, edits, by=who.name, why=body.why))


@router.post("/specimens/{specimen_id}/undo")
def undo(specimen_id: PathId, works: Works, who: Technician) -> EditedCells:
    """Undo one's own newest edits that are not undone yet; no cell where there is nothing to undo."""
    return _edited(works.review.undo(specimen_id, by=who.name))


@router.post("/specimens/{specimen_id}/accept")
def accept(specimen_id: PathId, body: Accept, works: Works, who: Technician) -> Accepted:
    """Confirm all unreviewed cells that the model is sure of."""
    return Accepted(accepted=works.review.accept_above(specimen_id, body.above, codes=body.codes, by=who.name))


@router.get("/specimens/{specimen_id}/corrections")
def corrections(specimen_id: PathId, works: Works, who: Reader, limit: Limit = 200) -> list[Correction]:
    """The newest edits of the case, in the order in which they were made."""
    return [Correction.model_validate(c) for c in works.store.corrections(specimen_id, newest=limit)]


@router.get("/specimens/{specimen_id}/differential")
def differential(specimen_id: PathId, works: Works, who: Reader) -> DifferentialView:
    """What the cells add up to, with intervals, reference ranges, indices, and whether it is enough."""
    return differential_view(works, specimen_id)


@router.get("/specimens/{specimen_id}/readings")
def own_readings(specimen_id: PathId, works: Works, who: Technician) -> list[Reading]:
    """One's own blind reading; never another's."""
    return [Reading.model_validate(r) for r in works.store.readings(specimen_id) if r.reader == who.name]


@router.post("/specimens/{specimen_id}/readings")
def add_readings(specimen_id: PathId, body: Readings, works: Works, who: Technician) -> list[Reading]:
    """Add to one's own blind reading; a later word for a cell replaces the earlier."""
    known = {cell.code for cell in works.scheme}
    if unknown := sorted({r.code for r in body.readings} - known):
        raise BadTaxonomy(
            f"'{unknown[0]}' is no class code of scheme '{works.scheme.name}'. Choose one of its classes."
        )
    works.store.add_readings(specimen_id, {r.cell_id: r.code for r in body.readings}, by=who.name)
    return own_readings(specimen_id, works, who)


@router.get("/specimens/{specimen_id}/agreement")
def agreement(
    specimen_id: PathId,
    works: Works,
    who: Reader,
    first: Annotated[str, Query(min_length=1, max_length=64, description="user name, `model` or `case`")],
    second: Annotated[str, Query(min_length=1, max_length=64, description="as first")],
) -> Agreement:
    """How far two readers agree. `model`: its calls; `case`: the names in force, of reviewed cells."""
    found = works.review.agreement(specimen_id, first, second)
    return Agreement(
        first=first,
        second=second,
        n=found.n,
        observed=found.observed,
        kappa=Estimate.model_validate(found.kappa),
        lineage_kappa=Estimate.model_validate(found.lineages.kappa),
        maturation=[
            MaturationAgreement(lineage=lineage, n=kappa.n, kappa=Estimate.model_validate(kappa.kappa))
            for lineage, kappa in found.maturation.items()
        ],
        classes=[AgreementRow.model_validate(row) for row in found.by_class],
        lineages=[AgreementRow.model_validate(row) for row in found.by_lineage],
        confusions=[Confused(first=c.first.code, second=c.second.code, count=c.count) for c in found.confusions],
    )


@router.get("/specimens/{specimen_id}/effort")
def effort(specimen_id: PathId, works: Works, who: Reader) -> EffortSum:
    """What the review has taken so far."""
    people = [EffortOf.model_validate(e) for e in works.store.effort(specimen_id)]
    return EffortSum(
        seconds=sum(p.seconds for p in people),
        keystrokes=sum(p.keystrokes for p in people),
        clicks=sum(p.clicks for p in people),
        people=people,
    )


@router.post("/specimens/{specimen_id}/effort")
def add_effort(specimen_id: PathId, body: Effort, works: Works, who: Technician) -> EffortSum:
    """Add a stretch of review."""
    works.store.add_effort(specimen_id, body.seconds, body.keystrokes, body.clicks, by=who.name)
    return effort(specimen_id, works, who)
