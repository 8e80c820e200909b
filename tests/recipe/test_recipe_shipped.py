import pytest

from offramp.recipe import Recipe, RecipeError, about, find, shipped


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_are_valid_and_begin_with_their_command(name):
    Recipe.load(find(name))
    assert shipped()[name].read_text().startswith(f"# offramp run recipes/{name}.toml")


def test_unknown_recipe_lists_the_known_ones():
    with pytest.raises(RecipeError, match="digits"):
        find("no-such-recipe")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_a_recipe_is_about_stands_behind_its_command(name):
    said = about(shipped()[name])
    assert said
    assert not said.startswith(("#", "offramp run"))


def test_a_recipe_that_says_nothing_of_itself(tmp_path):
    path = tmp_path / "silent.toml"
    path.write_text("# offramp run silent.toml\n#\nseed = 1\n")
    assert about(path) == ""
    path.write_text(path.read_text() + "# At last.\n# And more.\n")
    assert about(path) == "At last."
