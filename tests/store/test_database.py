"""How databases are opened: durable settings, clear refusals, and migrations that make what the code expects."""

import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from helpers.archive import busy_archive, kept_case
from helpers.places import Place
from marrowscope.errors import ArchiveError, BadInput, BadSetting, MissingExtra
from marrowscope.store import database, schema
from marrowscope.store.store import Store
from marrowscope.store.tables import Table


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory", "oracle:"]
)
def test_a_url_that_cannot_keep_an_archive_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting):
        Store.open(url, tmp_path / "pixels")


def test_a_server_that_does_not_answer_is_an_error_of_the_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="refused"):
        Store.open("postgresql://nobody:secret@127.0.0.1:9/none", tmp_path / "pixels")
    assert "secret" not in database.without_password("postgresql://nobody:secret@127.0.0.1:9/none")


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(MissingExtra, match=r"marrowscope\[postgres\]"):
        Store.open("postgresql://a@127.0.0.1:9/none", tmp_path / "pixels")


def test_a_folder_that_cannot_be_made_is_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadSetting, match="cannot be made"):
        Store.open(f"sqlite:///{tmp_path / 'file' / 'archive.db'}", tmp_path / "pixels")


def test_a_file_that_is_no_database_is_an_error_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "archive.db").write_bytes(b"no database at all " * 500)
    with pytest.raises(ArchiveError):
        Store.open(f"sqlite:///{tmp_path / 'archive.db'}", tmp_path / "pixels")


def test_every_connection_commits_to_disk(place: Place) -> None:
    engine = place.engine()
    with database.reading(engine) as first, database.reading(engine) as second:
        for connection in (first, second):
            if place.on_sqlite:
                settings = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}
                found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in settings}
            else:
                settings = {"synchronous_commit": "on", "TimeZone": "UTC"}
                found = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in settings}
            assert found == settings
    engine.dispose()


def test_migrations_make_the_tables_that_the_code_expects(place: Place) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = place.engine()
    with database.reading(engine) as connection, warnings.catch_warnings():
        warnings.simplefilter("error")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    engine.dispose()


def test_the_newest_revision_is_the_one_that_the_code_names() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_each_revision_leads_to_the_newest(empty_place: Place, revision: str) -> None:
    engine = empty_place.engine()
    with database.writing(engine) as connection:
        schema.upgrade_within(connection, revision)
        assert schema.revision_of(connection) == revision
        connection.execute(text("INSERT INTO settings (key, value) VALUES ('kept', '1')"))
    engine.dispose()
    with empty_place.open() as store:
        kept_case(store)
        assert store.setting("kept") == "1"
        assert store.check().ok
    engine = empty_place.engine()
    with database.reading(engine) as connection:
        assert schema.revision_of(connection) == schema.HEAD
    engine.dispose()


def test_counters_that_came_later_are_counted_when_they_are_made(place: Place) -> None:
    with place.open() as store:
        busy_archive(store)
        expected = store.statistics()
    place.run("DROP TABLE totals")
    place.run("UPDATE alembic_version SET version_num = '0002'")
    with place.open() as store:
        assert store.statistics() == expected
        assert store.check().ok


def test_an_archive_of_a_newer_marrowscope_is_not_touched(place: Place) -> None:
    place.run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ArchiveError, match="newer marrowscope"):
        place.open()
    with pytest.raises(ArchiveError, match="schema 9999"):
        Store.open(place.url, place.pixels, create=False)


def test_a_migration_that_fails_leaves_nothing(empty_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "HEAD", "9998")
        with pytest.raises(Exception, match="9998"):
            Store.open(empty_place.url, empty_place.pixels)
    engine = empty_place.engine()
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    empty_place.open().close()


def test_many_may_open_a_new_archive_at_once(empty_place: Place) -> None:
    gate = threading.Barrier(4)
    failures: list[BaseException] = []

    def begin(name: str) -> None:
        try:
            gate.wait()
            with empty_place.open() as store:
                store.add_specimen(name, "P-1", by=name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=begin, args=(f"M-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with empty_place.open() as store:
        assert store.specimens()[1] == 4
        assert store.check().ok


def test_what_the_database_says_is_told_without_the_values(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.open() as store:
        secret = "PATIENT-7731"

        def full(*_: object) -> None:
            raise OperationalError(f"INSERT {secret}", {"code": secret}, Exception("database or disk is full"))

        monkeypatch.setattr("marrowscope.store.cases._patient_id", full)
        with pytest.raises(ArchiveError, match="disk is full") as raised:
            store.add_specimen("M-1", secret, by="anna")
        assert secret not in str(raised.value)
        assert store.specimens() == ([], 0)


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="zone"):
        store.add_specimen("M-1", "P-1", by="anna", now=datetime(2026, 5, 4, 9))
    with pytest.raises(BadInput):
        store.add_specimen("M-1", "P-1", by="", now=datetime(2026, 5, 4, 9, tzinfo=UTC))


def test_opening_an_archive_that_is_up_to_date_does_not_load_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    Store.open(url, tmp_path / "pixels").close()
    code = (
        "import sys; from pathlib import Path; from marrowscope.store.store import Store\n"
        "Store.open(sys.argv[1], Path(sys.argv[2])).close(); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, url, str(tmp_path / "pixels")], check=True)
