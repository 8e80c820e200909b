import pytest

from offramp.architecture import Architecture, Branch, Conv, Stage
from offramp.cost import DEVICES, MAC_RULES, LayerCost, NetworkCost, analytic, cost
from offramp.layers import Layer, Shape


def part(macs: int, peak: float) -> LayerCost:
    return LayerCost(macs, macs * 2, macs * 4.0, peak, macs / 10, macs / 100)


# Exits after stages 0, 2 and 3; stage 1 has none.
COST = NetworkCost(
    stages=(part(100, 8), part(30, 9), part(50, 2), part(7, 1)), branches=(part(5, 3), None, part(11, 20), part(2, 1))
)


@pytest.mark.parametrize(
    "metric, rule, expected",
    [
        ("macs", "executed", (105, 105 + 80 + 11, 105 + 91 + 9)),
        ("macs", "paper", (105, 180 + 11, 187 + 2)),
        ("params", "executed", (210, 392, 410)),
        ("latency_ms", "paper", (1.05, 1.91, 1.89)),
        ("energy_mj", "executed", (10.5, 19.6, 20.5)),
        ("activation_bytes", "executed", (8, 20, 20)),
        ("activation_bytes", "paper", (8, 20, 9)),
    ],
)
def test_leaving_by_hand(metric, rule, expected):
    assert COST.leaving(metric, rule) == pytest.approx(expected)


def test_macs_executed_is_what_is_meant_where_nothing_is_said():
    assert MAC_RULES == ("executed", "paper")
    assert COST.leaving() == COST.leaving("macs", "executed")
    assert COST.mean((1, 0, 0)) == 105


def test_an_exit_record_holds_the_backbone_since_the_exit_before():
    assert [(e.position, e.stage.macs, e.branch.macs) for e in COST.exits] == [(0, 100, 5), (2, 80, 11), (3, 7, 2)]
    assert COST.exits[1].stage.activation_bytes == 9
    assert COST.total == LayerCost(205, 410, 820.0, 20.0, pytest.approx(20.5), pytest.approx(2.05))
    assert (COST.params, COST.weight_bytes, COST.activation_bytes) == (410, 820.0, 20.0)


def test_mean_weighs_each_exit_by_its_share():
    assert COST.mean((0.5, 0.25, 0.25)) == pytest.approx(0.5 * 105 + 0.25 * 196 + 0.25 * 205)
    assert COST.mean((0, 0, 1), rule="paper") == 189
    assert COST.mean((0.5, 0.5, 0), "params") == pytest.approx(301)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: COST.leaving(rule="free"), "rule is 'free'; allowed are executed, paper"),
        (lambda: COST.leaving("flops"), "metric is 'flops'; allowed are macs, "),
        (lambda: COST.mean((0.5, 0.5)), "2 shares; the network has 3 exits"),
        (lambda: cost(small(), "toaster"), "device is 'toaster'; known are "),
    ],
)
def test_errors_name_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_layers_in_sequence_reuse_memory_and_add_up_the_rest():
    assert part(3, 5) + part(4, 2) == LayerCost(7, 14, 28.0, 5, pytest.approx(0.7), pytest.approx(0.07))
    with pytest.raises(TypeError):
        part(3, 5) + 1


def small() -> Architecture:
    stages = (Stage(blocks=(Conv(out=4),), exit=Branch()), Stage(blocks=(Conv(out=4),), exit=Branch()))
    return Architecture(input=(3, 8, 8), classes=5, stages=stages)


def test_a_small_network_by_hand():
    found = cost(small())
    assert [stage.macs for stage in found.stages] == [3 * 4 * 9 * 64, 4 * 4 * 9 * 64]
    assert [branch and branch.macs for branch in found.branches] == [20, 20]
    assert found.leaving() == (6912 + 20, 6912 + 20 + 9216 + 20)
    assert found.leaving(rule="paper") == (6912 + 20, 6912 + 9216 + 20)
    assert found.stages[0].activation_bytes == 4 * (192 + 256)
    # The first classifier runs while its stage's output waits for the next stage; behind the last there is no next.
    assert [branch and branch.activation_bytes for branch in found.branches] == [4 * (4 + 5 + 256), 4 * (256 + 4)]
    assert found.stages[0].weight_bytes == 4 * (108 + 4)


def test_a_layer_of_few_bits():
    layer = Layer("c", "conv", Shape(2, 3, 3), Shape(4, 3, 3), 3, norm=True, held=10, weight_bits=4, act_bits=16)
    assert analytic(layer) == LayerCost(72 * 9, 72 + 8, 72 / 2 + 16, (18 + 36 + 10) * 2.0)


def test_another_model_may_be_handed_over():
    found = cost(small(), lambda layer: LayerCost(latency_ms=1.0))
    assert found.leaving("latency_ms") == (3, 6)
    assert cost(small(), "analytic") == cost(small(), DEVICES["analytic"].model) == cost(small())
