"""Which networks a run delivers, from trials that were made up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from offramp.architecture import Architecture, Conv
from offramp.choice import Chosen
from offramp.cost import cost
from offramp.pipeline import Run
from offramp.recipe import Budget, Recipe, RecipeError
from offramp.search import Evaluation, NothingFeasible, Study
from offramp.spaces import Candidate

RECIPE = """
[policy]
mean_macs = 3e5
[search]
retrain = 1
constraints = ["mean_macs <= 9e5"]
[deliver]
budgets = [{ name = "small", mean_macs = 1e5 }, { name = "large", mean_macs = 3e5 }]
static_macs = []
"""
FOUND = ((0.30, 0.5e5), (0.40, 0.9e5), (0.60, 2.5e5), (0.70, 3.5e5), (0.99, 10e5))
"""Accuracy and mean MACs of trials."""


def run_of(folder: Path, *overrides: str) -> Run:
    return Run(Recipe.parse(RECIPE, overrides=overrides), folder)


def recorded(run: Run, study: Study, *found: tuple[float, float]) -> None:
    """Trials of networks with early exits, each with what is `found` of it."""
    networks = [a for a in map(run.space.sample, range(99)) if len(a.exits) > 2]
    for architecture, (accuracy, macs) in zip(networks, found):
        exits = [accuracy / 2, accuracy] if len(architecture.exits) == 2 else [accuracy] * len(architecture.exits)
        metrics = {"error": 1 - accuracy, "accuracy": accuracy, "mean_macs": macs}
        evaluation = Evaluation(metrics, {"exit_accuracy": exits, "utilisation": [1 / len(exits)] * len(exits)})
        study.record(run.space.encode(Candidate(architecture)), evaluation, "test")


def accuracies(chosen: list[Chosen], study: Study) -> dict[str, float]:
    of = {trial.candidate: trial.metrics["accuracy"] for trial in study.trials}
    return {name: of[candidate] for name, candidate, _ in chosen}


def test_each_budget_has_its_most_accurate_network(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    recorded(run, run.study, *FOUND)
    chosen = run.choice.of(run.study, None)
    assert accuracies(chosen, run.study) == {"small": 0.4, "large": 0.6}
    assert [c.budget for c in chosen] == [("mean_macs", 1e5), ("mean_macs", 3e5)]


def test_candidates_that_were_trained_longer_come_first_where_they_fit(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    recorded(run, run.study, *FOUND)
    recorded(run, run.retrained, (0.45, 2e5), (0.42, 2.9e5))
    chosen = run.choice.of(run.study, run.retrained)
    assert accuracies(chosen[:1], run.study) == {"small": 0.4}  # none of them is that small
    assert accuracies(chosen[1:], run.retrained) == {"large": 0.45}
    logged = [json.loads(line) for line in run.folder.log_file.read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["budget"]) for line in logged] == [("chosen from the whole search", "small")]


def test_a_budget_that_nothing_keeps_is_told(tmp_path: Path) -> None:
    run = run_of(tmp_path, "deliver.budgets=[{name='tiny', mean_macs=1e4}]")
    recorded(run, run.study, *FOUND)
    with pytest.raises(NothingFeasible, match="nothing found keeps mean_macs <= 10000"):
        run.choice.of(run.study, None)


def test_a_budget_without_a_bound_is_the_best_trade_off(tmp_path: Path) -> None:
    run = run_of(tmp_path, "deliver.budgets=[{name='best'}]")
    recorded(run, run.study, (0.30, 0.5e5), (0.69, 0.6e5), (0.70, 8e5))
    assert accuracies(run.choice.of(run.study, None), run.study) == {"best": 0.69}


def test_static_networks_stand_beside_and_one_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path, "deliver.static_macs=[10, 5e7]", "deliver.static_backbone=true")
    recorded(run, run.study, *FOUND)
    small, large, static, *backbones = run.choice.of(run.study, None)
    assert static.name == "static-50M"
    assert static.budget == ("mean_macs", 5e7)
    assert len(static.candidate.architecture.exits) == 1
    assert cost(static.candidate.architecture).total.macs <= 5e7
    assert "no trial holds a static network that costs at most 10" in capsys.readouterr().err
    assert [b.name for b in backbones] == ["static-backbone-small", "static-backbone-large"]
    for of, backbone in zip((small, large), backbones):
        assert backbone.budget == of.budget
        alone, whole = backbone.candidate.architecture, of.candidate.architecture
        assert alone.exits == whole.exits[-1:]
        assert [s.blocks for s in alone.stages] == [s.blocks for s in whole.stages]


def test_a_static_network_within_each_budget_by_what_that_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On this device a network's latency has nothing to do with its MACs."""
    run = run_of(tmp_path)
    recorded(run, run.study, *FOUND)
    every = {
        trial.candidate.architecture.with_exits((e,)): accuracy
        for trial in run.study.trials
        for e, accuracy in zip(trial.candidate.architecture.exits, trial.evaluation.extra["exit_accuracy"])
    }
    cheap = sorted(every, key=lambda static: static.key)[: len(every) // 2]
    ms = {static: 1.0 if static in cheap else 2.0 for static in every}
    dear = min(cost(static).total.macs for static, accuracy in every.items() if accuracy == max(every.values()))
    costs = SimpleNamespace(leaving=lambda a: {"mean_latency_ms": [ms[a]], "mean_macs": [cost(a).total.macs]})
    budgets = (
        Budget(name="fast", mean_latency_ms=1.0),
        Budget(name="free"),
        Budget(name="none", mean_latency_ms=0.5),
    )
    deliver = run.recipe.deliver.model_copy(update={"budgets": budgets, "static_budget": True})
    policy = run.recipe.policy.model_copy(update={"mean_macs": dear - 1.0})
    recipe = run.recipe.model_copy(update={"deliver": deliver, "policy": policy})
    found = list(dataclasses.replace(run.choice, recipe=recipe, costs=costs)._statics(run.study))
    assert [(c.name, c.budget) for c in found] == [
        ("static-budget-fast", ("mean_latency_ms", 1.0)),
        ("static-budget-free", ("mean_macs", dear - 1.0)),
    ]
    fast, free = (c.candidate.architecture for c in found)
    assert ms[fast] == 1.0
    assert every[fast] == max(every[static] for static in cheap)
    within = [static for static in every if cost(static).total.macs < dear]
    assert free in within
    assert every[free] == max(every[static] for static in within) < max(every.values())
    assert "deliver.static_budget: no trial holds a static network" in capsys.readouterr().err


def test_two_budgets_of_one_network_have_one_backbone(tmp_path: Path) -> None:
    run = run_of(tmp_path, "deliver.static_backbone=true")
    recorded(run, run.study, (0.7, 0.5e5), (0.3, 2e5))
    chosen = run.choice.of(run.study, None)
    assert [c.name for c in chosen] == ["small", "large", "static-backbone-small"]
    assert chosen[0].candidate == chosen[1].candidate


@pytest.mark.parametrize("name", ["offramp", "nachos", "edanas", "aebnas", "zniber"])
def test_a_named_network_of_the_space_may_inherit_its_weights(tmp_path: Path, name: str) -> None:
    """A file of an architecture has no thresholds, which some spaces search, too."""
    gene = {"edanas": "[0.1, 1.0]", "aebnas": "[0.1, 1.0]", "zniber": "[0.5]"}.get(name)
    options = f"thresholds = {gene}" if gene else ""
    budgets = "[{ name = 'mine', architecture = 'mine.json' }]"
    text = f"[policy]\nmean_macs = 3e5\n[space]\nname = '{name}'\n{options}\n[deliver]\nbudgets = {budgets}"
    choice, path = Run(Recipe.parse(text), tmp_path).choice, tmp_path / "mine.json"
    named = choice.recipe.deliver.budgets[0].model_copy(update={"architecture": str(path)})
    for network in (choice.space.smallest(), *(a for a in map(choice.space.sample, range(9)) if len(a.exits) > 1)):
        path.write_text(network.to_json())
        assert choice.named(named) == network
    blocks = network.stages[0].blocks
    other = network.stages[0].model_copy(update={"blocks": (*blocks, Conv(out=24))})
    path.write_text(network.model_copy(update={"stages": (other, *network.stages[1:])}).to_json())
    with pytest.raises(RecipeError, match="it cannot inherit the supernet's weights"):
        choice.named(named)


def test_a_named_network_is_delivered_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    budgets = f"[{{name='mine', architecture='{path.as_posix()}', mean_macs=3e5}}]"
    run = run_of(tmp_path, f"deliver.budgets={budgets}", "search.retrain=0")
    path.write_text(run.space.sample(3).to_json())
    (chosen,) = run.choice.of(run.study, None)
    assert chosen.candidate.architecture == Architecture.load(path) == run.space.sample(3)


def test_a_budget_is_kept_to_its_last_digit(tmp_path: Path) -> None:
    run = run_of(tmp_path, "deliver.budgets=[{name='small', mean_macs=123456.7}]")
    recorded(run, run.study, (0.4, 1e5), (0.6, 123456.9))
    assert accuracies(run.choice.of(run.study, None), run.study) == {"small": 0.4}
