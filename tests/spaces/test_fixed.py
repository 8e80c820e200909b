"""The space of a backbone of one's own."""

from itertools import product

import pytest
from pydantic import ValidationError

from offramp.architecture import Architecture, Conv, Pool, Stage
from offramp.cost import cost
from offramp.layers import layers
from offramp.spaces import Candidate, options_of, space
from own_backbone import BACKBONE

INPUT = (3, 32, 32)


def made(input=INPUT, classes=10, **options):
    return space("fixed", input, classes, **({"backbone": BACKBONE.to_json()} | options))


def blocks(architecture):
    return [stage.blocks for stage in architecture.stages]


def test_every_network_has_the_backbone_and_its_final_exit():
    found = made()
    for network in (found.smallest(), found.largest(), *found.cover(), *map(found.sample, range(50))):
        assert blocks(network) == blocks(BACKBONE)
        assert network.stages[-1] == BACKBONE.stages[-1]
        assert (network.input, network.classes) == (INPUT, 10)  # the task's, not those of the file
    assert {len(found.sample(seed).exits) for seed in range(100)} == {1, 2, 3, 4, 5}


def test_the_smallest_is_the_network_itself_without_early_exits():
    assert made(classes=7).smallest() == BACKBONE.with_exits((4,))


def test_exits_stand_where_they_may():
    found = made(exits=[1, 3])
    assert found.largest().exits == (1, 3, 4)
    assert {exit for seed in range(50) for exit in found.sample(seed).exits} == {1, 3, 4}
    assert made(exits=[]).size() == 1
    with pytest.raises(ValueError, match=r"exit behind stage 0; allowed are \[1, 3\]"):
        found.encode(Candidate(made().largest()))


def test_of_more_exits_than_allowed_those_nearest_to_the_input_stay():
    found = made(max_exits=3)
    assert found.decode([len(gene.choices) - 1 for gene in found.genes]).architecture.exits == (0, 1, 4)


def test_branches_have_the_last_activation_of_their_stage():
    largest = made(branch_depths=[1]).largest()
    assert [stage.exit.blocks[0].act for stage in largest.stages[:-1]] == ["relu", "hardswish", "relu", "relu6"]


def test_exits_cost_what_their_branches_cost():
    found = made(classes=7)
    bare = cost(found.smallest())
    for seed in range(20):
        network = cost(found.sample(seed))
        assert [stage.macs for stage in network.stages] == [stage.macs for stage in bare.stages]
        assert bare.total.macs <= network.total.macs <= cost(found.largest()).total.macs


def test_another_backbone_is_another_space():
    other = BACKBONE.model_copy(update={"stages": (Stage(blocks=(Conv(out=9),)), *BACKBONE.stages[1:])})
    with pytest.raises(ValueError, match="outside space 'fixed'"):
        made().encode(Candidate(made(backbone=other.to_json()).largest()))


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "backbone\n  Field required"),
        ({"backbone": "nowhere.json"}, "nowhere.json cannot be read: No such file"),
        ({"backbone": '{"input": [3, 8, 8]}'}, "no architecture: classes: Field required"),
        ({"backbone": BACKBONE.to_json(), "exits": [0, 4]}, "exits has 4; the backbone has 5 stages.* behind 0 to 3"),
        ({"backbone": BACKBONE.to_json(), "exits": [1, 0]}, "ascend"),
    ],
)
def test_mistakes_are_told(options, message):
    with pytest.raises(ValidationError, match=message):
        options_of("fixed", options)


def test_of_one_stage_no_early_exit_can_be_asked():
    one = Architecture(input=INPUT, classes=10, stages=BACKBONE.stages[-1:]).to_json()
    assert made(backbone=one).size() == 1
    with pytest.raises(ValidationError, match="the backbone has one stage"):
        options_of("fixed", {"backbone": one, "exits": [0]})


def test_images_too_small_for_the_backbone_are_refused():
    halved = [Stage(blocks=(Pool(kernel=4),)), *BACKBONE.stages[1:]]
    deep = Architecture(input=INPUT, classes=10, stages=halved).to_json()
    with pytest.raises(ValueError, match=r"space.backbone does not suit images of shape \(1, 3, 8\): pooling by 4"):
        made((1, 3, 8), backbone=deep)


def test_a_file_is_settled_by_what_it_holds(tmp_path):
    (tmp_path / "mine.json").write_text(BACKBONE.to_json(indent=1))
    options = options_of("fixed", {"backbone": str(tmp_path / "mine.json")})
    assert options.settled() == {"backbone": BACKBONE.to_json()}
    assert options_of("fixed", options.settled()).network == BACKBONE
    assert options_of("offramp", {}).settled() == {}


def test_maps_of_one_value_have_one_pooling():
    """Whatever pools it, one value stays what it is: no network has two genotypes."""
    options = {"branch_depths": [0], "branch_widths": [16], "max_exits": 5}
    found = made((3, 4, 4), **options)
    maps = [stage.backbone[-1].shape_out[1:] for stage in layers(found.largest())]
    assert maps == [(2, 2), (1, 1), (1, 1), (1, 1), (1, 1)]
    every = {found.canonical(genotype) for genotype in product(*[range(len(gene.choices)) for gene in found.genes])}
    assert len(every) == found.size() == (1 + 3) * (1 + 1) ** 3
    assert made((3, 2, 4), **options).size() == (1 + 3) * (1 + 1) ** 3  # 1 x 2, then 1 x 1
    assert made(**options).size() == (1 + 3) ** 4
