"""`marrowscope archive`: check, backup, restore, verify-audit, statistics, send."""

import base64
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from helpers.archive import PDF, Case, busy_archive, kept_case, new_case
from helpers.reporting import FEW, SIGNATURE, content, facts
from marrowscope.cli.app import FrontDoor
from marrowscope.cli.archive import archive, archive_url
from marrowscope.errors import BadSetting, NotDelivered
from marrowscope.report import mllp
from marrowscope.store.store import Store

Archive = Callable[..., Result]


@pytest.fixture
def run() -> Archive:
    """`marrowscope archive ...` in this process."""
    front = typer.Typer(cls=FrontDoor)
    front.add_typer(archive, name="archive")

    def invoke(*words: Any) -> Result:
        return CliRunner().invoke(front, ["archive", *(str(word) for word in words)])

    return invoke


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A station's home with a busy archive."""
    folder = tmp_path / "lab"
    with opened(folder) as store:
        busy_archive(store)
    return folder


def opened(home: Path) -> Store:
    return Store.open(archive_url(home, None), home / "pixels")


def picture(home: Path) -> Path:
    with opened(home) as store:
        return store.image_path(store.fields(1)[0].image)


def test_a_whole_archive_is_said_to_be_whole(run: Archive, home: Path) -> None:
    done = run("check", "--home", home)
    assert done.exit_code == 0, done.output
    assert "Whole: " in done.output
    assert "6 cells" in done.output
    assert run("check", "--home", home, "--quiet").stdout == ""


@pytest.mark.parametrize("quick", [False, True])
def test_damage_is_named_with_exit_code_2(run: Archive, home: Path, quick: bool) -> None:
    picture(home).unlink()
    done = run("check", "--home", home, *(["--quick"] if quick else []), "--quiet")
    assert done.exit_code == 2
    assert "field 1: its file" in done.output
    assert "is missing" in done.output


def test_a_quick_check_does_not_read_files(run: Archive, home: Path) -> None:
    picture(home).write_bytes(b"changed")
    assert run("check", "--home", home, "--quick").exit_code == 0
    done = run("check", "--home", home)
    assert done.exit_code == 2
    assert "has changed" in done.output


def test_files_without_rows_are_told_and_harmless(run: Archive, home: Path) -> None:
    orphan = home / "pixels" / "ab" / ("0" * 62)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x")
    done = run("check", "--home", home)
    assert done.exit_code == 0
    assert str(orphan) in done.output.replace("\n", "")


def test_a_backup_is_restored_elsewhere_and_found_whole(run: Archive, home: Path, tmp_path: Path) -> None:
    done = run("backup", tmp_path / "safe", "--home", home)
    assert done.exit_code == 0, done.output
    there = tmp_path / "new"
    restored = run("restore", tmp_path / "safe", "--home", there)
    assert restored.exit_code == 0, restored.output
    assert "1 specimens, 6 cells, 4 files, all verified" in restored.output
    assert run("check", "--home", there).exit_code == 0
    again = run("restore", tmp_path / "safe", "--home", there)
    assert again.exit_code == 2
    assert "empty place" in again.output


def test_the_digest_of_the_newest_entry_proves_the_trail_later(run: Archive, home: Path) -> None:
    done = run("verify-audit", "--home", home)
    assert done.exit_code == 0
    digest = done.output.split("Newest audit entry: ")[1].split()[0]
    with opened(home) as store:
        kept_case(store, "M-2")
    assert run("verify-audit", "--home", home, "--expect", digest).exit_code == 0
    other = run("verify-audit", "--home", home, "--expect", "0" * 64)
    assert other.exit_code == 2
    assert "written anew" in other.output


def test_numbers_are_shown(run: Archive, home: Path) -> None:
    with opened(home) as store:
        case: Case = kept_case(store, "M-2")
        case.rename(case.cells()[1], "PROMYELO")
    done = run("statistics", "--home", home)
    assert done.exit_code == 0, done.output
    words = done.output.split()
    assert words[words.index("specimens") + 1] == "2"
    assert "PROMYELO" in words


