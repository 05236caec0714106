"""What the documentation says is true: commands, links, files, examples, and no path of anybody's machine."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.cli.app import app
from marrowscope.detect.saved import read_detections
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.training.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "marrowscope"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# In two parts, so that this file does not hold what it looks for.
FORBIDDEN = [f"/{folder}/" for folder in ("work", "root", "tmp", "farm")] + ["." + "library"]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> Iterator[str]:
    """Every `marrowscope ...` in a code block or between single backticks."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (part.strip() for part in line.split("&&") if part.strip().startswith("marrowscope "))
    for inline in re.findall(r"`(marrowscope [^`]+)`", _FENCE.sub("", text)):
        yield " ".join(inline.split())


def all_commands() -> list[str]:
    return sorted({command for page in PAGES for command in commands(page)})


def parse(command: str) -> None:
    """Parse a command line as the program would, and run nothing. Raises what the program would say."""
    node: Any = typer.main.get_command(app)
    words = shlex.split(command)[1:]
    while hasattr(node, "commands"):
        if not words or words[0] not in node.commands:
            raise AssertionError(f"{command}: no such command; there are {sorted(node.commands)}")
        node = node.commands[words.pop(0)]
    context = node.context_class(node, info_name=node.name)
    given, rest, _ = node.make_parser(context).parse_args(list(words))
    assert not rest, f"{command}: {rest} is too much"
    if words:  # else it is named in a sentence, not a line to copy
        for parameter in node.params:
            parameter.process_value(context, given.get(parameter.name))


def test_the_readme_shows_every_command() -> None:
    root: Any = typer.main.get_command(app)
    shown = {command.split()[1] for command in commands(ROOT / "README.md")}
    assert set(root.commands) == shown


@pytest.mark.parametrize("command", all_commands())
def test_a_command_in_the_documentation_is_one_that_the_program_takes(command: str) -> None:
    parse(command)


