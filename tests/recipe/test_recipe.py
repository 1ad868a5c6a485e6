import pytest

from tamis.errors import RecipeError
from tamis.recipe import Recipe


def test_yaml_round_trip(tmp_path):
    recipe = Recipe(method="ds2", inputs={"pool": "päol.jsonl"}, params={"budget": 3, "rater": None}, seed=4)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.from_yaml(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: [", "not valid YAML"),
        ("method: ds2\ninputs: {}\n", "wrong at params"),
        ("method: ds2\ninputs: {}\nparams: {}\nbudget: 3\n", "wrong at budget"),
        ("- 1", "wrong at the top level"),
    ],
)
def test_a_bad_recipe_is_named(tmp_path, text, message):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        Recipe.from_yaml(tmp_path / "recipe.yaml")


def test_a_missing_recipe(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.from_yaml(tmp_path / "recipe.yaml")
