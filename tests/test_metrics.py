"""What `metrics.json` and the curves tell, from made-up scores."""

from types import MappingProxyType

import pytest

from made_up import five_exits
from offramp import cost, space
from offramp.metrics import curve_records, describe
from offramp.policy import Policy, ScoreTable, curve, exit_calibration, operate, policy_calibration


@pytest.fixture(scope="module")
def architecture():
    return space("offramp", (1, 8, 8), 4).largest()


@pytest.fixture
def table():
    return five_exits()


class Tasks:
    splits = MappingProxyType({"test": range(300)})
    notes, classes = (), ("a", "b", "c", "d")


@pytest.fixture
def unlike():
    """Another table, whose fourth exit is the best: two splits that must not be mixed up."""
    found = five_exits()
    return ScoreTable(found.logits[:, [1, 0, 2, 4, 3]] * 0.5, found.labels)


def test_description_agrees_with_the_policy_applied(architecture, table, unlike):
    costs, policy = cost(architecture), Policy("margin", (0.15, 0.25, 0.3, 0.4))
    found = describe(policy, table, unlike, costs, "executed", Tasks)
    expected, on_select = operate(policy, unlike, costs.leaving()), operate(policy, table, costs.leaving())
    assert found["test_accuracy"] == expected.accuracy
    assert found["mean_macs"] == expected.mean_cost
    assert found["select"] == {"accuracy": on_select.accuracy, "mean_macs": on_select.mean_cost}
    assert on_select != expected
    assert [e["share"] for e in found["exits"]] == list(expected.utilisation)
    assert [e["macs"] for e in found["exits"]] == list(costs.leaving())
    assert found["static_accuracy"] == unlike.exit_accuracy[-1] < max(unlike.exit_accuracy)
    alone = architecture.with_exits((architecture.exits[-1],))
    assert found["static_macs"] == cost(alone).total.macs


def test_each_exit_tells_its_accuracy_on_all_and_on_those_that_leave_there(architecture, unlike):
    policy = Policy("margin", (0.15, 0.25, 0.3, 0.4))
    found = describe(policy, unlike, unlike, cost(architecture), "executed", Tasks)["exits"]
    right = unlike.logits.argmax(axis=2) == unlike.labels[:, None]
    leaves = (unlike.scores("margin") >= [*policy.thresholds, -1]).argmax(axis=1)
    for e, told in enumerate(found):
        assert told["accuracy"] == pytest.approx(right[:, e].mean())
        assert told["accuracy_of_leavers"] == pytest.approx(right[leaves == e, e].mean())
        assert told["accuracy_of_leavers"] != pytest.approx(told["accuracy"])


def test_curve_records_tell_test_apart_from_select(architecture, table):
    leaving = cost(architecture).leaving()
    other = ScoreTable(table.logits[::-1] * 0.5, table.labels[::-1])
    for record in curve_records(curve(table, leaving, measures="margin"), other, {"mean_macs": leaving}):
        policy = Policy.from_dict({"measure": record["measure"], "thresholds": record["thresholds"]})
        assert record["select"]["accuracy"] == operate(policy, table, leaving).accuracy
        assert record["test"]["mean_macs"] == pytest.approx(operate(policy, other, leaving).mean_cost)


def test_a_description_tells_both_mac_rules_and_calibration(architecture, table, unlike):
    costs, policy = cost(architecture), Policy("margin", (0.15, 0.25, 0.3, 0.4))
    found = describe(policy, table, unlike, costs, "paper", Tasks)
    for rule in ("executed", "paper"):
        assert [e["macs_by_rule"][rule] for e in found["exits"]] == list(costs.leaving("macs", rule))
        expected = operate(policy, unlike, costs.leaving("macs", rule)).mean_cost
        assert found["mean_macs_by_rule"][rule] == pytest.approx(expected)
    assert found["mean_macs_by_rule"]["paper"] == pytest.approx(found["mean_macs"])
    assert found["mean_macs_by_rule"]["paper"] < found["mean_macs_by_rule"]["executed"]
    assert [e["calibration_error"] for e in found["exits"]] == list(exit_calibration(unlike, "margin"))
    assert found["calibration_error"] == policy_calibration(policy, unlike)


def test_curve_records_tell_the_utilisation_on_test(architecture, table):
    leaving = cost(architecture).leaving()
    other = ScoreTable(table.logits[::-1] * 0.5, table.labels[::-1])
    for record in curve_records(curve(table, leaving, measures="margin"), other, {"mean_macs": leaving}):
        policy = Policy.from_dict({"measure": record["measure"], "thresholds": record["thresholds"]})
        assert record["utilisation"] == list(operate(policy, other, leaving).utilisation)
