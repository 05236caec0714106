"""What OpenVINO does to the process that it runs in."""

import subprocess
import sys

import pytest

SIGNAL_AFTER_TWO = """
import os, signal
import openvino
from openvino import opset13
from marrowscope.detect.openvino_runtime import openvino_graphs

def loaded():
    values = opset13.parameter([1, 3], name="values")
    return openvino_graphs({"relu": openvino.Model([opset13.relu(values)], [values])})

signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
first, second = loaded(), loaded()
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
def test_a_signal_is_heard_after_networks_were_dropped_oldest_first() -> None:
    """Without a thread of its own, the signal ends the interpreter: it would run on a stack that is gone."""
    run = subprocess.run([sys.executable, "-c", SIGNAL_AFTER_TWO], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "heard\n"), run.stderr
