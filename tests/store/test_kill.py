"""kill -9 at random moments while fields are kept, corrected and signed: nothing acknowledged is ever missing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.places import Place

SCRIPT = Path(__file__).parents[1] / "helpers" / "killed.py"
IN_ONE_ARCHIVE = 25
"""After so many kills a new archive is begun: each is checked wholly after each kill."""


def killed(place: Place, kills: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, SCRIPT, place.url, place.pixels, str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_killed_station_has_lost_nothing_that_it_acknowledged(place: Place) -> None:
    told = killed(place, 12, seed=1000)
    assert told["problems"] == []
    assert told["kills"] == 12
    # It was killed at work, not before: a line is a call that had returned.
    assert told["lines"] > 12


@pytest.mark.slow
@pytest.mark.parametrize("part", range(200 // IN_ONE_ARCHIVE))
def test_at_two_hundred_moments(place: Place, part: int) -> None:
    told = killed(place, IN_ONE_ARCHIVE, seed=5000 + 100 * part)
    assert told["problems"] == []
    assert told["kills"] == IN_ONE_ARCHIVE
    assert told["lines"] > IN_ONE_ARCHIVE
