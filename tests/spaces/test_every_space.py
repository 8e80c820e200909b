"""What holds in every space, whatever its genes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offramp.cost import cost
from offramp.layers import layers
from offramp.nn import EarlyExitNet
from offramp.nn.supernet import shared_name
from offramp.spaces import SPACES, Candidate, SearchSpace, space
from own_backbone import needed

INPUTS = [(3, 32, 32), (1, 8, 8), (1, 7, 12), (3, 48, 40)]
BITS = ((4, 8), (8, 8), (32, 32))
MADE = {(name, shape): space(name, shape, classes=10, **needed(name)) for name in SPACES for shape in INPUTS}
MADE |= {(f"{name} at bits", (1, 8, 8)): space(name, (1, 8, 8), 10, bits=BITS, **needed(name)) for name in SPACES}
spaces = st.sampled_from(list(MADE.values()))
every_space = pytest.mark.parametrize("found", MADE.values(), ids=[f"{n}-{'x'.join(map(str, s))}" for n, s in MADE])
few = settings(max_examples=40, deadline=None)


@st.composite
def genotypes(draw: st.DrawFn) -> tuple[SearchSpace, tuple[int, ...]]:
    found = draw(spaces)
    return found, tuple(draw(st.integers(0, len(gene.choices) - 1)) for gene in found.genes)


@few
@given(genotypes())
def test_decoding_undoes_encoding(drawn):
    found, genotype = drawn
    candidate = found.decode(genotype)
    assert found.decode(found.encode(candidate)) == candidate
    assert (candidate.architecture.input, candidate.architecture.classes) == (found.input, found.classes)


@few
@given(genotypes())
def test_canonical_is_idempotent_and_names_the_same_candidate(drawn):
    found, genotype = drawn
    canonical = found.canonical(genotype)
    assert found.canonical(canonical) == canonical
    assert found.decode(canonical) == found.decode(genotype)


@few
@given(genotypes(), st.data())
def test_a_gene_is_inactive_or_it_changes_the_candidate(drawn, data):
    """Flip one gene of a canonical genotype: another candidate, or the same canonical genotype."""
    found, genotype = drawn
    canonical = found.canonical(genotype)
    i = data.draw(st.sampled_from([i for i, gene in enumerate(found.genes) if len(gene.choices) > 1]))
    other = data.draw(st.integers(0, len(found.genes[i].choices) - 1).filter(lambda value: value != canonical[i]))
    flipped = (*canonical[:i], other, *canonical[i + 1 :])
    same = found.decode(flipped) == found.decode(canonical)
    assert same == (found.canonical(flipped) == canonical)
    assert not same or canonical[i] == 0


@every_space
def test_every_value_of_every_gene_is_drawn(found):
    rng = np.random.default_rng(0)
    drawn = np.array([found.random_genotype(rng) for _ in range(200)])
    for gene, column in zip(found.genes, drawn.T):
        assert set(column) == set(range(len(gene.choices))), gene.name


def test_every_value_of_every_gene_is_seen_in_a_candidate():
    found = MADE["offramp", (3, 32, 32)]
    rng, seen = np.random.default_rng(0), [set() for _ in found.genes]
    for _ in range(150):
        for values, index in zip(seen, found.canonical(found.random_genotype(rng))):
            values.add(index)
    for gene, values in zip(found.genes, seen):
        assert values == set(range(len(gene.choices))), gene.name


@every_space
def test_a_sample_is_the_seed_s(found):
    assert found.sample(3) == found.sample(3) == found.sample(np.random.default_rng(3))
    assert len({found.sample(seed) for seed in range(20)}) == 20


@every_space
def test_smallest_and_largest_bound_macs(found):
    macs = [cost(found.sample(seed)).total.macs for seed in range(60)]
    assert cost(found.smallest()).total.macs <= min(macs)
    assert max(macs) <= cost(found.largest()).total.macs
    assert len(found.smallest().exits) <= min(len(found.sample(seed).exits) for seed in range(60))
    found.encode(Candidate(found.smallest()))


@pytest.mark.parametrize("shape", INPUTS, ids=str)
def test_no_map_is_halved_below_four(shape):
    """In the default space; the papers' strides are what they are."""
    found = MADE["offramp", shape]
    smallest = min(4, *found.input[1:])
    for architecture in [found.smallest(), *(found.sample(seed) for seed in range(20))]:
        maps = [layer.shape_out for stage in layers(architecture) for layer in stage.backbone]
        maps += [layer.shape_in for stage in layers(architecture) for layer in stage.branch if layer.op == "pool"]
        assert min(min(size) for _, *size in maps if size != [1, 1]) >= smallest  # [1, 1]: inside squeeze-excite


