import pytest
import torch
import torch.nn.functional as F
from torch import nn

from offramp.training._parallel import Workers

CPU = torch.device("cpu")


def pieces() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).double()
    net.eval()  # statistics that do not depend on the batch
    return net, torch.randn(37, 1, 8, 8, dtype=torch.float64), torch.randint(5, (37,))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_several_workers_give_the_gradient_of_one(count):
    net, images, labels = pieces()
    unused = nn.Parameter(torch.zeros(3))
    params = [*net.parameters(), unused]

    def loss(x, y):
        return F.cross_entropy(net(x), y)

    expected_value = loss(images, labels)
    expected = torch.autograd.grad(expected_value, params, allow_unused=True)
    unused.grad = torch.ones(3)  # of the step before
    for workers in (Workers(37, CPU, 1), Workers(37, CPU, count)):
        with workers:
            for _ in range(2):  # a second step does not add to the first
                value = workers.backward(loss, params, images, labels)
            assert value == pytest.approx(expected_value.item())
            assert unused.grad is None
            for parameter, wanted in zip(params[:-1], expected):
                torch.testing.assert_close(parameter.grad, wanted)


def test_a_parameter_that_only_some_shares_use_gets_their_gradient():
    weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    images, labels = torch.arange(4.0, dtype=torch.float64), torch.zeros(4)

    def loss(x, y):
        return (x * weight).mean() if x[0] > 1 else x.mean().requires_grad_()

    with Workers(4, CPU, 2) as workers:
        value = workers.backward(loss, [weight], images, labels)
    assert value == pytest.approx(0.5 * 0.5 + 0.5 * 5.0)
    assert weight.grad == 0.5 * 2.5


def test_each_share_is_large_enough_for_batch_norm():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        counts = [Workers(batch, CPU).count for batch in (1, 63, 64, 512)]
    finally:
        torch.set_num_threads(before)
    assert counts == [1, 1, 2, 2]


def test_an_error_in_a_share_reaches_the_caller():
    def loss(x, y):
        raise FloatingPointError("here")

    with Workers(4, CPU, 2) as workers, pytest.raises(FloatingPointError, match="here"):
        workers.backward(loss, [nn.Parameter(torch.zeros(1))], torch.zeros(4), torch.zeros(4))


def test_results_come_in_the_order_of_the_rows():
    with Workers(4, CPU, 3) as workers:
        assert workers.map(lambda a, b: a - b, range(10), [1] * 10) == list(range(-1, 9))
