from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic_networks as synthetic
from toy_space import ToySpace

from offramp.search import Study, analytic_costs
from offramp.spaces import SearchSpace


@pytest.fixture(scope="session")
def small() -> SearchSpace:
    return synthetic.small_space()


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    return synthetic.tiny_space()


@pytest.fixture(scope="session")
def toy() -> SearchSpace:
    return ToySpace()


@pytest.fixture
def open_study(tmp_path: Path) -> Callable[..., Study]:
    """Opens the study in this test's folder; the same one every time."""

    def open_it(
        space: SearchSpace, constraints: tuple[str, ...] = (), file: str = "study.journal", **more: Any
    ) -> Study:
        more = {"objectives": synthetic.OBJECTIVES, "known": analytic_costs} | more
        return Study.open(tmp_path / file, "test", space, constraints=constraints, **more)

    return open_it
