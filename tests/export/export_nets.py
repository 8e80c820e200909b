"""Networks for the export tests: not trained, but with statistics and scores that are as uneven as trained ones."""

from itertools import count

import numpy as np
import torch

from offramp.architecture import Activate, Architecture, Bottleneck, Branch, Conv, Dense, Pool, Separable, Stage
from offramp.nn import EarlyExitNet, build
from offramp.policy import Policy, confidence
from offramp.spaces import space

CLASSES = ("aeroplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def random_images(architecture, n=40, seed=0):
    """Uint8 (N, C, H, W): smooth blobs of different brightness, so that samples differ from each other."""
    channels, height, width = architecture.input
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 3, 3, generator=generator) * 255 * torch.rand(n, 1, 1, 1, generator=generator)
    fine = 20 * torch.randn(n, channels, height, width, generator=generator)
    return (torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear") + fine).clamp(0, 255).byte()


def trained_like(architecture, seed=0) -> EarlyExitNet:
    """Uneven batch-norm statistics, normalisation, and logits with a mean of 0 and a deviation of 3 over the images."""
    net, generator = build(architecture, seed), torch.Generator().manual_seed(seed)
    net.normalise(
        [100.0 + 10 * c for c in range(architecture.input[0])], [50.0 + 5 * c for c in range(architecture.input[0])]
    )
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 0.2, generator=generator)
    for norm in norms:
        norm.weight.data.uniform_(0.7, 1.3, generator=generator)
        norm.bias.data.normal_(0, 0.2, generator=generator)
        norm.momentum = None  # the plain average over the batches seen
    with torch.no_grad():
        net.train()(random_images(architecture, 100, seed + 2).float())
    for norm in norms:
        norm.running_mean += 0.1 * torch.randn(norm.running_mean.shape, generator=generator)
    net.eval()
    exits = [stage.exit for stage in net.stages if stage.exit is not None]
    with torch.inference_mode():
        logits = net(random_images(architecture, 100, seed + 1).float())
    for e, head in enumerate(exits):
        own = logits[:, e, : head.classifier.out_features]  # of exits without a gate, but for its constant
        scale = 3 / own.std(0)
        head.classifier.weight.data *= scale[:, None]
        head.classifier.bias.data = -own.mean(0) * scale
    return net


def spread_policy(net, images, measure) -> Policy:
    """Thresholds midway between two scores, which about two fifths of the images pass at every exit."""
    with torch.inference_mode():
        said, classes = net(images.float()).numpy(), net.architecture.classes
    scores = confidence(measure, said[..., :classes], said[..., -1] if net.architecture.gated else None)
    thresholds = []
    for column in scores[:, :-1].T.astype(float):
        distinct = np.unique(column)
        at = int(0.6 * (len(distinct) - 1))
        thresholds.append((distinct[at] + distinct[at + 1]) / 2)
    return Policy(measure, tuple(thresholds))


def sampled(exits, input=(3, 32, 32), first=0, **options) -> Architecture:
    """The first network from seed `first` on with that many exits."""
    found = space("offramp", input, 10, **options)
    return next(a for a in map(found.sample, count(first)) if len(a.exits) == exits)


def every_kind() -> Architecture:
    """Every block, activation and pooling there is, an exitless stage, an odd and oblong input."""
    stages = (
        Stage(
            blocks=(Conv(out=8, kernel=5, stride=2, act="relu6"),),
            exit=Branch(blocks=(Conv(out=6, kernel=1), Separable(out=7, stride=2, act="relu6")), pool="max", grid=2),
        ),
        Stage(blocks=(Separable(out=9, act="hardswish"), Bottleneck(out=9, hidden=18, squeeze=8))),
        Stage(
            blocks=(Bottleneck(out=12, hidden=20, kernel=5, stride=2, squeeze=4, act="hardswish"),),
            exit=Branch(blocks=(Bottleneck(out=12, hidden=14, act="relu6"),), pool="avg", grid=2),
        ),
        Stage(blocks=(Conv(out=10, act="hardswish"),), exit=Branch(pool="max")),
        Stage(blocks=(Conv(out=11),), exit=Branch(blocks=(Conv(out=5, act="hardswish"),), pool="avg", grid=3)),
    )
    return Architecture(input=(3, 21, 17), classes=10, stages=stages)


def gated(second: bool = True) -> Architecture:
    """Four exits: with a gate, with one or without, with a gate behind a hidden layer, and the final one."""
    plain = {"norm": False, "act": "relu"}
    stages = (
        Stage(
            blocks=(Conv(out=8, stride=2),),
            exit=Branch(blocks=(Pool(kernel=2), Activate(), Conv(out=6, **plain)), pool="none", gate=True),
        ),
        Stage(blocks=(Separable(out=9),), exit=Branch(pool="max", gate=second)),
        Stage(blocks=(Conv(out=9),)),
        Stage(blocks=(Conv(out=10, stride=2),), exit=Branch(hidden=(Dense(out=12),), gate=True)),
        Stage(blocks=(Conv(out=11),), exit=Branch()),
    )
    return Architecture(input=(3, 16, 16), classes=10, stages=stages)


def tiny(exits=2) -> Architecture:
    """A few thousand MACs: for tests that need a file, not a network."""
    stages = tuple(Stage(blocks=(Conv(out=4 + i, stride=2 if i == 0 else 1),), exit=Branch()) for i in range(exits))
    return Architecture(input=(1, 8, 8), classes=10, stages=stages)
