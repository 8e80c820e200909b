from itertools import product

import numpy as np
import pytest
import synthetic_networks as synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.crossover.ux import UniformCrossover

from offramp.search import PROPOSERS, Failure, Problem, Proposer, Trial, analytic_costs, proposer
from offramp.search.evolution import CROSSOVERS, ChoiceMutation, GenotypeProblem
from offramp.search.proposers.surrogate import Predictor, pick
from offramp.search.sampling import draw, spread
from offramp.spaces import SearchSpace

FAST = {"surrogate": {"generations": 3, "population": 16}}


def make(name: str, problem: Problem) -> Proposer:
    return proposer(name, problem, **FAST.get(name, {}))


def problem_of(space: SearchSpace, *constraints: str, known=analytic_costs) -> Problem:
    return Problem(space, synthetic.OBJECTIVES, constraints, known)


def trials_of(problem: Problem, count: int, seed: int = 0, failing: int = 0) -> list[Trial]:
    made = []
    for number, genotype in enumerate(draw(problem, count, np.random.default_rng(seed))):
        candidate = problem.space.decode(genotype)
        failed = failing and number % failing == 0
        result = Failure("ValueError: no") if failed else synthetic.evaluate(candidate)
        violation = float("inf") if failed else problem.violation(result.metrics)
        made.append(Trial(number, genotype, candidate, result, "test", 0, violation))
    return made


@pytest.mark.parametrize("name", PROPOSERS)
@pytest.mark.parametrize("count", [0, 1, 3, 5, 12, 40])
@pytest.mark.parametrize("constraints", [(), ("params <= 12000", "error <= 0.3"), ("error <= 0.0001",)])
def test_proposals_are_canonical_distinct_new_and_can_be_feasible(small, name, count, constraints) -> None:
    problem = problem_of(small, *constraints)
    trials = trials_of(problem, count, failing=3)
    found = make(name, problem).propose(trials, 6, np.random.default_rng(1))
    assert len(set(found)) == len(found) == 6
    assert all(small.canonical(genotype) == genotype for genotype in found)
    assert all(isinstance(index, int) for genotype in found for index in genotype)
    assert not set(found) & {trial.genotype for trial in trials}
    assert all(problem.known_violation(genotype) == 0 for genotype in found)


@pytest.mark.parametrize("name", PROPOSERS)
def test_the_same_trials_and_seed_give_the_same_proposals(small, name) -> None:
    trials = trials_of(problem_of(small), 20)
    found = [make(name, problem_of(small)).propose(trials, 5, np.random.default_rng([3, 20])) for _ in range(2)]
    assert found[0] == found[1]
    other = make(name, problem_of(small)).propose(trials, 5, np.random.default_rng([4, 20]))
    assert other != found[0]


@pytest.mark.parametrize("name", PROPOSERS)
def test_the_last_unseen_candidates_are_found_then_nothing(toy, name) -> None:
    problem = problem_of(toy)
    trials = trials_of(problem, toy.size() - 3)
    assert len(trials) == toy.size() - 3
    found = make(name, problem).propose(trials, 8, np.random.default_rng(0))
    assert len(found) == 3
    assert make(name, problem).propose(trials_of(problem, toy.size()), 8, np.random.default_rng(0)) == []


@pytest.mark.parametrize("name", PROPOSERS)
def test_without_known_costs(small, name) -> None:
    problem = problem_of(small, "params <= 12000", known=None)
    found = make(name, problem).propose(trials_of(problem, 20), 4, np.random.default_rng(0))
    assert len(set(found)) == 4


def test_all_trials_failed(small) -> None:
    problem = problem_of(small)
    for name in PROPOSERS:
        found = make(name, problem).propose(trials_of(problem, 9, failing=1), 4, np.random.default_rng(0))
        assert len(found) == 4


def test_constant_objectives(toy) -> None:
    problem = Problem(toy, ("error", "accuracy"))
    trials = [
        Trial(t.number, t.genotype, t.candidate, type(t.result)({"error": 0.5, "accuracy": 0.5}), "test", 0, 0.0)
        for t in trials_of(problem_of(toy), 20)
    ]
    for name in PROPOSERS:
        assert len(make(name, problem).propose(trials, 4, np.random.default_rng(0))) == 4


