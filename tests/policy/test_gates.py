"""Gates: confidences that the exits themselves give."""

from math import exp, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_tables import every_policy, naive_operation, worth

from offramp.policy import CERTAIN, GATE_MEASURES, MEASURES, Goal, Policy, ScoreTable, confidence, curve, operate, tune


@st.composite
def gated_tables(draw: st.DrawFn, max_samples: int = 8, max_exits: int = 4) -> ScoreTable:
    """Small tables with ties; some exits but the last have no gate."""
    samples, exits, classes = (
        draw(st.integers(1, max_samples)),
        draw(st.integers(1, max_exits)),
        draw(st.integers(2, 3)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    gates = rng.integers(-3, 4, (samples, exits)) * draw(st.sampled_from([0.0, 0.5, 1.0, 12.0]))
    gates[:, rng.random(exits) < 0.2] = CERTAIN
    gates[:, -1] = CERTAIN
    return ScoreTable(rng.normal(size=(samples, exits, classes)), rng.integers(0, classes, samples), gates)


def by_hand(measure: str, gates: list[float]) -> float:
    """The score of the last of some exits, in plain Python."""
    c = [1 / (1 + exp(-g)) for g in gates]
    stays = 1.0
    for value in c[:-1]:
        stays *= 1 - value
    return c[-1] * stays if measure == "gate" else 1 - stays * (1 - c[-1])


@given(gated_tables(), st.sampled_from(GATE_MEASURES))
def test_equals_the_formula(table, measure):
    scores = table.scores(measure)
    expected = [[by_hand(measure, row[: e + 1]) for e in range(table.exits)] for row in table.gates.tolist()]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert scores.dtype == np.float32
    assert (scores >= 0).all()
    assert (scores <= 1).all()


@given(gated_tables())
def test_the_sum_is_the_running_sum_and_ends_certain(table):
    each, running = table.scores("gate"), table.scores("gate_sum")
    np.testing.assert_allclose(each.cumsum(1), running, atol=1e-5)
    assert (np.diff(running, axis=1) >= 0).all()
    np.testing.assert_array_equal(running[:, -1], np.float32(1))


@given(gated_tables(), st.sampled_from(GATE_MEASURES), st.integers(0, 3))
def test_does_not_look_ahead(table, measure, exit):
    exit = min(exit, table.exits - 1)
    changed = table.gates.copy()
    changed[:, exit:] -= 2
    np.testing.assert_array_equal(confidence(measure, table.logits, changed)[:, :exit], table.scores(measure)[:, :exit])


@settings(max_examples=40)
@given(gated_tables(), st.sampled_from(GATE_MEASURES), st.integers(0, 10**6))
def test_tuning_is_as_good_as_trying_every_policy(table, measure, seed):
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.uniform(1, 10, table.exits)).tolist()
    found = [naive_operation(policy, table, costs) for policy in every_policy(table, measure)]
    for goal in (Goal.accuracy_at_cost(float(rng.uniform(1, 10))), Goal.tradeoff(float(rng.uniform(0, 0.3)))):
        tuned = tune(table, costs, goal, measures=measure)
        assert tuned.exact
        got = naive_operation(tuned.policy, table, costs)
        assert got == pytest.approx((tuned.operation.accuracy, tuned.operation.mean_cost))
        assert worth(goal, *got) == min(worth(goal, *point) for point in found)


def test_a_surer_gate_comes_first_and_the_rules_differ():
    """Two exits at c = 0.6: eq. 8 sees 0.24 at the second, the running sum 0.84."""
    half = np.log(0.6 / 0.4)
    table = ScoreTable(np.zeros((1, 3, 2)), np.zeros(1, int), np.array([[half, half, CERTAIN]]))
    assert table.scores("gate")[0] == pytest.approx([0.6, 0.24, 0.16], abs=1e-6)
    assert table.scores("gate_sum")[0] == pytest.approx([0.6, 0.84, 1.0], abs=1e-6)
    assert Policy("gate", (0.7, 0.7)).decide(table).tolist() == [2]
    assert Policy("gate_sum", (0.7, 0.7)).decide(table).tolist() == [1]
    assert Policy("gate", (0.5, inf)).decide(table).tolist() == [0]


@pytest.mark.parametrize("measure", GATE_MEASURES)
def test_a_table_without_gates_says_so(measure):
    table = ScoreTable(np.zeros((4, 2, 3)), np.zeros(4, int))
    with pytest.raises(ValueError, match=f"{measure!r} reads the exits' gates, but these exits have none"):
        table.scores(measure)
    with pytest.raises(ValueError, match="these exits have none"):
        tune(table, [1, 2], Goal.tradeoff(0.1), measures=measure)


@pytest.mark.parametrize("measure", GATE_MEASURES)
def test_the_only_exit_of_a_network_needs_no_gate(measure):
    table = ScoreTable(np.zeros((4, 1, 3)), np.zeros(4, int))
    assert tune(table, [1.0], Goal.tradeoff(0.1), measures=measure).policy == Policy(measure, ())


def test_other_measures_do_not_read_the_gates():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 3, 4)), rng.integers(0, 4, 30)
    gated, plain = ScoreTable(logits, labels, rng.normal(size=(30, 3))), ScoreTable(logits, labels)
    for measure in MEASURES:
        np.testing.assert_array_equal(gated.scores(measure), plain.scores(measure))
    every = curve(gated, [1, 2, 3], measures=(*MEASURES, *GATE_MEASURES))
    assert operate(every.points[-1].policy, gated, [1, 2, 3]) == every.points[-1].operation


