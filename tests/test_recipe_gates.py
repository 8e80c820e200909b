"""Measures that read gates need a space whose exits have some."""

import pytest

from offramp.recipe import Recipe, RecipeError
from offramp.spaces import SPACES, space

GATED = [name for name in SPACES if space(name, (3, 32, 32), 10).largest().gated]


def recipe(name: str) -> str:
    return f'[space]\nname = "{name}"\n[policy]\nmeasures = ["gate", "gate_sum"]\nmean_macs = 1e6\n'


def test_a_space_without_gates_is_told_before_anything_runs():
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(recipe("offramp"))
    (problem,) = caught.value.problems
    assert problem.startswith(
        "policy.measures: gate, gate_sum reads the exits' gates, and the exits of space 'offramp'"
    )


@pytest.mark.parametrize("name", GATED)
def test_a_space_with_gates_may_ask_for_them(name):
    assert Recipe.parse(recipe(name)).policy.measures == ("gate", "gate_sum")