@pytest.mark.parametrize("command", ["check", "verify-audit", "statistics"])
def test_without_an_archive_none_is_made(run: Archive, tmp_path: Path, command: str) -> None:
    done = run(command, "--home", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "there is no archive" in done.output
    assert not (tmp_path / "nowhere").exists()


def test_the_home_may_come_from_the_environment(run: Archive, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARROWSCOPE_HOME", str(home))
    assert run("check").exit_code == 0


def test_the_database_is_the_one_given_else_that_of_the_settings_else_a_file(tmp_path: Path) -> None:
    assert archive_url(tmp_path, None) == f"sqlite:///{tmp_path / 'archive.db'}"
    (tmp_path / "station.toml").write_text('archive = "postgresql://lab/marrow"\n', encoding="utf-8")
    assert archive_url(tmp_path, None) == "postgresql://lab/marrow"
    assert archive_url(tmp_path, "sqlite:///x.db") == "sqlite:///x.db"
    (tmp_path / "station.toml").write_text("nonsense = 1\n", encoding="utf-8")
    with pytest.raises(BadSetting):
        archive_url(tmp_path, None)


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A station's home with one report signed, and a second specimen without one."""
    folder = tmp_path / "lab"
    with opened(folder) as store:
        store.add_user("hana", "Dr Hana Ito", "haematologist", "hash", by="root")
        case = kept_case(store)
        new_case(store, "M26-0002")
        said = content(facts({"MYELO": 3})[0], scheme=FEW, signature=SIGNATURE)
        store.sign(case.id, said.to_json(), PDF, by="hana", meaning="reviewed and approved")
    return folder


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Messages that would have gone out; `tests/report/test_mllp.py` sends them in earnest."""
    messages: list[str] = []

    def take(message: str, host: str, port: int, *, timeout_s: float, tls: ssl.SSLContext | None) -> str:
        assert (host, port, timeout_s, tls) == ("interface.lab", 2575, 30.0, None)
        messages.append(message)
        return ""

    monkeypatch.setattr(mllp, "send", take)
    return messages


def test_the_signed_report_of_a_specimen_is_sent(run: Archive, signed: Path, sent: list[str]) -> None:
    done = run("send", "M26-0001", "interface.lab:2575", "--home", signed)
    assert done.exit_code == 0, done.output
    assert "M26-0001, version 1: accepted by interface.lab:2575" in done.output
    assert base64.b64encode(PDF).decode() in sent[0]
    assert run("send", "M26-0001", "interface.lab:2575", "--home", signed, "--no-pdf", "--quiet").stdout == ""
    assert "|ED|" in sent[0]
    assert "|ED|" not in sent[1]
    with opened(signed) as store:
        entries, _ = store.audit(2)
    assert [(e.what, e.subject) for e in entries] == [("report.send", "specimen/1")] * 2
    assert entries[0].who.endswith("(command line)")
    assert json.loads(entries[0].new) == {
        "report": 1,
        "version": 1,
        "to": "interface.lab:2575",
        "message": mllp.control_id(sent[1]),
    }


def test_what_was_refused_is_not_written_down_as_sent(
    run: Archive, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*of: object, **more: object) -> str:
        raise NotDelivered("rejected it")

    monkeypatch.setattr(mllp, "send", refuse)
    assert run("send", "M26-0001", "interface.lab:2575", "--home", signed).exit_code == 2
    with opened(signed) as store:
        assert store.audit(1)[0][0].what == "report.sign"


def test_an_authority_is_for_an_encrypted_line(run: Archive, signed: Path, sent: list[str], tmp_path: Path) -> None:
    (tmp_path / "hospital.pem").write_text("no certificate")
    words = ("send", "M26-0001", "interface.lab:2575", "--home", signed, "--authority", tmp_path / "hospital.pem")
    for more, told in (((), "Add --tls"), (("--tls",), "hospital.pem: no certificate")):
        done = run(*words, *more)
        assert done.exit_code == 2
        assert told in done.output
    assert not sent


@pytest.mark.parametrize(
    ("specimen", "to", "told"),
    [
        ("M26-0002", "interface.lab:2575", "Nobody signed"),
        ("M26-0003", "interface.lab:2575", "no specimen"),
        ("M26-0001", "interface.lab", "HOST:PORT"),
    ],
)
def test_what_cannot_be_sent_is_told(
    run: Archive, signed: Path, sent: list[str], specimen: str, to: str, told: str
) -> None:
    done = run("send", specimen, to, "--home", signed)
    assert done.exit_code == 2
    assert told in done.output
    assert not sent
