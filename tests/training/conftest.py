import pytest

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Separable, Stage
from offramp.data import SearchData, task
from offramp.spaces import SearchSpace, space


@pytest.fixture(scope="session")
def digits() -> SearchData:
    """What the search may see of the handwritten digits: no calibrate, no test split."""
    return task("digits", seed=0).without_test()


@pytest.fixture(scope="session")
def two_exits() -> Architecture:
    stages = (
        Stage(blocks=(Conv(out=8),), exit=Branch(blocks=(Separable(out=8, stride=2),))),
        Stage(blocks=(Bottleneck(out=12, hidden=16, stride=2),), exit=Branch(grid=2)),
    )
    return Architecture(input=(1, 8, 8), classes=10, stages=stages)


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    options = {
        "stem_strides": (1,),
        "stem_widths": (8,),
        "widths": ((8,), (12, 16)),
        "depths": ((1,), (1, 2)),
        "strides": (1, 2),
        "kernels": (3,),
        "expansions": (2,),
        "squeeze_excite": (False,),
        "activations": ("relu", "relu"),
        "branch_depths": (0, 1),
        "branch_operators": ("pointwise", "separable"),
        "branch_widths": (16,),
        "poolings": ("avg1", "avg2"),
        "max_exits": 2,
    }
    return space("offramp", (1, 8, 8), 10, **options)
