"""`marrowscope doctor`: what it sees, and what it calls wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.small_archive import HEIGHT, WIDTH, add_case, picture
from marrowscope.cli import doctor as examined
from marrowscope.store.store import Store


def findings(done: Any) -> dict[str, dict[str, str]]:
    return {f["subject"]: f for f in json.loads(done.stdout)}


def test_a_new_installation_lacks_nothing_that_a_station_needs(command: Any, tmp_path: Path) -> None:
    done = command("doctor", "--home", tmp_path, "--no-cameras", "--json")
    found = findings(done)
    assert done.exit_code == 0, done.output
    assert [f for f in found.values() if f["state"] == "wrong"] == []
    assert found["archive"]["state"] == "note"
    assert {"page", "fonts", "shipped model", "packages", "disk"} <= set(found)


def test_cameras_are_looked_for_by_every_driver(command: Any, tmp_path: Path) -> None:
    found = findings(command("doctor", "--home", tmp_path, "--json"))
    assert {f"camera {name}" for name in ("simulated", "uvc", "genicam", "micromanager", "basler")} <= set(found)


def test_a_missing_page_is_wrong_and_the_remedy_is_told(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examined.resources, "files", lambda name: tmp_path)
    done = command("doctor", "--home", tmp_path, "--no-cameras")
    assert done.exit_code == 2
    assert "Install marrowscope again" in done.stdout


def test_a_kept_picture_that_is_gone_makes_the_archive_wrong(command: Any, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'archive.db'}", tmp_path / "pixels") as store:
        case = add_case(store)
        store.keep_field(
            case.slide.id,
            picture(),
            width=WIDTH,
            height=HEIGHT,
            um_per_px=None,
            visit=None,
            x_um=None,
            y_um=None,
            focus=None,
            model_id=None,
            found=[],
            by="tess",
        )
    assert findings(command("doctor", "--home", tmp_path, "--no-cameras", "--json"))["archive"]["state"] == "ok"
    (kept,) = [p for p in (tmp_path / "pixels").rglob("*") if p.is_file()]
    kept.unlink()
    done = command("doctor", "--home", tmp_path, "--no-cameras", "--json")
    assert done.exit_code == 2
    assert findings(done)["archive"]["state"] == "wrong"
