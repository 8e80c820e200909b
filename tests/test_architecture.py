import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from offramp.architecture import (
    Activate,
    Architecture,
    Bottleneck,
    Branch,
    Conv,
    Dense,
    Pool,
    Precision,
    Resize,
    Separable,
    Stage,
)

ACTS = st.sampled_from(["relu", "relu6", "hardswish"])
WIDTHS = st.integers(1, 512)
GEOMETRY = {"out": WIDTHS, "kernel": st.sampled_from([1, 3, 5, 31]), "stride": st.integers(1, 3), "act": ACTS}
BLOCKS = st.one_of(
    st.builds(Conv, pad=st.booleans(), norm=st.booleans(), **GEOMETRY),
    st.builds(Pool, kernel=st.integers(2, 4), how=st.sampled_from(["max", "avg"])),
    st.builds(Resize, size=WIDTHS),
    st.builds(Activate, act=ACTS),
    st.builds(Separable, **GEOMETRY),
    st.builds(Bottleneck, hidden=st.integers(0, 512), squeeze=st.integers(0, 64), **GEOMETRY),
)
BRANCHES = st.builds(
    Branch,
    blocks=st.lists(BLOCKS, max_size=2).map(tuple),
    pool=st.sampled_from(["avg", "max"]),
    grid=st.integers(1, 3),
    hidden=st.lists(st.builds(Dense, out=WIDTHS, act=st.none() | ACTS, bias=st.booleans()), max_size=2).map(tuple),
)


def stages_of(branch):
    return st.builds(Stage, blocks=st.lists(BLOCKS, min_size=1, max_size=2).map(tuple), exit=branch)


BITS = st.integers(2, 32)
ARCHITECTURES = st.builds(
    Architecture,
    input=st.tuples(st.integers(1, 4), st.integers(1, 300), st.integers(1, 300)),
    classes=st.integers(2, 1000),
    stages=st.tuples(st.lists(stages_of(st.none() | BRANCHES), max_size=3), stages_of(BRANCHES)).map(
        lambda pair: (*pair[0], pair[1])
    ),
    precision=st.builds(
        Precision,
        backbone_weights=BITS,
        backbone_activations=BITS,
        branch_weights=BITS,
        branch_activations=BITS,
    ),
)


def three_exits() -> Architecture:
    stages = [Stage(blocks=(Conv(out=4 * (i + 1)),), exit=Branch() if i != 1 else None) for i in range(4)]
    return Architecture(input=(3, 8, 8), classes=4, stages=tuple(stages))


@settings(max_examples=40, deadline=None)
@given(ARCHITECTURES, st.sampled_from([None, 1]))
def test_comes_back_from_json_equal_with_equal_hash_and_key(architecture, indent):
    back = Architecture.from_json(architecture.to_json(indent))
    assert back == architecture
    assert hash(back) == hash(architecture)
    assert back.key == architecture.key
    assert back.to_json() == architecture.to_json()


@settings(max_examples=40, deadline=None)
@given(ARCHITECTURES, ARCHITECTURES)
def test_equality_key_and_json_agree(one, other):
    assert (one == other) == (one.key == other.key) == (one.to_json() == other.to_json())


def test_any_change_changes_object_and_key():
    one = three_exits()
    data = json.loads(one.to_json())
    changes = {
        "classes": lambda d: d.update(classes=5),
        "input": lambda d: d.update(input=[3, 8, 9]),
        "stride": lambda d: d["stages"][2]["blocks"][0].update(stride=2),
        "act": lambda d: d["stages"][2]["blocks"][0].update(act="relu6"),
        "kind": lambda d: d["stages"][2]["blocks"][0].update(kind="separable"),
        "pool": lambda d: d["stages"][0]["exit"].update(pool="max"),
        "no exit": lambda d: d["stages"][0].update(exit=None),
        "bits": lambda d: d["precision"].update(branch_weights=8),
    }
    found = {one: one.key}
    for change in changes.values():
        changed = json.loads(json.dumps(data))
        change(changed)
        other = Architecture.model_validate(changed)
        found[other] = other.key
    assert len(found) == len(set(found.values())) == len(changes) + 1


def test_key_is_twelve_hex_digits_that_stay():
    key = three_exits().key
    assert len(key) == 12
    int(key, 16)
    # Files and studies are named by it: a change of this value orphans them.
    assert key == "5a8b366dc859"


def test_loads_from_a_file(tmp_path):
    (tmp_path / "architecture.json").write_text(three_exits().to_json(indent=1))
    assert Architecture.load(tmp_path / "architecture.json") == three_exits()


