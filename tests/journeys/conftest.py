"""The command line in this process, and a recipe that trains in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

RECIPE = """
base = "light"
epochs = 1
workers = 0
more_than = 6
warmup_iterations = 1
[model]
trunk = "mobilenetv3_small_050"
trunk_weights = "none"
trunk_norm = "batch"
frozen_stride = 0
fpn_channels = 16
head_width = 32
input_size = [320, 240]
pre_nms_proposals = 50
training_proposals = 50
detection_proposals = 50
"""


@pytest.fixture(scope="session")
def marrowscope() -> Callable[..., Result]:
    """Run a command that must succeed; it returns what was said."""
    from marrowscope.cli.app import app

    def run(*arguments: Any) -> Result:
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        assert done.exit_code == 0, (done.output, done.exception)
        return done

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path
