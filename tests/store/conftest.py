"""Every test of the archive runs on SQLite and on a real PostgreSQL."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from helpers.places import Place, create_database, drop_database, empty, url_of
from helpers.postgres import NoPostgres, postgres_server
from marrowscope.store.store import Store

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL database with the tables of an archive."""
    try:
        with postgres_server() as server:
            url = create_database(server, "archive")
            Store.open(url, tmp_path_factory.mktemp("pixels")).close()
            yield url
    except NoPostgres as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables of an archive."""
    folder = tmp_path_factory.mktemp("template")
    Store.open(f"sqlite:///{folder / 'archive.db'}", folder / "pixels").close()
    return folder / "archive.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An archive that holds nothing yet."""
    if request.param == "sqlite":
        path = tmp_path / "archive.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return Place(f"sqlite:///{path}", tmp_path / "pixels")
    url: str = request.getfixturevalue("postgres")
    empty(url)
    return Place(url, tmp_path / "pixels")


@pytest.fixture
def new_places(postgres: str, tmp_path: Path) -> Iterator[dict[str, Place]]:
    """A place without an archive on each database, by name."""
    folder = tmp_path / "new"
    url = create_database(url_of(postgres, "postgres"), f"new{next(_numbers)}")
    yield {
        "sqlite": Place(f"sqlite:///{folder / 'archive.db'}", folder / "pixels"),
        "postgresql": Place(url, tmp_path / "new-pixels"),
    }
    drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_place(request: pytest.FixtureRequest, new_places: dict[str, Place]) -> Place:
    """A place without an archive."""
    return new_places[request.param]


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """An open archive that holds nothing yet."""
    with place.open() as opened:
        yield opened
