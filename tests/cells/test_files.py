"""A file is replaced whole or not at all: also when its writer fails, or is killed on the way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from marrowscope.cells.files import replacing, write_atomically

OLD, NEW = "old" * 1000, "new" * 2000

# Writes half of the file, then is killed at the step named on the command line.
WRITER = f"""
import os, signal, sys
from pathlib import Path
from marrowscope.cells import files

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

target, step = Path(sys.argv[1]), sys.argv[2]
if step == "sync":
    os.fsync = die
elif step == "rename":
    Path.replace = die
elif step == "renamed":
    files._sync_folder = die
with files.replacing(target) as aside:
    with aside.open("w") as file:
        file.write({NEW[:3000]!r})
        file.flush()
        if step == "write":
            die()
        file.write({NEW[3000:]!r})
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_text(OLD)
    return path


def test_the_new_content_is_there_and_nothing_else(target: Path) -> None:
    with replacing(target) as aside:
        assert aside.parent == target.parent
        assert aside.suffix == ".json"
        aside.write_text(NEW)
        assert target.read_text() == OLD
    assert target.read_text() == NEW
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_and_no_debris(target: Path, error: type[BaseException]) -> None:
    def write_and_fail() -> None:
        with replacing(target) as aside:
            aside.write_text(NEW[:3000])
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert target.read_text() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_a_rename_that_fails_leaves_no_debris(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", NEW)
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize(
    ("step", "left"), [("write", OLD), ("sync", OLD), ("rename", OLD), ("renamed", NEW), ("none", NEW)]
)
def test_a_writer_that_is_killed_leaves_a_whole_file(target: Path, step: str, left: str) -> None:
    died = subprocess.run([sys.executable, "-c", WRITER, str(target), step], check=False).returncode
    assert died == (0 if step == "none" else -signal.SIGKILL)
    assert target.read_text() == left
    # What a killed writer leaves beside it is hidden, and does not stand in the way of the next.
    assert all(p.name.startswith(".report-") for p in target.parent.iterdir() if p != target)
    write_atomically(target, "next")
    assert target.read_text() == "next"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "rights"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_rights_are_those_of_any_new_file(tmp_path: Path, umask: int, rights: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a.json", NEW)
        with replacing(tmp_path / "b.json") as aside:
            # As a library does that itself writes aside and renames.
            aside.unlink()
            os.close(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.json", "b.json")] == [rights, rights]


def test_text_is_written_as_utf_8_with_its_line_ends_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "骨髓\r\n細胞\n")
    assert (tmp_path / "a.txt").read_bytes() == "骨髓\r\n細胞\n".encode()
    write_atomically(tmp_path / "a.txt", b"\x00\xff")
    assert (tmp_path / "a.txt").read_bytes() == b"\x00\xff"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "runs" / "1" / "metrics.json", NEW)
    assert (tmp_path / "runs" / "1" / "metrics.json").read_text() == NEW


def test_the_longest_name_that_the_system_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("f" * 250 + ".json")
    write_atomically(path, NEW)
    assert path.read_text() == NEW


def test_two_writers_at_once_do_not_meet(target: Path) -> None:
    with replacing(target) as one, replacing(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    # The outer block ends last.
    assert target.read_text() == "one"
    assert list(target.parent.iterdir()) == [target]
