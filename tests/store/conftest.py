"""Every test of the archive runs on SQLite and on a real PostgreSQL."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from helpers.places import Place, create_database, url_of
from helpers.postgres import NoPostgres, postgres_server
from marrowscope.store.store import Store

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a running PostgreSQL whose database `template` has the tables of an archive."""
    try:
        with postgres_server() as url:
            create_database(url, "template", "template0")
            folder = Path("unused-pixels")
            Store.open(url_of(url, "template"), folder).close()
            folder.rmdir()
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
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place without an archive."""
    return another_place(request, tmp_path, template="template0")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An archive that holds nothing yet."""
    return another_place(request, tmp_path, template="template")


def another_place(request: pytest.FixtureRequest, tmp_path: Path, *, template: str) -> Place:
    if request.param == "sqlite":
        path = tmp_path / "archive.db"
        if template == "template":
            shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return Place(f"sqlite:///{path}", tmp_path / "pixels")
    url: str = request.getfixturevalue("postgres")
    name = f"archive{next(_numbers)}"
    create_database(url, name, template)
    return Place(url_of(url, name), tmp_path / "pixels")


@pytest.fixture
def new_places(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Place]:
    """A place without an archive on each database, by name."""
    url: str = request.getfixturevalue("postgres")
    name = f"archive{next(_numbers)}"
    create_database(url, name, "template0")
    folder = tmp_path / "new"
    return {
        "sqlite": Place(f"sqlite:///{folder / 'archive.db'}", folder / "pixels"),
        "postgresql": Place(url_of(url, name), tmp_path / "new-pixels"),
    }


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """An open archive that holds nothing yet."""
    with place.open() as opened:
        yield opened
