"""The space of Zniber et al.: the paper's backbone, heads, bits and threshold."""

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

from offramp.architecture import Architecture, Dense
from offramp.cost import cost
from offramp.layers import layers
from offramp.nn import EarlyExitNet, Supernet
from offramp.nn.quantize import install_quick
from offramp.nn.supernet import shared_name
from offramp.spaces.base import Candidate
from offramp.spaces.zniber import ZniberOptions, ZniberSpace

SHAPE = (3, 32, 32)
PAPER = ZniberSpace(SHAPE, 10)
SMALL: dict[str, Any] = {"width": 0.25, "exits": (0, 4, 9), "bits": ((8, 4), (8, 8)), "thresholds": (0.7, 0.9)}


def small(shape: tuple[int, int, int] = (1, 8, 8), classes: int = 3, **options: Any) -> ZniberSpace:
    return ZniberSpace(shape, classes, ZniberOptions(**(SMALL | options)))


def exits(space: ZniberSpace, *blocks: int, **values: Any) -> Candidate:
    genes = {f"{i}.exit": True for i in blocks} | {name.replace("_", "."): value for name, value in values.items()}
    return space.decode(space.indices(genes))


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_the_backbone_is_the_paper_s(seed):
    found = [layer for stage in layers(PAPER.sample(seed)) for layer in stage.backbone]
    assert sum(layer.macs for layer in found) == 195_325_952
    assert sum(layer.params for layer in found) == 1_388_288


def test_maps_kernels_and_activations_are_the_paper_s():
    stages = layers(PAPER.largest())
    assert len(stages) == 12
    assert [stage.backbone[-1].shape_out.height for stage in stages] == [32] * 5 + [16] * 4 + [8] * 3
    depthwise = [layer for stage in stages for layer in stage.backbone if layer.groups > 1]
    assert [layer.kernel for layer in depthwise] == [3] * 7 + [7] * 5
    assert [layer.name for layer in stages[0].backbone] == ["blocks.0.conv", "blocks.1.depthwise", "blocks.1.project"]
    acts = {
        layer.act for stage in stages for layer in stage.backbone if layer.op == "conv" and "project" not in layer.name
    }
    assert acts == {"relu6"}


def test_a_two_layer_final_head_has_the_paper_s_13_million_parameters():
    final = exits(PAPER, 3, **{"11_exit_head": "double"}).architecture.stages[11].exit
    assert final is not None
    assert final.hidden == (Dense(out=2560, act="relu6"),)
    assert (final.pool, final.grid, final.blocks) == ("max", 4, ())
    branch = layers(exits(PAPER, 3, **{"11_exit_head": "double"}).architecture)[11].branch
    assert sum(layer.params for layer in branch) == 5120 * 2560 + 2560 + 2560 * 10 + 10


def test_the_genes_are_the_paper_s():
    choices = {gene.name: gene.choices for gene in PAPER.genes}
    assert set(choices["bits"]) == {(32, 32), (8, 8), (8, 4), (4, 8), (4, 4)}
    assert choices["threshold"] == pytest.approx(np.arange(0.70, 0.951, 0.05))
    mask = [i for i in range(12) if f"{i}.exit" in choices]
    assert mask == list(range(10))
    assert [i for i in range(12) if f"{i}.exit.head" in choices] == [*mask, 11]
    assert len(PAPER.genes) == 10 + 11 + 1 + 1


def test_a_searched_network_of_the_paper():
    found = exits(PAPER, 2, 8, bits=(8, 8), threshold=0.8, **{"8_exit_head": "double"})
    assert found.architecture.exits == (2, 8, 11)
    assert found.thresholds == (0.8, 0.8)
    assert [bool(stage.exit.hidden) for stage in found.architecture.stages if stage.exit] == [False, True, False]
    assert {
        (layer.weight_bits, layer.act_bits) for stage in layers(found.architecture) for layer in stage.backbone
    } == {(8, 8)}


def test_bits_are_those_of_weights_and_activations_of_backbone_and_heads():
    for backbone, heads in PAPER.options.bits:
        stages = layers(exits(PAPER, 0, bits=(backbone, heads)).architecture)
        assert {(y.weight_bits, y.act_bits) for s in stages for y in s.backbone} == {(backbone, backbone)}
        assert {(y.weight_bits, y.act_bits) for s in stages for y in s.branch} == {(heads, heads)}


