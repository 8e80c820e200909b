"""What cannot be done is said before anything is computed."""

import pytest

from offramp.data import task
from offramp.deliver import costs_of
from offramp.pipeline import Run
from offramp.preflight import doubtful, impossible
from offramp.recipe import Recipe, RecipeError
from offramp.search import Problem
from offramp.spaces import space

MINIMAL = """
[space]
name = "offramp"
strides = [1, 2]
widths = [[8], [12, 16]]
depths = [[1], [1, 2]]
activations = ["relu", "relu"]
[policy]
mean_macs = 6e4
"""


KNEE = ['deliver.budgets=[{name="best"}]']  # the best trade-off
SPACE = space("offramp")
DIGITS = task("digits")


def told(folder, *overrides):
    run = Run(Recipe.parse(MINIMAL, overrides=overrides), folder)
    return impossible(
        run.recipe, run.task, run.problem, run.costs, {}, supernet=run.needs_supernet, searched=len(run.study) > 0
    )


def test_nothing_is_said_of_what_can_be_done(tmp_path):
    assert told(tmp_path, 'search.constraints=["mean_macs <= 6e4"]', "deliver.static_macs=[6e4]") == []


def test_the_batch_of_a_supernet_that_is_not_trained_is_no_matter(tmp_path):
    alone = ["search.evaluator=fine-tune", "finetune.inherit=false", "train.inherit=false"]
    assert told(tmp_path, *alone, "supernet.batch=1500") == []


@pytest.mark.parametrize(
    "overrides, start",
    [
        (["train.batch=2000"], "train.batch is 2000; the train split has"),
        (["supernet.batch=1500"], "supernet.batch is 1500; the train split has"),
        (["search.evaluator=fine-tune", "finetune.batch=1500"], "finetune.batch is 1500; the train split has"),
        (['search.constraints=["mean_macs <= 10"]'], "search.constraints: no candidate of space 'offramp' found"),
        (['search.constraints=["full_macs <= 1000"]'], "search.constraints: no candidate of space 'offramp' found"),
        (['deliver.budgets=[{name="a", mean_macs=9}]'], "deliver.budgets: 'a': no candidate of space 'offramp' found"),
        (["policy.mean_macs=9"], "policy.mean_macs: no candidate of space 'offramp' found that can meet mean_macs"),
        (["deliver.static_macs=[10]"], "deliver.static_macs: 10; the first stage of the smallest network alone has"),
    ],
)
def test_each_thing_that_cannot_be_done_is_named(tmp_path, overrides, start):
    found = told(tmp_path, *overrides)
    assert len(found) == 1
    assert found[0].startswith(start)


