"""A backup of either database restores to either, whole; one that is damaged restores to nothing."""

import gzip
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select

from helpers.archive import busy_archive, kept_case
from helpers.places import Place
from marrowscope.cells.specimen import EditKind
from marrowscope.errors import ArchiveDamaged, BadInput
from marrowscope.store import portable
from marrowscope.store.backup import restore
from marrowscope.store.store import Store
from marrowscope.store.tables import Table


def contents(place: Place) -> dict[str, list[Any]]:
    """Every row of every table, except who is logged in."""
    engine = place.engine()
    with engine.connect() as connection:
        rows = {
            table.name: sorted(map(repr, connection.execute(select(*table.columns)).all()))
            for table in Table.metadata.sorted_tables
            if table.name != "sessions"
        }
    engine.dispose()
    return rows


def is_empty(place: Place) -> bool:
    if place.on_sqlite and not Path(place.url.removeprefix("sqlite:///")).exists():
        return not place.pixels.exists()
    engine = place.engine()
    tables = inspect(engine).get_table_names()
    engine.dispose()
    return not tables and not place.pixels.exists()


@pytest.fixture
def backup(place: Place, tmp_path: Path) -> Path:
    """A backup of a busy archive."""
    with place.open() as store:
        busy_archive(store)
        return store.backup(tmp_path / "safe" / "backup").folder


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_what_is_restored_is_what_was_backed_up(
    place: Place, backup: Path, new_places: dict[str, Place], target: str
) -> None:
    there = new_places[target]
    restore(backup, there.url, there.pixels)
    assert contents(there) == contents(place)
    files = {path.relative_to(place.pixels) for path in place.pixels.rglob("*") if path.is_file()}
    assert {path.relative_to(there.pixels) for path in there.pixels.rglob("*") if path.is_file()} == files
    assert all((there.pixels / path).read_bytes() == (place.pixels / path).read_bytes() for path in files)
    with there.open() as restored:
        assert restored.check().ok
        # Work goes on where it stopped: numbers, chain and locks.
        case = kept_case(restored, "M-NEW")
        restored.add_user("new", "New", "reader", "hash", by="root")
        restored.note_login("new", True)
        case.rename(case.cells()[0], "BAND")
        restored.add_model("newer", "cd" * 32, "clinical", "m", "", by="root")
        restored.add_effort(case.id, 1, 1, 1, by="anna")
        case.sign()
        assert restored.check().ok


def test_a_backup_of_a_restored_archive_is_the_same_backup(backup: Path, new_places: dict[str, Place]) -> None:
    there = new_places["sqlite"]
    restore(backup, there.url, there.pixels)
    with there.open() as restored:
        again = restored.backup(backup.with_name("again")).folder
    for path in [*backup.glob("tables/*"), backup / "files.txt"]:
        assert (again / path.relative_to(backup)).read_bytes() == path.read_bytes()


