from types import MappingProxyType

import numpy as np
import pytest
import torch

from offramp import build, cost, space
from offramp.deliver import curve_records, describe, goal_of, keep_exits, kind
from offramp.pipeline import best_static
from offramp.policy import Goal, Policy, ScoreTable, curve, operate
from offramp.recipe import Recipe
from offramp.search import Evaluation, NothingFeasible, Trial
from offramp.spaces import Candidate


@pytest.fixture(scope="module")
def architecture():
    return space("offramp", (1, 8, 8), 4).largest()


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    logits = rng.normal(size=(300, 5, 4)).astype(np.float32)
    logits[np.arange(300), :, labels] += np.linspace(0.5, 2.5, 5)
    return ScoreTable(logits, labels)


class Tasks:
    splits = MappingProxyType({"test": range(300)})
    notes, classes = (), ("a", "b", "c", "d")


def test_dropping_exits_keeps_the_other_exits_logits(architecture):
    net = build(architecture, 0).eval()
    smaller = keep_exits(net, [1, 3])
    images = torch.rand(5, 1, 8, 8) * 255
    torch.testing.assert_close(smaller(images), net(images)[:, [1, 3]])
    assert len(smaller.architecture.stages) == architecture.exits[3] + 1


def test_description_agrees_with_the_policy_applied(architecture, table):
    costs, policy = cost(architecture), Policy("margin", (0.3, 0.5, 0.6, 0.2))
    found = describe(policy, table, table, costs, "executed", Tasks)
    expected = operate(policy, table, costs.leaving())
    assert found["test_accuracy"] == expected.accuracy
    assert found["mean_macs"] == expected.mean_cost
    assert [e["share"] for e in found["exits"]] == list(expected.utilisation)
    assert [e["macs"] for e in found["exits"]] == list(costs.leaving())
    assert found["static_accuracy"] == table.exit_accuracy[-1]
    alone = architecture.with_exits((architecture.exits[-1],))
    assert found["static_macs"] == cost(alone).total.macs


def test_curve_records_tell_test_apart_from_select(architecture, table):
    leaving = cost(architecture).leaving()
    other = ScoreTable(table.logits[::-1] * 0.5, table.labels[::-1])
    for record in curve_records(curve(table, leaving, measures="margin"), other, leaving):
        policy = Policy.from_dict({"measure": record["measure"], "thresholds": record["thresholds"]})
        assert record["select"]["accuracy"] == operate(policy, table, leaving).accuracy
        assert record["test"]["mean_macs"] == operate(policy, other, leaving).mean_cost


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
    with pytest.raises(NothingFeasible, match="static_macs"):
        best_static(trials, macs[0] - 1)