@pytest.mark.parametrize(
    "command",
    [
        "marrowscope fly",
        "marrowscope train f --out o --wings 2",
        "marrowscope train f",
        "marrowscope train f --out o --epochs x",
    ],
)
def test_a_command_that_the_program_would_refuse_is_noticed(command: str) -> None:
    with pytest.raises(Exception, match=r"no such command|[Nn]o such option|[Mm]issing parameter|valid integer"):
        parse(command)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links them."""
    headings = re.findall(r"^#+ +(.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target} is no heading"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_file_named_in_the_text_exists(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    named = re.findall(r"`((?:src|tests|benchmarks|docs)/[\w./-]+)`", text)
    named += [
        f"src/marrowscope/{path}"
        for path in re.findall(r"`((?:cells|smear|data|model|evaluation|detect|training|cli)/[\w/]+\.\w+)`", text)
    ]
    named += re.findall(r"python (benchmarks/\w+\.py)", text)
    for name in named:
        assert (ROOT / name).exists(), f"{page.name}: {name} does not exist"


def test_each_row_of_the_methods_table_names_a_file_and_a_test() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    section = text.split("## 1. Where each part is")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for paper, _, files, tests in rows:
        assert "](../src/marrowscope/" in files, f"{paper.strip()}: no file"
        assert "](../tests/" in tests, f"{paper.strip()}: no test"
    equations = {int(n) for row in rows for n in _numbers(row[0])}
    assert equations == set(range(1, 15))


def _numbers(cell: str) -> Iterator[int]:
    """`Eq. 1, 8` -> 1, 8; `Eq. 4-7` -> 4, 5, 6, 7."""
    if cell.strip().startswith("Eq."):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", cell):
            yield from range(int(first), int(last or first) + 1)


def tree() -> dict[str, str]:
    """Every path drawn in ARCHITECTURE.md, with its line."""
    house = blocks(ROOT / "ARCHITECTURE.md", "")[0]
    drawn, folders = {}, {}
    for line in house.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = folders.get(depth - 1, "") + name
        drawn[path] = line
        if name.endswith("/"):
            folders[depth] = path
    return drawn


def test_everything_drawn_in_the_architecture_exists_and_has_its_line() -> None:
    for path, line in tree().items():
        assert (ROOT / path).exists(), f"ARCHITECTURE.md draws {path}, which does not exist"
        assert path == "src/marrowscope/" or len(line.split()) > 1, f"ARCHITECTURE.md says nothing of {path}"


def test_every_module_is_drawn_in_the_architecture() -> None:
    modules = {p.relative_to(ROOT).as_posix() for p in SOURCE.rglob("*.py") if p.name != "__init__.py"}
    assert modules - set(tree()) == set()


def test_the_floors_drawn_are_those_that_are_held() -> None:
    drawn = blocks(ROOT / "ARCHITECTURE.md", "")[1].split("\n")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers"]
    assert [line for line in drawn if line] == [re.sub(r"marrowscope\.|[()]", "", layer) for layer in layers]


def formats_page() -> Path:
    return ROOT / "docs" / "data-formats.md"


def test_the_scheme_and_the_recipe_in_the_documentation_are_read(tmp_path: Path) -> None:
    examples = {text.splitlines()[0]: text for text in blocks(formats_page(), "toml")}
    scheme = Taxonomy.from_dict(tomllib.loads(examples["# scheme"]))
    assert scheme.names == ("neutrophilic myelocyte", "hairy cell", "other cell")
    assert scheme[scheme.index("my-2")].code == "MYELO"
    (tmp_path / "ours.toml").write_text(examples["# recipe"], encoding="utf-8")
    recipe = load_recipe(tmp_path / "ours.toml")
    assert (recipe.model.sort_weight, recipe.epochs, recipe.model.trunk) == (0.25, 30, load_recipe("light").model.trunk)


def test_the_detections_in_the_documentation_are_read(tmp_path: Path) -> None:
    (example,) = blocks(formats_page(), "json")
    (tmp_path / "detections.json").write_text(example, encoding="utf-8")
    saved = read_detections(tmp_path / "detections.json")
    assert [len(f.detections) for f in saved.fields] == [1]
    assert len(saved.unreadable) == 1
    # Every key of the file is in the example.
    assert set(json.loads(example)) == {"marrowscope", "taxonomy", "fields", "unreadable", *saved.about}


def recipe_keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield from recipe_keys(value, f"{key}.") if isinstance(value, dict) else [prefix + key]


def test_every_key_of_a_recipe_is_explained() -> None:
    text = formats_page().read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w.]+)`", text))
    named |= {"augmentation" + name for name in named if name.startswith(".")}
    assert [key for key in recipe_keys(Recipe().model_dump()) if key not in named] == []


def test_every_key_of_an_evaluation_is_explained() -> None:
    from marrowscope.cells.detections import Detections, GroundTruth

    taxonomy = Taxonomy.from_labels(["lymphocyte"])
    nothing = GroundTruth([], [], taxonomy), Detections([], [], [], taxonomy)
    values = evaluate([EvaluatedField("field", *nothing)], threshold=0.5, bootstrap=2).to_dict()
    section = formats_page().read_text(encoding="utf-8").split("## 5. ")[1].split("\n## ")[0]
    for key in [*values, *values["macro"], *values["classes"]["lymphocyte"], *values["intervals"]]:
        assert f"`{key}`" in section or f"classes.NAME.{key}`" in section, f"data-formats.md does not explain {key}"


def test_decisions_are_numbered_without_a_gap_and_dated() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(p.name[:4]) for p in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        title, _, date = page.read_text(encoding="utf-8").splitlines()[:3]
        assert re.match(rf"# 0*{int(page.name[:4])}\. ", title), f"{page.name}: its title has another number"
        assert re.match(r"20\d\d-\d\d-\d\d\b", date), f"{page.name}: no date below the title"


def test_the_version_is_the_same_everywhere() -> None:
    from marrowscope import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {__version__} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


def test_ci_runs_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    install, run = "pip install -e '.[test]'", "pytest"
    assert f"{install} && {run}\n" in readme
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("python -m pip install ") and line.endswith("-e '.[test]'") for line in lines)
    assert lines[-1].split()[0] == run


def repository_texts() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_path_of_anybodys_machine_is_in_the_repository() -> None:
    found = []
    for path in repository_texts():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        found += [f"{page_id(path)}: {word}" for word in FORBIDDEN if word in text]
    assert found == []
