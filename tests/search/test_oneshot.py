"""Where the branches of one backbone are scored together, they say what each would have said alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from offramp.data import Split
from offramp.nn import Supernet
from offramp.nn.quantize import quantize
from offramp.policy import Goal, TunedThresholds
from offramp.search import oneshot
from offramp.search.oneshot import OneShot
from offramp.search.scoring import draw_images
from offramp.spaces import space
from offramp.training import reestimate, score

BITS = [(4, 8), (8, 8), (32, 32)]


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, 1, 16, 16), generator=generator, dtype=torch.uint8)
        return Split(images, torch.randint(0, 4, (count,), generator=generator))

    return SimpleNamespace(train=split(80), select=split(40))


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """How many exits each scored network has."""
    found = []
    monkeypatch.setattr(
        oneshot, "score", lambda net, *more: found.append(len(net.architecture.exits)) or score(net, *more)
    )
    return found


def one_shot(found, data) -> OneShot:
    thresholds = TunedThresholds(Goal.accuracy_at_cost(1e6), ("margin",), restarts=0)
    return OneShot(Supernet(found, 3), data, thresholds, statistics_images=60)


def alone(evaluate: OneShot, data, architecture) -> np.ndarray:
    net, statistics = evaluate._supernet.slice(architecture), data.train.images[draw_images(80, 60)]
    reestimate(net, statistics)
    chosen = draw_images(40, 40)
    return score(quantize(net, statistics), Split(data.select.images[chosen], data.select.labels[chosen])).logits


def test_one_backbone_is_run_once_for_each_choice_of_bits(data, runs):
    found = space("zniber", (1, 16, 16), 4, width=0.1, bits=BITS)
    evaluate = one_shot(found, data)
    asked = [found.sample(seed) for seed in range(14)]
    assert {len(a.exits) for a in asked} != {11}
    for architecture in asked:
        table = evaluate.table(architecture)
        assert np.array_equal(table.logits, alone(evaluate, data, architecture))
        assert table.labels.tolist() == data.select.labels[draw_images(40, 40)].tolist()
    pairs = {a.precision for a in asked}
    assert len(pairs) == 3
    assert runs == [11] * 2 * len(pairs)  # by either head


@pytest.mark.parametrize("options", [{"exits": []}, {"exits": [2, 5]}, {"heads": ["double"]}], ids=str)
def test_also_with_fewer_choices(data, runs, options):
    found = space("zniber", (1, 16, 16), 4, width=0.1, bits=[(8, 8)], **options)
    evaluate = one_shot(found, data)
    for seed in range(4):
        architecture = found.sample(seed)
        assert np.array_equal(evaluate.table(architecture).logits, alone(evaluate, data, architecture))
    assert len(runs) == len(found.cover())


def test_other_spaces_are_scored_network_by_network(data, runs):
    options = {"max_exits": 3, "branch_depths": (0,), "squeeze_excite": (False,)}
    found = space("offramp", (1, 16, 16), 4, **options)
    evaluate = one_shot(found, data)
    for seed in range(2):
        architecture = found.sample(seed)
        assert np.array_equal(evaluate.table(architecture).logits, alone(evaluate, data, architecture))
    assert len(runs) == 2