def test_lists_become_tuples_so_that_nothing_can_be_changed():
    one = three_exits()
    built = Architecture(input=[3, 8, 8], classes=4, stages=list(one.stages))  # type: ignore[arg-type]
    assert built == one
    assert isinstance(built.stages, tuple)
    assert isinstance(built.input, tuple)
    for thing, name in [
        (one, "classes"),
        (one.stages[0], "exit"),
        (one.stages[0].blocks[0], "out"),
        (one.precision, "x"),
    ]:
        with pytest.raises(ValidationError):
            setattr(thing, name, 3)


STAGE = {"blocks": [{"kind": "conv", "out": 4}]}
FINAL = STAGE | {"exit": {}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"stages": [FINAL, STAGE]}, r"last stage \(number 1\) has no exit"),
        ({"stages": []}, "stages"),
        ({"stages": [{"blocks": [], "exit": {}}]}, "blocks"),
        ({"width": 3}, "width"),
        ({"stages": [FINAL | {"exits": []}]}, "exits"),
        ({"stages": [FINAL | {"blocks": [{"kind": "conv", "out": 4, "hidden": 3}]}]}, "hidden"),
        ({"stages": [FINAL | {"blocks": [{"kind": "dense", "out": 4}]}]}, "dense"),
        ({"stages": [FINAL | {"blocks": [{"kind": "conv", "out": 0}]}]}, "out"),
        ({"stages": [FINAL | {"blocks": [{"kind": "conv", "out": 4, "kernel": 2}]}]}, "kernel is 2; it must be odd"),
        ({"stages": [FINAL | {"blocks": [{"kind": "bottleneck", "out": 4, "hidden": 4, "squeeze": -1}]}]}, "squeeze"),
        ({"classes": 1}, "classes"),
        ({"input": [3, 8]}, "input"),
        ({"input": [3, 8, 0]}, "input"),
        ({"precision": {"backbone_weights": 1}}, "backbone_weights"),
        ({"precision": {"branch_activations": 33}}, "branch_activations"),
    ],
)
def test_what_no_architecture_can_be(change, message):
    right = {"input": [3, 8, 8], "classes": 4, "stages": [FINAL]}
    Architecture.model_validate(right)
    with pytest.raises(ValidationError, match=message):
        Architecture.from_json(json.dumps(right | change))


def test_a_missing_field_is_named():
    with pytest.raises(ValidationError, match="classes"):
        Architecture.from_json(json.dumps({"input": [3, 8, 8], "stages": [FINAL]}))


def test_exits_are_the_numbers_of_their_stages():
    assert three_exits().exits == (0, 2, 3)


@pytest.mark.parametrize(
    "exits, stages, kept", [((0, 2, 3), 4, (0, 2, 3)), ((3,), 4, (3,)), ((2, 0), 3, (0, 2)), ((0,), 1, (0,))]
)
def test_keeping_exits_cuts_behind_the_last(exits, stages, kept):
    whole = three_exits()
    smaller = whole.with_exits(exits)
    assert len(smaller.stages) == stages
    assert smaller.exits == kept
    assert [s.blocks for s in smaller.stages] == [s.blocks for s in whole.stages[:stages]]
    assert all(smaller.stages[e].exit == whole.stages[e].exit for e in kept)
    assert Architecture.from_json(smaller.to_json()) == smaller
    assert whole == three_exits()


@pytest.mark.parametrize("exits", [(), (1,), (0, 4), (-1,)])
def test_keeping_an_exit_that_is_not_there(exits):
    with pytest.raises(ValueError, match=r"allowed are one or more of \(0, 2, 3\)"):
        three_exits().with_exits(exits)


def test_keeping_exits_makes_the_last_one_final():
    """A sample always leaves at the last exit, so that one has no gate."""
    gated = Stage(blocks=(Conv(out=4),), exit=Branch(gate=True))
    whole = Architecture(input=(3, 8, 8), classes=4, stages=(gated, gated, Stage(blocks=(Conv(out=4),), exit=Branch())))
    smaller = whole.with_exits((0, 1))
    assert [stage.exit.gate for stage in smaller.stages] == [True, False]
    assert (whole.gated, smaller.gated, whole.with_exits((1,)).gated) == (True, True, False)


def test_a_gate_on_the_final_exit_is_refused():
    with pytest.raises(ValidationError, match="the final exit has a gate"):
        Architecture(input=(3, 8, 8), classes=4, stages=(Stage(blocks=(Conv(out=4),), exit=Branch(gate=True)),))


def test_no_pooling_has_one_spelling():
    with pytest.raises(ValidationError, match="grid is 2; without pooling it must be 1"):
        Branch(pool="none", grid=2)