@pytest.mark.parametrize("objectives", [("error",), ("error", "mean_macs", "params")])
def test_one_objective_and_three(small, objectives) -> None:
    problem = Problem(small, objectives, ("accuracy >= 0.4",), analytic_costs)
    trials = trials_of(problem, 20)
    for name in PROPOSERS:
        assert len(make(name, problem).propose(trials, 4, np.random.default_rng(0))) == 4


@pytest.mark.parametrize("crossover", CROSSOVERS)
def test_nsga2_reaches_every_choice_of_every_gene(toy, crossover) -> None:
    """From parents that all stand at the first choice, so that whatever is found was reached by the operators."""
    problem = problem_of(toy)
    trial = trials_of(problem, 1)[0]
    start = [Trial(0, (0,) * 7, toy.decode((0,) * 7), trial.result, "test", 0, 0.0)]
    maker = proposer("nsga2", problem, crossover=crossover, mutation=0.3)
    found = {g for seed in range(60) for g in maker.propose(start, 8, np.random.default_rng(seed))}
    for position, gene in enumerate(toy.genes):
        assert {genotype[position] for genotype in found} == set(range(len(gene.choices))), gene.name


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, (60, 25, UniformCrossover)),
        ({"population": 40, "generations": 20, "crossover": "two-point"}, (40, 20, TwoPointCrossover)),
    ],
)
def test_the_search_on_surrogates_is_as_large_as_asked_for(small, monkeypatch, options, expected) -> None:
    import pymoo.optimize

    seen, minimize = [], pymoo.optimize.minimize
    monkeypatch.setattr(
        pymoo.optimize, "minimize", lambda *a, **m: seen.append((a[1], minimize(*a, **m))) or seen[-1][1]
    )
    problem = problem_of(small)
    proposer("surrogate", problem, model="rbf", **options).propose(trials_of(problem, 12), 3, np.random.default_rng(0))
    ((algorithm, result),) = seen
    crossover = algorithm.mating.crossover
    assert (len(result.pop), result.algorithm.n_gen - 1, type(crossover)) == expected
    assert crossover.prob.value == 0.9


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.2, 0.9))
def test_mutation_reaches_every_choice_and_never_leaves_them(toy, seed, rate) -> None:
    problem = GenotypeProblem(problem_of(toy))
    rng = np.random.default_rng(seed)
    start = np.array([[int(rng.integers(len(gene.choices))) for gene in toy.genes]] * 400)
    mutated = ChoiceMutation(rate)._do(problem, start, random_state=rng)
    for position, gene in enumerate(toy.genes):
        assert set(mutated[:, position]) == set(range(len(gene.choices))), gene.name
    changed = (mutated != start).mean(axis=0)[[len(gene.choices) > 1 for gene in toy.genes]]
    assert np.abs(changed - rate).max() < 0.12


@pytest.mark.parametrize("crossover", CROSSOVERS)
def test_crossover_gives_every_gene_from_either_parent(toy, crossover) -> None:
    parents = np.array([[[0] * 7] * 300, [[1] * 7] * 300])
    children = CROSSOVERS[crossover]()._do(None, parents, random_state=np.random.default_rng(0))
    assert set(children.ravel()) == {0, 1}
    assert all(set(children[..., i].ravel()) == {0, 1} for i in range(7))
    assert (children.sum(axis=0) == 1).all()  # nothing lost


def test_random_reaches_every_candidate(toy) -> None:
    problem = problem_of(toy)
    everything = {toy.canonical(g) for g in product(*(range(len(gene.choices)) for gene in toy.genes))}
    assert len(everything) == toy.size()
    assert set(draw(problem, 1000, np.random.default_rng(0))) == everything


def test_bounds_that_few_can_keep_are_kept_and_the_smallest_network_is_found(small) -> None:
    smallest = analytic_costs(small.decode((0,) * len(small.genes)))["params"]
    for bound in (smallest * 1.3, smallest):
        problem = problem_of(small, f"params <= {bound}")
        for sample in (draw, spread):
            found = sample(problem, 2, np.random.default_rng(0))
            assert found
            assert all(problem.known(genotype)["params"] <= bound for genotype in found)


