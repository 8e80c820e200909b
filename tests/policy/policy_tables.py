"""Tables to test on, and the slow, obvious way to apply a policy."""

from itertools import product

import numpy as np
from hypothesis import strategies as st

from offramp.policy import Goal, Policy, ScoreTable


def random_table(samples: int, exits: int, classes: int, seed: int) -> ScoreTable:
    """Logits without any sense: the least convex curves."""
    rng = np.random.default_rng(seed)
    return ScoreTable(rng.normal(size=(samples, exits, classes)) * 2, rng.integers(0, classes, samples))


def lifelike_table(samples: int, exits: int, classes: int, seed: int) -> ScoreTable:
    """Easy and hard samples; exits that share their mistakes and get better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    signal = np.linspace(2.4, 6.0, exits)[None, :, None] * np.eye(classes)[labels][:, None, :]
    noise = 0.8 * rng.normal(size=(samples, 1, classes)) + 0.6 * rng.normal(size=(samples, exits, classes))
    return ScoreTable(1.5 * (signal + rng.gamma(2.0, 1.0, (samples, 1, 1)) * noise), labels)


def naive_exit(policy: Policy, scores: np.ndarray) -> int:
    """Where one sample leaves: scores (E,)."""
    for e, threshold in enumerate(policy.thresholds):
        if float(scores[e]) >= threshold:
            return e
    return len(policy.thresholds)


def naive_operation(policy: Policy, table: ScoreTable, costs: list[float]) -> tuple[float, float]:
    """Accuracy and mean cost, sample by sample."""
    scores = table.scores(policy.measure)
    exits = [naive_exit(policy, scores[i]) for i in range(table.samples)]
    right = [int(np.argmax(table.logits[i, e])) == table.labels[i] for i, e in enumerate(exits)]
    return sum(right) / table.samples, sum(costs[e] for e in exits) / table.samples


def every_policy(table: ScoreTable, measure: str) -> list[Policy]:
    """All that differ: each score as a threshold, and nobody."""
    scores = table.scores(measure)
    cuts = [[*np.unique(scores[:, e]).tolist(), float("inf")] for e in range(table.exits - 1)]
    return [Policy(measure, thresholds) for thresholds in product(*cuts)]


def worth(goal: Goal, accuracy: float, cost: float) -> tuple[float, ...]:
    """Smaller is better, with room for the rounding of sums."""
    return tuple(round(float(part), 9) for part in goal.key(np.array(accuracy), np.array(cost)))


@st.composite
def tables(draw: st.DrawFn, max_samples: int = 9, max_exits: int = 4) -> ScoreTable:
    """Small tables with many ties: logits are small whole numbers."""
    samples, exits = draw(st.integers(1, max_samples)), draw(st.integers(1, max_exits))
    classes = draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    largest = draw(st.sampled_from([0, 1, 3, 40]))
    return ScoreTable(rng.integers(-largest, largest + 1, (samples, exits, classes)), rng.integers(0, classes, samples))


def goals_of(table: ScoreTable, costs: list[float], seed: int) -> list[Goal]:
    """One goal of each kind, within what the table can do."""
    rng = np.random.default_rng(seed)
    return [
        Goal.accuracy_at_cost(float(rng.uniform(min(costs), max(costs)))),
        Goal.cost_at_accuracy(float(rng.uniform(table.exit_accuracy.min(), table.exit_accuracy.max()))),
        Goal.tradeoff(float(rng.uniform(0, 0.5))),
    ]
