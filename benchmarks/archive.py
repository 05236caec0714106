"""Milliseconds of every query that a page makes, in an archive of a million cells, on SQLite and PostgreSQL.

    python benchmarks/archive.py [--specimens 1000] [--repeats 15] [--only sqlite|postgresql] [--keep FOLDER]

1000 specimens of 20 fields with 50 cells, and one of 100 fields with 200 cells; a tenth of the cells confirmed, one in
twenty renamed, every second specimen signed. The archive is made on SQLite by the store's own code, backed up, and
restored to PostgreSQL; the integrity check must be clean on both. Then every query is called `repeats` times, and its
plan is asked for: one that reads a large table from end to end is named.
"""

import argparse
import gc
import platform
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import event

from marrowscope.cells.specimen import Edit, EditKind, FoundCell
from marrowscope.store.backup import restore
from marrowscope.store.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.bulk_archive import SIZE, BulkStore, fill, fill_specimen
from helpers.places import create_database
from helpers.postgres import NoPostgres, postgres_server

HUGE = {"fields": 100, "cells": 200}
LARGE_TABLES = "cells|corrections|audit|edit_groups"


def queries(store: Store) -> dict[str, Callable[[], Any]]:
    """What the pages ask for: of an ordinary specimen, and of the huge one."""
    (found,), _ = store.specimens("M26-HUGE")
    huge = found.specimen.id
    total, usual = huge, huge // 2
    field = store.fields(huge)[50].id
    cell = store.field_cells(field)[7].id
    report = store.reports(usual if usual % 2 else usual + 1)[0].id
    return {
        "specimens, first page": lambda: store.specimens(limit=50),
        "specimens, last page": lambda: store.specimens(limit=50, offset=total - 50),
        "specimens, text found": lambda: store.specimens("26-004", limit=50),
        "specimens, text not found": lambda: store.specimens("nobody", limit=50),
        "specimens, signed": lambda: store.specimens(state="signed", limit=50),
        "specimen": lambda: store.summary(usual),
        "slides": lambda: store.slides(usual),
        "fields": lambda: store.fields(huge),
        "cells by field, 20,000": lambda: store.field_counts(huge),
        "field_cells": lambda: store.field_cells(field),
        "cell": lambda: store.cell(cell),
        "cells by doubt": lambda: store.cells(usual, limit=100),
        "cells by doubt, of 20,000": lambda: store.cells(huge, limit=100),
        "... last page": lambda: store.cells(huge, limit=100, offset=19_900),
        "... one class": lambda: store.cells(huge, codes=["MYELO"], limit=100),
        "... five classes, unreviewed": lambda: store.cells(
            huge, codes=["EOS_SEG", "MYELO", "META", "BAND", "LYM"], reviewed=False, limit=100
        ),
        "... reviewed, by number": lambda: store.cells(huge, reviewed=True, order="number", limit=100),
        "... counting": lambda: store.cells(huge, counting=True, limit=100),
        "counts, 20,000": lambda: store.counts(huge),
        "corrections": lambda: store.corrections(usual),
        "corrections, newest 200 of the huge": lambda: store.corrections(huge, newest=200),
        "readings": lambda: store.readings(huge),
        "reports": lambda: store.reports(usual),
        "report": lambda: store.report(report),
        "audit, first page": lambda: store.audit(100, 0),
        "audit, page 100": lambda: store.audit(100, 10_000),
        "audit of a specimen": lambda: store.audit(100, 0, f"specimen/{huge}"),
        "statistics": store.statistics,
        "models": store.models,
    }


