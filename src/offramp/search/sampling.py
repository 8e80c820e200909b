"""Random genotypes worth evaluating."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from offramp.search.problem import Problem
from offramp.spaces import Genotype

_POOL = 10  # genotypes drawn for each one kept, when they are spread over cost
_PATIENCE = 200  # draws without anything new until there is nothing new, at least; more in larger spaces
_TILT = 1.2
_STARTS = 20
_LEAN = 300  # draws in vain after which genes lean by one more power towards small or large networks


def draw(problem: Problem, count: int, rng: np.random.Generator, seen: Collection[Genotype] = ()) -> list[Genotype]:
    """Up to `count` canonical genotypes, distinct, not in `seen`, that can meet the constraints; uniform gene by gene.

    Fewer where none is found any more.
    """
    return _draw(problem, count, rng, seen, tilt=False)


def spread(problem: Problem, count: int, rng: np.random.Generator, seen: Collection[Genotype] = ()) -> list[Genotype]:
    """As `draw`, but evenly over the logarithm of full MACs, where that is known.

    Genotypes that are uniform gene by gene cluster around middling MACs; these reach from small to large.
    """
    pool = _draw(problem, count * _POOL, rng, seen, tilt=True)
    if len(pool) <= count or "full_macs" not in problem.known(pool[0]):
        return pool[:count]
    costs = np.log([problem.known(genotype)["full_macs"] for genotype in pool])
    free = np.ones(len(pool), dtype=bool)
    chosen = []
    for target in rng.permutation(np.linspace(costs.min(), costs.max(), count)):
        nearest = int(np.argmin(np.where(free, abs(costs - target), np.inf)))
        free[nearest] = False
        chosen.append(pool[nearest])
    return chosen


def out_of_reach(problem: Problem, rng: np.random.Generator) -> Genotype | None:
    """The canonical genotype that comes nearest to the constraints, where none is found that can meet them; else None.

    Descends gene by gene from the smallest network and from the best of some random ones: far fewer candidates have
    to be costed than `draw` needs to give up, and on a device each takes its time. Where a cost must be large besides,
    descending may end too soon, and `draw` has the last word.
    """
    drawn = [problem.canonical(problem.space.random_genotype(rng)) for _ in range(_STARTS)]
    starts = (_smallest(problem), min(drawn, key=problem.known_violation))
    found = min((_descended(problem, start) for start in starts), key=problem.known_violation)
    if problem.known_violation(found) == 0:
        return None
    large = any(c.at_least and c.metric in problem.known(found) for c in problem.constraints)
    return None if large and draw(problem, 1, rng) else found


def hopeless(problem: Problem, near: Genotype | None = None) -> str:
    """Why nothing can be drawn, where nothing can: the constraints, and what `near` has, else the smallest network."""
    bounds = " and ".join(str(constraint) for constraint in problem.constraints)
    known = problem.known(_smallest(problem) if near is None else near)
    told = ", ".join(f"{name} {value:g}" for name, value in known.items())
    which = "its smallest" if near is None else "the nearest"
    return f"no candidate of space {problem.space.name!r} found that can meet {bounds}; {which} has {told}"


def _draw(
    problem: Problem, count: int, rng: np.random.Generator, seen: Collection[Genotype], tilt: bool
) -> list[Genotype]:
    found: dict[Genotype, None] = {}
    seen, size, vain, rejected = set(seen), problem.space.size(), 0, 0
    patience = _PATIENCE + 10 * min(size, 300)
    while len(found) < count and vain < patience and len(found) + len(seen) < size:
        # Where bounds are so tight that uniform draws are in vain, draws lean until they reach the smallest network.
        lean = _TILT * tilt + rejected // _LEAN
        genotype = problem.canonical(_leaning(problem, lean, rng) if lean else problem.space.random_genotype(rng))
        vain += 1
        if genotype in seen or genotype in found:
            continue
        if problem.known_violation(genotype) > 0:
            rejected += 1
        else:
            found[genotype], vain = None, 0
    return list(found)


def _smallest(problem: Problem) -> Genotype:
    return problem.canonical((0,) * len(problem.space.genes))


def _descended(problem: Problem, genotype: Genotype) -> Genotype:
    """Where changing single genes cannot lessen the violation that is certain, or nothing of it is left."""
    least, before = problem.known_violation(genotype), np.inf
    while 0 < least < before:
        before = least
        for i, gene in enumerate(problem.space.genes):
            some = [problem.canonical((*genotype[:i], j, *genotype[i + 1 :])) for j in range(len(gene.choices))]
            best = min(some, key=problem.known_violation)
            if problem.known_violation(best) < least:
                genotype, least = best, problem.known_violation(best)
    return genotype


def _leaning(problem: Problem, most: float, rng: np.random.Generator) -> Genotype:
    """A random genotype whose genes lean together to low choices or to high ones, and so to low or high cost."""
    power = np.exp(rng.uniform(-most, most))
    counts = np.array([len(gene.choices) for gene in problem.space.genes])
    # A power near 0 rounds to 1, which is no index.
    return tuple(np.minimum(rng.random(len(counts)) ** power * counts, counts - 1).astype(int).tolist())
