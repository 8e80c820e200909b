import pytest
from recipe_mistakes import MINIMAL, problems

from offramp.recipe import Recipe


@pytest.mark.parametrize(
    "override, value",
    [("search.evaluations=64", 64), ("search.evaluations = 64", 64)],
)
def test_overrides_reach_their_key(override, value):
    assert Recipe.parse(MINIMAL, overrides=[override]).search.evaluations == value


@pytest.mark.parametrize("override", ["data.name=cifar10", "data.name = cifar10"])
def test_a_bare_word_overrides_a_string(override):
    assert Recipe.parse(MINIMAL, overrides=[override]).data.name == "cifar10"


@pytest.mark.parametrize("override", ["search.evaluations", "=3", "seed.x=1", "search..x=2"])
def test_malformed_overrides_are_refused(override):
    (found,) = problems("seed = 1\n" + MINIMAL, override)
    assert found.startswith(f"--set {override!r}: ")


@pytest.mark.parametrize(
    "text, own", [("[data]\nseed = -1", "data.seed"), ("[data", "not valid TOML"), ('extends = "nothing"', "extends")]
)
def test_all_that_are_malformed_are_named_beside_the_recipe_s_own_mistakes(text, own):
    found = problems(text, "seed=1", "seed.x=1", "train.lr=0", "search.evaluations", "=3")
    told = [line.partition(":")[0] for line in found]
    malformed = ["--set 'seed.x=1'", "--set 'search.evaluations'", "--set '=3'"]
    if own == "data.seed":
        assert told == [*malformed, own, "policy", "train.lr"]
    else:  # of a recipe that cannot be read nothing more is known
        assert told == [own, *malformed]


def test_what_an_override_cannot_say_is_told():
    (problem,) = problems(MINIMAL, "extends=digits")
    assert "what a recipe extends is told by the recipe alone" in problem
    (problem,) = problems(MINIMAL, "policy.mean_macs=2e4\nseed=3")
    assert "more than one value" in problem