def milliseconds(call: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return times


@contextmanager
def recorded(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent meanwhile."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, values))

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(store._engine, "before_cursor_execute", note)


def plan(store: Store, statement: str, values: Any) -> list[str]:
    """What the database would do for this statement."""
    sqlite = store._engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
    with store._engine.connect() as connection:
        rows = connection.exec_driver_sql(explain + statement, values).all()
    return [str(row[-1]) for row in rows]


def reads_all(lines: list[str]) -> list[str]:
    """The steps that read a large table from end to end; the trail is read from its newest entry as far as asked."""
    pattern = rf"\bSeq Scan on ({LARGE_TABLES})\b|^SCAN ({LARGE_TABLES})\b(?! USING INTEGER PRIMARY KEY)"
    return [line.strip() for line in lines if re.search(pattern, line) and line.strip() != "SCAN audit"]


def vacuum(store: Store) -> None:
    """What PostgreSQL does by itself within the hour."""
    connection = store._engine.raw_connection()
    connection.rollback()
    connection.dbapi_connection.autocommit = True
    connection.cursor().execute("VACUUM ANALYZE")
    connection.dbapi_connection.autocommit = False
    connection.close()


def make(url: str, pixels: Path, specimens: int) -> None:
    """The archive, by the store's own code."""
    fill(url, pixels, specimens=specimens, fields=20, cells=50)
    bulk = BulkStore.open(url, pixels)
    with bulk.filling():
        fill_specimen(bulk, "M26-HUGE", np.random.default_rng(1), model_id=1, **HUGE)
    bulk.close()


def seconds(what: str, call: Callable[[], Any]) -> Any:
    """Do it, and say how long it took."""
    started = time.perf_counter()
    result = call()
    print(f"{what}: {time.perf_counter() - started:.1f} s", flush=True)
    return result


def measure(url: str, pixels: Path, repeats: int) -> dict[str, Any]:
    """Times in milliseconds and plans of all queries; times of writes."""
    times, scans = {}, {}
    with Store.open(url, pixels) as store:
        if store._engine.dialect.name == "postgresql":
            vacuum(store)
        gc.collect()
        for name, call in queries(store).items():
            with recorded(store) as sent:
                call()
            times[name] = milliseconds(call, repeats)
            scans[name] = [step for statement, values in sent for step in reads_all(plan(store, statement, values))]
        report = seconds(f"{store._engine.dialect.name}, whole check", store.check)
        written = {name: milliseconds(call, repeats) for name, call in writes(store).items()}
    print(f"  {report if report.ok else report.problems}", flush=True)
    return {"queries": times, "scans": scans, "writes": written}


def writes(store: Store) -> dict[str, Callable[[], Any]]:
    """What a person waits for while working, durable on return."""
    _, number = store.specimens(limit=1)
    specimen = store.add_specimen(f"M26-NEW-{number}", "P-NEW", by="anna")
    slide = store.add_slide(specimen.id, "A", by="anna")
    chance = np.random.default_rng(2)
    found = [FoundCell((10.0 * i, 5, 10.0 * i + 9, 20), "MYELO", 0.8, 0.2) for i in range(50)]

    def keep() -> None:
        image = b"\xff\xd8\xff" + chance.bytes(2_000_000)
        store.keep_field(slide.id, image, width=SIZE[0], height=SIZE[1], found=found, by="anna")

    keep()
    cells, _ = store.cells(specimen.id, limit=50)
    return {
        "keep a field, 2 MB, 50 cells": keep,
        "rename a cell": lambda: store.apply(
            specimen.id, [Edit(EditKind.RENAME, cell_id=cells[0].id, code="META")], by="anna"
        ),
        "rename 50 cells": lambda: store.apply(
            specimen.id, [Edit(EditKind.RENAME, cell_id=c.id, code="META") for c in cells], by="anna"
        ),
        "undo": lambda: store.undo(specimen.id, by="anna"),
    }


def table(measured: dict[str, dict[str, Any]]) -> None:
    backends = list(measured)
    print(f"\n{'ms: median (slowest)':40}" + "".join(f"{name:>22}" for name in backends))
    for part in ("queries", "writes"):
        for name in measured[backends[0]][part]:
            cells = [measured[b][part][name] for b in backends]
            print(f"{name:40}" + "".join(f"{statistics.median(t):12.1f} ({max(t):6.1f})" for t in cells))
        print()
    for backend in backends:
        scans = {name: steps for name, steps in measured[backend]["scans"].items() if steps}
        print(f"{backend}, queries that read a large table from end to end: {scans or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specimens", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--keep", type=Path, help="folder for the archive; one that is there is used again")
    given = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}", flush=True)
    measured = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = given.keep or Path(temporary)
        home.mkdir(exist_ok=True)
        url, pixels, copy = f"sqlite:///{home / 'archive.db'}", home / "pixels", home / "backup"
        if not (home / "archive.db").exists():
            seconds("made on SQLite", lambda: make(url, pixels, given.specimens))
        if not copy.exists():
            with Store.open(url, pixels) as store:
                seconds("backup", lambda: store.backup(copy))
        measured["SQLite"] = measure(url, pixels, given.repeats)
        table(measured)
        try:
            with postgres_server() as url, tempfile.TemporaryDirectory() as pixels_there:
                there = Path(pixels_there) / "pixels"
                url = create_database(url, "marrow")
                seconds("restored to PostgreSQL, all verified", lambda: restore(copy, url, there))
                measured["PostgreSQL"] = measure(url, there, given.repeats)
        except NoPostgres as error:
            print(f"PostgreSQL left out: {error}")
        table(measured)


if __name__ == "__main__":
    main()
