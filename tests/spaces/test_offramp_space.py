"""The default space: its size, what it refuses, and what it spans."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from offramp.architecture import Architecture, Bottleneck, Conv
from offramp.cost import cost
from offramp.layers import layers
from offramp.spaces import Candidate, OfframpOptions, options_of, space

TWO: dict[str, Any] = {
    "stem_strides": (1, 2),
    "stem_widths": (8,),
    "widths": ((8,), (8, 16)),
    "depths": ((1,), (1, 2)),
    "strides": (1, 2),
    "kernels": (3,),
    "expansions": (2,),
    "squeeze_excite": (False,),
    "activations": ("relu", "hardswish"),
    "branch_depths": (0, 1),
    "branch_operators": ("pointwise", "conv"),
    "branch_widths": (16,),
    "poolings": ("avg1",),
    "max_exits": 2,
}
THREE = TWO | {
    "stem_strides": (2,),
    "widths": ((8,), (8,), (8,)),
    "depths": ((1,), (1,), (1,)),
    "strides": (1, 2, 1),
    "activations": ("relu", "relu", "relu"),
    "branch_widths": (4, 8),
    "branch_operators": ("separable",),
}
OPTIONS = [
    TWO,
    TWO | {"kernels": (3, 5), "branch_depths": (0,), "stem_strides": (1,)},
    TWO | {"expansions": (2, 3), "squeeze_excite": (False, True), "branch_depths": (2,), "widths": ((8,), (8,))},
    TWO
    | {
        "poolings": ("avg1", "max1", "avg2"),
        "branch_depths": (1,),
        "branch_operators": ("conv",),
        "depths": ((2,), (1,)),
    },
    THREE,
    THREE | {"max_exits": 1},
    THREE | {"max_exits": 2},
    THREE | {"max_exits": 3},
    THREE | {"max_exits": 9},
]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 7, 9)], ids=["8x8", "7x9"])
@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_size_is_the_number_of_different_candidates(options, shape):
    found = space("offramp", shape, 3, **options)
    genotypes = list(product(*[range(len(gene.choices)) for gene in found.genes]))
    assert len(genotypes) <= 4096
    candidates = {found.decode(genotype) for genotype in genotypes}
    assert len({candidate.architecture.to_json() for candidate in candidates}) == len(candidates) == found.size()
    assert all(len(candidate.architecture.exits) <= options["max_exits"] for candidate in candidates)
    macs = [cost(candidate.architecture).total.macs for candidate in candidates]
    assert cost(found.smallest()).total.macs == min(macs)
    if options["max_exits"] >= len(options["widths"]):
        assert cost(found.largest()).total.macs == max(macs)


def test_exits_beyond_the_limit_are_the_latest():
    found = space("offramp", (1, 8, 8), 3, **(THREE | {"max_exits": 2}))
    values = {gene.name: gene.choices[-1] for gene in found.genes}
    assert found.decode(found.indices(values)).architecture.exits == (0, 2)
    assert found.decode(found.indices(values | {"0.exit": False})).architecture.exits == (1, 2)


def test_the_default_space_spans_half_a_million_to_25_million_macs():
    found = space("offramp", (3, 32, 32), 10)
    assert cost(found.smallest()).total.macs <= 0.5e6
    assert cost(found.largest()).total.macs >= 25e6
    assert cost(found.largest().with_exits((4,))).total.macs >= 25e6


def test_a_branch_may_cost_more_with_a_cheaper_operator_first():
    """A strided convolution shrinks the map for the layers behind it; "largest" has to know."""
    found = space("offramp", (3, 32, 32), 10)
    first = found.largest().stages[0].exit
    assert first is not None
    assert isinstance(first.blocks[0], Conv)
    assert first.blocks[0].kernel == 1


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("branch_depths, widths", [((0, 1), (8,)), ((1, 3), (16, 128)), ((0, 3), (4, 8))])
def test_the_branches_count_among_the_bounds(classes, branch_depths, widths):
    found = space("offramp", (3, 16, 16), classes, branch_depths=branch_depths, branch_widths=widths)
    low, high = cost(found.smallest()).exits, cost(found.largest()).exits
    for seed in range(15):
        exits = cost(found.sample(seed)).exits
        assert low[-1].branch.macs <= exits[-1].branch.macs
        for record in exits:
            assert record.branch.macs <= high[record.position].branch.macs


FOUND = space("offramp", (3, 32, 32), 10)


def changed(architecture: Architecture, path: str, value: Any) -> Architecture:
    data = architecture.model_dump(mode="json")
    at, *keys = data, *path.split(".")
    for key in keys[:-1]:
        at = at[int(key) if isinstance(at, list) else key]
    at[int(keys[-1]) if isinstance(at, list) else keys[-1]] = value
    return Architecture.model_validate(data)


EXTRA_STAGE = {"blocks": [{"kind": "conv", "out": 8}], "exit": {}}


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("classes", 11, r"\(input, classes\) is \(\(3, 32, 32\), 11\)"),
        ("input", [3, 32, 33], r"this space is for \(\(3, 32, 32\), 10\)"),
        ("stages.0.blocks.0.out", 9, "stem.width is 9.*allows"),
        ("stages.0.blocks.0.stride", 3, "stem.stride is 3"),
        ("stages.0.blocks.0.kernel", 5, r"stages\.0\.blocks\.0\.kernel is 5; the nearest here has 3"),
        ("stages.1.blocks.0.out", 17, "1.width is 17"),
        ("stages.1.blocks.0.kernel", 7, "1.0.kernel is 7"),
        ("stages.1.blocks.0.hidden", 1000, "1.0.expansion is"),
        ("stages.1.blocks.0.stride", 1, r"stages\.1\.blocks\.0\.stride is 1; the nearest here has 2"),
        ("stages.1.blocks.0.act", "relu6", r"stages\.1\.blocks\.0\.act is 'relu6'"),
        ("stages.4.exit.blocks.0.out", 17, "4.exit.width is 17"),
        ("stages.4.exit.grid", 3, "4.exit.pool is 'avg3'"),
        ("stages.4.exit.blocks.0.act", "relu", r"stages\.4\.exit\.blocks\.0\.act is 'relu'; .* 'hardswish'"),
        ("stages.4.exit.blocks.0", {"kind": "bottleneck", "out": 16, "hidden": 8}, r"stages\.4\.exit\.blocks\.0"),
        ("precision.branch_weights", 8, r"precision\.branch_weights is 8; the nearest here has 32"),
        ("stages.1.blocks", [{"kind": "conv", "out": 16}], r"1.depth is 0"),
    ],
)
def test_a_foreign_architecture_is_told_what_does_not_fit(path, value, message):
    values = {gene.name: gene.choices[0] for gene in FOUND.genes} | {"4.exit.depth": 1}
    mine = FOUND.decode(FOUND.indices(values))
    FOUND.encode(mine)
    with pytest.raises(ValueError, match=message):
        FOUND.encode(Candidate(changed(mine.architecture, path, value)))


def test_more_stages_thresholds_and_exits_are_told_too():
    mine = FOUND.smallest()
    longer = mine.model_dump(mode="json")
    longer["stages"].append(EXTRA_STAGE)
    with pytest.raises(ValueError, match=r"architecture\.stages has 6 entries; the nearest here has 5"):
        FOUND.encode(Candidate(Architecture.model_validate(longer)))
    with pytest.raises(ValueError, match=r"thresholds is \(0.5,\); here it is None"):
        FOUND.encode(Candidate(mine, (0.5,)))
    few = space("offramp", (1, 8, 8), 3, **(THREE | {"max_exits": 2}))
    with pytest.raises(ValueError, match=r"stages\.1\.exit"):
        few.encode(Candidate(few.largest()))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["hidden", "squeeze", "out", "stride", "kernel"]), st.data())
def test_a_changed_bottleneck_is_encoded_as_it_is_or_refused(seed, field, data):
    architecture = FOUND.sample(seed)
    i = data.draw(st.integers(1, 4))
    j = data.draw(st.integers(0, len(architecture.stages[i].blocks) - 1))
    value = data.draw(st.sampled_from([1, 3, 5, 24, 96] if field != "kernel" else [1, 3, 5]))
    other = changed(architecture, f"stages.{i}.blocks.{j}.{field}", value)
    try:
        genotype = FOUND.encode(Candidate(other))
    except ValueError:
        return
    assert FOUND.decode(genotype).architecture == other


@pytest.mark.parametrize(
    "options, message",
    [
        ({"widths": ((8,),)}, "widths has 1, depths has 5, strides has 5, activations has 5"),
        ({"widths": (), "depths": (), "strides": (), "activations": ()}, "widths has 0"),
        ({"kernels": (5, 3)}, r"kernels\n.*\[5, 3\] must ascend, with none twice"),
        ({"kernels": ()}, "kernels"),
        ({"kernels": (4,)}, "kernels"),
        ({"expansions": (2, 2)}, "none twice"),
        ({"stem_strides": (2, 1)}, "stem_strides"),
        ({"squeeze_excite": (True, False)}, "squeeze_excite"),
        ({"depths": ((1,), (2, 1), (1,), (1,), (1,))}, r"depths\.1\n.*\[2, 1\] must ascend"),
        ({"depths": ((0, 1), (1,), (1,), (1,), (1,))}, "depths"),
        ({"branch_operators": ()}, "branch_operators"),
        ({"poolings": ("avg1", "avg1")}, "poolings"),
        ({"branch_depths": (0, 4)}, "less than or equal to 3"),
        ({"branch_depths": (-1, 1)}, "greater than or equal to 0"),
        ({"max_exits": 0}, "max_exits"),
        ({"resolution": 3}, "resolution"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValidationError, match=message):
        space("offramp", (3, 32, 32), 10, **options)


def test_every_mistake_in_the_options_is_told_at_once():
    with pytest.raises(ValidationError) as caught:
        options_of("offramp", {"kernels": (4,), "max_exits": 0, "resolution": 3})
    assert {error["loc"][0] for error in caught.value.errors()} == {"kernels", "max_exits", "resolution"}


def test_options_come_from_a_recipe_s_lists():
    found = options_of("offramp", {"kernels": [3], "widths": [[8], [16]], "depths": [[1], [1]], "strides": [1, 2],
                                   "activations": ["relu", "relu"]})  # fmt: skip
    assert isinstance(found, OfframpOptions)
    assert found.widths == ((8,), (16,))


def test_the_smaller_side_decides_whether_the_stem_halves():
    found = space("offramp", (1, 6, 40), 3)
    for network in (found.smallest(), found.largest()):
        assert network.stages[0].blocks[0].stride == 1
        assert min(min(stage.backbone[-1].shape_out[1:]) for stage in layers(network)) == 6


def test_squeeze_excite_is_a_quarter_wide_and_at_least_eight():
    found = space("offramp", (3, 32, 32), 10)
    values = {gene.name: gene.choices[0] for gene in found.genes} | {"0.squeeze": True, "4.squeeze": True}
    network = found.decode(found.indices(values)).architecture
    blocks = [[b for b in stage.blocks if isinstance(b, Bottleneck)] for stage in network.stages]
    assert [(b.hidden, b.squeeze) for b in (blocks[0][0], blocks[4][0])] == [(16, 8), (80, 20)]
