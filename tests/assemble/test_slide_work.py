"""The processes that look at slides: what they share, what they know, and when they end."""

import gc
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from marrowscope.assemble.slide_work import LocalEngine

PATIENCE_S = 60
TWO_WORKERS = """
import os, time
from marrowscope.assemble.slide_work import LocalEngine

if __name__ == "__main__":
    engine = LocalEngine(2)
    for job in [engine.submit(time.sleep, 0.5) for _ in range(2)]:
        job.result()
    print("working", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every worker begins with nothing")
def test_workers_are_copies_of_one_process_that_imported_all_and_whose_pages_are_left_alone() -> None:
    before = gc.get_freeze_count()
    with LocalEngine(1) as engine:
        assert engine.submit(gc.get_freeze_count).result() > before + 100_000
    assert gc.get_freeze_count() == before


def test_a_worker_sees_the_environment_that_its_engine_was_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalEngine(1) as engine:
        assert engine.submit(os.getenv, "MARROWSCOPE_TOLD").result() is None
    monkeypatch.setenv("MARROWSCOPE_TOLD", "lately")
    with LocalEngine(1) as engine:
        assert engine.submit(os.getenv, "MARROWSCOPE_TOLD").result() == "lately"


def test_nothing_of_a_killed_run_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", TWO_WORKERS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "working\n"
        begun = psutil.Process(parent.pid).children(recursive=True)
        assert len(begun) >= 2
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while (left := [p for p in begun if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert not left
