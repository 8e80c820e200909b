"""NACHOS's losses, against the paper's equations written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from offramp.architecture import Architecture, Branch, Conv, Stage
from offramp.training._gate_losses import (
    accuracy_loss,
    combined,
    confidence_loss,
    cost_loss,
    exit_probability,
    expected_cost,
    gate_loss,
    gated_exits,
    peak_loss,
    reach_probability,
    split_gates,
    support_matrix,
)
from offramp.training._losses import cross_entropy

B, E, K = 6, 4, 3
LEAVING = (1.0, 2.0, 4.0, 7.0)
LABELS = torch.tensor([0, 2, 1, 1, 2, 0])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def gates() -> Tensor:
    return torch.cat([normal(B, E - 1, seed=1), torch.full((B, 1), 30.0, dtype=torch.float64)], 1).requires_grad_()


def test_what_a_network_gives_is_taken_apart():
    outputs = normal(B, E, K + 1)
    logits, found = split_gates(outputs, K)
    assert torch.equal(logits, outputs[..., :K])
    assert found is not None
    assert torch.equal(found, outputs[..., K])
    assert split_gates(logits, K)[1] is None


def test_exits_with_a_gate_are_counted_along_all_networks():
    conv = (Conv(out=4),)
    one = Architecture(
        input=(1, 8, 8),
        classes=3,
        stages=(
            Stage(blocks=conv, exit=Branch(gate=True)),
            Stage(blocks=conv),
            Stage(blocks=conv, exit=Branch()),
            Stage(blocks=conv, exit=Branch(gate=True)),
            Stage(blocks=conv, exit=Branch()),
        ),
    )
    assert gated_exits(one) == [0, 2]
    assert gated_exits(one, one) == [0, 2, 4, 6]


def test_probabilities_of_leaving_sum_to_one(gates):
    c = gates.sigmoid()
    left = exit_probability(c)
    for n in range(B):
        stays = 1.0
        for i in range(E):
            assert reach_probability(c)[n, i].item() == pytest.approx(stays)
            assert left[n, i].item() == pytest.approx(stays * c[n, i].item())
            stays *= 1 - c[n, i].item()
    torch.testing.assert_close(left.sum(1).detach(), torch.ones(B, dtype=torch.float64))


def test_what_exits_say_together_is_weighted_by_who_left(gates):
    logits, c = normal(B, E, K), gates.sigmoid()
    expected = sum(exit_probability(c)[:, i, None] * logits[:, i] for i in range(2))
    torch.testing.assert_close(combined(logits[:, :2], c[:, :2]), expected)


def test_right_and_wrong_samples_weigh_the_same():
    logits = torch.tensor([[0.3], [1.2], [-0.4], [2.0]], dtype=torch.float64)
    correct = torch.tensor([[True], [False], [True], [True]])
    c = logits.sigmoid()
    expected = -(c[[0, 2, 3]].log().mean() + (1 - c[1]).log().mean()) / 2
    assert confidence_loss(logits, correct).item() == pytest.approx(expected.item())
    # So a constant answer is best at one half, however many are right.
    levels = torch.linspace(-2, 2, 41, dtype=torch.float64)
    losses = [confidence_loss(level.expand(4, 1), correct).item() for level in levels]
    assert levels[losses.index(min(losses))].item() == pytest.approx(0, abs=1e-9)


def test_samples_all_right_or_all_wrong_have_a_loss():
    logits = normal(5, 1)
    torch.testing.assert_close(
        confidence_loss(logits, torch.ones(5, 1, dtype=torch.bool))[0], F.softplus(-logits).mean() / 2
    )
    torch.testing.assert_close(
        confidence_loss(logits, torch.zeros(5, 1, dtype=torch.bool))[0], F.softplus(logits).mean() / 2
    )


def test_gates_that_are_not_there_cost_nothing(gates):
    logits = normal(B, E, K)
    assert gate_loss(logits, None, LABELS, []).item() == 0
    assert gate_loss(logits, gates, LABELS, []).item() == 0
    one = confidence_loss(gates[:, [1]], (logits[:, 1].argmax(-1) == LABELS)[:, None])
    torch.testing.assert_close(gate_loss(logits, gates, LABELS, [1]), one.sum())


@pytest.mark.parametrize("form", ["paper", "code"])
def test_accuracy_loss_by_hand(gates, form):
    logits, c = normal(B, E, K).requires_grad_(), gates.sigmoid()
    regular = gate_loss(logits, gates, LABELS, [0, 1, 2])
    if form == "paper":
        together = sum(exit_probability(c)[:, i, None] * logits[:, i] for i in range(E - 1))
        expected = F.cross_entropy(logits[:, -1], LABELS) + F.cross_entropy(together, LABELS) + regular
    else:
        each = torch.stack([F.cross_entropy(logits[:, i], LABELS, reduction="none") for i in range(E)], 1)
        expected = sum((exit_probability(c)[:, i] * each[:, i]).mean() for i in range(E)) + regular
    loss = accuracy_loss(logits, gates, LABELS, [0, 1, 2], form)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (logits.grad.abs().sum((0, 2)) > 0).all()
    assert (gates.grad[:, :-1].abs().sum(0) > 0).all()


@pytest.mark.parametrize("form", ["paper", "code"])
def test_a_network_of_one_exit_has_its_cross_entropy(form):
    logits, certain = normal(B, 1, K), torch.full((B, 1), 30.0, dtype=torch.float64)
    loss = accuracy_loss(logits, certain, LABELS, [], form)
    torch.testing.assert_close(loss, cross_entropy(logits, LABELS).sum())


def test_expected_cost_is_the_mean_over_where_samples_leave(gates):
    c = gates.sigmoid()
    expected = (exit_probability(c) * torch.tensor(LEAVING, dtype=torch.float64)).sum(1)
    torch.testing.assert_close(expected_cost(c, LEAVING), expected)


def test_cost_loss_is_a_share_of_what_must_be_saved(gates):
    c = gates.sigmoid()
    mean = expected_cost(c, LEAVING).mean()
    torch.testing.assert_close(cost_loss(c, LEAVING, 1.5, 7.0), (mean - 1.5) / 5.5)
    assert cost_loss(c, LEAVING, mean.item() + 0.01, 7.0).item() == 0
    assert cost_loss(c, LEAVING, 7.0, 7.0).item() == cost_loss(c, LEAVING, 9.0, 7.0).item() == 0


def test_cost_loss_has_a_gradient_towards_leaving_early(gates):
    cost_loss(gates.sigmoid(), LEAVING, 1.5, 7.0).backward()
    assert (gates.grad[:, :-1] < 0).all()  # a larger c_i costs less


def test_a_larger_weight_of_the_cost_lowers_the_expected_cost():
    """Exits that are often wrong would rather wait; the bound makes them leave all the same."""
    x, labels = normal(200, 5), torch.randint(0, K, (200,), generator=torch.Generator().manual_seed(0))

    def cost_after(weight: float) -> float:
        torch.manual_seed(0)
        layer = torch.nn.Linear(5, (E - 1) * (K + 1)).double()
        optimiser = torch.optim.SGD(layer.parameters(), 0.5)
        for _ in range(20):
            said = layer(x).view(200, E - 1, K + 1)
            certain = torch.full((200, 1, 1), 30.0, dtype=torch.float64)
            final = torch.cat([5 * F.one_hot(labels, K)[:, None].double(), certain], -1)
            logits, g = split_gates(torch.cat([said, final], 1), K)
            c = g.sigmoid()
            loss = accuracy_loss(logits, g, labels, range(E - 1), "code") + weight * cost_loss(c, LEAVING, 1.2, 7.0)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return expected_cost(c, LEAVING).mean().item()

    costs = [cost_after(weight) for weight in (0.0, 1.0, 5.0)]
    assert costs[0] > costs[1] + 0.1
    assert costs[1] > costs[2] + 0.1


def test_support_matrix_is_the_accuracy_of_each_class_at_each_exit():
    correct = torch.tensor([[1, 0], [1, 1], [0, 1], [0, 0], [1, 1]], dtype=torch.bool)
    matrix = support_matrix(correct, torch.tensor([0, 0, 1, 2, 2]), 3)
    torch.testing.assert_close(matrix, torch.tensor([[1.0, 0.5], [0.0, 1.0], [0.5, 0.5]]))
    with pytest.raises(ValueError, match=r"no sample of the classes \[1, 3\]"):
        support_matrix(correct[:2], torch.tensor([0, 2]), 4)


def test_peak_loss_vanishes_where_confidences_are_the_support_matrix():
    matrix = torch.rand(K, E - 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert peak_loss(matrix[LABELS], matrix, LABELS).item() == 0


def test_peak_loss_by_hand():
    c, matrix = normal(B, E - 1).sigmoid(), normal(K, E - 1, seed=2).sigmoid()
    terms = [(c[n, i] - matrix[LABELS[n], i]) ** 2 for n in range(B) for i in range(E - 1)]
    torch.testing.assert_close(peak_loss(c, matrix, LABELS), sum(terms) / len(terms))


@pytest.mark.parametrize("samples", [3, 7])
def test_confidences_are_drawn_to_their_own_exit_not_to_the_mean(samples):
    """As many samples as exits too, where a wrong broadcast goes unnoticed."""
    matrix = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.4, 1.0]], dtype=torch.float64)
    labels = torch.arange(samples) % 2
    gates = torch.zeros(samples, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([gates], 0.2)
    for _ in range(300):
        optimiser.zero_grad()
        peak_loss(gates.sigmoid(), matrix, labels).backward()
        optimiser.step()
    torch.testing.assert_close(gates.sigmoid().detach(), matrix[labels], atol=0.02, rtol=0)


def test_peak_loss_wants_the_same_exits():
    with pytest.raises(ValueError, match="c has 3 exits, the support matrix 2"):
        peak_loss(torch.zeros(2, 3), torch.zeros(K, 2), torch.tensor([0, 1]))
