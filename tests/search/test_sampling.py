"""What comes nearest to bounds, against every candidate of a small space."""

from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_space import ToySpace

from offramp.search import Constraint, Problem, sampling
from offramp.search.known import analytic_costs
from offramp.search.sampling import _leaning, hopeless, out_of_reach

SPACE = ToySpace()
EVERY = {SPACE.canonical(g) for g in product(*(range(len(gene.choices)) for gene in SPACE.genes))}
KNOWN = {genotype: analytic_costs(SPACE.decode(genotype)) for genotype in EVERY}
MACS = sorted({known["least_mean_macs"] for known in KNOWN.values()})
PARAMS = sorted({known["params"] for known in KNOWN.values()})


@settings(max_examples=60, deadline=None)
@given(
    macs=st.sampled_from(MACS), params=st.sampled_from(PARAMS), large=st.booleans(), seed=st.integers(0, 9),
    offset=st.sampled_from([0, 1]),
)  # fmt: skip
def test_a_bound_is_out_of_reach_where_no_candidate_reaches_it(macs, params, large, seed, offset):
    constraints = [Constraint("mean_macs", macs - offset), Constraint("params", params, at_least=large)]
    problem = Problem(SPACE, ["error"], constraints, analytic_costs)
    reached = any(problem.known_violation(genotype) == 0 for genotype in EVERY)
    with patch.object(sampling, "_STARTS", 1):  # so that descending has to find it
        assert (out_of_reach(problem, np.random.default_rng(seed)) is None) == reached


@pytest.mark.parametrize("metric", ["mean_macs", "full_macs"])
def test_what_is_out_of_reach_is_told_with_the_nearest_there_is(metric):
    """Few of all candidates are costed."""
    costed = []

    def known(candidate):
        costed.append(candidate)
        return analytic_costs(candidate)

    problem = Problem(SPACE, ["error"], [f"{metric} <= 1", f"params <= {PARAMS[-1]:g}"], known)
    found = out_of_reach(problem, np.random.default_rng(0))
    assert len(costed) < len(EVERY) / 2
    assert problem.known_violation(found) == min(map(problem.known_violation, EVERY))
    told = hopeless(problem, found)
    assert f"{metric} <= 1 and params <= " in told
    assert f"the nearest has full_macs {KNOWN[found]['full_macs']:g}, " in told


@pytest.mark.parametrize("most", [0.0, 1.0, 30.0, 500.0])
def test_however_much_genes_lean_every_index_is_one(most):
    """Far from uniform, as where thousands of draws were in vain."""
    problem, rng = Problem(SPACE, ["error"], [], analytic_costs), np.random.default_rng(0)
    for _ in range(300):
        SPACE.values(_leaning(problem, most, rng))
