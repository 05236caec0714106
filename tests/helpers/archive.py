"""A small case to work on: what most tests of the archive begin with."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from marrowscope.cells.specimen import Cell, Edit, EditKind, FoundCell, KeptField, Slide, Specimen
from marrowscope.store.store import Store

PICTURE = b"\xff\xd8\xff\xe0 a JPEG by its first bytes"
PDF = b"%PDF-1.7 a report"
WIDTH, HEIGHT = 400, 300

FOUND = (
    FoundCell((10, 10, 60, 60), "MYELO", 0.9, 0.1),
    FoundCell((100, 20, 150, 80), "META", 0.55, 0.6),
    FoundCell((200.5, 30.25, 260.125, 90), "MYELO", 0.7, 0.35),
    FoundCell((300, 200, 360, 260), "LYM", 0.97, 0.02),
)


@dataclass
class Case:
    """One specimen with one slide, and what was kept of it."""

    store: Store
    specimen: Specimen
    slide: Slide
    kept: list[KeptField] = field(default_factory=list)

    @property
    def id(self) -> int:
        return self.specimen.id

    def keep(self, found: Sequence[FoundCell] = FOUND, *, image: bytes | None = None, by: str = "anna") -> KeptField:
        """Keep one more field, of another picture unless told otherwise."""
        image = image or PICTURE + str(len(self.kept)).encode()
        kept = self.store.keep_field(
            self.slide.id, image, width=WIDTH, height=HEIGHT, um_per_px=0.07, visit="v1", found=found, by=by
        )
        self.kept.append(kept)
        return kept

    def cells(self, *, removed: bool | None = None) -> list[Cell]:
        """All of them, by number."""
        return self.store.cells(self.id, removed=removed, order="number", limit=10_000)[0]

    def edit(self, kind: EditKind, cell: int | Cell, *, by: str = "anna", **values: object) -> Cell:
        """One edit of one cell."""
        number = cell.id if isinstance(cell, Cell) else cell
        (edited,) = self.store.apply(self.id, [Edit(kind, cell_id=number, **values)], by=by)  # type: ignore[arg-type]
        return edited

    def rename(self, cell: int | Cell, code: str, *, by: str = "anna") -> Cell:
        return self.edit(EditKind.RENAME, cell, code=code, by=by)

    def sign(self, *, by: str = "hana") -> None:
        self.store.sign(self.id, "{}", PDF, by=by, meaning="reviewed and approved")


def new_case(store: Store, code: str = "M26-0001", patient: str = "P-417") -> Case:
    """A specimen with one slide and no field."""
    specimen = store.add_specimen(code, patient, by="anna")
    return Case(store, specimen, store.add_slide(specimen.id, "A", by="anna"))


def kept_case(store: Store, code: str = "M26-0001", patient: str = "P-417") -> Case:
    """A specimen with one field of four cells."""
    case = new_case(store, code, patient)
    case.keep()
    return case


def busy_archive(store: Store) -> Case:
    """Everything that there can be, once at least."""
    store.add_user("hana", "Dr Hana Ito", "haematologist", "hash", by="root")
    store.note_login("hana", True)
    model = store.add_model("light", "ab" * 32, "clinical", "models/light", "", by="root")
    store.promote(model.id, by="root", why="first")
    store.set_setting("station", '{"lab":"骨"}', by="root")
    case = kept_case(store)
    one, two, three, _ = case.cells()
    case.keep([FoundCell((0, 0, 9, 9), "MYELO", 0.5, 0.5, same_as=one.id)])
    case.rename(one, "BAND")
    case.edit(EditKind.MOVE, two, box=(1, 2, 3, 4))
    store.apply(
        case.id,
        [
            Edit(EditKind.ADD, field_id=case.kept[0].id, code="LYM", box=(5, 5, 9, 9)),
            Edit(EditKind.REMOVE, three.id),
        ],
        by="ben",
        why="noch einmal",
    )
    store.undo(case.id, by="ben")
    store.accept_above(case.id, 0.6, by="anna")
    store.add_readings(case.id, {one.id: "META"}, by="ben")
    store.add_effort(case.id, 12.5, 3, 1, by="ben")
    store.save_draft(case.id, '{"a":"b"}', by="anna")
    store.sign(case.id, "{}", PDF, by="hana", meaning="approved")
    store.begin_amendment(case.id, "typing error", by="hana")
    store.sign(case.id, "{}", PDF + b"2", by="hana", meaning="amended")
    return case
