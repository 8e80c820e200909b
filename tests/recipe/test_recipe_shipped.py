import pytest

from offramp.recipe import Recipe, RecipeError, about, find, shipped


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_are_valid_and_begin_with_their_command(name):
    Recipe.load(find(name))
    assert shipped()[name].read_text().startswith(f"# offramp run recipes/{name}.toml")


def test_unknown_recipe_lists_the_known_ones():
    with pytest.raises(RecipeError, match="digits"):
        find("no-such-recipe")


@pytest.mark.parametrize(
    "name, said",
    [
        ("edanas", "did you mean edanas-cifar10 or edanas-cifar100 or edanas-svhn?"),
        ("digit", "did you mean digits?"),
        ("my.toml", "no such file"),
        ("runs/x/recipe.toml", "no such file"),
    ],
)
def test_a_name_that_is_none_comes_with_those_it_may_be(name, said):
    with pytest.raises(RecipeError) as caught:
        find(name)
    assert caught.value.problems[0].endswith(said)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_a_recipe_is_about_stands_behind_its_command(name):
    said = about(shipped()[name])
    assert said
    assert not said.startswith(("#", "offramp run"))


def test_a_recipe_that_says_nothing_of_itself(tmp_path):
    path = tmp_path / "silent.toml"
    path.write_text("# offramp run silent.toml\n#\nseed = 1\n")
    assert about(path) == ""
    path.write_text("# offramp run silent.toml\n#\n# At last.\n# And more.\nseed = 1\n")
    assert about(path) == "At last."
