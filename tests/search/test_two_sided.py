"""AEBNAS's objectives: how near mean MACs are to a target, to either side."""

from __future__ import annotations

import numpy as np
import pytest

from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.data import task
from offramp.policy import Goal, OwnThresholds
from offramp.recipe import Recipe, RecipeError, find
from offramp.search import Evaluation, Study, proposer, search
from offramp.search.costs import Costs
from offramp.search.finetune import FineTune
from offramp.spaces import Candidate, space
from offramp.training import TrainSettings

TARGET = 31415.9
POLICY = "[policy]\nmean_macs = 31415.9\n"


def two_exits() -> Architecture:
    options = {"stem_widths": (8,), "widths": ((8,), (12,)), "depths": ((1,), (1,)), "strides": (1, 2)}
    within = space("offramp", (1, 8, 8), 10, **options, activations=("relu", "relu"), branch_depths=(0,))
    return next(a for a in map(within.sample, range(100)) if len(a.exits) == 2)


def test_an_evaluation_tells_the_deviation_of_what_it_measured() -> None:
    digits, network = task("digits", limit=128).without_test(), two_exits()
    settings = TrainSettings(batch=64, backbone_epochs=0, joint_epochs=1, inherit=False)
    own = OwnThresholds(Goal.accuracy_at_cost(1e9), ("margin",))
    for target in (TARGET, 2 * cost(network).leaving()[-1]):
        evaluate = FineTune(digits, settings, own, supernet=None, costs=Costs(target=target), images=50)
        found = evaluate(Candidate(network, (0.05,))).metrics
        maep = 100 * abs(found["mean_macs"] - target) / target
        assert found["maep"] == pytest.approx(maep)
        assert found["penalised_error"] == pytest.approx(100 * found["error"] + 0.1 * maep)
    without = FineTune(digits, settings, own, supernet=None, images=50)(Candidate(network, (0.05,))).metrics
    assert not {"maep", "penalised_error"} & set(without)


def test_a_search_by_them_ends_at_the_target_and_not_below(tmp_path) -> None:
    within, target = space("offramp", (1, 8, 8), 10), 4e5

    def evaluate(candidate: Candidate) -> Evaluation:
        macs = cost(candidate.architecture).leaving()[-1]
        maep = 100 * abs(macs - target) / target
        return Evaluation({"maep": maep, "penalised_error": 20 + 0.1 * maep, "mean_macs": macs})

    study = Study.open(tmp_path / "study.journal", "search", within, ["penalised_error", "maep"], [])
    search(evaluate, study, proposer("nsga2", study.problem), evaluations=60, initial=20, batch=10, seed=0)
    drawn, front = [t.metrics["maep"] for t in study.trials[:20]], [t.metrics["maep"] for t in study.front()]
    assert len(front) == 1  # f1 holds f2: with equal errors one network is best in both
    assert front[0] <= min(drawn)
    assert front[0] < 0.25 * float(np.median(drawn))


def test_they_need_a_target() -> None:
    objectives = '[search]\nobjectives = ["penalised_error", "maep"]\nconstraints = ["maep <= 5"]\n'
    assert Recipe.parse(POLICY + objectives).policy.mean_macs == TARGET
    with pytest.raises(RecipeError) as raised:
        Recipe.parse("[policy]\naccuracy = 0.9\n" + objectives)
    assert raised.value.problems == (
        "search.objectives.0: penalised_error needs the target policy.mean_macs",
        "search.objectives.1: maep needs the target policy.mean_macs",
        "search.constraints.0: maep needs the target policy.mean_macs",
    )


def test_the_shipped_recipe_differs_from_the_one_sided_in_its_objectives_alone() -> None:
    one, two = (Recipe.load(find(name)) for name in ("aebnas-cifar10", "aebnas-cifar10-two-sided"))
    changed = {"objectives": ("penalised_error", "maep"), "constraints": ()}
    assert two == one.model_copy(update={"search": one.search.model_copy(update=changed)})