def test_a_phase_that_holds_images_out_must_have_a_batch_left(tmp_path):
    text = (
        '[data]\nname = "digits"\n[space]\nname = "nachos"\n[policy]\nmean_macs = 1e7\nmeasures = ["gate"]\n[gates]\n'
    )

    def of_gates(**settings):
        recipe = Recipe.parse(text + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        run = Run(recipe, tmp_path)
        found = impossible(recipe, run.task, run.problem, run.costs, {}, supernet=True, searched=True)
        return [line for line in found if line.startswith("gates")]

    train = len(Run(Recipe.parse(text), tmp_path).task.train)
    left = train - round(0.1 * train)
    assert of_gates(batch=left) == of_gates(batch=left + 1, weight_peak=0) == []
    assert of_gates(batch=left + 1) == [
        f"gates.batch is {left + 1}; phase 3 holds out 10% of the train split and trains on {left} images: "
        "take at most as many"
    ]
    (found,) = of_gates(batch=train + 1)
    assert found.startswith(f"gates.batch is {train + 1}; the train split has")


@pytest.mark.parametrize(
    "metric, out_of_reach, in_reach",
    [("mean_energy_mj", 1e-4, 0.5), ("mean_latency_ms", 0.001, 0.5), ("et_avg", 1e-4, 9)],
)
def test_a_goal_on_the_device_that_no_network_can_reach(tmp_path, metric, out_of_reach, in_reach):
    digits = Run(Recipe.parse(MINIMAL), tmp_path / "run").task
    of, device = space("zniber", width=0.25), '[hardware]\ndevice = "quad-edge-tpu"\nmapping = "speculate"\n'

    def lines(bound):
        recipe = Recipe.parse(device + f"[policy]\n{metric} = {bound}")
        costs = costs_of(recipe)
        problem = Problem(of, ["error"], ["params <= 1e6"], known=costs.known)
        return impossible(recipe, digits, problem, costs, {}, supernet=False, searched=False)

    assert lines(in_reach) == []
    (line,) = lines(out_of_reach)
    assert line.startswith(f"policy.{metric}: no candidate of space 'zniber' found that can meet params <= 1e+06 and ")
    assert f"{metric} <= {out_of_reach:g}; the nearest has" in line
    assert f"least_{metric} " in line


def test_a_run_ends_before_its_supernet(tmp_path):
    overrides = ["train.batch=2000", 'search.constraints=["mean_macs <= 10"]', "deliver.static_macs=[10]"]
    run = Run.open(Recipe.parse(MINIMAL, overrides=overrides), tmp_path)
    with pytest.raises(RecipeError) as caught:
        run.carry_out()
    assert len(caught.value.problems) == 3
    assert not list(tmp_path.glob("supernet*"))


@pytest.mark.parametrize(
    "overrides, told_of",
    [
        ([], []),  # the search and the budget have the policy's bound
        (KNEE, []),
        ([*KNEE, "search.constraints=[]"], ["best"]),
        ([*KNEE, 'search.constraints=["mean_macs <= 7e4"]'], ["best"]),
        ([*KNEE, 'search.constraints=["mean_macs <= 6e4"]'], []),
        (['deliver.budgets=[{name="a", mean_macs=6e4}, {name="b"}]', "search.constraints=[]"], ["b"]),
    ],
)
def test_a_goal_that_does_not_bound_what_is_delivered_is_told(overrides, told_of):
    found = doubtful(Recipe.parse(MINIMAL, overrides=overrides), DIGITS, SPACE)
    assert [line.split("'")[1] for line in found] == told_of
    assert all('"mean_macs <= 60000.0"' in line for line in found)


@pytest.mark.parametrize("epochs, largest, told", [(2, 8, 1), (8, 8, 1), (9, 8, 0), (0, 8, 0)])
def test_a_supernet_whose_smaller_networks_are_never_trained_is_told(epochs, largest, told):
    overrides = [f"supernet.epochs={epochs}", f"supernet.largest_epochs={largest}", "policy.mean_macs=1e12"]
    found = doubtful(Recipe.parse(MINIMAL, overrides=overrides), DIGITS, SPACE)
    assert [line.startswith(f"supernet.largest_epochs is 8 of {epochs} epochs") for line in found] == [True] * told


def test_least_cost_at_an_accuracy_bounds_nothing():
    assert doubtful(Recipe.parse("[policy]\naccuracy = 0.9"), DIGITS, SPACE) == []
    assert doubtful(Recipe.parse("[policy]\nmean_macs = 1e12"), DIGITS, SPACE) == []


def test_splits_that_tell_nothing_apart_are_told():
    few = task("digits", select=24, test=0.2)
    (line,) = doubtful(Recipe.parse("[policy]\naccuracy = 0.9"), few, SPACE)
    assert line.startswith("the select split, by which networks and thresholds are chosen, has 24 images")
    assert "off by 20 points" in line  # 1.96 sqrt(0.25 / 24)


@pytest.mark.parametrize(
    "overrides, start",
    [
        (
            ['deliver.budgets=[{name="a", mean_macs=9e4}]', "policy.mean_macs=9e4"],
            "deliver.budgets: 'a' allows mean_macs",
        ),
        (['deliver.budgets=[{name="a", mean_macs=3e4}]'], "policy.mean_macs is 60000, for which the search sets"),
        (['deliver.budgets=[{name="a", mean_macs=3e4}, {name="b", mean_macs=6e4}]'], None),
        (['deliver.budgets=[{name="a", mean_macs=3e4}]', "policy.thresholds=genes", "space.name=edanas"], None),
        (['deliver.budgets=[{name="a", mean_macs=9e4, architecture="/any.json"}]', "policy.mean_macs=9e4"], None),
    ],
)
def test_bounds_that_do_not_go_together_are_told(overrides, start):
    text = MINIMAL if "space.name=edanas" not in overrides else "[policy]\nmean_macs = 6e4"
    recipe = Recipe.parse(text, overrides=['search.constraints=["mean_macs <= 6e4"]', *overrides])
    found = doubtful(recipe, DIGITS, SPACE)
    assert len(found) == (start is not None)
    assert all(line.startswith(start) for line in found)


@pytest.mark.parametrize(
    "overrides, told_of",
    [
        (['deliver.budgets=[{name="big", mean_macs=2e5}]'], ["deliver.budgets: 'big' allows", "(policy.mean_macs)"]),
        (['search.constraints=["mean_macs <= 5e4"]'], ["policy.mean_macs allows", "(search.constraints)"]),
    ],
)
def test_bounds_that_differ_are_told_by_the_keys_that_were_given(overrides, told_of):
    found = [line for line in doubtful(Recipe.parse(MINIMAL, overrides=overrides), DIGITS, SPACE) if "allows" in line]
    assert [part in found[0] for part in told_of] == [True, True]
    assert len(found) == 1


def test_a_small_test_split_is_told():
    (line,) = doubtful(Recipe.parse("[policy]\naccuracy = 0.9"), task("digits", test=96), SPACE)
    assert line.startswith("the test split, by which networks are judged, has 96 images")


def test_a_goal_below_every_budget_is_told():
    overrides = ['deliver.budgets=[{name="a", mean_macs=9e4}]', "search.constraints=[]"]
    (line,) = doubtful(Recipe.parse(MINIMAL, overrides=overrides), DIGITS, SPACE)
    assert line.startswith("policy.mean_macs is 60000, for which the search sets")
