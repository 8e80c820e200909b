import numpy as np
import pytest
from policy_tables import lifelike_table, random_table

from offramp.policy import sweep as module
from offramp.policy.archive import Archive
from offramp.policy.climb import climb
from offramp.policy.grid import try_each_exit
from offramp.policy.lattice import Lattice
from offramp.policy.sweep import hull, sweep


def best_at_each_price(archive: Archive) -> np.ndarray:
    correct, cost, _ = archive.front
    prices = np.linspace(0, 0.3, 31)
    return (correct / archive.lattice.samples - prices[:, None] * cost).max(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_finds_the_hull_from_the_exits_alone(seed):
    lattice = Lattice.of(lifelike_table(60, 4, 4, seed), [1.0, 2.0, 3.0, 4.0], "margin")
    swept, exact = Archive(lattice), Archive(lattice)
    exact.evaluate_all()
    try_each_exit(swept)
    before = best_at_each_price(swept)
    sweep(swept, lambda accuracy, cost: list(range(len(cost) - 1)), 100)
    gap = best_at_each_price(exact) - best_at_each_price(swept)
    assert gap.min() >= 0
    assert gap.mean() <= (best_at_each_price(exact) - before).mean() / 10


@pytest.mark.parametrize("climbs", [0, 1, 2, 5])
def test_makes_no_more_climbs_than_allowed(climbs, monkeypatch):
    archive, made = Archive(Lattice.of(random_table(60, 4, 4, 0), [1.0, 2.0, 3.0, 4.0], "margin")), []
    try_each_exit(archive)
    monkeypatch.setattr(module, "climb", lambda *arguments: made.append(1) or climb(*arguments))
    sweep(archive, lambda accuracy, cost: list(range(len(cost) - 1)), climbs)
    assert len(made) == climbs


def test_hull_vertices():
    cost = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert hull(np.array([0.0, 0.1, 0.6, 0.65, 1.0]), cost) == [0, 2, 4]
    assert hull(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), cost) == [0, 4]
    assert hull(np.array([0.3]), cost[:1]) == [0]
