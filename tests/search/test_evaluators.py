"""Both evaluators on a few digits: what they share, and that trainings are repeatable."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch

from offramp.architecture import Architecture, Branch, Conv, Stage
from offramp.cost import cost
from offramp.data import SearchData, task
from offramp.nn import Supernet
from offramp.policy import (
    Goal,
    GridThresholds,
    OwnThresholds,
    Policy,
    RepairedThresholds,
    RepairError,
    ScoreTable,
    TunedThresholds,
    grid_score,
    operate,
    repair,
    shared_threshold,
    tune,
)
from offramp.search import Study, proposer, search
from offramp.search.finetune import FineTune, training_seed
from offramp.search.oneshot import OneShot
from offramp.spaces import Candidate, SearchSpace, space
from offramp.training import GateSettings, TrainSettings, score, train_gated

SETTINGS = TrainSettings(batch=64, backbone_epochs=0, joint_epochs=1, inherit=False)
GOAL = Goal.accuracy_at_cost(4e4)
MEASURES = ("max_probability", "margin")
TUNED, OWN = TunedThresholds(GOAL, MEASURES, restarts=0), OwnThresholds(GOAL, MEASURES, restarts=0)
COMMON = {"images": 100}


@pytest.fixture(scope="module")
def digits() -> SearchData:
    return task("digits", limit=192).without_test()


@pytest.fixture(scope="module")
def some() -> SearchSpace:
    options = {
        "stem_strides": (1,), "stem_widths": (8,), "widths": ((8,), (12, 16)), "depths": ((1,), (1, 2)),
        "strides": (1, 2), "kernels": (3,), "expansions": (2,), "squeeze_excite": (False,),
        "activations": ("relu", "relu"), "branch_depths": (0,), "poolings": ("avg1",), "max_exits": 2,
    }  # fmt: skip
    return space("offramp", (1, 8, 8), 10, **options)


@pytest.fixture(scope="module")
def supernet(some: SearchSpace, digits: SearchData) -> Supernet:
    made = Supernet(some, 0)
    made.normalise(digits.mean, digits.std)
    return made


@pytest.fixture(scope="module")
def two_exits(some: SearchSpace) -> Architecture:
    return next(a for a in map(some.sample, range(100)) if len(a.exits) == 2)


def scratch(digits: SearchData, settings: TrainSettings = SETTINGS, thresholds=TUNED, **more) -> FineTune:
    return FineTune(digits, settings, thresholds, supernet=None, **COMMON | more)


def alike(one, other) -> bool:
    """Equal but for the seconds."""
    extras = [{k: v for k, v in e.extra.items() if k != "seconds"} for e in (one, other)]
    return one.metrics == other.metrics and extras[0] == extras[1]


def test_a_candidate_comes_out_alike_whatever_was_evaluated_before(digits, some, two_exits) -> None:
    other = Candidate(some.smallest())
    first = scratch(digits)(Candidate(two_exits))
    again = scratch(digits)
    torch.manual_seed(99)
    torch.rand(7)
    before = again(other)
    assert alike(again(Candidate(two_exits)), first)
    assert alike(scratch(digits)(other), before)
    assert not np.array_equal(scratch(digits, seed=1).table(two_exits).logits, again.table(two_exits).logits)
    assert training_seed(two_exits, 0) != training_seed(some.smallest(), 0)


def test_both_evaluators_measure_the_same_things(digits, supernet, two_exits) -> None:
    candidate = Candidate(two_exits)
    shot = OneShot(supernet, digits, TUNED, statistics_images=64, **COMMON)(candidate)
    tuned = scratch(digits)(candidate)
    assert list(shot.metrics) == list(tuned.metrics)
    assert list(shot.extra) == list(tuned.extra)
    assert shot.metrics["params"] == tuned.metrics["params"]
    assert shot.extra["exit_macs"] == tuned.extra["exit_macs"] == list(cost(two_exits).leaving())


def test_it_starts_from_the_supernet_and_leaves_that_as_it_was(digits, supernet, two_exits) -> None:
    barely = SETTINGS.model_copy(update={"inherit": True, "lr": 1e-9, "weight_decay": 0.0})
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    evaluate = FineTune(digits, barely, TUNED, supernet=supernet, **COMMON)
    table = evaluate.table(two_exits)
    # Statistics over all of train, as a training ends with.
    shot = OneShot(supernet, digits, TUNED, statistics_images=5000, **COMMON)
    assert table.logits == pytest.approx(shot.table(two_exits).logits, abs=0.05)
    assert not np.allclose(
        table.logits, scratch(digits, barely.model_copy(update={"inherit": False})).table(two_exits).logits, atol=0.05
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def test_candidates_with_gates_are_trained_by_the_section_of_gates(digits) -> None:
    stages = (
        Stage(blocks=(Conv(out=8, stride=2),), exit=Branch(gate=True)),
        Stage(blocks=(Conv(out=8),), exit=Branch()),
    )
    network = Architecture(input=(1, 8, 8), classes=10, stages=stages)
    gates = GateSettings(phases=(0, 1, 0), batch=32, lr=0.4)
    evaluate = scratch(digits, gates=gates)
    leaving, seed = cost(network).leaving(), training_seed(network, 0)
    expected = score(train_gated(network, digits, gates, leaving=leaving, seed=seed), evaluate._select)
    assert evaluate.table(network).logits == pytest.approx(expected.logits, abs=1e-4)
    assert not np.allclose(scratch(digits).table(network).logits, expected.logits, atol=0.05)


def test_a_supernet_goes_with_inherit(digits, supernet) -> None:
    with pytest.raises(ValueError, match="inherit is False, but of supernets one is given"):
        FineTune(digits, SETTINGS, TUNED, supernet=supernet, **COMMON)
    with pytest.raises(ValueError, match="inherit is True, but of supernets none is given"):
        FineTune(digits, TrainSettings(), TUNED, supernet=None, **COMMON)


class Counting(OneShot):
    """Counts how often a network is run."""

    runs = 0

    def table(self, architecture: Architecture) -> ScoreTable:
        self.runs += 1
        return super().table(architecture)


@pytest.mark.parametrize("thresholds", [(0.2,), (0.05,), (inf,)])
def test_a_candidate_s_own_thresholds_are_its_policy_unless_tuned(digits, supernet, two_exits, thresholds) -> None:
    options = {"statistics_images": 64, **COMMON}
    own = OneShot(supernet, digits, OWN, **options)
    found = own(Candidate(two_exits, thresholds))
    policy, leaving = Policy("max_probability", thresholds), cost(two_exits).leaving()
    expected = operate(policy, own.table(two_exits), leaving)
    assert Policy.from_dict(found.extra["policy"]) == policy
    assert found.metrics["accuracy"] == expected.accuracy
    assert found.metrics["mean_macs"] == expected.mean_cost
    assert found.extra["utilisation"] == list(expected.utilisation)
    best = tune(own.table(two_exits), leaving, GOAL, measures=MEASURES, restarts=0)
    tuning = OneShot(supernet, digits, TUNED, **options)
    for evaluate, candidate in [(tuning, Candidate(two_exits, thresholds)), (own, Candidate(two_exits))]:
        assert evaluate(candidate).extra["policy"] == best.policy.to_dict()


def test_fine_tuning_keeps_a_candidate_s_own_thresholds_too(digits, two_exits) -> None:
    found = scratch(digits, thresholds=OWN)(Candidate(two_exits, (0.15,)))
    assert found.extra["policy"] == {"measure": "max_probability", "thresholds": [0.15]}


def test_candidates_that_differ_in_thresholds_share_one_run(digits, supernet, two_exits) -> None:
    evaluate = Counting(supernet, digits, OWN, statistics_images=64, **COMMON)
    found = [evaluate(Candidate(two_exits, (t,))).metrics["mean_macs"] for t in (0.0, inf)]
    assert evaluate.runs == 1
    assert found[0] < found[1]


def test_thresholds_that_do_not_fit_fail_that_candidate(digits, supernet, two_exits) -> None:
    evaluate = OneShot(supernet, digits, OWN, statistics_images=64, **COMMON)
    with pytest.raises(ValueError, match="2 thresholds are for 3 exits"):
        evaluate(Candidate(two_exits, (0.1, 0.2)))


@pytest.mark.parametrize("share, least", [(0.0, 0.0), (0.5, 0.0), (1.0, 0.05)])
def test_repair_is_the_shared_threshold_lowered_until_it_is_feasible(digits, supernet, two_exits, share, least) -> None:
    cheap, dear = cost(two_exits).leaving()
    most, options = cheap + share * (dear - cheap), {"statistics_images": 64, **COMMON}
    evaluate = OneShot(supernet, digits, RepairedThresholds("max_probability", most, least), **options)
    found, table = evaluate(Candidate(two_exits, (0.15,))), evaluate.table(two_exits)
    start = shared_threshold(table, (cheap, dear), "max_probability")
    expected = repair(start, table, (cheap, dear), max_cost=most, min_accuracy=least)
    assert Policy.from_dict(found.extra["policy"]) == expected.policy
    assert found.metrics["mean_macs"] <= most
    assert found.metrics["accuracy"] >= least


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_grid_scores_the_network_that_is_left(digits, share) -> None:
    small = space("edanas", (1, 8, 8), 10, width=0.25, depths=[1], kernels=[3], expansions=[2])
    whole, supernet = small.largest(), Supernet(small, 0)
    supernet.normalise(digits.mean, digits.std)

    def costs_of(exits: tuple[int, ...]) -> tuple[float, ...]:
        return cost(whole.with_exits(tuple(whole.exits[e] for e in exits))).leaving()

    cheap, *_, dear = costs_of(tuple(range(len(whole.exits))))
    target = cheap + share * (dear - cheap)
    evaluate = OneShot(supernet, digits, GridThresholds(target), statistics_images=64, **COMMON)
    found, expected = evaluate(Candidate(whole)), grid_score(evaluate.table(whole), costs_of, target).choice
    assert len(expected.exits) < len(whole.exits)
    own = dict(zip(expected.exits, expected.point.policy.thresholds))
    assert Policy.from_dict(found.extra["policy"]).thresholds == tuple(
        own.get(e, inf) for e in range(len(whole.exits) - 1)
    )
    assert found.metrics["accuracy"] == expected.point.accuracy
    # No branch of a dropped exit is paid for.
    assert found.metrics["mean_macs"] == pytest.approx(expected.point.mean_cost)
    assert [found.extra["exit_macs"][e] for e in expected.exits] == list(costs_of(expected.exits))
    assert len(found.extra["exit_accuracy"]) == len(found.extra["exit_macs"]) == len(whole.exits)


def test_what_cannot_be_repaired_is_a_failed_trial_that_says_so(digits, some, supernet, tmp_path) -> None:
    strict = RepairedThresholds("max_probability", 1.0, 0.5)
    evaluate = OneShot(supernet, digits, strict, statistics_images=64, **COMMON)
    study = Study.open(tmp_path / "journal", "search", some, ("error", "mean_macs"))
    search(evaluate, study, proposer("random", study.problem), evaluations=2, initial=2)
    for trial in study.trials:
        assert trial.failure.message.startswith("RepairError: thresholds cannot be made feasible")
        assert "wanted are at most 1 and at least 0.5" in trial.failure.message
    with pytest.raises(RepairError, match=r"ends at mean cost \d+"):
        evaluate(study.trials[0].candidate)


def test_the_search_goes_on_after_a_failed_training_and_ctrl_c_passes(digits, some, tmp_path, monkeypatch) -> None:
    import offramp.search.finetune as module

    calls = []

    def train_either(architecture, *arguments, **options):
        calls.append(architecture)
        if len(calls) == 1:
            raise FloatingPointError("the loss is nan")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train_either", train_either)
    study = Study.open(tmp_path / "journal", "search", some, ("error", "mean_macs"))
    with pytest.raises(KeyboardInterrupt):
        search(scratch(digits), study, proposer("random", study.problem), evaluations=3, initial=3)
    assert [trial.failure.message for trial in study.trials] == ["FloatingPointError: the loss is nan"]
