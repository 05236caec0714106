"""A station's model is taught a colour that it does not know, in a process of its own."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from helpers.retraining import CODES, NOW, SCHEME
from helpers.teaching import TAUGHT, station_to_teach
from marrowscope.assemble.detectors import open_detector
from marrowscope.assemble.headers import classes_of
from marrowscope.assemble.teaching import learn
from marrowscope.cells.specimen import ModelVersion
from marrowscope.errors import BadCheckpoint
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.station.teaching import Teaching
from marrowscope.store.store import Store


def test_a_colour_is_taught_and_the_candidate_is_set_beside_the_model_in_service(tmp_path: Path) -> None:
    home = tmp_path / "home"
    station_to_teach(home)
    with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as store:
        first = store.add_model("first", "ab" * 32, "clinical", str(home / "models" / "first"), "", by="anna")
        store.promote(first.id, by="anna", why="the first")
        work = partial(learn, models=home / "models", runtime="torch")
        teaching = Teaching(store, SCHEME, home, knows=classes_of, learn=work)
        (offer,) = teaching.teachable()
        assert (offer.name, offer.enough) == (TAUGHT, True)
        made = teaching.teach(offer.code, by="tim", now=NOW)
    about = json.loads(made.about)
    assert about["recognised"] == about["cells"] == 20
    assert about["mistaken"] == 0
    assert (about["verdict"], about["fixed_fields"]) == ("keep", 10)  # a detector that finds nothing gains nothing
    assert not made.serving
    assert Path(made.path).parent == home / "models"
    assert [cell.code for cell in open_detector(made.path, device="cpu", runtime="torch").detector.taxonomy] == [*CODES]
    assert load_checkpoint(made.path).added == 1
    assert [path.name for path in (home / "models").iterdir() if path.name.startswith("tmp")] == []


def test_a_model_whose_classes_cannot_be_read_is_refused(tmp_path: Path) -> None:
    version = ModelVersion(1, "odd", "ab", "clinical", str(tmp_path), "", True, NOW)
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        classes_of(version)
    for held in (b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}"):
        (tmp_path / "model.safetensors").write_bytes(held)
        with pytest.raises(BadCheckpoint, match="cannot be read"):
            classes_of(replace(version, path=str(tmp_path / "model.safetensors")))
