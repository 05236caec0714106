"""The floors of the house: import-linter's contracts in pyproject.toml are kept, and would notice if they were not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_floor_imports_only_floors_below() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("cells/boxes.py", "from marrowscope.data import voc", "floors below it"),
        ("evaluation/pairs.py", "def _hidden() -> None:\n    import torch", "torch reaches only"),
        ("cli/detect.py", "from marrowscope.detect import torch_runtime", "runtimes are named only by"),
        ("detect/run.py", "import torch", "torch is imported by few"),
    ],
)
def test_a_forbidden_import_is_noticed(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    leave_out = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(ROOT / "src" / "marrowscope", tmp_path / "src" / "marrowscope", ignore=leave_out)
    changed = tmp_path / "src" / "marrowscope" / module
    changed.write_text(changed.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    done = _lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = done.stdout[done.stdout.index("Broken contracts") :]
    assert contract in broken
