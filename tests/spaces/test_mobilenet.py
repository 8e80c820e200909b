"""Once-for-All's backbone: its geometry, that genes mean what they say, and how many there are."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from offramp.architecture import Bottleneck
from offramp.cost import cost
from offramp.spaces import Candidate, space
from offramp.spaces._mobilenet import Backbone, BackboneOptions, make_divisible

FULL = Backbone(BackboneOptions())


def bottlenecks(stage):
    return [block for block in stage if isinstance(block, Bottleneck) and block.hidden]


def some_values(data: st.DataObject) -> dict:
    return {gene.name: data.draw(st.sampled_from(gene.choices)) for gene in FULL.all_genes()}


@pytest.mark.parametrize(
    "value, expected", [(16, 16), (18, 24), (60, 64), (17, 16), (19.2, 24), (3, 8), (36, 40), (240, 240)]
)
def test_channels_are_multiples_of_eight_at_most_a_tenth_too_few(value, expected):
    assert make_divisible(value) == expected


def test_the_geometry_is_once_for_all_s():
    stages = FULL.stages(FULL.largest())
    stem, first = stages[0][:2]
    assert (stem.out, stem.kernel, stem.stride, stem.act) == (16, 3, 2, "hardswish")
    assert (first.out, first.hidden, first.kernel, first.stride, first.act) == (16, 0, 3, 1, "relu")
    # Width, stride, squeeze-excite of the first block (a quarter of 6 x input, by eights), activation.
    expected = [
        (24, 2, 0, "relu"), (40, 2, 40, "relu"), (80, 2, 0, "hardswish"), (112, 1, 120, "hardswish"),
        (160, 2, 168, "hardswish"),
    ]  # fmt: skip
    width = 16
    for stage, (out, stride, squeeze, act) in zip(stages, expected, strict=True):
        blocks = bottlenecks(stage)
        assert [(b.out, b.stride, b.act) for b in blocks] == [(out, s, act) for s in (stride, 1, 1, 1)]
        assert [b.hidden for b in blocks] == [6 * width, *[6 * out] * 3]
        assert blocks[0].squeeze == squeeze
        assert all((b.squeeze > 0) == (squeeze > 0) for b in blocks)
        width = out
    final = FULL.final_exit()
    assert [(b.out, b.act) for b in final.blocks] == [(960, "hardswish")]
    assert [(d.out, d.act, d.bias) for d in final.hidden] == [(1280, "hardswish", False)]
    assert not final.gate


def test_macs_at_224_are_those_of_once_for_all():
    """Worked out layer by layer for depth 4, kernel 7, expansion 6: every channel and stride has a part in it."""
    largest = space("edanas", (3, 224, 224), 1000).largest().with_exits((4,))
    assert cost(largest).total.macs == 566_170_656


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_block_has_the_kernel_and_expansion_of_its_own_genes(data):
    """In the authors' code the genes after a stage of depth 2 slip, and 99 of 100 genomes build another network."""
    values = some_values(data)
    channels = 16
    for i, stage in enumerate(FULL.stages(values)):
        blocks = bottlenecks(stage)
        assert len(blocks) == values[f"{i}.depth"]
        for j, block in enumerate(blocks):
            assert (block.kernel, block.hidden) == (values[f"{i}.{j}.kernel"], channels * values[f"{i}.{j}.expansion"])
            channels = block.out


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_genes_of_absent_blocks_change_nothing_and_those_of_present_ones_do(data):
    values = some_values(data)
    i, j = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 3))
    gene, choices = data.draw(st.sampled_from([("kernel", (3, 5, 7)), ("expansion", (3, 4, 6))]))
    name = f"{i}.{j}.{gene}"
    other = data.draw(st.sampled_from([choice for choice in choices if choice != values[name]]))
    before, after = FULL.stages(values), FULL.stages(values | {name: other})
    changed = [n for n in range(5) if before[n] != after[n]]
    assert changed == ([i] if j < values[f"{i}.depth"] else [])


