import pytest

from marrowscope.errors import BadRecipe
from marrowscope.training.augment import Augmentation
from marrowscope.training.loop import learning_rate
from marrowscope.training.recipe import Recipe, load_recipe, shipped_recipes


def test_the_five_recipes_are_shipped_and_know_their_names():
    assert shipped_recipes() == ("baseline", "blood", "light", "paper", "ranksort")
    assert [load_recipe(n).name for n in shipped_recipes()] == list(shipped_recipes())


def test_the_paper_recipe_holds_the_values_of_training_details():
    paper = load_recipe("paper")
    assert (paper.optimiser, paper.momentum, paper.weight_decay) == ("sgd", 0.9, 1e-4)
    assert (paper.learning_rate, paper.batch_size, paper.epochs) == (0.001, 1, 20)
    assert (paper.step_factor, paper.step_epochs) == (0.3, 4)
    assert (paper.model.trunk, paper.model.sort_weight, paper.model.loss) == ("resnet101", 0.5, "ranked")
    assert paper.augmentation == Augmentation.paper()
    assert paper == Recipe(name="paper")


def test_the_columns_of_tables_2_and_3_differ_in_loss_lambda_and_augmentation_alone():
    paper, ranksort, baseline = (load_recipe(n) for n in ("paper", "ranksort", "baseline"))
    assert ranksort.model.sort_weight == 1
    assert ranksort.augmentation == Augmentation()
    assert ranksort.model.model_copy(update={"sort_weight": 0.5}) == paper.model
    assert baseline.model == ranksort.model.model_copy(update={"loss": "softmax"})
    unchanged = {"name", "model", "augmentation"}
    assert ranksort.model_dump(exclude=unchanged) == paper.model_dump(exclude=unchanged)
    assert baseline.model_dump(exclude=unchanged) == paper.model_dump(exclude=unchanged)


def test_the_papers_learning_rate_falls_to_three_tenths_every_four_epochs():
    paper = load_recipe("paper").changed(["warmup_iterations=0"])
    rates = [learning_rate(paper, epoch * 50, 50) for epoch in range(20)]
    expected = [0.001 * 0.3 ** (epoch // 4) for epoch in range(20)]
    assert rates == pytest.approx(expected)


def test_warm_up_starts_at_a_tenth_and_ends_at_the_whole():
    paper = load_recipe("paper")
    assert learning_rate(paper, 0, 1000) == pytest.approx(1e-4)
    assert learning_rate(paper, 500, 1000) == pytest.approx(1e-3)


def test_one_cycle_rises_once_and_falls_to_nearly_nothing():
    light = load_recipe("light")
    rates = [learning_rate(light, step, 100) for step in range(2000)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(light.learning_rate)
    assert rates[-1] < 0.01 * light.learning_rate


def test_settings_reach_into_tables_and_are_typed():
    recipe = load_recipe("light").changed(["model.sort_weight=0.25", "epochs=3", "model.trunk=resnet18"])
    assert (recipe.model.sort_weight, recipe.epochs, recipe.model.trunk) == (0.25, 3, "resnet18")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "write key=value"),
        ("model.lambda=1", "no 'model.lambda'"),
        ("epochs=0", "epochs: Input should be greater than 0"),
        ("optimiser=magic", "optimiser"),
        ("model.strides=[16, 8, 4, 2, 1]", "strides must rise"),
    ],
)
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(BadRecipe, match=message):
        load_recipe("paper").changed([setting])


def test_a_labs_own_file_names_only_what_it_changes(tmp_path):
    (tmp_path / "ours.toml").write_text('base = "light"\nepochs = 5\n[model]\nsort_weight = 0.75\n')
    ours = load_recipe(tmp_path / "ours.toml")
    assert (ours.name, ours.epochs, ours.model.sort_weight) == ("ours", 5, 0.75)
    assert ours.model.trunk == "tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "not readable as TOML"),
        ("epochz = 3", "epochz"),
        ('base = "nowhere"', "'nowhere': no such file. Shipped recipes: baseline, blood, light, paper, ranksort"),
    ],
)
def test_a_wrong_file_is_a_clear_error(tmp_path, text, message):
    (tmp_path / "ours.toml").write_text(text)
    with pytest.raises(BadRecipe, match=message):
        load_recipe(tmp_path / "ours.toml")


def test_recipes_that_stand_on_each_other_are_refused(tmp_path):
    (tmp_path / "a.toml").write_text(f'base = "{tmp_path / "b.toml"}"')
    (tmp_path / "b.toml").write_text(f'base = "{tmp_path / "a.toml"}"')
    with pytest.raises(BadRecipe, match="circle"):
        load_recipe(tmp_path / "a.toml")
