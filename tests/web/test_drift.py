"""The page asks whether kept fields look like those of training, and is told in words and in numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.drifting import SCHEME, keep, learned
from helpers.station import Station, station
from marrowscope.station.drift import DriftWatch


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A station whose model knows what its training fields look like."""
    training = learned()
    folder: Path = tmp_path_factory.mktemp("drift")
    with station(folder) as made:
        made.works.drift = DriftWatch(made.works.store, SCHEME, knows=lambda model: training)
        yield made


def test_whoever_may_look_is_told_that_the_light_has_drifted(lab: Station) -> None:
    reader = lab.client("rea")
    _, slide = lab.case()
    few = reader.get("/api/drift").json()
    assert (few["alarm"], few["known"], few["fields"], few["statistics"]) == (False, True, 0, [])
    keep(lab.works.store, slide, 8, light=0.7)
    told = reader.get("/api/drift").json()
    assert (told["alarm"], told["fields"]) == (True, 8)
    assert "look unlike those the model learned" in told["verdict"]
    assert told["advice"].startswith("Check stain, lamp")
    light = next(row for row in told["statistics"] if row["name"] == "lightness")
    assert (light["kind"], light["drifted"]) == ("looks", True)
    assert light["incoming"]["middle"] < light["usual"]["low"] < light["usual"]["middle"] < light["usual"]["high"]
    assert light["away"] < -1


def test_that_a_model_does_not_know_its_training_fields_is_no_error(tmp_path: Path) -> None:
    with station(tmp_path) as lab:
        answer = lab.client("rea").get("/api/drift")
    assert answer.status_code == 200
    assert answer.json()["known"] is False
    assert "does not know what its training fields look like" in answer.json()["verdict"]
