import dataclasses

import numpy as np
import pytest
import torch

from made_up import five_exits
from offramp import build, cost, space
from offramp import deliver as module
from offramp.deliver import costs_of, goal_of, keep_exits
from offramp.metrics import kind
from offramp.policy import MEASURES, Goal, Policy, operate, repair, shared_threshold
from offramp.recipe import Recipe
from offramp.search import Evaluation, NothingFeasible, Trial, best_static
from offramp.spaces import Candidate


@pytest.fixture(scope="module")
def architecture():
    return space("offramp", (1, 8, 8), 4).largest()


@pytest.fixture
def table():
    return five_exits()


def test_dropping_exits_keeps_the_other_exits_logits(architecture):
    net = build(architecture, 0).eval()
    smaller = keep_exits(net, [1, 3])
    images = torch.rand(5, 1, 8, 8) * 255
    torch.testing.assert_close(smaller(images), net(images)[:, [1, 3]])
    assert len(smaller.architecture.stages) == architecture.exits[3] + 1


@pytest.mark.parametrize(
    "text, goal",
    [("mean_macs = 2e5", Goal.accuracy_at_cost(2e5)), ("accuracy = 0.7", Goal.cost_at_accuracy(0.7))],
)
def test_the_recipe_names_the_goal(text, goal):
    assert goal_of(Recipe.parse(f"[policy]\n{text}\n")) == goal


def trial(architecture, accuracies):
    result = Evaluation({"error": 0.5, "mean_macs": 1.0}, {"exit_accuracy": accuracies})
    return Trial(0, (), Candidate(architecture), result, "random", 0, 0.0)


def test_the_best_static_network_is_the_best_exit_within_the_budget(architecture):
    alone = [architecture.with_exits((p,)) for p in architecture.exits]
    macs = [cost(a).total.macs for a in alone]
    trials = [trial(architecture, [0.3, 0.9, 0.5, 0.6, 0.99])]
    assert best_static(trials, macs[3]) == alone[1]
    assert best_static(trials, macs[4]) == alone[4]
    assert kind(best_static(trials, macs[0])) == "static"
    assert best_static([trial(architecture, [0.3, 0.9, 0.9, 0.6, 0.9])], macs[4]) == alone[1]
    told = dataclasses.replace(trials[0], result=Evaluation({"error": 0.5, "mean_macs": 1.0}))
    with pytest.raises(ValueError, match=r"trial 0 has no extra\['exit_accuracy'\]"):
        best_static([told], macs[4])
    with pytest.raises(NothingFeasible, match="the bound is too low"):
        best_static(trials, macs[0] - 1)


def set_by(text, architecture, table, monkeypatch, own=None, budget=None):
    """The exits kept (their numbers), and the setting that delivery reaches with the recipe `text`."""
    monkeypatch.setattr(module, "score", lambda net, split: table)
    recipe = Recipe.parse(text)
    net, found, select = module._set(build(architecture, 0), own, recipe, budget, None, costs_of(recipe))
    kept = [architecture.exits.index(position) for position in net.architecture.exits]
    assert np.array_equal(select.logits, table.keep(kept).logits)
    assert found.operation == operate(found.policy, select, cost(net.architecture).leaving())
    return kept, found


GENES = '[space]\nname = "edanas"\n[policy]\nmeasures = ["margin", "entropy"]\nmean_macs = 1e5\nthresholds = "genes"\n'


@pytest.mark.parametrize(
    "own, kept",
    [
        ((0.3, 0.5, 0.6, 0.9), [0, 1, 2, 3, 4]),
        ((0.3, 1.5, 0.6, 0.9), [0, 2, 3, 4]),  # no margin exceeds 1: nobody leaves there
        ((1.5, 0.5, 0.0, 0.2), [1, 2]),  # everybody has left before the last two
        ((1.5, 1.5, 1.5, 1.5), [4]),
    ],
)
def test_a_network_keeps_its_own_thresholds_with_the_exits_that_remain(architecture, table, monkeypatch, own, kept):
    remaining, found = set_by(GENES, architecture, table, monkeypatch, own)
    assert remaining == kept
    assert found.policy == Policy("margin", tuple(own[e] for e in kept[:-1]))


def test_every_exit_may_be_kept_for_other_budgets(architecture, table, monkeypatch):
    everybody_at_one = GENES + "[deliver]\ndrop_exits = false\n"
    kept, found = set_by(everybody_at_one, architecture, table, monkeypatch, (1.5, 0.0, 0.3, 0.3))
    assert kept == [0, 1, 2, 3, 4]
    assert found.operation.utilisation == (0, 1, 0, 0, 0)


def test_whether_own_thresholds_meet_the_goal_is_told(architecture, table, monkeypatch):
    cheapest, *_, dearest = cost(architecture).leaving()
    for macs, holds in ((cheapest, False), (dearest, True)):
        _, found = set_by(GENES, architecture, table, monkeypatch, (0.3, 0.5, 0.6, 0.9), ("mean_macs", macs))
        assert found.feasible == holds


@pytest.mark.parametrize("share, holds", [(0.2, True), (-0.1, False)])
def test_thresholds_are_repaired_for_the_budget(architecture, table, monkeypatch, share, holds):
    costs = cost(architecture).leaving()
    macs = costs[0] + share * (costs[-1] - costs[0])
    text = '[policy]\nmean_macs = 1\nthresholds = "repair"\n[search]\nconstraints = ["accuracy >= 0.4"]\n'
    kept, found = set_by(text, architecture, table, monkeypatch, budget=("mean_macs", macs))
    select, costs = table.keep(kept), cost(architecture.with_exits([architecture.exits[e] for e in kept])).leaving()
    start = shared_threshold(select, costs, MEASURES[0])
    assert found == repair(start, select, costs, max_cost=macs, min_accuracy=0.4)
    assert found.feasible == holds


@pytest.mark.parametrize("rule", ["paper", "executed"])
def test_candidates_are_counted_by_the_recipes_mac_rule(rule):
    counted = costs_of(Recipe.parse("[policy]\nmean_macs = 1e6", overrides=[f"policy.mac_rule={rule}"]))
    network = next(a for a in map(space("offramp", (3, 16, 16), 10).sample, range(99)) if len(a.exits) > 2)
    assert counted.leaving(network)["mean_macs"] == cost(network).leaving("macs", rule)
    assert cost(network).leaving("macs", "paper") != cost(network).leaving("macs", "executed")