def test_without_early_exits_there_is_no_threshold():
    one, other = exits(PAPER, threshold=0.7), exits(PAPER, threshold=0.95)
    assert one == other
    assert one.thresholds is None
    assert PAPER.encode(other)[-1] == 0
    assert exits(PAPER, 3, threshold=0.7) != exits(PAPER, 3, threshold=0.95)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exits": ()},
        {"exits": (2,), "heads": ("double",)},
        {"exits": (0, 1, 2, 3, 9), "bits": ((32, 32),), "thresholds": (0.5,)},
        {"exits": (3, 5), "thresholds": (0.7, 0.8, 0.9), "bits": ((4, 4), (4, 8), (8, 4))},
    ],
)
def test_size_is_the_number_of_different_candidates(options):
    space = small(**options)
    genotypes = list(product(*[range(len(gene.choices)) for gene in space.genes]))
    found = {genotype: space.decode(genotype) for genotype in genotypes}
    candidates = set(found.values())
    assert len(candidates) == space.size()
    named = {(c.architecture.to_json(), c.thresholds) for c in candidates}
    assert len(named) == len(candidates)
    assert len({space.canonical(genotype) for genotype in genotypes}) == space.size()
    assert all(space.decode(space.encode(c)) == c for c in candidates)
    macs = [cost(c.architecture).total.macs for c in candidates]
    assert cost(space.smallest()).total.macs == min(macs)
    assert cost(space.largest()).total.macs == max(macs)
    assert Candidate(space.smallest()) in candidates


def test_the_paper_s_space_has_its_size():
    assert PAPER.size() == 5 * 2 * (1 + 6 * (3**10 - 1))
    assert small(width=1).size() == 2 * 2 * (1 + 2 * (3**3 - 1))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([PAPER, small(), small((3, 7, 12), 5)]), st.data())
def test_decoding_undoes_encoding_and_json_keeps_everything(space, data):
    genotype = tuple(data.draw(st.integers(0, len(gene.choices) - 1)) for gene in space.genes)
    found = space.decode(genotype)
    canonical = space.encode(found)
    assert space.decode(canonical) == found
    assert space.canonical(canonical) == canonical
    assert Architecture.from_json(found.architecture.to_json()) == found.architecture
    i = data.draw(st.integers(0, len(genotype) - 1))
    flipped = (*canonical[:i], data.draw(st.integers(0, len(space.genes[i].choices) - 1)), *canonical[i + 1 :])
    assert (space.decode(flipped) == found) == (space.canonical(flipped) == canonical)


def test_every_value_of_every_gene_is_reached():
    every_value_is_reached(PAPER, 100)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("space", [PAPER, small(SHAPE, 7), small((1, 8, 8), 4)], ids=["paper", "quarter", "8x8"])
def test_macs_are_those_that_torch_counts(space, seed):
    architecture = space.sample(seed)
    with torch.device("meta"):
        net = EarlyExitNet(architecture).eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, *architecture.input, device="meta"))
    assert cost(architecture).total.macs == counter.get_total_flops() / 2


def test_a_slice_of_the_supernet_gives_the_supernet_s_logits():
    space = small((3, 16, 16), 5)
    supernet = Supernet(space)
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255

    def alone(architecture: Architecture) -> torch.Tensor:
        net = supernet.slice(architecture)
        install_quick(net)  # the supernet computes at the slice's bits
        return net.train()(x)

    some = [space.smallest(), space.largest(), *space.cover(), *(space.sample(seed) for seed in range(8))]
    for architecture in some:
        torch.testing.assert_close(alone(architecture), supernet(x, architecture))
    group = space.sandwich(np.random.default_rng(0), 1, 2)[0]
    torch.testing.assert_close(supernet(x, *group), torch.cat([alone(architecture) for architecture in group], 1))


def test_the_cover_has_nothing_to_slice():
    """With one backbone every weight of every architecture is a whole shared tensor."""

    def shapes(architecture: Architecture) -> dict[str, torch.Size]:
        with torch.device("meta"):
            net = EarlyExitNet(architecture)
        return {shared_name(architecture, name): p.shape for name, p in net.named_parameters()}

    whole = {name: shape for architecture in PAPER.cover() for name, shape in shapes(architecture).items()}
    for architecture in [PAPER.smallest(), PAPER.largest(), *(PAPER.sample(seed) for seed in range(10))]:
        for name, shape in shapes(architecture).items():
            assert whole[name] == shape


def test_a_step_trains_one_backbone_with_both_heads_at_every_exit():
    for count, variants in [(0, 0), (3, 0), (1, 3)]:
        (group,) = PAPER.sandwich(np.random.default_rng(variants), count, variants)
        assert len(group) == 1 + variants
        assert all(architecture.exits == PAPER.largest().exits for architecture in group)
        assert len({architecture.precision for architecture in group}) == 1
        if variants:
            for one, other in zip(group[0].stages, group[1].stages):
                assert one.exit is None or one.exit != other.exit
    drawn = [PAPER.sandwich(np.random.default_rng(seed), 0)[0][0] for seed in range(40)]
    assert len({architecture.precision for architecture in drawn}) == 5