def test_a_stage_of_depth_two_ignores_its_third_and_fourth_block_s_genes():
    values = FULL.smallest() | {"1.2.kernel": 7, "1.3.kernel": 5, "1.2.expansion": 6, "1.3.expansion": 4}
    assert FULL.stages(values) == FULL.stages(FULL.smallest())
    assert FULL.stages(values | {"1.depth": 3})[1][2].kernel == 7


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_values_are_read_back(data):
    values = some_values(data)
    read = FULL.values(FULL.stages(values))
    assert read == {name: values[name] for name in read}
    assert len(read) == sum(1 + 2 * values[f"{i}.depth"] for i in range(5))


@pytest.mark.parametrize(
    "options",
    [
        {"depths": (1, 2), "kernels": (3,), "expansions": (3,)},
        {"depths": (1,), "kernels": (3, 7), "expansions": (4,)},
        {"depths": (1,), "kernels": (5,), "expansions": (3, 4, 6), "width": 0.3},
    ],
)
def test_size_is_the_number_of_different_backbones(options):
    backbone = Backbone(BackboneOptions(**options))
    genes = backbone.all_genes()
    every = (dict(zip([g.name for g in genes], chosen)) for chosen in product(*[g.choices for g in genes]))
    assert len({backbone.stages(values) for values in every}) == backbone.size()


def test_the_size_of_one_stage_to_the_fifth_is_that_of_five():
    backbone = Backbone(BackboneOptions(depths=(1, 3), kernels=(3, 5), expansions=(3, 6)))
    genes = backbone.genes(3)
    rest = backbone.smallest()
    every = (dict(zip([g.name for g in genes], chosen)) for chosen in product(*[g.choices for g in genes]))
    assert len({backbone.stages(rest | values)[3] for values in every}) ** 5 == backbone.size() == (4 + 64) ** 5
    assert FULL.size() == (9**2 + 9**3 + 9**4) ** 5


@pytest.mark.parametrize("width, expected", [(0.25, (8, 16, 24, 32, 40)), (0.5, (16, 24, 40, 56, 80))])
def test_a_width_scales_every_layer(width, expected):
    backbone = Backbone(BackboneOptions(width=width))
    assert backbone.widths == expected
    assert backbone.values(backbone.stages(backbone.largest())) == backbone.largest()
    assert backbone.final_exit().hidden[0].out == make_divisible(1280 * width)


@pytest.mark.parametrize("name", ["nachos", "edanas"])
@pytest.mark.parametrize(
    "options, message",
    [
        ({"depths": (3, 2)}, r"depths\n.*\[3, 2\] must ascend, with none twice"),
        ({"kernels": (9,)}, "kernels"),
        ({"expansions": ()}, "expansions"),
        ({"width": 0}, "width"),
        ({"resolution": 3}, "resolution"),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(ValidationError, match=message):
        space(name, **options)


@pytest.mark.parametrize("name", ["nachos", "edanas"])
@pytest.mark.parametrize(
    "path, value, message",
    [
        ((2, 0, "kernel"), 9, "2.0.kernel is 9"),
        ((2, 1, "hidden"), 400, "2.1.expansion is 5"),
        ((2, 1, "hidden"), 241, r"stages\.2\.blocks\.1\.hidden is 241; the nearest here has 240"),
        ((1, 0, "squeeze"), 16, r"stages\.1\.blocks\.0\.squeeze is 16; the nearest here has 24"),
        ((0, 0, "stride"), 1, r"stages\.0\.blocks\.0\.stride is 1; the nearest here has 2"),
    ],
)
def test_a_foreign_backbone_is_told_what_does_not_fit(name, path, value, message):
    found = space(name)
    candidate = found.decode([0] * len(found.genes))
    i, j, field = path
    stages = list(candidate.architecture.stages)
    blocks = list(stages[i].blocks)
    blocks[j] = blocks[j].model_copy(update={field: value})
    stages[i] = stages[i].model_copy(update={"blocks": tuple(blocks)})
    other = candidate.architecture.model_copy(update={"stages": tuple(stages)})
    with pytest.raises(ValueError, match=message):
        found.encode(Candidate(other, candidate.thresholds))
