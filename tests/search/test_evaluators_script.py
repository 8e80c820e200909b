"""What benchmarks/evaluators.py says of the trainings that it measures."""

from pathlib import Path

import pytest

from offramp.recipe import Recipe, find

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name, inherit", [("nachos-cifar10", False), ("cifar10-2.4M", True)])
def test_the_schedules_and_the_weights_are_recorded(monkeypatch, name, inherit):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import evaluators

    asked = ["search.evaluator=fine-tune", f"finetune.inherit={str(inherit).lower()}", "finetune.joint_epochs=7"]
    found = evaluators.training(Recipe.load(find(name), asked))
    assert found["inherited"] is inherit
    assert found["finetune"]["joint_epochs"] == 7
    if name == "nachos-cifar10":
        assert found["gates"]["phases"] == [10, 5, 5]
        assert (found["gates"]["mac_rule"], found["gates"]["max_macs"]) == ("paper", 2.7e6)
    else:
        assert found["gates"] is None
