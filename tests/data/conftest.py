import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def collection() -> Path:
    """The folder of real, packed data sets."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    place = Path(os.environ.get("OFFRAMP_DATA", beside))
    if not (place / "cifar10" / "info.json").is_file():
        pytest.skip(f"no packed CIFAR-10 in {place}: set OFFRAMP_DATA")
    return place