@pytest.mark.parametrize("classes, heads", [(10, (False, True)), (6000, (True, False))])
def test_the_head_with_fewer_macs_depends_on_the_classes(classes, heads):
    space = ZniberSpace(SHAPE, classes)
    ends = [space.smallest().stages[11].exit, space.largest().stages[11].exit]
    assert tuple(bool(end.hidden) for end in ends if end) == heads
    rng = np.random.default_rng(0)
    macs = [cost(space.sample(rng)).total.macs for _ in range(30)]
    assert cost(space.smallest()).total.macs <= min(macs)
    assert max(macs) <= cost(space.largest()).total.macs


def test_the_extremes_take_the_fewest_and_the_most_bits():
    assert PAPER.smallest().precision.backbone_weights == 4
    assert PAPER.largest().precision.backbone_weights == 32
    assert PAPER.smallest().exits == (11,)
    assert PAPER.largest().exits == (*range(10), 11)


def test_width_scales_channels_in_multiples_of_eight():
    wide, quarter = (
        [stage.backbone[-1].shape_out.channels for stage in layers(small(SHAPE, width=w).largest())] for w in (1, 0.25)
    )
    assert wide == [16, 24, 24, 32, 32, 64, 64, 96, 96, 160, 160, 320]
    assert quarter == [8, 8, 8, 8, 8, 16, 16, 24, 24, 40, 40, 80]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: Candidate(c.architecture, (0.7, 0.8)), r"thresholds is \(0.7, 0.8\); here it is \(0.7, 0.7\)"),
        (lambda c: Candidate(c.architecture, (0.7,)), r"thresholds is \(0.7,\); here it is \(0.7, 0.7\)"),
        (lambda c: Candidate(c.architecture), r"thresholds is None"),
        (lambda c: Candidate(c.architecture, (0.5, 0.5)), "threshold is 0.5; space 'zniber' allows"),
        (lambda c: Candidate(ZniberSpace(SHAPE, 11).smallest()), r"is \(\(3, 32, 32\), 11\); this space is for"),
        (lambda c: Candidate(small(SHAPE, 10).smallest()), r"stages\.0\.blocks\.0\.out is 8; the nearest here has 32"),
        (lambda c: at_bits(c, backbone_weights=16), r"bits is \(16, 4\); space 'zniber' allows"),
        (lambda c: at_bits(c, branch_activations=32), r"precision\.branch_activations is 32; the nearest here has 4"),
        (lambda c: cut(c), r"architecture\.stages has 5 entries; the nearest here has 12"),
        (lambda c: Candidate(small(SHAPE, 10, width=1, exits=(5,)).largest(), None), r"thresholds is None"),
    ],
)
def test_a_foreign_candidate_is_told_what_does_not_fit(change, message):
    mine = exits(PAPER, 2, 4, bits=(4, 4), threshold=0.7)
    PAPER.encode(mine)
    with pytest.raises(ValueError, match=message):
        PAPER.encode(change(mine))


def at_bits(mine: Candidate, **bits: int) -> Candidate:
    architecture = mine.architecture
    precision = architecture.precision.model_copy(update=bits)
    return Candidate(architecture.model_copy(update={"precision": precision}), mine.thresholds)


def cut(mine: Candidate) -> Candidate:
    return Candidate(mine.architecture.with_exits((2, 4)), mine.thresholds)


def test_an_exit_that_the_options_leave_out_is_refused():
    space = small(SHAPE, 10, exits=(1, 5))
    other = small(SHAPE, 10, exits=(1, 6))
    shared = exits(other, 1, bits=(8, 8))
    assert space.decode(space.encode(shared)) == shared
    with pytest.raises(ValueError, match=r"early exits are \[1, 6\]; space 'zniber' allows them behind \(1, 5\)"):
        space.encode(exits(other, 1, 6, bits=(8, 8), threshold=0.7))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"exits": (3, 1)}, r"exits\n.*\[3, 1\] must ascend"),
        ({"exits": (10,)}, "less than or equal to 9"),
        ({"bits": ()}, "bits is"),
        ({"bits": ((16, 16),)}, r"bits has \(16, 16\); networks are computed at 2 to 8, or at 32"),
        ({"bits": ((8, 8), (4, 4))}, "bits is .*ascending"),
        ({"bits": ((8, 1),)}, "greater than or equal to 2"),
        ({"heads": ("single", "single")}, r"heads\n.*has a choice twice"),
        ({"heads": ()}, r"heads\n.*it is empty"),
        ({"heads": ("triple",)}, "heads"),
        ({"thresholds": (0.9, 0.9)}, "thresholds"),
        ({"thresholds": (1.5,)}, "thresholds"),
        ({"width": 0}, "width"),
        ({"resolution": 3}, "resolution"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValidationError, match=message):
        ZniberOptions(**options)


def test_options_come_from_a_recipe_s_lists():
    found = ZniberOptions(width=0.25, exits=[1, 2], heads=["single"], bits=[[8, 8]], thresholds=[0.7])  # type: ignore[arg-type]
    assert (found.bits, found.exits) == (((8, 8),), (1, 2))
    with pytest.raises(ValidationError, match="frozen"):
        found.width = 1.0
