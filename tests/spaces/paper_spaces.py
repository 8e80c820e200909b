"""Reduced options of the papers' spaces, and checks that hold for each."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch

from offramp.cost import cost
from offramp.nn import EarlyExitNet, Supernet
from offramp.nn.quantize import install_quick
from offramp.nn.supernet import shared_name
from offramp.search.evolution import ChoiceMutation, GenotypeProblem
from offramp.search.known import analytic_costs
from offramp.search.problem import Problem
from offramp.search.sampling import draw, spread
from offramp.spaces import SearchSpace

ONE: dict[str, Any] = {"depths": (1,), "kernels": (3,), "expansions": (3,)}
SMALL: dict[str, Any] = {"depths": (1, 2), "kernels": (3, 5), "expansions": (2, 3), "width": 0.2}


def count_every_candidate(found: SearchSpace) -> None:
    """`size` is the number of candidates; the smallest and the largest network bound their MACs."""
    genotypes = list(product(*[range(len(gene.choices)) for gene in found.genes]))
    assert len(genotypes) <= 1024
    candidates = {found.decode(genotype) for genotype in genotypes}
    assert len(candidates) == found.size()
    assert all(found.decode(found.encode(candidate)) == candidate for candidate in candidates)
    macs = [cost(candidate.architecture).total.macs for candidate in candidates]
    assert cost(found.smallest()).total.macs == min(macs)
    assert max(macs) <= cost(found.largest()).total.macs


def every_value_is_reached(space: SearchSpace, drawn: int) -> None:
    """By random genotypes, both ways of sampling the search begins with, and mutation from one corner."""
    rng, problem = np.random.default_rng(0), Problem(space, ["error", "mean_macs"], known=analytic_costs)
    corner = np.zeros((600, len(space.genes)), dtype=int)
    mutated = ChoiceMutation(0.3)._do(GenotypeProblem(problem), corner, random_state=rng)
    random = [space.random_genotype(rng) for _ in range(200)]
    for genotypes in (random, draw(problem, drawn, rng), spread(problem, 100, rng), mutated):
        for gene, column in zip(space.genes, np.array(genotypes).T, strict=True):
            assert set(column) == set(range(len(gene.choices))), gene.name


def slices_are_the_supernet(found: SearchSpace, count: int) -> None:
    """A slice built on its own gives the supernet's logits, and holds the shared weights of its names."""
    supernet = Supernet(found, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # norms that differ from channel to channel, so that a wrong slice shows
        for parameter in supernet.parameters():
            if parameter.ndim == 1:
                parameter += torch.randn(parameter.shape, generator=generator) * 0.3
    x = torch.rand(4, *found.input, generator=generator) * 255
    for architecture in [found.smallest(), found.largest(), *(found.sample(seed) for seed in range(count))]:
        alone = supernet.slice(architecture)
        install_quick(alone)  # the supernet computes at the slice's bits
        assert isinstance(alone, EarlyExitNet)
        with torch.no_grad():
            torch.testing.assert_close(alone.train()(x), supernet(x, architecture))
        for name, part in alone.named_parameters():
            whole = supernet.weights[shared_name(architecture, name)]
            cuts = [(w - p) // 2 if dim > 1 else 0 for dim, (w, p) in enumerate(zip(whole.shape, part.shape))]
            assert torch.equal(part, whole[tuple(slice(c, c + p) for c, p in zip(cuts, part.shape))]), name
