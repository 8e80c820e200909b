"""Genotypes as numbers that a surrogate can learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offramp.search.problem import Problem
from offramp.spaces import Gene, Genotype


class Features:
    """The features of a problem's genotypes.

    Genes with ordered numbers become their scaled index, others one column per choice; inactive genes stand at their
    first. What is known of the costs follows as logarithms, weighted: it tells more than any gene.
    """

    weight = 3.0

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._codes = [_code(gene) for gene in problem.space.genes]

    def __call__(self, genotypes: Sequence[Genotype]) -> NDArray[np.float64]:
        """(N, F) features of N genotypes; the known costs are the last columns."""
        genes = np.array(genotypes, dtype=int).reshape(len(genotypes), len(self._codes))
        columns = [code[genes[:, i]] for i, code in enumerate(self._codes)]
        return np.concatenate([*columns, self._costs(genotypes)], axis=1)

    def _costs(self, genotypes: Sequence[Genotype]) -> NDArray[np.float64]:
        table = [[np.log(max(value, 1e-12)) for value in self._problem.known(g).values()] for g in genotypes]
        return self.weight * np.array(table, dtype=float).reshape(len(genotypes), -1)


def _code(gene: Gene) -> NDArray[np.float64]:
    """(choices, columns): the features of each choice."""
    count = len(gene.choices)
    if all(isinstance(choice, int | float) for choice in gene.choices):
        return np.linspace(0, 1, count)[:, None] if count > 1 else np.zeros((1, 1))
    return np.eye(count)
