"""A detector of known cells, and Label Studio's own library."""

import importlib.util
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.neighbours import Judge, KnownCells
from marrowscope.assemble.detectors import OpenedDetector

SDK = "MARROWSCOPE_LABEL_STUDIO_SDK"


@pytest.fixture
def known() -> KnownCells:
    return KnownCells()


@pytest.fixture
def opened(known: KnownCells, tmp_path: Path) -> OpenedDetector:
    return OpenedDetector(known, 0.5, tmp_path, "by heart")


@pytest.fixture(scope="session")
def judge() -> Judge:
    """The library beside ours, or in the folder that $MARROWSCOPE_LABEL_STUDIO_SDK names (`pip install --target`).

    It pins OpenCV to an older version than ours, so it is no part of the test extra; the slow tests make a
    virtual environment for it.
    """
    if SDK in os.environ:
        return Judge(sys.executable, os.environ[SDK])
    if importlib.util.find_spec("label_studio_sdk"):
        return Judge(sys.executable)
    pytest.skip(f"label-studio-sdk is not here: ${SDK} names its folder, and `pytest -m slow` builds its own")


@pytest.fixture(scope="session")
def judge_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The library in a virtual environment with everything that it wants. Needs PyPI, and minutes."""
    folder = tmp_path_factory.mktemp("judge")
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "label-studio-sdk>=2.0"], check=True)
    return Judge(python)


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[Path], Path]:
    """Writes a field of 320 x 240 pixels, in which nothing is to be seen."""
    import cv2

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((240, 320, 3), 230, np.uint8))
        return path

    return write
