"""Networks whose exits have gates beside their classes."""

import numpy as np
import pytest
import torch
from tiny_networks import images, lively, three_exits

from offramp.architecture import Architecture
from offramp.deliver import keep_exits
from offramp.nn import build
from offramp.policy import CERTAIN, GATE_MEASURES, Policy, ScoreTable


def with_gates(*numbers: int) -> Architecture:
    """`three_exits` with a gate at the exits of these numbers."""
    plain = three_exits()
    gated = {plain.exits[n] for n in numbers}
    stages = tuple(
        s.model_copy(update={"exit": s.exit.model_copy(update={"gate": True})}) if i in gated and s.exit else s
        for i, s in enumerate(plain.stages)
    )
    return plain.model_copy(update={"stages": stages})


def table_of(net, x) -> ScoreTable:
    with torch.inference_mode():
        said = net(x).numpy()
    return ScoreTable(said[..., :-1], np.zeros(len(x), np.int64), said[..., -1])


@pytest.mark.parametrize("gates", [(0,), (1,), (0, 1)])
def test_the_last_number_is_the_gate_s_or_certain(gates):
    net, x = lively(with_gates(*gates)), images(5, (2, 9, 7))
    with torch.inference_mode():
        said = net(x)
        maps = net.features(x)
        heads = [stage.exit for stage in net.stages if stage.exit is not None]
        own = [head(m) for head, m in zip(heads, maps)]
    assert said.shape == (5, 3, 5)
    for e, found in enumerate(own):
        assert torch.equal(said[:, e, : found.shape[1]], found)
        assert found.shape[1] == 5 if e in gates else (said[:, e, -1] == CERTAIN).all()
    assert (said[:, -1, -1].sigmoid() == 1).all()


def test_without_gates_nothing_is_added():
    assert lively(three_exits())(images(2, (2, 9, 7))).shape == (2, 3, 4)


@pytest.mark.parametrize("measure", [*GATE_MEASURES, "margin"])
@pytest.mark.parametrize("gates", [(0, 1), (0,)])
def test_inference_decides_as_the_policy_does_on_the_table(measure, gates):
    net, x = lively(with_gates(*gates)), images(60, (2, 9, 7))
    table, seen = table_of(net, x), set()
    scores = table.scores(measure)
    for shares in ((0.3, 0.5), (0.7, 0.7), (0.5, 0.0)):
        limits = [np.sort(scores[:, e].astype(float)) for e in range(2)]
        cuts = tuple((s[int(share * 58)] + s[int(share * 58) + 1]) / 2 for s, share in zip(limits, shares))
        policy = Policy(measure, cuts)
        logits, taken = net.infer(x, policy)
        exits = policy.decide(table)
        np.testing.assert_array_equal(taken.numpy(), exits)
        np.testing.assert_allclose(logits.numpy(), table.logits[np.arange(60), exits], rtol=1e-4, atol=1e-4)
        seen |= set(exits.tolist())
    assert len(seen) >= 2


def test_a_gate_s_measure_of_a_network_without_one_is_refused():
    with pytest.raises(ValueError, match="the exits of this network have none"):
        lively(three_exits()).infer(images(2, (2, 9, 7)), Policy("gate", (0.5, 0.5)))


def test_a_gated_exit_that_becomes_the_final_one_loses_its_gate():
    net, x = lively(with_gates(0, 1)), images(6, (2, 9, 7))
    smaller = keep_exits(net, [0, 1])
    assert [stage.exit.gate for stage in smaller.architecture.stages if stage.exit] == [True, False]
    with torch.inference_mode():
        before, after = net(x), smaller(x)
    torch.testing.assert_close(after[:, 0], before[:, 0])
    torch.testing.assert_close(after[:, 1, :-1], before[:, 1, :-1])
    assert (after[:, 1, -1] == CERTAIN).all()
    alone = keep_exits(net, [1])
    torch.testing.assert_close(alone(x), before[:, 1:2, :-1])


def test_gates_learn():
    net = build(with_gates(0, 1), 0)
    net(images(4, (2, 9, 7)))[..., -1].sum().backward()
    assert net.stages[0].exit.classifier.weight.grad[-1].abs().sum() > 0
    assert net.stages[-1].exit.classifier.weight.grad.abs().sum() == 0
