"""The mistakes of a recipe, for tests."""

import pytest

from offramp.recipe import Recipe, RecipeError

MINIMAL = "[policy]\nmean_macs = 1e5\n"


def problems(text, *overrides):
    """What `Recipe.parse` says of a recipe that it refuses."""
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text, overrides=overrides)
    return caught.value.problems
