"""The front door tells what it can do, at once, and the README tells the same."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from marrowscope import __version__
from marrowscope.cli.app import app

README = Path(__file__).parents[2] / "README.md"


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(get_command(app)))


def _examples(command: Any) -> list[str]:
    return re.findall(r"^\s+((?:find .*\| )?marrowscope .+)$", command.help, re.MULTILINE)


def test_the_commands_are_those_promised() -> None:
    single = {path[0] for path in COMMANDS if len(path) == 1}
    assert single == {
        "demo",
        "train",
        "train-reader",
        "add-class",
        "evaluate",
        "detect",
        "slides",
        "ablate",
        "calibrate",
        "regions",
        "centres",
        "drift",
        "smear",
        "smear-slide",
        "export",
        "station",
        "label-studio",
        "retrain",
        "doctor",
    }
    groups = {"data": {"check", "summary", "split", "convert"}}
    groups["archive"] = {"check", "backup", "restore", "verify-audit", "statistics", "send"}
    assert {path for path in COMMANDS if len(path) == 2} == {(g, name) for g in groups for name in groups[g]}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_examples_and_a_line_for_each_option(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert len(command.help.split("\n")[0]) > 20
    assert _examples(command)
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_example_is_one_that_the_command_understands(path: tuple[str, ...]) -> None:
    for example in _examples(COMMANDS[path]):
        words = shlex.split(example.split("|")[-1])
        assert words[: 1 + len(path)] == ["marrowscope", *path]
        # Raises for an unknown option, a missing argument or a value out of range.
        COMMANDS[path].make_context(path[-1], words[1 + len(path) :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_readme(path: tuple[str, ...]) -> None:
    assert f"marrowscope {' '.join(path)}" in README.read_text(encoding="utf-8")


def test_help_needs_neither_numpy_nor_torch() -> None:
    code = (
        "import sys\n"
        "from marrowscope.cli.app import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'cv2', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--recipe" in done.stdout


def test_the_version_is_told(command: Any) -> None:
    told = command("--version")
    assert told.exit_code == 0
    assert told.stdout == f"marrowscope {__version__}\n"
