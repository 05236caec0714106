"""A station for every test, or one that many tests only look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.station import Station, station


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Station]:
    """A station with people and nothing else."""
    with station(tmp_path) as made:
        yield made


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Station]:
    """A station before its first run."""
    with station(tmp_path, people=False) as made:
        yield made
