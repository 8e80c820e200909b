"""The space of AEBNAS: resolution, thresholds and the 272 branches of every exit."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_spaces import every_value_is_reached
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from offramp.architecture import Architecture, Bottleneck, Conv, Pool, Resize
from offramp.cost import cost
from offramp.layers import layers
from offramp.nn import EarlyExitNet, Supernet
from offramp.nn.supernet import shared_name
from offramp.spaces.aebnas import AebnasOptions, AebnasSpace
from offramp.spaces.base import Candidate

SHAPE = (3, 32, 32)
PAPER = AebnasSpace(SHAPE, 10)
ONE: dict[str, Any] = {  # one backbone, one branch
    "width": 0.25,
    "depths": (1,),
    "kernels": (3,),
    "expansions": (3,),
    "resolutions": (32,),
    "thresholds": (0.1, 1.0),
    "branch_modules": (1,),
    "branch_sizes": (8,),
    "branch_kernels": (3,),
    "branch_expansions": (1,),
    "branch_pools": (False,),
}
TINY: dict[str, Any] = {"width": 0.25, "depths": (1, 2), "resolutions": (16, 20, 24)}


def of(options: dict[str, Any], shape: tuple[int, int, int] = SHAPE, classes: int = 10) -> AebnasSpace:
    return AebnasSpace(shape, classes, AebnasOptions(**options))


def candidate(space: AebnasSpace, values: dict[str, Any], exits: dict[int, float] | None = None) -> Candidate:
    """Genes not named at their first choice; exits with their thresholds, the others absent."""
    absent = {f"{i}.threshold": 1.0 for i in range(4)}
    present = {f"{i}.threshold": threshold for i, threshold in (exits or {}).items()}
    return space.decode(space.indices(absent | present | values))


def test_the_genes_are_the_paper_s():
    choices = {gene.name: gene.choices for gene in PAPER.genes}
    assert len(PAPER.genes) == 45 + 1 + 4 + 4 * 8
    assert choices["resolution"] == (32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72)
    assert {choices[f"{i}.threshold"] for i in range(4)} == {(0.1, 0.2, 1.0)}
    assert [choices[f"3.exit.{j}.size"] for j in (0, 1)] == [(8, 10), (0, 8, 10)]
    assert {choices[f"{i}.exit.{j}.kernel"] for i in range(4) for j in (0, 1)} == {(3, 5)}


@pytest.mark.parametrize("stage, channels", list(enumerate([24, 40, 80, 112])))
def test_an_exit_has_272_branches_all_different(stage, channels):
    names = [gene for gene in PAPER.genes if gene.name.startswith(f"{stage}.exit.")]
    found: dict[Any, tuple[int, ...]] = {}
    for chosen in product(*[gene.choices for gene in names]):
        mine = candidate(PAPER, {gene.name: value for gene, value in zip(names, chosen)}, {stage: 0.1})
        branch = mine.architecture.stages[stage].exit
        # No aliases: one network, one canonical genotype.
        assert found.setdefault(branch, PAPER.encode(mine)) == PAPER.encode(mine)
    assert len(found) == len(set(found.values())) == 272
    assert set(found) == set(PAPER.branches(channels))


def test_a_branch_is_resized_convolved_without_padding_and_pooled():
    genes = {"1.exit.0.size": 10, "1.exit.0.kernel": 5, "1.exit.0.expansion": 2, "1.exit.0.pool": True}
    genes |= {"1.exit.1.size": 8, "1.exit.1.kernel": 3, "1.exit.1.expansion": 1, "1.exit.1.pool": False}
    mine = candidate(PAPER, genes, {1: 0.2})
    assert (mine.architecture.exits, mine.thresholds) == ((1, 4), (0.2,))
    branch = mine.architecture.stages[1].exit
    assert branch is not None
    first = (Resize(size=10), Conv(out=80, kernel=5, stride=2, pad=False), Pool(kernel=2, how="max"))
    assert branch.blocks == (*first, Resize(size=8), Conv(out=80, kernel=3, stride=2, pad=False))
    assert (branch.pool, branch.grid, branch.hidden) == ("avg", 1, ())
    maps = [layer.shape_out.height for layer in layers(mine.architecture)[1].branch]
    assert maps == [10, 3, 1, 8, 3, 1, 1]


def test_the_final_exit_is_once_for_all_s():
    final = PAPER.sample(0).stages[4].exit
    assert final is not None
    assert [(block.out, block.kernel) for block in final.blocks if isinstance(block, Conv)] == [(960, 1)]
    assert [(dense.out, dense.act, dense.bias) for dense in final.hidden] == [(1280, "hardswish", False)]


def test_the_network_resizes_its_images_unless_they_fit():
    for resolution in PAPER.options.resolutions:
        first, *others = candidate(PAPER, {"resolution": resolution}).architecture.stages[0].blocks
        assert isinstance(others[-1], Bottleneck)
        if resolution == 32:
            assert isinstance(first, Conv)
        else:
            assert first == Resize(size=resolution)
    square = candidate(of(TINY, (1, 20, 20)), {"resolution": 20}).architecture
    oblong = candidate(of(TINY, (1, 20, 24)), {"resolution": 20}).architecture
    assert isinstance(square.stages[0].blocks[0], Conv)
    assert oblong.stages[0].blocks[0] == Resize(size=20)


def test_macs_follow_the_resolution():
    macs = [cost(candidate(PAPER, {"resolution": size}).architecture).total.macs for size in (32, 48, 72)]
    assert macs[0] < macs[1] < macs[2]
    # Branches resize their maps: they cost the same at every resolution.
    branches = [
        [record.branch.macs for record in cost(candidate(PAPER, {"resolution": size}, {0: 0.1}).architecture).exits]
        for size in (36, 72)
    ]
    assert branches[0][0] == branches[1][0]


@pytest.mark.parametrize(
    "options",
    [
        ONE | {"branch_modules": (1, 2)},
        ONE | {"branch_modules": (2,), "thresholds": (0.1, 0.2, 1.0)},
        ONE | {"resolutions": (32, 40), "depths": (1,), "thresholds": (0.1, 0.2)},
        ONE | {"branch_modules": (1, 2), "branch_pools": (False, True), "thresholds": (0.5,)},
        ONE | {"branch_modules": (1, 2), "branch_sizes": (8, 10), "thresholds": (0.5,)},
        ONE | {"branch_kernels": (3, 5), "branch_expansions": (1, 2), "thresholds": (0.5,)},
        ONE | {"kernels": (3, 5), "expansions": (3, 4), "depths": (1,), "thresholds": (1.0,)},
    ],
)
def test_size_is_the_number_of_different_candidates(options):
    space = of(options)
    genotypes = list(product(*[range(len(gene.choices)) for gene in space.genes]))
    found = {genotype: space.decode(genotype) for genotype in genotypes}
    candidates = set(found.values())
    assert len(candidates) == space.size()
    assert len({(c.architecture.to_json(), c.thresholds) for c in candidates}) == len(candidates)
    canonical = {c: space.encode(c) for c in candidates}
    assert len(set(canonical.values())) == len(candidates)
    assert all(space.decode(genotype) == c for c, genotype in canonical.items())
    some = sorted(candidates, key=lambda c: c.architecture.key)[:300]
    macs = [cost(c.architecture).total.macs for c in (*some, Candidate(space.smallest()), Candidate(space.largest()))]
    assert cost(space.smallest()).total.macs == min(macs)
    if min(options["thresholds"]) < 1:
        assert cost(space.largest()).total.macs == max(macs)


def test_the_paper_s_space_has_its_size():
    backbones = (9**2 + 9**3 + 9**4) ** 5
    assert PAPER.size() == backbones * 11 * (1 + 2 * 272) ** 4


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([PAPER, of(TINY, (1, 20, 20), 3), of(TINY, (3, 7, 12), 5)]), st.data())
def test_decoding_undoes_encoding_and_json_keeps_everything(space, data):
    genotype = tuple(data.draw(st.integers(0, len(gene.choices) - 1)) for gene in space.genes)
    found = space.decode(genotype)
    canonical = space.encode(found)
    assert space.decode(canonical) == found
    assert space.canonical(canonical) == canonical
    assert Architecture.from_json(found.architecture.to_json()) == found.architecture
    assert len(found.thresholds or ()) == len(found.architecture.exits) - 1
    i = data.draw(st.integers(0, len(genotype) - 1))
    flipped = (*canonical[:i], data.draw(st.integers(0, len(space.genes[i].choices) - 1)), *canonical[i + 1 :])
    assert (space.decode(flipped) == found) == (space.canonical(flipped) == canonical)


def test_every_value_of_every_gene_is_reached():
    every_value_is_reached(PAPER, 150)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "space", [PAPER, of(TINY, (1, 20, 20), 4), of(TINY, (3, 48, 40), 7)], ids=["32", "20", "48x40"]
)
def test_macs_are_those_that_torch_counts(space, seed):
    architecture = space.sample(seed)
    with torch.device("meta"):
        net = EarlyExitNet(architecture).eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, *architecture.input, device="meta"))
    assert cost(architecture).total.macs == counter.get_total_flops() / 2


def test_a_slice_of_the_supernet_gives_the_supernet_s_logits():
    space = of(TINY, (3, 20, 20), 5)
    supernet = Supernet(space)
    with torch.no_grad():  # norms that differ from channel to channel, so that a wrong slice shows
        for parameter in supernet.parameters():
            if parameter.ndim == 1:
                parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3
    x = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 255
    for architecture in [space.smallest(), space.largest(), *(space.sample(seed) for seed in range(6))]:
        torch.testing.assert_close(supernet.slice(architecture).train()(x), supernet(x, architecture))
    for group in space.sandwich(np.random.default_rng(0), 1, 1):
        apart = torch.cat([supernet.slice(architecture).train()(x) for architecture in group], 1)
        torch.testing.assert_close(supernet(x, *group), apart)


def shapes(architecture: Architecture) -> dict[str, torch.Size]:
    with torch.device("meta"):
        net = EarlyExitNet(architecture)
    return {shared_name(architecture, name): p.shape for name, p in net.named_parameters()}


def test_the_cover_holds_every_weight():
    whole: dict[str, torch.Size] = {}
    for architecture in PAPER.cover():
        whole |= shapes(architecture)
    some = [PAPER.smallest(), PAPER.largest(), *(PAPER.sample(seed) for seed in range(25))]
    some += [a for group in PAPER.sandwich(np.random.default_rng(0), 2, 2) for a in group]
    for architecture in some:
        for name, shape in shapes(architecture).items():
            assert len(shape) == len(whole[name]), name
            assert all(part <= all_ for part, all_ in zip(shape, whole[name])), name


def test_a_network_shares_its_weights_whatever_is_resized_or_pooled():
    """One tensor per position: neither resizing the images nor pooling before the second module gives it another."""
    genes = {"2.exit.0.pool": True, "2.exit.1.size": 8}
    plain = candidate(PAPER, {"resolution": 32, "2.exit.1.size": 8}, {2: 0.1}).architecture
    for other in (genes | {"resolution": 32}, genes | {"resolution": 40}):
        assert shapes(candidate(PAPER, other, {2: 0.1}).architecture) == shapes(plain)
    assert len(plain.stages[0].blocks) == 4
    assert "stages/0/blocks/0/conv/conv/weight" in shapes(plain)


def test_a_step_has_one_resolution():
    resolutions = set()
    for seed in range(60):
        networks = PAPER.sandwich(np.random.default_rng(seed), 1, 1)
        assert [len(group) for group in networks] == [2, 2, 2]
        firsts = {architecture.stages[0].blocks[0] for group in networks for architecture in group}
        assert len(firsts) == 1
        resolutions |= firsts
        for group in networks:
            assert len({tuple(stage.blocks for stage in architecture.stages) for architecture in group}) == 1
            assert all(architecture.exits == (0, 1, 2, 3, 4) for architecture in group)
            assert group[0] != group[1]
        macs = [sum(layer.macs for s in layers(group[0]) for layer in s.backbone) for group in networks]
        assert macs[1] <= macs[2] <= macs[0]
    assert len(resolutions) == 11


@pytest.mark.parametrize("classes", [2, 10, 3000])
def test_smallest_and_largest_bound_macs(classes):
    space = of({}, SHAPE, classes)
    macs = [cost(space.sample(seed)).total.macs for seed in range(40)]
    assert cost(space.smallest()).total.macs <= min(macs)
    assert max(macs) <= cost(space.largest()).total.macs
    assert space.smallest().exits == (4,)
    high = {record.position: record.branch.macs for record in cost(space.largest()).exits}
    for seed in range(20):
        for record in cost(space.sample(seed)).exits:
            assert record.branch.macs <= high[record.position]


def test_fixed_branches_for_an_ablation():
    """Everything else held, one branch: the space that AEBNAS is compared with."""
    fixed = of({name: value for name, value in ONE.items() if name.startswith("branch_")})
    assert fixed.size() == PAPER.size() // (1 + 2 * 272) ** 4 * 3**4
    mine = fixed.decode(fixed.random_genotype(np.random.default_rng(0)))
    assert PAPER.decode(PAPER.encode(mine)) == mine


def changed(mine: Candidate, path: str, value: Any) -> Candidate:
    data = mine.architecture.model_dump(mode="json")
    at, *keys = data, *path.split(".")
    for key in keys[:-1]:
        at = at[int(key) if isinstance(at, list) else key]
    at[int(keys[-1]) if isinstance(at, list) else keys[-1]] = value
    return Candidate(Architecture.model_validate(data), mine.thresholds)


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("classes", 11, r"\(input, classes\) is \(\(3, 32, 32\), 11\)"),
        ("stages.0.blocks.0.size", 31, "resolution is 31; space 'aebnas' allows"),
        ("stages.0.blocks.0.size", 32, r"stages\.0\.blocks has 5 entries; the nearest here has 4"),
        ("stages.0.blocks.1.out", 24, r"stages\.0\.blocks\.1\.out is 24"),
        ("stages.1.exit.blocks.0.size", 9, r"1\.exit\.0\.size is 9"),
        ("stages.1.exit.blocks.1.out", 41, r"stages\.1\.exit\.blocks\.1\.out is 41; the nearest here has 40"),
        ("stages.1.exit.blocks.1.out", 20, r"1\.exit\.0\.expansion is 0"),
        ("stages.1.exit.blocks.1.kernel", 7, r"1\.exit\.0\.kernel is 7"),
        ("stages.1.exit.blocks.1.pad", True, r"stages\.1\.exit\.blocks\.1 is .*nearest here has .*'pad': False"),
        ("stages.1.exit.blocks", [{"kind": "conv", "out": 40}], r"1\.exit"),
        ("stages.1.exit.blocks", [], r"stages\.1\.exit"),
        ("stages.1.exit.pool", "max", r"stages\.1\.exit\.pool is 'max'"),
        ("stages.1.exit", None, r"thresholds is \(0\.1,\); the 0 early exits need one each"),
        ("stages.4.exit.blocks.0.out", 961, r"stages\.4\.exit\.blocks\.0\.out is 961"),
        ("precision.branch_weights", 8, r"precision\.branch_weights is 8; the nearest here has 32"),
    ],
)
def test_a_foreign_architecture_is_told_what_does_not_fit(path, value, message):
    mine = candidate(PAPER, {"resolution": 40}, {1: 0.1})
    assert PAPER.decode(PAPER.encode(mine)) == mine
    with pytest.raises(ValueError, match=message):
        PAPER.encode(changed(mine, path, value))


def test_foreign_thresholds_and_images_are_told_too():
    mine = candidate(PAPER, {"resolution": 40}, {1: 0.1, 3: 0.2})
    with pytest.raises(ValueError, match=r"thresholds is \(0.1,\); the 2 early exits need one each"):
        PAPER.encode(Candidate(mine.architecture, (0.1,)))
    with pytest.raises(ValueError, match=r"3\.threshold is 0\.3"):
        PAPER.encode(Candidate(mine.architecture, (0.1, 0.3)))
    with pytest.raises(ValueError, match=r"thresholds is \(0.1, 1.0\); here it is \(0.1,\)"):
        PAPER.encode(Candidate(mine.architecture, (0.1, 1.0)))
    space = of(TINY, (3, 7, 12))
    stages = space.smallest().stages
    plain = stages[0].model_copy(update={"blocks": stages[0].blocks[1:]})
    with pytest.raises(ValueError, match=r"resolution is \(7, 12\)"):
        space.encode(Candidate(space.smallest().model_copy(update={"stages": (plain, *stages[1:])})))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resolutions": (40, 32)}, r"resolutions\n.*\[40, 32\] must ascend"),
        ({"resolutions": ()}, "resolutions"),
        ({"thresholds": (0.2, 0.1)}, r"thresholds\n.*\[0\.2, 0\.1\] must ascend"),
        ({"thresholds": (0.0, 1.0)}, "thresholds"),
        ({"thresholds": (0.1, 1.5)}, "thresholds"),
        ({"branch_modules": (1, 3)}, "branch_modules"),
        ({"branch_modules": ()}, "branch_modules"),
        ({"branch_sizes": (8, 8)}, r"branch_sizes\n.*\[8, 8\] must ascend, with none twice"),
        ({"branch_sizes": (4,)}, "branch_sizes begin with 4; behind a convolution of kernel 5 .* fewer than 2 x 2"),
        ({"branch_sizes": (4,), "branch_pools": (False,)}, "fewer than 1 x 1"),
        ({"branch_kernels": (4,)}, "branch_kernels"),
        ({"branch_pools": (True, False)}, "branch_pools"),
        ({"depths": (3, 2)}, "depths"),
        ({"exits": 3}, "exits"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValidationError, match=message):
        AebnasOptions(**options)


@pytest.mark.parametrize("sizes, pools", [((5,), (False,)), ((6, 7), (False,)), ((7,), (False, True))])
def test_the_least_size_that_the_options_allow_can_be_built(sizes, pools):
    space = of(TINY | {"branch_sizes": sizes, "branch_pools": pools}, (3, 16, 16), 3)
    for branch in space.branches(8):
        assert branch.blocks
    for architecture in (space.largest(), *(space.sample(seed) for seed in range(5))):
        assert cost(architecture).total.macs > 0
    with pytest.raises(ValidationError, match="branch_sizes begin with"):
        AebnasOptions(branch_sizes=(6 if pools[-1] else 4,), branch_pools=pools)
