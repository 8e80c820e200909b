import tomllib

import pytest

from offramp.recipe import Recipe, differences, find


def test_differences_name_paths_and_values():
    old, new = tomllib.loads("a = 1\n[b]\nc = 2"), tomllib.loads("a = 1\n[b]\nc = 3\nd = 4")
    assert differences(old, new) == ["b.c: 2 then, 3 now", "b.d: None then, 4 now"]


@pytest.mark.parametrize("name", ["no-constraint", "no-peak", "no-cost"])
def test_the_ablations_differ_from_nachos_where_they_say(name):
    whole, ablation = (
        tomllib.loads(Recipe.load(find(recipe)).to_toml()) for recipe in ("nachos-cifar10", f"nachos-cifar10-{name}")
    )
    free = {"policy.mean_macs", "search.constraints", "gates.weight_cost", "gates.max_macs", "deliver.budgets"}
    changed = {line.split(":")[0] for line in differences(whole, ablation)}
    assert changed == {"no-constraint": free, "no-peak": {"gates.weight_peak"}, "no-cost": {"gates.weight_cost"}}[name]
