"""In the spaces of NACHOS and EDANAS every value of every gene is reached by every operator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.core.population import Population

from offramp.search import Evaluation, Problem, Trial, proposer
from offramp.search.evolution import CROSSOVERS, GenotypeProblem, _Unwanted, nsga2
from offramp.spaces import Genotype, SearchSpace, space

SPACES = {name: space(name, (3, 32, 32), 10) for name in ("nachos", "edanas")}
every_space = pytest.mark.parametrize("found", SPACES.values(), ids=SPACES)
few = settings(max_examples=5, deadline=None)
seeds = st.integers(0, 2**31)


def all_reached(found: SearchSpace, genotypes: Iterable[Genotype]) -> None:
    for gene, column in zip(found.genes, np.array(list(genotypes)).T, strict=True):
        assert set(column) == set(range(len(gene.choices))), gene.name


def ends(found: SearchSpace) -> tuple[Genotype, Genotype]:
    """The first and the last choice of every gene, canonical."""
    last = tuple(len(gene.choices) - 1 for gene in found.genes)
    return found.canonical((0,) * len(last)), found.canonical(last)


@every_space
@few
@given(seeds)
def test_random_genotypes(found, seed) -> None:
    rng = np.random.default_rng(seed)
    all_reached(found, (found.random_genotype(rng) for _ in range(200)))


@every_space
@pytest.mark.parametrize("which", [0, 1])
@few
@given(seeds)
def test_mutation(found, which, seed) -> None:
    """As NSGA-II is given it, at its own rate, from either end."""
    problem = Problem(found, ["error", "mean_macs"])
    mutation = nsga2(problem, Population(), 20).mating.mutation
    start = np.array([ends(found)[which]] * 600)
    rng = np.random.default_rng(seed)
    all_reached(found, mutation._do(GenotypeProblem(problem), start, random_state=rng))


@every_space
@pytest.mark.parametrize("name", CROSSOVERS)
@few
@given(seeds)
def test_crossover_loses_no_choice_and_cuts_between_any_two_genes(found, name, seed) -> None:
    problem, genes, rng = GenotypeProblem(Problem(found, ["error"])), len(found.genes), np.random.default_rng(seed)
    random = np.array([[found.random_genotype(rng) for _ in range(300)] for _ in range(2)])
    children = CROSSOVERS[name]()._do(problem, random, random_state=rng)
    all_reached(found, children.reshape(-1, genes))
    assert (np.sort(children, axis=0) == np.sort(random, axis=0)).all()
    parents = np.array([[[0] * genes] * 600, [[1] * genes] * 600])
    child = CROSSOVERS[name]()._do(problem, parents, random_state=rng)[0]
    assert (child[:, 1:] != child[:, :-1]).any(axis=0).all()


@every_space
@pytest.mark.parametrize(
    "name, options", [("random", {}), *(("nsga2", {"crossover": c, "mutation": 0.3}) for c in CROSSOVERS)]
)
def test_what_is_proposed(found, name, options) -> None:
    """Canonical proposals, from one parent at the first choices: all that is found is the operators' doing."""
    problem, start = Problem(found, ["error", "mean_macs"]), ends(found)[0]
    result = Evaluation({"error": 0.5, "mean_macs": 1e6})
    trials = [Trial(0, start, found.decode(start), result, "test", 0, 0.0)]
    maker = proposer(name, problem, **options)
    all_reached(found, (g for seed in range(12) for g in maker.propose(trials, 50, np.random.default_rng(seed))))


@every_space
@pytest.mark.parametrize("crossover", CROSSOVERS)
def test_what_the_search_on_surrogates_proposes(found, crossover) -> None:
    """Each gene is wanted at each of its values in turn: the surrogates are told a made-up error that says so."""
    problem, rng = Problem(found, ["error"]), np.random.default_rng(0)
    genotypes = list(dict.fromkeys(found.canonical(found.random_genotype(rng)) for _ in range(40)))
    maker = proposer("surrogate", problem, model="rbf", population=40, generations=3, crossover=crossover)
    proposals: list[Genotype] = []
    for target in ends(found):
        trials = [
            Trial(i, g, found.decode(g), Evaluation({"error": float(np.mean(np.not_equal(g, target)))}), "test", 0, 0.0)
            for i, g in enumerate(genotypes)
        ]
        proposals += (g for seed in range(4) for g in maker.propose(trials, 40, np.random.default_rng(seed)))
    all_reached(found, proposals)


@every_space
def test_what_a_batch_or_the_study_has_already_is_dropped(found) -> None:
    first, last = ends(found)
    dropped = _Unwanted(Problem(found, ["error"]), {last})._do
    batch = Population.new(X=np.array([first, first, last]))
    assert dropped(batch, None, np.zeros(3, dtype=bool)).tolist() == [False, True, True]
    other = Population.new(X=np.array([first]))
    assert dropped(batch, other, np.zeros(3, dtype=bool)).tolist() == [True, True, True]
