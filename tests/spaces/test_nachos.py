"""NACHOS' space: its exits, the adapter, and weights that are shared whatever the adapter put in front."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_spaces import ONE, SMALL, count_every_candidate, slices_are_the_supernet
from pydantic import ValidationError
from pymoo.core.population import Population

from offramp.architecture import Activate, Architecture, Branch, Conv, Pool, Stage
from offramp.cost import cost
from offramp.nn.supernet import shared_name
from offramp.search.evolution import GenotypeProblem, nsga2
from offramp.search.problem import Problem
from offramp.search.sampling import draw
from offramp.spaces import Candidate, space
from offramp.spaces.nachos import NachosOptions, NachosSpace, adapt, with_pool

FOUND = space("nachos")
EXITS = [f"{i}.exit" for i in range(4)]


def genotype_of(**chosen):
    return FOUND.indices({name.replace("_", "."): value for name, value in chosen.items()})


def kernel_of(branch: Branch) -> int:
    first = branch.blocks[0]
    return first.kernel if isinstance(first, Pool) else 1


def test_the_genes_are_the_papers_45_integers_and_4_bits():
    assert len(FOUND.genes) == 49
    assert [gene.name for gene in FOUND.genes[:10]] == [
        "0.depth", "0.0.kernel", "0.1.kernel", "0.2.kernel", "0.3.kernel",
        "0.0.expansion", "0.1.expansion", "0.2.expansion", "0.3.expansion", "1.depth",
    ]  # fmt: skip
    assert [gene.name for gene in FOUND.genes[45:]] == EXITS
    assert FOUND.size() == (9**2 + 9**3 + 9**4) ** 5 * 15


def test_an_early_exit_is_the_papers():
    branch = FOUND.largest().stages[3].exit
    assert branch is not None
    blocks = [block for block in branch.blocks if not isinstance(block, Pool)]
    assert blocks == [Activate(act="relu"), *(Conv(out=o, kernel=3, act="relu", norm=False) for o in (32, 64, 128))]
    assert (branch.pool, branch.hidden, branch.gate) == ("none", (), True)


@pytest.mark.parametrize("bits", range(16))
def test_each_of_the_15_vectors_is_one_network_and_none_lacks_early_exits(bits):
    chosen = [bool(bits >> i & 1) for i in range(4)]
    candidate = FOUND.decode(FOUND.indices(dict(zip(EXITS, chosen))))
    expected = tuple(i for i in range(4) if chosen[i]) or (3,)
    assert candidate.architecture.exits == (*expected, 4)
    assert FOUND.decode(FOUND.encode(candidate)) == candidate


def test_the_last_bit_is_inactive_where_it_alone_could_be_set():
    assert FOUND.canonical(genotype_of(**{"3_exit": True})) == genotype_of()
    assert FOUND.canonical(genotype_of(**{"0_exit": True})) != FOUND.canonical(
        genotype_of(**{"0_exit": True, "3_exit": True})
    )


def test_a_network_without_early_exits_or_with_another_pooling_is_outside():
    with pytest.raises(ValueError, match=r"stages\.3\.exit is None"):
        FOUND.encode(Candidate(FOUND.smallest().with_exits((4,))))
    candidate = FOUND.decode(genotype_of(**{"1_exit": True}))
    stages = list(candidate.architecture.stages)
    stages[1] = stages[1].model_copy(update={"exit": with_pool(stages[1].exit, 4)})
    with pytest.raises(ValueError, match=r"stages\.1\.exit\.blocks"):
        FOUND.encode(Candidate(candidate.architecture.model_copy(update={"stages": tuple(stages)})))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([(3, 32, 32), (1, 7, 12), (3, 160, 160)]))
def test_decoding_undoes_encoding_and_json_comes_back(data, shape):
    found = space("nachos", shape, 7)
    candidate = found.decode([data.draw(st.integers(0, len(gene.choices) - 1)) for gene in found.genes])
    assert found.decode(found.encode(candidate)) == candidate
    assert Architecture.from_json(candidate.architecture.to_json()) == candidate.architecture
    assert len(candidate.architecture.exits) >= 2


@pytest.mark.parametrize(
    "options",
    [
        ONE,
        ONE | {"depths": (1, 2)},
        ONE | {"depths": (2,), "width": 0.2, "pools": (1, 2)},
        ONE | {"expansions": (6,), "branch_widths": (8,)},
        ONE | {"expansions": (1,), "width": 0.1, "pools": (1,)},
    ],
)
@pytest.mark.parametrize("classes", [10, 1000])
def test_size_is_the_number_of_different_candidates(options, classes):
    count_every_candidate(space("nachos", (3, 20, 20), classes, **options))


@pytest.mark.parametrize("pixels", [32, 160])
def test_costs_grow_with_depth(pixels):
    found, rng = space("nachos", (3, pixels, pixels)), np.random.default_rng(0)
    pooled = set()
    for _ in range(1000):
        architecture = found.decode(found.random_genotype(rng)).architecture
        gamma = cost(architecture).leaving(rule="paper")
        assert list(gamma) == sorted(gamma)
        pooled |= {(i, kernel_of(architecture.stages[i].exit)) for i in architecture.exits[:-1]}
    assert {kernel for _, kernel in pooled} == {1, 2, 4}


def test_no_smaller_pooling_restores_the_order():
    rng = np.random.default_rng(1)
    for _ in range(40):
        architecture = FOUND.decode(FOUND.random_genotype(rng)).architecture
        gamma = cost(architecture).leaving(rule="paper")
        for n, i in enumerate(architecture.exits[:-1]):
            kernel = kernel_of(architecture.stages[i].exit)
            if kernel == 1:
                continue
            stages = list(architecture.stages)
            stages[i] = stages[i].model_copy(update={"exit": with_pool(stages[i].exit, kernel // 2)})
            less = architecture.model_copy(update={"stages": tuple(stages)})
            assert cost(less).leaving(rule="paper")[n] > gamma[n + 1]


def by_hand(side: int, out: int) -> Architecture:
    """One early exit on a `side` x `side` map, a cheap final one."""
    early = Branch(blocks=(Conv(out=out, norm=False),), pool="none", gate=True)
    stages = (Stage(blocks=(Conv(out=2, kernel=1),), exit=early), Stage(blocks=(Conv(out=2, kernel=1),), exit=Branch()))
    return Architecture(input=(1, side, side), classes=2, stages=stages)


@pytest.mark.parametrize(
    "side, out, expected",
    [
        (
            8,
            1,
            4,
        ),  # unpooled 128 + 64 * (18 + 3); the final exit 128 + 256 + 4; by 2, 128 + 16 * 21; by 4, 128 + 4 * 21
        (8, 100, 4),  # nothing restores the order: the largest
        (3, 100, 2),  # nor here, where a pooling by 4 does not fit
        (1, 100, 1),
    ],
)
def test_the_adapter_by_hand(side, out, expected):
    plain = by_hand(side, out)
    adapted = adapt(plain)
    assert kernel_of(adapted.stages[0].exit) == expected
    assert adapted.stages[1] == plain.stages[1]
    assert adapt(adapted) == adapted
    early, final = cost(adapted).leaving(rule="paper")
    assert (early <= final) == (out == 1)


def test_the_adapter_leaves_networks_alone_that_need_nothing():
    assert adapt(by_hand(8, 1), kernels=(1,)) == by_hand(8, 1)
    static = FOUND.largest().with_exits((4,))
    assert adapt(static) == static


def test_every_choice_is_reached_by_the_operators_of_the_search():
    problem = Problem(FOUND, ("full_macs",))
    rng = np.random.default_rng(0)
    first = draw(problem, 120, rng)
    known = Population.new("X", np.array(first), "F", rng.random((120, 1)))
    algorithm = nsga2(problem, known, 120, rate=0.2)
    algorithm.setup(GenotypeProblem(problem), seed=1)
    mating = {"algorithm": algorithm, "random_state": algorithm.random_state}
    best = algorithm.survival.do(GenotypeProblem(problem), known, n_survive=120, **mating)
    children = algorithm.mating.do(GenotypeProblem(problem), best, 120, **mating).get("X")
    for found in (np.array(first), children):
        for gene, column in zip(FOUND.genes, found.T):
            assert set(column) == set(range(len(gene.choices))), gene.name


def test_a_convolution_has_one_name_whatever_pooling_stands_before_it():
    rng = np.random.default_rng(0)
    (largest, *_), *_ = FOUND.sandwich(rng, 0, 2)
    branch = largest.stages[0].exit
    names = set()
    for kernel in (1, 2, 4):
        stages = (largest.stages[0].model_copy(update={"exit": with_pool(branch, kernel)}), *largest.stages[1:])
        network = largest.model_copy(update={"stages": stages})
        position = 1 + (kernel > 1)
        names.add(shared_name(network, f"stages.0.exit.blocks.{position}.conv.conv.weight"))
        assert shared_name(network, "stages.0.exit.classifier.weight").endswith(f"{8 // kernel}x{8 // kernel}/weight")
    assert len(names) == 1


def test_slices_give_the_supernet_s_logits():
    found = space("nachos", (3, 32, 32), 5, **SMALL, branch_widths=(4, 6, 8))
    seen = {kernel_of(s.exit) for seed in range(8) for s in found.sample(seed).stages[:-1] if s.exit is not None}
    assert len(seen) > 1
    slices_are_the_supernet(found, 8)


def test_a_step_s_variants_differ_in_every_exit_that_can():
    for group in FOUND.sandwich(np.random.default_rng(0), 1, variants=2):
        for i, count in enumerate((3, 3, 2, 2)):  # their maps are 8, 4, 2, 2 wide
            assert len({kernel_of(architecture.stages[i].exit) for architecture in group}) == count


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pools": (2, 4)}, "it must begin with 1"),
        ({"pools": (1, 4, 2)}, r"\[1, 4, 2\] must ascend"),
        ({"branch_widths": ()}, "branch_widths"),
    ],
)
def test_options_of_the_exits_that_cannot_be(options, message):
    with pytest.raises(ValidationError, match=message):
        NachosOptions(**options)


def test_default_options_are_used_where_none_are_given():
    assert NachosSpace((3, 32, 32), 10).options == NachosOptions()
