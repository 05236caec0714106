"""Columns of an ablation: what each changes, and that finished ones are not trained twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from marrowscope.errors import BadRecipe
from marrowscope.training.ablate import PAPER_COLUMNS, columns, parse_columns
from marrowscope.training.recipe import load_recipe

LIGHT = load_recipe("light")


def test_the_papers_columns_differ_from_the_base_in_their_part_alone() -> None:
    baseline, ranksort, paper = (c.recipe for c in columns(PAPER_COLUMNS, LIGHT))
    assert baseline.model == LIGHT.model.model_copy(update={"loss": "softmax", "sort_weight": 1.0})
    assert ranksort.model == LIGHT.model.model_copy(update={"sort_weight": 1.0})
    assert paper == LIGHT.model_copy(update={"name": "paper"})
    for flips in (baseline, ranksort):
        chances = ("vertical_flip", "rotation", "translation", "scaling", "noise", "colour")
        assert flips.augmentation.horizontal_flip == 0.5
        assert [getattr(flips.augmentation, c) for c in chances] == [0] * 6
        rest = {"model", "augmentation", "name"}
        assert flips.model_dump(exclude=rest) == LIGHT.model_dump(exclude=rest)


def test_the_shipped_recipes_are_the_same_columns_over_the_paper() -> None:
    for column in columns(PAPER_COLUMNS, load_recipe("paper")):
        shipped = load_recipe(column.name)
        assert column.recipe.model == shipped.model
        drawn = {"horizontal_flip", "vertical_flip", "rotation", "translation", "scaling", "noise", "colour"}
        assert column.recipe.augmentation.model_dump(include=drawn) == shipped.augmentation.model_dump(include=drawn)


def test_lambda_one_is_ranksort_and_not_trained_twice() -> None:
    found = columns(["ranksort"], LIGHT, sort_weights=[0, 0.5, 1])
    assert [c.name for c in found] == ["ranksort", "lambda=0", "lambda=0.5"]
    assert [c.recipe.model.sort_weight for c in found] == [1, 0, 0.5]


def test_values_by_commas_stay_with_their_column() -> None:
    text = "baseline, lambda=0.25,wide:model.head_width=1024,epochs=4,paper"
    assert parse_columns(text) == ["baseline", "lambda=0.25", "wide:model.head_width=1024,epochs=4", "paper"]
    wide = columns(parse_columns(text), LIGHT)[2]
    assert (wide.recipe.model.head_width, wide.recipe.epochs, wide.name) == (1024, 4, "wide")


@pytest.mark.parametrize("spec", ["papre", "lambda=much", "x:model.nothing=1", "x:epochs=0"])
def test_a_bad_column_is_refused(spec: str) -> None:
    with pytest.raises(BadRecipe):
        columns([spec], LIGHT)


def test_one_name_for_two_recipes_is_refused() -> None:
    with pytest.raises(BadRecipe, match="twice"):
        columns(["a:epochs=2", "a:epochs=3"], LIGHT)


def test_columns_are_trained_tabled_and_kept(command: Any, fields: Path, recipe: Path, tmp_path: Path) -> None:
    command("data", "split", fields, "--held-out", "0.34")
    out = tmp_path / "ablation"
    arguments = ("ablate", fields, "--out", out, "--recipe", recipe, "--bootstrap", 20, "--device", "cpu")
    chosen = ("--columns", "baseline,lambda=0.25")
    done = command(*arguments, *chosen)
    assert done.exit_code == 0, done.output
    table = json.loads((out / "comparison.json").read_text())
    assert table["columns"] == ["Number", "Of", "baseline", "lambda=0.25"]
    assert (out / "comparison.md").is_file()
    assert (out / "comparison.csv").is_file()
    assert (out / "figure2.png").is_file()
    assert "Columns side by side" in done.stdout

    refused = command(*arguments, *chosen)
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr

    trained = {p: p.stat().st_mtime_ns for p in out.glob("*/best/model.safetensors")}
    assert len(trained) == 2
    assert command(*arguments, *chosen, "--resume").exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in trained} == trained

    other = command(*arguments, "--columns", "baseline", "--resume", "--set", "learning_rate=0.01")
    assert other.exit_code == 2
    assert "recipe is not that of the column" in other.stderr


def test_a_dry_run_shows_what_differs(command: Any, fields: Path, recipe: Path, tmp_path: Path) -> None:
    done = command("ablate", fields, "--out", tmp_path / "out", "--recipe", recipe, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "model.loss = softmax" in done.stdout
    assert not (tmp_path / "out").exists()