def test_gates_come_along(tmp_path):
    rng = np.random.default_rng(0)
    gates = np.column_stack([rng.normal(size=(6, 3)), np.full(6, CERTAIN)]).astype(np.float32)
    table = ScoreTable(rng.normal(size=(6, 4, 2)), rng.integers(0, 2, 6), gates)
    table.save(tmp_path / "t")
    np.testing.assert_array_equal(ScoreTable.load(tmp_path / "t").gates, gates)
    np.testing.assert_array_equal(table.subset([1, 3]).gates, gates[:, [1, 3]])
    np.testing.assert_array_equal(table.rows(np.array([4, 0])).gates, gates[[4, 0]])
    cut = table.keep([0, 2])  # the third exit becomes the final one
    np.testing.assert_array_equal(cut.gates, np.column_stack([gates[:, 0], np.full(6, CERTAIN)]))
    np.testing.assert_array_equal(cut.logits, table.logits[:, [0, 2]])
    np.testing.assert_array_equal(table.gates, gates)
    with pytest.raises(ValueError, match="read-only"):
        table.gates[0] = 0
    assert ScoreTable(table.logits, table.labels).keep([0]).gates is None


def test_a_file_without_gates_has_none(tmp_path):
    ScoreTable(np.zeros((2, 2, 2)), np.zeros(2, int)).save(tmp_path / "t")
    assert ScoreTable.load(tmp_path / "t").gates is None


@pytest.mark.parametrize("exits", [[], [2, 0], [0, 0], [-1, 1], [0, 3]])
def test_only_exits_that_there_are_can_be_kept(exits):
    with pytest.raises(ValueError, match=r"ascending positions in 0\.\.2"):
        ScoreTable(np.zeros((2, 3, 2)), np.zeros(2, int)).keep(exits)


@pytest.mark.parametrize(
    "gates, message", [(np.zeros((4, 3)), r"\(4, 2\).*not \(4, 3\)"), (np.full((4, 2), np.nan), "8 values.*not finite")]
)
def test_gates_that_do_not_fit(gates, message):
    with pytest.raises(ValueError, match=message):
        ScoreTable(np.zeros((4, 2, 3)), np.zeros(4, int), gates)
