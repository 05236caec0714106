"""Kept fields: the picture first, the rows after it, all or nothing; and the cells that were found in them."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from helpers.archive import FOUND, HEIGHT, PICTURE, WIDTH, kept_case, new_case
from helpers.places import Place
from marrowscope.cells.specimen import FoundCell
from marrowscope.errors import ArchiveDamaged, BadImage, BadInput, Locked, NotFound
from marrowscope.store.pixels import PixelFolder
from marrowscope.store.store import Store

NOW = datetime(2026, 5, 4, 9, 30, 0, 1, tzinfo=UTC)


def test_a_field_is_kept_as_it_was_given(store: Store) -> None:
    case = new_case(store)
    model = store.add_model("light", "ab" * 32, "clinical", "models/light", "", by="root")
    place = {"um_per_px": 0.069, "visit": "heron", "x_um": -12.5, "y_um": 7, "focus": 0.25}
    kept = store.keep_field(
        case.slide.id,
        PICTURE,
        width=WIDTH,
        height=HEIGHT,
        model_id=model.id,
        found=FOUND,
        by="anna",
        now=NOW,
        **place,  # type: ignore[arg-type]
    )
    assert {name: getattr(kept, name) for name in place} == place
    assert (kept.specimen_id, kept.slide_id, kept.number, kept.model_id) == (case.id, case.slide.id, 1, model.id)
    assert (kept.width, kept.height, kept.kept_at, kept.kept_by) == (WIDTH, HEIGHT, NOW, "anna")
    assert kept.image == hashlib.sha256(PICTURE).hexdigest()
    assert store.field(kept.id) == kept
    assert store.fields(case.id) == [kept]
    assert store.image_path(kept.image).read_bytes() == PICTURE
    assert store.image(kept.image) == PICTURE


def test_cells_are_kept_as_the_model_saw_them(store: Store) -> None:
    case = kept_case(store)
    cells = store.field_cells(case.kept[0].id)
    assert [(c.box, c.called, c.score, c.doubt) for c in cells] == [(f.box, f.code, f.score, f.doubt) for f in FOUND]
    assert all(c.code == c.called and c.counts and not c.reviewed for c in cells)
    assert all(store.cell(cell.id) == cell for cell in cells)
    assert all(isinstance(edge, float) for cell in cells for edge in cell.box)


def test_fields_are_numbered_within_their_specimen(store: Store) -> None:
    case, other = new_case(store, "M-1"), new_case(store, "M-2")
    case.keep()
    other.keep()
    case.keep([])
    assert [f.number for f in store.fields(case.id)] == [1, 2]
    assert [f.number for f in store.fields(other.id)] == [1]


def test_the_newest_fields_of_a_model_are_those_of_all_cases(store: Store) -> None:
    light, heavy = (store.add_model(name, name, "clinical", "", "", by="root").id for name in ("light", "heavy"))
    kept = [
        store.keep_field(new_case(store, f"S-{n}").slide.id, PICTURE, width=9, height=9, model_id=model, by="anna")
        for n, model in enumerate((light, heavy, None, light, light))
    ]
    assert store.newest_fields(light, 2) == [kept[4], kept[3]]
    assert store.newest_fields(light, 9) == [kept[4], kept[3], kept[0]]
    assert store.newest_fields(heavy, 9) == [kept[1]]


def test_the_same_picture_kept_twice_is_one_file(store: Store, place: Place) -> None:
    case = new_case(store)
    first, second = (case.keep(image=PICTURE) for _ in range(2))
    assert first.image == second.image
    assert [path.read_bytes() for _, path in PixelFolder(place.pixels).files()] == [PICTURE]


def test_a_cell_seen_before_is_kept_and_not_counted_twice(store: Store) -> None:
    case = kept_case(store)
    seen = case.cells()[0]
    again = FoundCell((0, 0, 50, 50), "MYELO", 0.8, 0.2, same_as=seen.id)
    field = case.keep([again, FOUND[1]])
    assert [c.same_as for c in store.field_cells(field.id)] == [seen.id, None]
    assert store.counts(case.id) == {"LYM": (1, 0), "META": (2, 0), "MYELO": (2, 0)}
    assert store.field_counts(case.id) == {case.kept[0].id: (4, 0), field.id: (1, 0)}
    assert store.cells(case.id, counting=True)[1] == 5
    assert [c.same_as for c in store.cells(case.id, counting=False)[0]] == [seen.id]


def test_a_cell_seen_before_must_be_one_of_this_specimen(store: Store) -> None:
    case, other = kept_case(store, "M-1"), kept_case(store, "M-2")
    foreign = other.cells()[0].id
    for number in (foreign, 10_000, -3, 2**40):
        with pytest.raises(NotFound):
            case.keep([FoundCell((0, 0, 5, 5), "MYELO", 0.8, 0.2, same_as=number)])
    assert len(store.fields(case.id)) == 1
    assert store.check().ok


def test_a_box_is_cut_at_the_edges_of_its_field(store: Store) -> None:
    case = new_case(store)
    field = case.keep([FoundCell((-3.5, 10, 20, HEIGHT + 0.25), "MYELO", 0.8, 0.2)])
    assert store.field_cells(field.id)[0].box == (0.0, 10.0, 20.0, float(HEIGHT))


@pytest.mark.parametrize(
    "cell",
    [
        FoundCell((20, 10, 20, 30), "MYELO", 0.8, 0.2),
        FoundCell((WIDTH, 10, WIDTH + 9, 30), "MYELO", 0.8, 0.2),
        FoundCell((float("nan"), 10, 20, 30), "MYELO", 0.8, 0.2),
        FoundCell((1, 10, 20, 30), "", 0.8, 0.2),
        FoundCell((1, 10, 20, 30), "MYELO", 1.01, 0.2),
        FoundCell((1, 10, 20, 30), "MYELO", 0.8, float("nan")),
    ],
)
def test_a_cell_that_cannot_be_is_refused_and_nothing_is_kept(store: Store, place: Place, cell: FoundCell) -> None:
    case = new_case(store)
    with pytest.raises(BadInput, match="found cell 2"):
        case.keep([FOUND[0], cell])
    assert store.fields(case.id) == []
    assert list(PixelFolder(place.pixels).files()) == []


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"\xff\xd8", b"%PDF-1.7"])
def test_what_is_no_picture_is_refused(store: Store, image: bytes) -> None:
    case = new_case(store)
    with pytest.raises(BadImage, match="neither JPEG nor PNG"):
        store.keep_field(case.slide.id, image, width=10, height=10, by="anna")


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (2**31, 10)])
def test_a_field_without_a_size_is_refused(store: Store, size: tuple[int, int]) -> None:
    case = new_case(store)
    with pytest.raises(BadInput, match="width and a height"):
        store.keep_field(case.slide.id, PICTURE, width=size[0], height=size[1], by="anna")


def test_an_unknown_slide_or_model_keeps_no_rows(store: Store) -> None:
    case = new_case(store)
    for slide, model in ((case.slide.id + 1, None), (case.slide.id, 7), (2**50, None), (case.slide.id, 2**50)):
        with pytest.raises(NotFound):
            store.keep_field(slide, PICTURE, width=10, height=10, model_id=model, by="anna")
    assert store.fields(case.id) == []


def test_a_signed_specimen_takes_no_field(store: Store) -> None:
    case = kept_case(store)
    case.sign()
    with pytest.raises(Locked, match="amendment"):
        case.keep()
    assert len(store.fields(case.id)) == 1


def test_a_picture_left_without_a_row_is_an_orphan_and_harmless(store: Store) -> None:
    case = kept_case(store)
    case.sign()
    with pytest.raises(Locked):
        case.keep(image=PICTURE + b"late")
    digest = hashlib.sha256(PICTURE + b"late").hexdigest()
    report = store.check()
    assert report.ok
    assert report.orphans == (f"{digest[:2]}/{digest[2:]}",)


def test_the_picture_is_on_disk_before_its_row_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.open() as store:
        case = new_case(store)

        def no_disk(self: PixelFolder, data: bytes) -> str:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(PixelFolder, "keep", no_disk)
            with pytest.raises(OSError, match="No space"):
                case.keep()
        assert store.fields(case.id) == []
        assert store.check().ok


def test_a_picture_that_changed_is_noticed_when_it_is_read_and_mended_when_it_is_kept_again(store: Store) -> None:
    case = new_case(store)
    kept = case.keep(image=PICTURE)
    path = store.image_path(kept.image)
    path.write_bytes(PICTURE[:-1] + b"?")
    with pytest.raises(ArchiveDamaged, match="changed"):
        store.image(kept.image)
    case.keep(image=PICTURE)
    assert store.image(kept.image) == PICTURE


def test_a_picture_that_is_gone_is_noticed(store: Store) -> None:
    case = kept_case(store)
    path = store.image_path(case.kept[0].image)
    path.unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        store.image(case.kept[0].image)
    with pytest.raises(NotFound):
        store.image_path(case.kept[0].image)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "ab", "AB" * 32, "0" * 63 + "/", "\x00" * 64])
def test_a_name_that_is_no_digest_leads_nowhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound, match="SHA-256"):
        PixelFolder(tmp_path).path(name)


def test_a_field_of_many_cells_is_kept_in_order(store: Store) -> None:
    case = new_case(store)
    found = [FoundCell((i % 390, 0, i % 390 + 1, 9), f"C{i % 7}", i / 3000, 1 - i / 3000) for i in range(3000)]
    field = case.keep(found)
    cells = store.field_cells(field.id)
    assert [(c.box, c.code, c.score) for c in cells] == [(f.box, f.code, f.score) for f in found]
    assert sum(counting for counting, _ in store.counts(case.id).values()) == 3000
    assert store.check().ok
