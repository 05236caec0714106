"""A station in a process of its own, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
import threading


class Running:
    """`marrowscope WORDS` until it says where its page is. AssertionError, with all it said, where it never does."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from marrowscope.cli import main; main()", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        )
        self.said: list[str] = []
        # One that never says where it is must not hang the test.
        watchdog = threading.Timer(120, self.process.kill)
        watchdog.start()
        self.address = ""
        for line in self.process.stdout or ():
            self.said.append(line)
            if found := re.search(r"https?://\S+", line):
                self.address = found[0].rstrip("/")
            if "Ctrl-C" in line:
                break
        watchdog.cancel()
        assert self.address, "".join(self.said)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(how)
        out, _ = self.process.communicate(timeout=60)
        self.said.append(out)
        return self.process.returncode

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, whatever became of the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
