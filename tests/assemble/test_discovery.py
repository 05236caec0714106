"""Looking for cameras: what each driver sees, and that none of them can do harm."""

from pathlib import Path

import pytest

from marrowscope.assemble import discovery
from marrowscope.assemble.discovery import DRIVERS, look


def test_every_driver_answers() -> None:
    states = [look(driver) for driver in DRIVERS]
    assert [s.driver for s in states] == list(DRIVERS)
    assert [s.problem for s in states if s.installed] == [""] * sum(s.installed for s in states)


def test_emulated_basler_cameras_are_seen_with_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pypylon", reason="the extra `basler` is not installed")
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    assert [c.address for c in look("basler").cameras] == ["basler:0815-0000", "basler:0815-0001"]


def test_cameras_of_a_producer_on_the_path_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    genicam = pytest.importorskip("genicam", reason="the extra `genicam` is not installed")
    folder = Path(genicam.__file__).parent
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(folder))
    seen = look("genicam").cameras
    assert len(seen) == 3
    assert seen[0].address == f"genicam:{folder / 'viky.cti'}#VikyTL_DEV_red"


def test_a_driver_that_hangs_is_reported_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "did not answer" in look("uvc", timeout_s=0.01).problem


def test_a_driver_that_crashes_takes_nobody_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("import os; os.abort()", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "crashed" in look("uvc").problem


def test_a_driver_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "pypylon").mkdir()
    (tmp_path / "pypylon" / "__init__.py").write_text("raise ImportError('not here')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    state = look("basler")
    assert (state.installed, state.cameras) == (False, ())
    assert "pip install 'marrowscope[basler]'" in state.problem


def test_what_a_driver_raises_is_reported_in_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> list[object]:
        raise RuntimeError("no bus")

    monkeypatch.setitem(discovery.DRIVERS, "uvc", (broken, ""))
    discovery.main("uvc")
    assert "RuntimeError: no bus" in capsys.readouterr().out