@every_space
def test_the_cover_holds_the_shape_of_every_parameter(found):
    def shapes(architecture):
        net = EarlyExitNet(architecture)
        return {shared_name(architecture, name): tuple(p.shape) for name, p in net.named_parameters()}

    largest: dict[str, tuple[int, ...]] = {}
    for architecture in found.cover():
        for name, shape in shapes(architecture).items():
            largest[name] = max(shape, largest.get(name, shape))
    some = [found.sample(seed) for seed in range(12)] + [found.smallest(), found.largest()]
    some += [a for networks in found.sandwich(np.random.default_rng(1), 4, 2) for a in networks]
    for architecture in some:
        for name, shape in shapes(architecture).items():
            assert len(shape) == len(largest[name]), name
            assert all(part <= whole for part, whole in zip(shape, largest[name])), name


def backbones_of(found):
    return {
        tuple(stage.blocks for stage in architecture.stages) for architecture in (found.smallest(), found.largest())
    }


@every_space
def test_a_space_of_one_backbone_has_one_and_covers_all_branches(found):
    def branches(architecture):
        return {(i, architecture.stages[i].exit) for i in architecture.exits}

    assert found.one_backbone == (found.name == "zniber")
    if found.one_backbone:
        some = [found.sample(seed) for seed in range(40)] + [found.smallest(), found.largest()]
        blocks = {tuple(stage.blocks for stage in architecture.stages) for architecture in (*some, *found.cover())}
        assert len(blocks) == 1
        assert not any(architecture.gated for architecture in some)
        assert set.union(*map(branches, found.cover())) >= set.union(*map(branches, some))


@every_space
@pytest.mark.parametrize("count, variants", [(0, 0), (2, 3)])
def test_the_networks_of_a_step(found, count, variants):
    networks = found.sandwich(np.random.default_rng(0), count, variants)
    assert len(networks) == (2 + count if len(backbones_of(found)) > 1 else 1)
    for group in networks:
        assert len(group) in (1, 1 + variants)  # one where a backbone's exits are of one kind
        backbones = {tuple(stage.blocks for stage in architecture.stages) for architecture in group}
        assert len(backbones) == 1
        assert all(architecture.exits == found.largest().exits for architecture in group)
        assert len(set(group)) > 1 or len(group) == 1

    def backbone_macs(architecture):
        return sum(layer.macs for stage in layers(architecture) for layer in stage.backbone)

    macs = [backbone_macs(group[0]) for group in networks]
    least, most = backbone_macs(found.smallest()), backbone_macs(found.largest())
    assert least <= macs[:2][-1] == min(macs)
    assert macs[0] == max(macs) <= most
    if "resolution" not in [gene.name for gene in found.genes]:  # a step has one resolution for all its networks
        assert (min(macs), max(macs)) == (least, most)


@every_space
def test_what_no_genotype_can_be(found):
    right = [0] * len(found.genes)
    with pytest.raises(ValueError, match=rf"{len(right) - 1} genes; space '{found.name}' has {len(right)}"):
        found.decode(right[1:])
    for index in (-1, len(found.genes[1].choices)):
        with pytest.raises(ValueError, match=f"gene {found.genes[1].name} has index {index}"):
            found.decode([0, index, *right[2:]])


def test_an_unknown_space_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"space is 'onramp'; known are offramp"):
        space("onramp")
