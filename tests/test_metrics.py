"""What `metrics.json` and the curves tell, from made-up scores."""

from types import MappingProxyType

import pytest

from made_up import five_exits
from offramp import cost, space
from offramp.metrics import curve_records, describe
from offramp.policy import Policy, ScoreTable, curve, operate


@pytest.fixture(scope="module")
def architecture():
    return space("offramp", (1, 8, 8), 4).largest()


@pytest.fixture
def table():
    return five_exits()


class Tasks:
    splits = MappingProxyType({"test": range(300)})
    notes, classes = (), ("a", "b", "c", "d")


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
    for record in curve_records(curve(table, leaving, measures="margin"), other, {"mean_macs": leaving}):
        policy = Policy.from_dict({"measure": record["measure"], "thresholds": record["thresholds"]})
        assert record["select"]["accuracy"] == operate(policy, table, leaving).accuracy
        assert record["test"]["mean_macs"] == pytest.approx(operate(policy, other, leaving).mean_cost)


def test_a_description_tells_both_mac_rules_and_calibration(architecture, table):
    costs, policy = cost(architecture), Policy("margin", (0.3, 0.5, 0.6, 0.2))
    found = describe(policy, table, table, costs, "paper", Tasks)
    for rule in ("executed", "paper"):
        assert [e["macs_by_rule"][rule] for e in found["exits"]] == list(costs.leaving("macs", rule))
        expected = operate(policy, table, costs.leaving("macs", rule)).mean_cost
        assert found["mean_macs_by_rule"][rule] == pytest.approx(expected)
    assert found["mean_macs_by_rule"]["paper"] == pytest.approx(found["mean_macs"])
    assert found["mean_macs_by_rule"]["paper"] < found["mean_macs_by_rule"]["executed"]
    assert all(0 < e["calibration_error"] < 1 for e in found["exits"])
    assert 0 < found["calibration_error"] < 1