def test_spread_is_even_over_log_cost(small) -> None:
    problem = problem_of(small)

    def gaps(genotypes) -> tuple[float, float]:
        costs = np.sort(np.log([problem.known(genotype)["full_macs"] for genotype in genotypes]))
        return float(np.diff(costs).max() / np.ptp(costs)), float(np.ptp(costs))

    even, wide = gaps(spread(problem, 20, np.random.default_rng(0)))
    uneven, narrow = gaps(draw(problem, 20, np.random.default_rng(0)))
    assert even < 0.12 < uneven
    assert wide > 1.2 * narrow


def test_pick_adds_the_most_hypervolume_one_by_one() -> None:
    losses = np.array([[0.5, 0.5], [0.5, 0.5001], [0.9, 0.1], [0.1, 0.9], [0.95, 0.95]])
    assert pick(losses, np.array([[1.0, 1.0]]), 3) in ([0, 2, 3], [0, 3, 2])
    assert sorted(pick(losses, np.empty((0, 2)), 9)) == [0, 1, 2, 3, 4]
    assert pick(losses[:0], np.array([[1.0, 1.0]]), 3) == []


def test_a_batch_has_first_what_is_predicted_to_be_feasible_then_what_is_nearest_to_it(small, monkeypatch) -> None:
    problem = problem_of(small, "params <= 12000", "error <= 0.3")
    trials = trials_of(problem, 12)
    found = [trial.genotype for trial in trials_of(problem, 7, seed=9)]
    losses = np.array([[0.1, 1.0], [0.5, 9.0], [0.2, 2.0], [0.3, 5.0], [0.4, 4.0], [0.1, 1.0], [0.1, 1.0]])
    # What one constraint is kept by does not make up for another.
    violations = np.array([[0.3, -9], [-1, 0], [-9, 0.1], [0, -1], [-0.1, -0.1], [0.2, 0.2], [0.05, 0.1]])
    maker = proposer("surrogate", problem)
    monkeypatch.setattr(maker, "_evolve", lambda *_: (found, {}))
    monkeypatch.setattr(Predictor, "__call__", lambda _, genotypes: (losses, violations))
    monkeypatch.setattr(maker, "_newest", lambda *_: {})
    for count, expected in ((7, [2, 6, 0, 5]), (4, [2])):
        chosen = [found.index(genotype) for genotype in maker.propose(trials, count, np.random.default_rng(0))]
        assert sorted(chosen[:3]) == [1, 3, 4]
        assert chosen[3:] == expected
    (only,) = maker.propose(trials, 1, np.random.default_rng(0))
    reached = problem.comparable(problem.loss_table([trial for trial in trials if trial.feasible]))
    feasible = [1, 3, 4]
    assert found.index(only) == feasible[pick(losses[feasible], reached, 1)[0]]


def test_what_is_not_known_is_predicted_and_judged_by_the_constraints(small) -> None:
    problem = Problem(small, ("error",), ("accuracy >= 0.6", "params <= 12000", "mean_macs <= 400000"), analytic_costs)
    trials = trials_of(problem_of(small), 60)
    new = trials_of(problem_of(small), 12, seed=4)
    losses, violations = Predictor(problem, trials, "gp", seed=0)([trial.genotype for trial in new])
    known = [c.metric in ("params",) for c in problem.constraints]
    for trial, loss, row in zip(new, losses, violations):
        exact = list(problem.violations(trial.metrics).values())
        assert row[0] == pytest.approx(problem.constraints[0].violation({"accuracy": 1 - loss[0]}))
        assert [v for v, k in zip(row, known) if k] == [v for v, k in zip(exact, known) if k]
        assert row == pytest.approx(exact, rel=0.3, abs=0.25)
    error = np.array([trial.metrics["error"] for trial in new])
    assert np.corrcoef(losses[:, 0], error)[0, 1] > 0.8


@pytest.mark.parametrize(
    "mistake, complaint",
    [
        (lambda p: proposer("annealing", p), "known are random, nsga2, surrogate"),
        (lambda p: proposer("surrogate", p, model="forest"), "known are gp, rbf"),
        (lambda p: proposer("nsga2", p, crossover="one"), "known are uniform, two-point"),
        (lambda p: proposer("surrogate", p, crossover="one"), "known are uniform, two-point"),
    ],
)
def test_unknown_names(toy, mistake, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        mistake(problem_of(toy))
