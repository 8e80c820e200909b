import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from offramp.training._losses import cross_entropy, imitation, mixed, self_distillation

B, E, K = 5, 3, 4


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(B, E, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.fixture
def teacher() -> Tensor:
    return torch.randn(B, K, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)


LABELS = torch.tensor([0, 3, 1, 1, 2])


def kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The mean over the batch of T^2 sum_k p_k log(p_k / q_k), term by term."""
    p, q = (torch.exp(x / temperature) for x in (teacher, student))
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    return temperature**2 * (p * torch.log(p / q)).sum(-1).mean()


def test_cross_entropy_is_torch_s_at_each_exit(logits):
    expected = torch.stack([F.cross_entropy(logits[:, e], LABELS) for e in range(E)])
    torch.testing.assert_close(cross_entropy(logits, LABELS), expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_imitation_is_the_divergence_from_the_teacher(logits, teacher, temperature):
    expected = torch.stack([kl(logits[:, e], teacher, temperature) for e in range(E)])
    torch.testing.assert_close(imitation(logits, teacher, temperature), expected)


def test_imitating_oneself_costs_nothing(logits):
    torch.testing.assert_close(imitation(logits, logits[:, 1], 3.0)[1].detach(), torch.tensor(0.0, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_gradient_of_imitation_is_the_difference_of_soft_labels(logits, teacher, temperature):
    """d/dlogits T^2 KL = T (q - p), over the batch: its size hardly depends on T."""
    imitation(logits, teacher, temperature).sum().backward()
    p, q = F.softmax(teacher / temperature, -1)[:, None], F.softmax(logits / temperature, -1)
    torch.testing.assert_close(logits.grad, (temperature * (q - p) / B).detach())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixed_is_the_weighted_sum(logits, teacher, share):
    expected = (1 - share) * cross_entropy(logits, LABELS) + share * imitation(logits, teacher, 2.0)
    torch.testing.assert_close(mixed(logits, LABELS, teacher, share, 2.0), expected)


def test_the_teacher_gets_no_gradient(logits, teacher):
    mixed(logits, LABELS, teacher, 0.5, 2.0).sum().backward()
    assert teacher.grad is None
    assert logits.grad is not None


@pytest.mark.parametrize("share, weight", [(0.0, 1.0), (0.5, 1.0), (0.7, 3.0)])
def test_self_distillation_by_hand(logits, share, weight):
    last = logits[:, 2].detach()
    early = [
        (1 - share) * F.cross_entropy(logits[:, e], LABELS) + share * kl(logits[:, e], last, 2.0) for e in range(E - 1)
    ]
    expected = sum(early) + weight * F.cross_entropy(logits[:, 2], LABELS)
    torch.testing.assert_close(self_distillation(logits, LABELS, share, 2.0, weight), expected)


def test_the_last_exit_learns_from_the_labels_alone(logits):
    self_distillation(logits, LABELS, 0.9, 2.0).backward()
    assert logits.grad is not None
    expected = (F.softmax(logits[:, 2], -1) - F.one_hot(LABELS, K)) / B
    torch.testing.assert_close(logits.grad[:, 2], expected.detach())


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_one_exit_is_weighted_cross_entropy(logits, weight):
    expected = F.cross_entropy(logits[:, 0], LABELS)
    torch.testing.assert_close(self_distillation(logits[:, :1], LABELS, 0.5, 2.0, weight), weight * expected)


def test_no_exits_have_no_losses(logits, teacher):
    assert cross_entropy(logits[:, :0], LABELS).shape == (0,)
    assert mixed(logits[:, :0], LABELS, teacher, 0.5, 2.0).shape == (0,)
