"""Bits as an option of every space: a fixed pair, a gene, or float as before the option was there."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_spaces import SMALL, every_value_is_reached, slices_are_the_supernet
from pydantic import ValidationError

from offramp.architecture import Architecture, Precision
from offramp.layers import layers
from offramp.nn import Supernet
from offramp.spaces import SPACES, Candidate, SearchSpace, options_of, space
from own_backbone import NEEDED, needed

PAIRS = ((4, 8), (8, 4), (8, 8), (32, 32))
TWO: dict[str, Any] = {
    "stem_widths": (8,),
    "widths": ((8,), (8, 16)),
    "depths": ((1,), (1, 2)),
    "strides": (1, 2),
    "activations": ("relu", "hardswish"),
    "branch_widths": (16,),
}
REDUCED: dict[str, dict[str, Any]] = {
    "offramp": TWO,
    "nachos": SMALL | {"branch_widths": (4, 6)},
    "edanas": SMALL,
    "aebnas": SMALL | {"resolutions": (24, 32)},
    "zniber": {"width": 0.25, "exits": (0, 4)},
    "fixed": {**NEEDED["fixed"], "exits": (0, 2), "branch_depths": (0, 1), "branch_widths": (16,)},
}
FLOAT_FIRST = [name for name in SPACES if name != "zniber"]
every_space = pytest.mark.parametrize("name", SPACES)


def made(name: str, *pairs: tuple[int, int], shape: tuple[int, int, int] = (3, 32, 32)) -> SearchSpace:
    return space(name, shape, 5, **REDUCED[name], **({"bits": pairs} if pairs else {}))


def pair_of(architecture: Architecture) -> tuple[int, int]:
    p = architecture.precision
    assert (p.backbone_activations, p.branch_activations) == (p.backbone_weights, p.branch_weights)
    return p.backbone_weights, p.branch_weights


@pytest.mark.parametrize("name", FLOAT_FIRST)
def test_without_the_option_everything_is_as_it_was(name):
    plain, named = made(name), made(name, (32, 32))
    assert "bits" not in [gene.name for gene in plain.genes]
    assert named.genes == plain.genes
    assert all(pair_of(a) == (32, 32) for a in (plain.smallest(), plain.largest(), plain.sample(0), *plain.cover()))
    # What a supernet's file and a study are named by.
    for options in ({}, {"bits": ((32, 32),)}):
        assert "bits" not in options_of(name, needed(name) | options).model_dump(mode="json")
    assert options_of(name, needed(name) | {"bits": ((8, 8),)}).model_dump(mode="json")["bits"] == [[8, 8]]


def test_the_paper_s_space_keeps_its_five_pairs_and_their_gene():
    options = options_of("zniber", {}).model_dump(mode="json")
    assert options["bits"] == [[4, 4], [4, 8], [8, 4], [8, 8], [32, 32]]
    assert options_of("zniber", {"bits": ((32, 32),)}).model_dump(mode="json")["bits"] == [[32, 32]]
    assert made("zniber", (8, 8)).genes[0].name == "bits"


@every_space
def test_one_pair_is_the_precision_of_every_network_and_changes_no_other_gene(name):
    fixed, plain = made(name, (8, 4)), made(name, (32, 32))
    assert [gene for gene in fixed.genes if gene.name != "bits"] == [g for g in plain.genes if g.name != "bits"]
    assert fixed.size() == plain.size()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        genotype = fixed.random_genotype(rng)
        few, full = fixed.decode(genotype), plain.decode(genotype)
        assert pair_of(few.architecture) == (8, 4)
        assert few.architecture.model_copy(update={"precision": Precision()}) == full.architecture
        assert fixed.encode(few) == plain.encode(full)
        bits = {(y.weight_bits, y.act_bits) for stage in layers(few.architecture) for y in stage.backbone}
        assert bits == {(8, 8)}
    networks = [fixed.smallest(), fixed.largest(), *fixed.cover()]
    networks += [a for group in fixed.sandwich(np.random.default_rng(0), 2, 1) for a in group]
    assert {pair_of(architecture) for architecture in networks} == {(8, 4)}


@every_space
def test_several_pairs_multiply_the_candidates(name):
    one, several = made(name, (8, 8)), made(name, *PAIRS)
    assert several.size() == len(PAIRS) * one.size()
    assert [gene.choices for gene in several.genes if gene.name == "bits"] == [PAIRS]
    assert pair_of(several.smallest()) == PAIRS[0]
    assert pair_of(several.largest()) == PAIRS[-1]
    assert {pair_of(architecture) for architecture in several.cover()} == {PAIRS[-1]}
    several.encode(Candidate(several.smallest()))


ONE_EACH: dict[str, Any] = {"depths": (1,), "kernels": (3,)}
COUNTED: dict[str, dict[str, Any]] = {
    "offramp": TWO | {"depths": ((1,), (1,)), "kernels": (3,), "expansions": (2,), "branch_depths": (0,)},
    "nachos": ONE_EACH | {"expansions": (2, 3)},
    "edanas": ONE_EACH | {"expansions": (2,), "thresholds": (0.1, 1.0)},
    "aebnas": ONE_EACH
    | {"expansions": (2,), "thresholds": (1.0,), "resolutions": (32, 40), "branch_modules": (1,), "branch_sizes": (8,)}
    | {"branch_kernels": (3,)},
    "zniber": {"exits": (2, 3)},
    "fixed": {
        **NEEDED["fixed"],
        "exits": (1, 2),
        "branch_depths": (0, 1),
        "branch_operators": ("conv",),
        "branch_widths": (16, 32),
        "poolings": ("avg1", "max1"),
        "max_exits": 2,
    },
}


@every_space
def test_size_counts_each_candidate_once(name):
    found = space(name, (1, 9, 12), 10, **COUNTED[name], bits=PAIRS[:3])
    genotypes = list(product(*[range(len(gene.choices)) for gene in found.genes]))
    assert len(genotypes) <= 4096
    assert len({found.decode(genotype) for genotype in genotypes}) == found.size()


DRAWN = [made(name, *PAIRS, shape=shape) for name in SPACES for shape in ((3, 32, 32), (1, 9, 12))]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DRAWN), st.data())
def test_decoding_undoes_encoding_and_bits_are_never_inactive(found, data):
    genotype = tuple(data.draw(st.integers(0, len(gene.choices) - 1)) for gene in found.genes)
    candidate = found.decode(genotype)
    canonical = found.encode(candidate)
    assert found.decode(canonical) == candidate
    assert Architecture.from_json(candidate.architecture.to_json()) == candidate.architecture
    at = [gene.name for gene in found.genes].index("bits")
    assert canonical[at] == genotype[at]
    assert pair_of(candidate.architecture) == PAIRS[genotype[at]]
    other = (*canonical[:at], (canonical[at] + 1) % len(PAIRS), *canonical[at + 1 :])
    changed = found.decode(other).architecture
    assert changed != candidate.architecture
    assert changed.stages == candidate.architecture.stages


@every_space
def test_every_pair_is_drawn_sampled_and_reached_by_mutation(name):
    every_value_is_reached(made(name, *PAIRS), 100)


@every_space
def test_the_networks_of_a_step_share_bits_that_are_drawn(name):
    found, seen = made(name, *PAIRS), set()
    for seed in range(30):
        pairs = {pair_of(a) for group in found.sandwich(np.random.default_rng(seed), 1, 1) for a in group}
        assert len(pairs) == 1
        seen |= pairs
    assert seen == set(PAIRS)


@every_space
def test_a_slice_at_few_bits_gives_the_supernet_s_logits(name):
    """With kernel transforms, squeeze-excite, hard swish, gates and resizing, as the spaces have them."""
    slices_are_the_supernet(made(name, (4, 8), (8, 4), (8, 8)), 3)


@every_space
def test_fewer_bits_change_the_logits_and_train_the_same_weights(name):
    found = made(name, *PAIRS)
    supernet, x = Supernet(found), torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
    base = found.sample(2)

    def said(pair: tuple[int, int]) -> tuple[torch.Tensor, set[str]]:
        precision = next(a.precision for a in map(found.sample, range(60)) if pair_of(a) == pair)
        supernet.zero_grad()
        logits = supernet(x, base.model_copy(update={"precision": precision}))
        logits.square().sum().backward()
        return logits.detach(), {n for n, p in supernet.named_parameters() if p.grad is not None and p.grad.any()}

    exact, learned = said((32, 32))
    for pair in PAIRS[:3]:
        logits, also = said(pair)
        assert also == learned
        assert (logits - exact).abs().mean() > 0


@every_space
@pytest.mark.parametrize(
    "precision, message",
    [
        ({"backbone_weights": 4, "backbone_activations": 4}, r"bits is \(4, 32\)|backbone_\w+ is 4; the nearest"),
        ({"branch_activations": 8}, "branch_activations is 8; the nearest here has 32"),
    ],
)
def test_other_bits_lie_outside(name, precision, message):
    found = made(name, (32, 32))
    candidate = found.decode(found.random_genotype(np.random.default_rng(0)))
    changed = candidate.architecture.model_copy(update={"precision": Precision(**precision)})
    with pytest.raises(ValueError, match=message):
        found.encode(Candidate(changed, candidate.thresholds))


@every_space
@pytest.mark.parametrize(
    "pairs, message",
    [
        ((), r"bits\n.*bits is \(\); it needs at least one pair"),
        (((16, 16),), r"bits has \(16, 16\); networks are computed at 2 to 8, or at 32 \(float\)"),
        (((8, 8), (4, 4)), "bits is .*ascending, none twice"),
        (((8, 8), (8, 8)), "bits is .*none twice"),
        (((8, 1),), "greater than or equal to 2"),
        ((8, 8), r"bits is \[8, 8\]; give pairs of backbone and branches, such as \[\[8, 8\]\]"),
    ],
)
def test_bits_that_cannot_be(name, pairs, message):
    with pytest.raises(ValidationError, match=message):
        options_of(name, {"bits": pairs})
