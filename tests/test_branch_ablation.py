"""The ablation of exit branches holds everything fixed but the branches, and searches what it says it searches."""

from __future__ import annotations

import sys
from argparse import Namespace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from offramp.cost import cost
from offramp.nn import Supernet, build

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import branch_ablation as ablation


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ablation.Ablation:
    given = Namespace(dataset="digits", limit=128, work=tmp_path_factory.mktemp("work"))
    return ablation.Ablation(given)


def test_kinds_differ_in_the_early_branches_alone(made: ablation.Ablation) -> None:
    networks = [ablation.fixed(kind, made.base) for kind in ("edanas", "nachos", "linear")]
    networks += [ablation.BranchSpace(made.base, ablation.branches(k, made.task)).sample(1) for k in ablation.SEARCHED]
    for network in networks:
        assert [stage.blocks for stage in network.stages] == [stage.blocks for stage in made.base.stages]
        assert network.stages[-1] == made.base.stages[-1]
        assert len(network.exits) == 5
        assert not network.gated
    assert len({network.key for network in networks}) == 5


def test_the_searched_kinds_have_every_branch_and_leave_out_what_cannot_pay(made: ablation.Ablation) -> None:
    for kind, count in (("aebnas", 272), ("default", 471)):
        found = ablation.branches(kind, made.task)
        assert [len(set(of)) for of in found] == [count] * 4
        within = ablation.BranchSpace(made.base, found)
        for i, macs in enumerate(within.macs):
            behind = cost(made.base).stages[i + 1 :]
            rest = sum(stage.macs for stage in behind) + cost(made.base).exits[-1].branch.macs
            assert max(macs) < rest
            dearest = int(np.argmax(macs))
            network = within.decode([dearest if j == i else 0 for j in range(4)]).architecture
            assert cost(network).exits[i].branch.macs == max(macs)


def test_the_controls_draw_from_aebnas_and_one_of_them_keeps_to_the_searched_macs(made: ablation.Ablation) -> None:
    within = ablation.BranchSpace(made.base, ablation.branches("aebnas", made.task))
    like = within.sample(7)
    searched = within.encode(ablation.Candidate(like))
    for seed in range(20):
        anything, near = (
            within.encode(ablation.Candidate(ablation.drawn_branches(within, seed, of))) for of in (None, like)
        )
        assert anything != near
        for macs, own, drawn in zip(within.macs, searched, near):
            distances = sorted(abs(m - macs[own]) for k, m in enumerate(macs) if k != own)
            assert drawn != own
            assert abs(macs[drawn] - macs[own]) <= distances[ablation.NEAREST - 1]
    assert len({ablation.drawn_branches(within, seed, None).key for seed in range(20)}) == 20


def test_a_subsets_cost_is_that_of_the_network_with_these_exits_alone(made: ablation.Ablation) -> None:
    network = ablation.fixed("edanas", made.base)
    leaving = made.costs_of()
    macs = [e.branch.macs for e in cost(network).exits[:-1]]
    for count in range(5):
        for early in combinations(range(4), count):
            kept = network.with_exits((*early, 4))
            assert leaving(macs, (*early, 4)).tolist() == list(cost(kept).leaving())


def test_every_kind_starts_from_the_same_backbone_and_final_exit(made: ablation.Ablation) -> None:
    static = made.base.with_exits(made.base.exits[-1:])
    trained = build(static, 7)
    weights = trained.state_dict()
    for kind in ("edanas", "linear"):
        begun = ablation.Pretrained(trained, 0).slice(ablation.fixed(kind, made.base)).state_dict()
        assert all(bool((begun[name] == tensor).all()) for name, tensor in weights.items())
    within = ablation.BranchSpace(made.base, [of[:4] for of in ablation.branches("aebnas", made.task)])
    supernet = ablation.frozen(Supernet(within), trained)
    sliced = supernet.slice(within.sample(0))
    assert all(bool((dict(sliced.named_parameters())[n] == p).all()) for n, p in trained.named_parameters())
    learns = {name for name, p in supernet.weights.items() if p.requires_grad}
    assert learns
    assert all("/exit/" in name and "stages/4" not in name for name in learns)


def test_the_combination_chosen_is_the_best_of_all(made: ablation.Ablation) -> None:
    within = ablation.BranchSpace(made.base, [of[:3] for of in ablation.branches("default", made.task)])
    rng, n = np.random.default_rng(0), 80
    labels = rng.integers(0, 10, n)

    def said(accuracy: float) -> np.ndarray:
        answers = np.where(rng.random(n) < accuracy, labels, rng.integers(0, 10, n))
        return rng.normal(0, 0.5, (n, 10)) + rng.uniform(1, 6, (n, 1)) * np.eye(10)[answers]

    early = [np.stack([said(0.3 + 0.1 * i + 0.1 * k) for k in range(len(of))]) for i, of in enumerate(within.choices)]
    final = said(0.9)
    budgets = [round(share * made.static_macs) for share in (0.3, 0.6)]
    chosen, worth = ablation.choose(within, (early, final), labels, made.costs_of(), budgets, starts=2)

    def value(combination: tuple[int, ...]) -> float:
        logits = np.stack([*(of[k] for of, k in zip(early, combination)), final], 1)
        macs = [within.macs[i][k] for i, k in enumerate(combination)]
        table = ablation.ScoreTable(logits, labels)
        return ablation.within_budgets(table, lambda exits: made.costs_of()(macs, exits), budgets)

    assert worth == value(tuple(chosen))
    short = [ablation.front(m, (of.argmax(-1) == labels).mean(-1)) for m, of in zip(within.macs, early)]
    assert worth >= max(value(c) for c in product(*short)) - 0.0125  # coordinate ascent may miss it by one image of 80
