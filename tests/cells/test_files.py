import os
import signal
import stat
import subprocess
import sys

import pytest

from marrowscope.cells.files import replacing, write_atomically

KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from marrowscope.cells.files import replacing
with replacing(Path(sys.argv[1])) as aside:
    aside.write_bytes(b"half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_old_file_stays_whole_when_the_writer_is_killed(tmp_path):
    target = tmp_path / "out.json"
    write_atomically(target, "the old one")
    done = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "the old one"


def test_a_writer_that_fails_leaves_the_old_file_and_no_debris(tmp_path):
    target = tmp_path / "out.json"
    write_atomically(target, b"old")

    def fail() -> None:
        with replacing(target) as aside:
            aside.write_bytes(b"ne")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert target.read_bytes() == b"old"


def test_a_new_folder_is_made_and_the_file_is_an_ordinary_one(tmp_path):
    target = tmp_path / "a" / "b" / "out.txt"
    write_atomically(target, "text")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
