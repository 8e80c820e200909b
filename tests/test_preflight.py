"""What cannot be done is said before anything is computed."""

import pytest

from offramp.pipeline import Run
from offramp.preflight import impossible
from offramp.recipe import Recipe, RecipeError

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


def told(folder, *overrides):
    run = Run(Recipe.parse(MINIMAL, overrides=overrides), folder)
    return impossible(run.recipe, run.task, run.space, run.costs, run.study, run.needs_supernet)


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
        (["deliver.static_macs=[10]"], "deliver.static_macs: 10; the first stage of the smallest network alone has"),
    ],
)
def test_each_thing_that_cannot_be_done_is_named(tmp_path, overrides, start):
    found = told(tmp_path, *overrides)
    assert len(found) == 1
    assert found[0].startswith(start)


def test_a_run_ends_before_its_supernet(tmp_path):
    overrides = ["train.batch=2000", 'search.constraints=["mean_macs <= 10"]', "deliver.static_macs=[10]"]
    run = Run.open(Recipe.parse(MINIMAL, overrides=overrides), tmp_path)
    with pytest.raises(RecipeError) as caught:
        run.carry_out()
    assert len(caught.value.problems) == 3
    assert not list(tmp_path.glob("supernet*"))
