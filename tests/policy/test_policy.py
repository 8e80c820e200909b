import json
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_tables import naive_exit, naive_operation, random_table, tables

from offramp.policy import MEASURES, Policy, ScoreTable, operate

COSTS = [3.0, 1.0, 4.0, 1.5]


@st.composite
def policies(draw: st.DrawFn, table: ScoreTable) -> Policy:
    measure = draw(st.sampled_from(MEASURES))
    scores = table.scores(measure).ravel().tolist()
    cut = st.sampled_from(scores) | st.floats(-3, 2) | st.just(inf)
    return Policy(measure, tuple(draw(st.lists(cut, min_size=table.exits - 1, max_size=table.exits - 1))))


@given(st.data(), tables())
def test_decides_and_counts_like_a_loop_over_the_samples(data, table):
    policy = data.draw(policies(table))
    scores = table.scores(policy.measure)
    exits = [naive_exit(policy, scores[i]) for i in range(table.samples)]
    np.testing.assert_array_equal(policy.decide(table), exits)
    result = operate(policy, table, COSTS[: table.exits])
    accuracy, cost = naive_operation(policy, table, COSTS[: table.exits])
    assert result.accuracy == accuracy
    assert result.mean_cost == pytest.approx(cost, abs=1e-12)
    assert sum(result.utilisation) == pytest.approx(1, abs=1e-12)
    assert result.utilisation == pytest.approx([exits.count(e) / table.samples for e in range(table.exits)])
    for e in range(table.exits):
        there = [bool(table.correct[i, e]) for i in range(table.samples) if exits[i] == e]
        assert result.exit_accuracy[e] == (sum(there) / len(there) if there else None)


@given(st.data(), tables().filter(lambda t: t.exits > 1), st.floats(0, 3))
def test_a_higher_threshold_never_lets_more_leave_there(data, table, rise):
    policy = data.draw(policies(table))
    e = data.draw(st.integers(0, table.exits - 2))
    raised = Policy(policy.measure, tuple(t + rise * (i == e) for i, t in enumerate(policy.thresholds)))
    before, after = policy.decide(table), raised.decide(table)
    assert (after == e).sum() <= (before == e).sum()
    assert (after >= before).all()
    np.testing.assert_array_equal(after[before < e], before[before < e])


@given(st.data(), tables())
def test_comes_back_from_strict_json(data, table):
    policy = data.draw(policies(table))
    text = policy.to_json()
    json.loads(text, parse_constant=pytest.fail)
    assert Policy.from_json(text) == policy


def test_infinity_is_a_string_in_json():
    assert Policy("margin", (0.5, inf)).to_dict() == {"measure": "margin", "thresholds": [0.5, "inf"]}
    assert Policy.from_dict({"measure": "margin", "thresholds": ["inf", 1], "more": 3}) == Policy("margin", (inf, 1.0))


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "3", '{"measure": "margin"}', '{"measure": "margin", "thresholds": 3}', "{",
     '{"measure": "margin", "thresholds": ["nan"]}', '{"measure": "margin", "thresholds": [NaN]}',
     '{"measure": "margin", "thresholds": [true]}', '{"measure": "margin", "thresholds": [null]}',
     '{"measure": "odd", "thresholds": []}'],
)  # fmt: skip
def test_json_that_is_no_policy(text):
    with pytest.raises(ValueError):
        Policy.from_json(text)


def test_one_exit_has_no_thresholds():
    table = random_table(6, 1, 3, 0)
    result = operate(Policy("entropy", ()), table, [7.0])
    assert (result.accuracy, result.mean_cost, result.utilisation) == (table.exit_accuracy[0], 7.0, (1.0,))


def test_the_number_of_thresholds_must_fit():
    with pytest.raises(ValueError, match=r"2 thresholds are for 3 exits, but the table has 4 exits.*need 3"):
        Policy("margin", (0.1, 0.2)).decide(random_table(5, 4, 3, 0))


def test_what_no_policy_can_be():
    with pytest.raises(ValueError, match=r"'sure'.*max_probability, entropy, margin"):
        Policy("sure", ())
    with pytest.raises(ValueError, match="nan"):
        Policy("margin", (nan,))


@pytest.mark.parametrize(
    "costs, message", [([1, 2], "4 numbers"), ([1, 2, nan, 3], "finite"), ([[1, 2, 3, 4]], "4 numbers")]
)
def test_costs_must_fit(costs, message):
    with pytest.raises(ValueError, match=message):
        operate(Policy("margin", (0.1, 0.2, 0.3)), random_table(5, 4, 3, 0), costs)
