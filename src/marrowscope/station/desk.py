"""The desk where a field is kept: the model's words become the scheme's, and every cell of the glass counts once.

Doubt of a cell is 1 - score, more where the same cell had a second name: half the second name's score is added. A model
that says myelocyte .8 and metamyelocyte .7 of one cell is less sure than one that says myelocyte .8 alone. Of a
calibrated detector 1 - score is the probability that the name is wrong, given that score alone; that the second name
still tells something was measured (docs/decisions/0020).

A cell that was counted in an earlier field of the same slide and visit is kept again with its box, as training needs
it, but points to the one that counts (`FoundCell.same_as`). The first view counts, always: it may have been reviewed by
then, its number may stand in a report, and the archive writes that once. Where the border of a field cuts the first
view and a later one is whole, `best_views` says which one to show. What a person has removed is no cell of ours: seen
again, it is counted and asked about again. A picture without a place (an upload) is never compared.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from marrowscope.cells.boxes import clip, iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.specimen import Box, Cell, FoundCell, KeptField
from marrowscope.cells.taxonomy import Taxonomy, spelling_key
from marrowscope.detect.detector import SAME_CELL, one_name_per_cell
from marrowscope.errors import BadTaxonomy
from marrowscope.station.overlap import View, assign, same_cells

if TYPE_CHECKING:
    from marrowscope.station.live_view import KeptFrame
    from marrowscope.store.store import Store

BORDER_PX = 2.0
"""A box that comes this near to the edge of its field is taken for cut."""

_log = logging.getLogger(__name__)


def translation(model: Taxonomy, scheme: Taxonomy) -> tuple[str, ...]:
    """For every class of a model its code in the scheme, by code, then by name and other spellings; else the bucket.

    BadTaxonomy where a class has no counterpart and the scheme has no bucket (`other`).
    """
    bucket = None if scheme.other is None else scheme[scheme.index(scheme.other)].code
    codes = []
    for cell in model:
        known = (_exactly(spelling, scheme) for spelling in (cell.code, cell.name, *cell.spellings()))
        code = next((code for code in known if code is not None), bucket)
        if code is None:
            raise BadTaxonomy(
                f"the model's class '{cell.name}' is not in scheme '{scheme.name}', which has no class for the "
                "unidentified. Add it, or name one with `other`."
            )
        codes.append(code)
    return tuple(codes)


def _exactly(spelling: str, scheme: Taxonomy) -> str | None:
    """The code of the class with this spelling; unlike `Taxonomy.find` not the bucket for an unknown one."""
    found = scheme.find(spelling)
    if found is None:
        return None
    key = spelling_key(spelling)
    return scheme[found].code if any(spelling_key(known) == key for known in scheme[found].spellings()) else None


def found_cells(detections: Detections, scheme: Taxonomy, width: int, height: int) -> list[FoundCell]:
    """What a model found, one name a cell, in the words of the scheme, with its doubt; best score first."""
    words = translation(detections.taxonomy, scheme)
    named = one_name_per_cell(detections)
    boxes = clip(named.boxes, width, height)
    overlaps = iou_matrix(named.boxes, detections.boxes) >= SAME_CELL
    found = []
    for number, (box, label, score) in enumerate(zip(boxes, named.labels, named.scores, strict=True)):
        if box[2] - box[0] < 1 or box[3] - box[1] < 1:
            continue
        code = words[int(label)]
        rivals = [
            float(detections.scores[j])
            for j in np.flatnonzero(overlaps[number])
            if words[int(detections.labels[j])] != code
        ]
        x1, y1, x2, y2 = (float(edge) for edge in box)
        doubt = doubt_of(float(score), max(rivals, default=0.0))
        found.append(FoundCell((x1, y1, x2, y2), code, float(score), doubt))
    return found


def doubt_of(score: float, second: float = 0.0) -> float:
    """0 certain .. 1 a guess, from the score of the name given and that of the next best name (0: none known)."""
    return min(max(1.0 - score + second / 2, 0.0), 1.0)


def is_cut(box: Box, width: int, height: int) -> bool:
    """Whether the border of the field runs through the cell."""
    x1, y1, x2, y2 = box
    return x1 <= BORDER_PX or y1 <= BORDER_PX or x2 >= width - BORDER_PX or y2 >= height - BORDER_PX


def best_views(cells: Iterable[Cell], fields: Iterable[KeptField]) -> dict[int, Cell]:
    """For each cell that counts, the view to look at: its own if that is whole, else the first whole one, else its own.

    cells: all of a case, or more; fields: those that they lie in. Keys are the ids of the cells that count.
    """
    size = {field.id: (field.width, field.height) for field in fields}
    best: dict[int, Cell] = {}
    for cell in sorted(cells, key=lambda c: (c.same_as is not None, c.id)):
        if cell.removed:
            continue
        own = cell.id if cell.same_as is None else cell.same_as
        shown = best.setdefault(own, cell)
        if is_cut(shown.box, *size[shown.field_id]) and not is_cut(cell.box, *size[cell.field_id]):
            best[own] = cell
    return best


class Desk:
    """Keeps fields. `store` is the archive, `scheme` the classes in force."""

    def __init__(self, store: "Store", scheme: Taxonomy) -> None:
        self.store, self.scheme = store, scheme

    def keep(
        self, kept: "KeptFrame", slide_id: int, model_id: int | None, by: str, *, now: datetime | None = None
    ) -> KeptField:
        """Keep a field of the live view: its JPEG, its cells, and which of them were counted before.

        On return it is in the archive. Raises what the archive raises (NotFound for the slide, Locked for a signed
        case), and BadTaxonomy where the model speaks of a class that the scheme has no place for.
        """
        frame, position = kept.frame, kept.position
        height, width = frame.pixels.shape[:2]
        return self.keep_picture(
            slide_id,
            kept.jpeg,
            kept.detections,
            width=width,
            height=height,
            um_per_px=frame.um_per_px,
            visit=kept.visit,
            place_um=None if position is None else (position[0], position[1]),
            focus=kept.focus,
            model_id=model_id,
            by=by,
            now=now,
        )

    def keep_picture(
        self,
        slide_id: int,
        image: bytes,
        detections: Detections,
        *,
        width: int,
        height: int,
        um_per_px: float | None = None,
        visit: str | None = None,
        place_um: tuple[float, float] | None = None,
        focus: float | None = None,
        model_id: int | None = None,
        by: str,
        now: datetime | None = None,
    ) -> KeptField:
        """Keep a field from its bytes (JPEG or PNG); without `visit` and `place_um`, as for an upload, all cells count.

        width, height: pixels of the image. place_um: x, y of its middle on the slide.
        """
        found = found_cells(detections, self.scheme, width, height)
        x_um, y_um = (None, None) if place_um is None or visit is None else place_um
        if visit is not None and x_um is not None and y_um is not None:
            view = View.at(x_um, y_um, width, height, um_per_px)
            twins = self._seen_before(slide_id, visit, view, [cell.box for cell in found])
            found = [replace(cell, same_as=twins.get(number)) for number, cell in enumerate(found)]
            _log.info("kept field: %d cells, %d of them counted before", len(found), len(twins))
        return self.store.keep_field(
            slide_id,
            image,
            width=width,
            height=height,
            um_per_px=um_per_px,
            visit=visit,
            x_um=x_um,
            y_um=y_um,
            focus=focus,
            model_id=model_id,
            found=found,
            by=by,
            now=now,
        )

    def counted_at(self, field: KeptField, box: Box) -> tuple[Cell, KeptField] | None:
        """The counted cell of another field that lies where this box of `field` lies, with its field; None if none."""
        view = View.of(field)
        if view is None or field.visit is None:
            return None
        twins = self._seen_before(field.slide_id, field.visit, view, [box], but=field.id)
        if not twins:
            return None
        cell = self.store.cell(twins[0])
        return cell, self.store.field(cell.field_id)

    def _seen_before(
        self, slide_id: int, visit: str, view: View, boxes: Sequence[Box], *, but: int | None = None
    ) -> dict[int, int]:
        """Number of each box whose cell was counted before -> id of the cell that counts."""
        nearest: dict[tuple[int, int], float] = {}
        specimen_id = self.store.slide(slide_id).specimen_id
        for field in self.store.fields(specimen_id):
            theirs = View.of(field)
            if (field.slide_id, field.visit) != (slide_id, visit) or field.id == but:
                continue
            if theirs is None or not view.overlaps(theirs):
                continue
            cells = [cell for cell in self.store.field_cells(field.id) if not cell.removed]
            for pair in same_cells(view, boxes, theirs, [cell.box for cell in cells]):
                cell = cells[pair.second]
                key = pair.first, cell.id if cell.same_as is None else cell.same_as
                nearest[key] = min(pair.apart, nearest.get(key, np.inf))
        counted = sorted({root for _, root in nearest if not self.store.cell(root).removed})
        # Over all earlier fields together it is one to one again: two boxes never point to one cell.
        apart = np.full((len(boxes), len(counted)), np.inf)
        for (number, root), distance in nearest.items():
            if root in counted:
                apart[number, counted.index(root)] = distance
        return {pair.first: counted[pair.second] for pair in assign(apart)}
