"""Tables as files that any database can be filled from: one a table, JSON Lines, gzipped.

The first line names the table and its columns, each with its kind (`int`, `float`, `text`, `bool`, `time`, `date`);
every other line is a row, as a list. Times are ISO 8601 in UTC. So a backup says what it holds without this program,
and one that was made on SQLite fills a PostgreSQL, and the other way round.
"""

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, select, tuple_

from marrowscope.errors import ArchiveDamaged
from marrowscope.store import intake, trail
from marrowscope.store.tables import SessionRow, Table, UtcDateTime

LEFT_OUT = (SessionRow.__table__,)
"""Whoever was logged in logs in again."""
ROWS_AT_ONCE = 5000

_TYPES: dict[str, Any] = {
    "int": sa.Integer(),
    "float": sa.Float(53),
    "text": sa.Text(),
    "bool": sa.Boolean(),
    "time": UtcDateTime(),
    "date": sa.Date(),
}
_FROM_JSON: dict[str, Any] = {"time": datetime.fromisoformat, "date": date.fromisoformat, "float": float}


def tables() -> list[sa.Table]:
    """Every table that is kept, each after those that it names."""
    return [table for table in Table.metadata.sorted_tables if table not in LEFT_OUT]


def _kind(column: sa.Column[Any]) -> str:
    if isinstance(column.type, UtcDateTime):
        return "time"
    kinds = {sa.Boolean: "bool", sa.Integer: "int", sa.Float: "float", sa.Date: "date", sa.Text: "text"}
    return next(kind for sort, kind in kinds.items() if isinstance(column.type, sort))


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return trail.stamp(value)
    return value.isoformat() if isinstance(value, date) else value


def write_table(connection: Connection, table: sa.Table, path: Path) -> int:
    """Write all rows of a table to a new file. Returns how many."""
    columns = list(table.columns)
    key = list(table.primary_key.columns)
    query = select(*columns).order_by(*key).limit(ROWS_AT_ONCE)
    last: tuple[Any, ...] | None = None
    written = 0
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        head = {"table": table.name, "columns": [[column.name, _kind(column)] for column in columns]}
        packed.write(f"{json.dumps(head)}\n".encode())
        while True:
            rows = connection.execute(query if last is None else query.where(tuple_(*key) > last)).all()
            if not rows:
                return written
            lines = (json.dumps([_to_json(v) for v in row], ensure_ascii=False, separators=(",", ":")) for row in rows)
            packed.write(("\n".join(lines) + "\n").encode())
            written += len(rows)
            last = tuple(getattr(rows[-1], column.name) for column in key)


def fill_table(connection: Connection, path: Path) -> int:
    """Insert the rows of a file. Returns how many. ArchiveDamaged for a file that is none of ours."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            head = json.loads(next(file))
            table = sa.table(head["table"], *(sa.column(name, _TYPES[kind]) for name, kind in head["columns"]))
            filled = 0
            for rows in intake.portions(_rows(file, head["columns"])):
                _insert(connection, table, rows)
                filled += len(rows)
            return filled
    except (EOFError, StopIteration, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ArchiveDamaged(f"{path}: is not a table of a backup ({type(error).__name__}).") from None


def _rows(lines: Iterator[str], columns: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    names = [name for name, _ in columns]
    changing = [(place, _FROM_JSON[kind]) for place, (_, kind) in enumerate(columns) if kind in _FROM_JSON]
    for line in lines:
        values = json.loads(line)
        for place, change in changing:
            if values[place] is not None:
                values[place] = change(values[place])
        yield dict(zip(names, values, strict=True))


def _insert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    if table.name == "audit_head":  # there is one already, made with the tables
        connection.execute(sa.update(table).values(rows[0]))
    elif connection.dialect.name == "sqlite":
        connection.execute(sa.insert(table), list(rows))
    else:
        _copy_in(connection, table, rows)


def _copy_in(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    """PostgreSQL's own way for many rows; the driver would send them one by one."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    lines = "".join("\t".join(map(_copy_text, row.values())) + "\n" for row in rows)
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f'COPY "{table.name}" ({columns}) FROM STDIN', stream=io.BytesIO(lines.encode()))  # type: ignore[call-arg]
    finally:
        cursor.close()


_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _copy_text(value: Any) -> str:
    """A value in the text format of COPY."""
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(_to_json(value)).translate(_ESCAPED)


def set_sequences(connection: Connection) -> None:
    """Let PostgreSQL number new rows from where the old ones end; SQLite does so by itself."""
    if connection.dialect.name == "sqlite":
        return
    for table in tables():
        key = table.autoincrement_column
        if key is not None:
            name = f"pg_get_serial_sequence('{table.name}', '{key.name}')"
            highest = f"(SELECT max({key.name}) FROM {table.name})"  # noqa: S608 (names of our own)
            connection.execute(sa.text(f"SELECT setval({name}, {highest}) WHERE {highest} IS NOT NULL"))