def test_a_backup_says_what_it_holds_in_plain_files(backup: Path) -> None:
    manifest = json.loads((backup / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert set(manifest["tables"]) == {table.name for table in portable.tables()}
    with gzip.open(backup / "tables" / "specimens.jsonl.gz", "rt") as file:
        head, row = (json.loads(line) for line in file)
    assert dict(head["columns"])["created_at"] == "time"
    assert dict(zip((name for name, _ in head["columns"]), row, strict=True))["code"] == "M26-0001"
    assert "sessions" not in manifest["tables"]
    assert [p.name for p in backup.parent.iterdir()] == ["backup"]


def test_a_backup_is_of_one_moment_while_others_write(
    place: Place, tmp_path: Path, new_places: dict[str, Place]
) -> None:
    with place.open() as store:
        case = kept_case(store)
        stop = threading.Event()
        kept = threading.Event()

        def work() -> None:
            while not stop.is_set():
                case.keep()
                case.edit(EditKind.CONFIRM, case.cells()[-1])
                kept.set()

        worker = threading.Thread(target=work)
        worker.start()
        try:
            for number in range(3):
                kept.clear()
                assert kept.wait(60)
                store.backup(tmp_path / f"backup{number}")
        finally:
            stop.set()
            worker.join()
        assert store.check().ok
    there = new_places["sqlite"]
    for number in range(3):
        pixels = there.pixels.with_name(f"pixels{number}")
        url = f"sqlite:///{there.pixels.with_name(f'{number}.db')}"
        restore(tmp_path / f"backup{number}", url, pixels)  # verifies that all of it agrees


def test_a_backup_goes_into_a_new_folder_only(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is there already"):
        store.backup(tmp_path)


def test_a_backup_of_a_damaged_archive_leaves_nothing(store: Store, tmp_path: Path) -> None:
    case = busy_archive(store)
    store.image_path(case.kept[0].image).write_bytes(b"other")
    with pytest.raises(ArchiveDamaged, match="has changed"):
        store.backup(tmp_path / "safe" / "backup")
    assert list((tmp_path / "safe").iterdir()) == []


def test_only_an_empty_place_is_restored_into(place: Place, backup: Path, new_places: dict[str, Place]) -> None:
    before = contents(place)
    with pytest.raises(BadInput, match="not empty"):
        restore(backup, place.url, place.pixels)
    there = new_places["sqlite"]
    for target in (place.url, new_places["postgresql"].url):
        pixels = there.pixels if target == place.url else place.pixels
        with pytest.raises(BadInput, match=r"not empty|there already"):
            restore(backup, target, pixels)
    assert contents(place) == before
    with place.open() as store:
        assert store.check().ok


def _forge_row(folder: Path) -> None:
    """Change a row, and the manifest along with it: only seals and chain can tell."""
    path = folder / "tables" / "corrections.jsonl.gz"
    text = gzip.open(path, "rt").read()  # noqa: SIM115
    path.write_bytes(gzip.compress(text.replace('"BAND"', '"BLAST"').encode()))
    _seal_anew(folder)


def _cut_trail(folder: Path) -> None:
    for name, change in (("audit", lambda lines: lines[:-1]), ("audit_head", lambda lines: lines)):
        path = folder / "tables" / f"{name}.jsonl.gz"
        lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
        path.write_bytes(gzip.compress("".join(change(lines)).encode()))
    _seal_anew(folder)


def _seal_anew(folder: Path) -> None:
    from marrowscope.store.pixels import digest_of_file

    manifest = json.loads((folder / "manifest.json").read_text())
    for name, table in manifest["tables"].items():
        path = folder / "tables" / f"{name}.jsonl.gz"
        table["sha256"] = digest_of_file(path)
        table["rows"] = len(gzip.decompress(path.read_bytes()).splitlines()) - 1
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _first_file(folder: Path) -> Path:
    return min(path for path in (folder / "files").rglob("*") if path.is_file())


DAMAGE: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), BadInput),
    "a manifest that is no JSON": (lambda f: (f / "manifest.json").write_text("{"), ArchiveDamaged),
    "a manifest without tables": (lambda f: (f / "manifest.json").write_text('{"format": 1}'), ArchiveDamaged),
    "a manifest that is a list": (lambda f: (f / "manifest.json").write_text("[]"), ArchiveDamaged),
    "a table missing": (lambda f: (f / "tables" / "cells.jsonl.gz").unlink(), ArchiveDamaged),
    "a table changed": (lambda f: (f / "tables" / "cells.jsonl.gz").write_bytes(b"x"), ArchiveDamaged),
    "a table that is no table": (
        lambda f: ((f / "tables" / "cells.jsonl.gz").write_bytes(gzip.compress(b"{}\n")), _seal_anew(f)),
        ArchiveDamaged,
    ),
    "a picture missing": (lambda f: _first_file(f).unlink(), ArchiveDamaged),
    "a picture changed": (lambda f: _first_file(f).write_bytes(b"x"), ArchiveDamaged),
    "the list of files changed": (lambda f: (f / "files.txt").write_text(""), ArchiveDamaged),
    "a correction forged": (_forge_row, ArchiveDamaged),
    "the trail cut short": (_cut_trail, ArchiveDamaged),
}


def test_a_damaged_backup_is_refused_and_the_place_stays_empty(
    backup: Path, new_places: dict[str, Place], tmp_path: Path
) -> None:
    for number, (what, (damage, error)) in enumerate(DAMAGE.items()):
        copy = Path(shutil.copytree(backup, tmp_path / f"copy{number}"))
        damage(copy)
        there = new_places["postgresql" if number % 2 else "sqlite"]
        with pytest.raises(error):
            restore(copy, there.url, there.pixels)
        assert is_empty(there), what
    restore(backup, there.url, there.pixels)
