"""Values of the archive and of the desk as answers."""

from marrowscope.cells.specimen import KeptField
from marrowscope.web.schemas import cases
from marrowscope.web.services import Services


def field_view(works: Services, field: KeptField, counts: tuple[int, int] | None = None) -> cases.KeptField:
    """A kept field. counts: (cells that count, reviewed ones of them), asked of the archive where left out."""
    if counts is None:
        cells = [cell for cell in works.store.field_cells(field.id) if cell.counts]
        counts = len(cells), sum(cell.reviewed for cell in cells)
    return cases.KeptField(
        id=field.id,
        specimen_id=field.specimen_id,
        slide_id=field.slide_id,
        number=field.number,
        image_url=f"/api/fields/{field.id}/image",
        thumbnail_url=f"/api/fields/{field.id}/thumbnail",
        width=field.width,
        height=field.height,
        um_per_px=field.um_per_px,
        visit=field.visit,
        x_um=field.x_um,
        y_um=field.y_um,
        focus=field.focus,
        model_id=field.model_id,
        kept_at=field.kept_at,
        kept_by=field.kept_by,
        cells=counts[0],
        reviewed=counts[1],
    )


def field_views(works: Services, specimen_id: int) -> list[cases.KeptField]:
    """All fields of a case."""
    counts = works.store.field_counts(specimen_id)
    return [field_view(works, field, counts.get(field.id, (0, 0))) for field in works.store.fields(specimen_id)]
