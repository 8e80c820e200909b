import pytest
import torch

from offramp.cost import cost
from offramp.data import task
from offramp.evaluate import evaluate
from offramp.nn import build
from offramp.policy import Policy
from offramp.spaces import space


def between(scores):
    """Midway between the two scores in the middle, so that rounding moves no image."""
    first, second = scores.sort().values[len(scores) // 2 - 1 :][:2]
    return float(first + second) / 2


@pytest.mark.parametrize("mac_rule", ["executed", "paper"])
@pytest.mark.parametrize("first_is_used", [True, False])
def test_every_image_leaves_and_is_counted_by_itself(first_is_used, mac_rule):
    torch.manual_seed(0)
    candidates = map(space("offramp", (1, 8, 8), 10).sample, range(100))
    net = build(next(architecture for architecture in candidates if len(architecture.exits) == 3)).eval()
    images = task("digits").test
    with torch.no_grad():
        logits = net(images.images)  # (N, E, K)
    surest, right = logits.softmax(-1).amax(-1), logits.argmax(-1) == images.labels[:, None]
    thresholds = (between(surest[:, 0]) if first_is_used else 2.0, between(surest[:, 1]))
    leaving = [next(e for e, least in enumerate((*thresholds, 0)) if row[e] >= least) for row in surest]
    macs, n = cost(net.architecture).leaving("macs", mac_rule), len(images)

    found = evaluate(net, Policy("max_probability", thresholds), images, mac_rule)
    assert (found["n"], found["mac_rule"]) == (n, mac_rule)
    assert found["utilisation"] == pytest.approx([leaving.count(e) / n for e in range(3)])
    assert found["mean_macs"] == pytest.approx(sum(macs[e] for e in leaving) / n)
    assert found["accuracy"] == pytest.approx(sum(bool(right[i, e]) for i, e in enumerate(leaving)) / n)
    assert found["exit_accuracy"] == pytest.approx(right.float().mean(0).tolist())
    for e, accuracy in enumerate(found["accuracy_of_leavers"]):
        mine = [bool(right[i, e]) for i, taken in enumerate(leaving) if taken == e]
        assert accuracy == (pytest.approx(sum(mine) / len(mine)) if mine else None)
    assert set(leaving) == ({0, 1, 2} if first_is_used else {1, 2})
