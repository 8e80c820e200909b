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
    assert problems("seed = 1\n" + MINIMAL, override)
