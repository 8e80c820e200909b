"""EDANAS' space: its exits, and threshold genes that say what they mean."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_spaces import ONE, SMALL, count_every_candidate, slices_are_the_supernet
from pydantic import ValidationError

from offramp.architecture import Architecture, Conv, Dense
from offramp.search.problem import Problem
from offramp.search.sampling import draw
from offramp.spaces import Candidate, space

FOUND = space("edanas")
NAMES = [f"{i}.threshold" for i in range(4)]


def test_the_genes_are_45_integers_and_4_thresholds():
    assert len(FOUND.genes) == 49
    assert [(gene.name, gene.choices) for gene in FOUND.genes[45:]] == [(name, (0.1, 0.2, 1.0)) for name in NAMES]
    assert FOUND.size() == (9**2 + 9**3 + 9**4) ** 5 * 81


def test_an_early_exit_is_once_for_all_s_head_in_small():
    for stage, channels in zip(FOUND.largest().stages, (24, 40, 80, 112, 160), strict=True):
        assert stage.exit is not None
        assert stage.exit.blocks == (Conv(out=6 * channels, kernel=1, act="hardswish"),)
        assert stage.exit.hidden == (Dense(out=8 * channels, act="hardswish", bias=False),)
        assert (stage.exit.pool, stage.exit.gate) == ("avg", False)


@pytest.mark.parametrize("indices", list(product(range(3), repeat=4)), ids=str)
def test_thresholds_are_those_of_their_own_genes(indices):
    """In the authors' code threshold genes are decoded off by one."""
    candidate = FOUND.decode((*[0] * 45, *indices))
    present = [i for i, index in enumerate(indices) if index < 2]
    assert candidate.architecture.exits == (*present, 4)
    assert (candidate.thresholds or ()) == tuple((0.1, 0.2)[indices[i]] for i in present)
    assert (candidate.thresholds is None) == (not present)
    assert FOUND.encode(candidate) == (*[0] * 45, *indices)


def test_thresholds_by_name():
    values = {"0.threshold": 1.0, "1.threshold": 0.2, "2.threshold": 1.0, "3.threshold": 0.1}
    candidate = FOUND.decode(FOUND.indices(values))
    assert candidate.architecture.exits == (1, 3, 4)
    assert candidate.thresholds == (0.2, 0.1)


@pytest.mark.parametrize(
    "thresholds, message",
    [
        ((0.1, 0.3, 0.1, 0.1), "1.threshold is 0.3"),
        ((0.1, 0.1, 0.1, 1.0), r"thresholds is \(0.1, 0.1, 0.1, 1.0\); here it is \(0.1, 0.1, 0.1\)"),
        ((0.1,), r"thresholds is \(0.1,\); the 4 early exits need one each"),
        (None, r"thresholds is None; the 4 early exits need one each"),
    ],
)
def test_thresholds_that_do_not_fit(thresholds, message):
    with pytest.raises(ValueError, match=message):
        FOUND.encode(Candidate(FOUND.largest(), thresholds))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([(3, 32, 32), (1, 7, 12), (3, 160, 160)]))
def test_decoding_undoes_encoding_and_json_comes_back(data, shape):
    found = space("edanas", shape, 7)
    genotype = tuple(data.draw(st.integers(0, len(gene.choices) - 1)) for gene in found.genes)
    candidate = found.decode(genotype)
    assert found.decode(found.encode(candidate)) == candidate
    assert Architecture.from_json(candidate.architecture.to_json()) == candidate.architecture


@pytest.mark.parametrize(
    "options",
    [
        ONE,
        ONE | {"depths": (1, 2), "thresholds": (0.5, 1.0)},
        ONE | {"thresholds": (0.1, 0.2), "width": 0.2},
        ONE | {"thresholds": (1.0,), "kernels": (3, 5)},
    ],
)
def test_size_is_the_number_of_different_candidates(options):
    count_every_candidate(space("edanas", (1, 9, 12), 10, **options))


def test_every_choice_is_drawn():
    drawn = np.array(draw(Problem(FOUND, ("full_macs",)), 60, np.random.default_rng(0)))
    for gene, column in zip(FOUND.genes, drawn.T):
        assert set(column) == set(range(len(gene.choices))), gene.name


def test_slices_give_the_supernet_s_logits():
    slices_are_the_supernet(space("edanas", (3, 32, 32), 5, **SMALL), 8)


@pytest.mark.parametrize(
    "thresholds, message",
    [((0.0, 1.0), "greater than 0"), ((0.1, 1.5), "less than or equal to 1"), ((0.2, 0.1), "must ascend"), ((), "one")],
)
def test_thresholds_that_cannot_be(thresholds, message):
    with pytest.raises(ValidationError, match=message):
        space("edanas", thresholds=thresholds)
