"""What a run makes of its recipe, short of training anything."""

import tomllib

import pytest
import torch
from safetensors.torch import save_file

from offramp.nn import Supernet
from offramp.pipeline import Run
from offramp.recipe import Recipe, RecipeError
from offramp.search import Evaluation
from offramp.search.proposers import SurrogateProposer
from offramp.spaces import Candidate

MINIMAL = "[policy]\nmean_macs = 1e5\n"


def old_recipe(**more):
    """A run's recipe as it was written before these keys were there."""
    stored = tomllib.loads(Recipe.parse(MINIMAL).to_toml())
    for section, key in [
        ("search", "evaluator"),
        ("search", "surrogate"),
        ("search", "domination"),
        ("policy", "thresholds"),
    ]:
        del stored[section][key]
    import tomli_w

    return tomli_w.dumps(stored | more)


def begun(folder, text):
    """A run's folder with this recipe, in which something was computed."""
    (folder / "recipe.toml").write_text(text)
    (folder / "supernet.checkpoint").touch()


def test_a_folder_of_an_older_recipe_still_opens(tmp_path):
    begun(tmp_path, old_recipe())
    run = Run.open(Recipe.parse(MINIMAL), tmp_path)
    assert run.recipe.search.evaluator == "one-shot"
    assert Run.stored(tmp_path).recipe == Recipe.parse(MINIMAL)


@pytest.mark.parametrize(
    "override, difference",
    [
        ("search.evaluator=fine-tune", "search.evaluator: 'one-shot' then, 'fine-tune' now"),
        ("search.surrogate=auto", "search.surrogate: 'gp' then, 'auto' now"),
        ("policy.thresholds=repair", "policy.thresholds: 'tuned' then, 'repair' now"),
    ],
)
def test_it_is_not_taken_for_a_run_of_what_is_new(tmp_path, override, difference):
    begun(tmp_path, old_recipe())
    with pytest.raises(RecipeError, match="another run") as caught:
        Run.open(Recipe.parse(MINIMAL, overrides=[override]), tmp_path)
    assert difference in caught.value.problems


def test_a_folder_whose_recipe_has_keys_that_are_no_more_names_them(tmp_path):
    begun(tmp_path, old_recipe(gone={"key": 1}))
    with pytest.raises(RecipeError) as caught:
        Run.open(Recipe.parse(MINIMAL), tmp_path)
    assert any(problem.startswith("gone") for problem in caught.value.problems)


def test_the_name_of_a_delivered_budget_is_not_used_for_another(tmp_path):
    def opened(macs):
        return Run.open(Recipe.parse(f'{MINIMAL}[deliver]\nbudgets = [{{name = "a", mean_macs = {macs}}}]'), tmp_path)

    opened(1e5)
    (tmp_path / "supernet.checkpoint").touch()
    opened(2e5)  # nothing was delivered yet
    delivered = tmp_path / "chosen" / "a"
    delivered.mkdir(parents=True)
    (delivered / "metrics.json").write_text("{}")
    opened(2e5)
    with pytest.raises(RecipeError) as caught:
        opened(1e5)
    assert any("'a' was delivered for another budget" in problem for problem in caught.value.problems)


def test_a_budget_that_was_taken_out_does_not_come_back_as_another(tmp_path):
    def opened(*budgets):
        found = ", ".join(f'{{name = "{name}", mean_macs = {macs}}}' for name, macs in budgets)
        return Run.open(Recipe.parse(f"{MINIMAL}[deliver]\nbudgets = [{found}]"), tmp_path)

    opened(("a", 1e5))
    (tmp_path / "supernet.checkpoint").touch()
    delivered = tmp_path / "chosen" / "a"
    delivered.mkdir(parents=True)
    (delivered / "metrics.json").write_text('{"budget": ["mean_macs", 100000.0]}')
    opened(("b", 2e5))
    with pytest.raises(RecipeError) as caught:
        opened(("a", 2e5))
    assert any("'a' was delivered for another budget" in problem for problem in caught.value.problems)
    opened(("b", 2e5), ("a", 1e5))


def test_a_run_at_work_keeps_its_recipe(tmp_path):
    run = Run.open(Recipe.parse(MINIMAL), tmp_path)
    with run.folder.held(), pytest.raises(RuntimeError, match="another run is at work"):
        Run.open(Recipe.parse(MINIMAL), tmp_path, ["deliver.seeds=[0, 1]"])
    assert Run.stored(tmp_path).recipe == run.recipe


def test_overrides_of_a_recipe_that_is_made_already(tmp_path):
    assert Run.open(Recipe.parse(MINIMAL), tmp_path, ["seed=7"]).recipe.seed == 7
    with pytest.raises(RecipeError, match="no such key") as caught:
        Run.open(Recipe.parse(MINIMAL), tmp_path, ["supernet.nonsense=1"])
    assert "supernet.nonsense" in str(caught.value)


def test_runs_that_share_a_storage_do_not_share_trials(tmp_path):
    def opened(*overrides):
        shared = f"search.storage=sqlite:///{tmp_path}/all.db"
        return Run(Recipe.parse(MINIMAL, overrides=[shared, *overrides]), tmp_path / "run")

    run = opened()
    result = Evaluation({"error": 0.5, "accuracy": 0.5, "mean_macs": 1e4})
    run.study.record((0,) * len(run.space.genes), result, "test")
    assert len(opened().study) == len(opened("search.evaluations=500", "deliver.seeds=[1]").study) == 1
    for other in ("seed=1", "supernet.epochs=3", "search.images=100", "search.proposer=random", "policy.mean_macs=2e5"):
        assert len(opened(other).study) == 0
    assert len(opened().baseline) == 0


def test_a_supernet_that_is_read_again_is_where_networks_are_trained(tmp_path, monkeypatch):
    run = Run(Recipe.parse(MINIMAL), tmp_path)
    save_file(Supernet(run.space, 0).state_dict(), tmp_path / "supernet.safetensors")
    monkeypatch.setattr("offramp.pipeline.pick_device", lambda: torch.device("meta"))
    assert run.supernet.mean.device.type == "meta"


FINE = ["search.evaluator=fine-tune"]


@pytest.mark.parametrize(
    "overrides, needed",
    [
        ([], True),
        (["train.inherit=false"], True),
        (FINE, True),
        ([*FINE, "finetune.inherit=false"], True),
        ([*FINE, "train.inherit=false"], True),
        ([*FINE, "finetune.inherit=false", "train.inherit=false"], False),
    ],
)
def test_a_supernet_is_wanted_only_where_something_starts_from_it(tmp_path, overrides, needed):
    assert Run(Recipe.parse(MINIMAL, overrides=overrides), tmp_path).needs_supernet == needed


def test_the_proposer_is_made_as_the_recipe_says(tmp_path):
    text = MINIMAL + '[search]\nsurrogate = "auto"\ndomination = "penalty"\nconstraints = ["mean_macs <= 1e5"]\n'
    run = Run(Recipe.parse(text), tmp_path)
    made = run._proposer("surrogate", run.study)
    assert isinstance(made, SurrogateProposer)
    assert (made._model, made._bounds) == ("auto", {1: 1e5})


def test_a_delivered_network_stays_and_a_better_choice_is_told(tmp_path, capsys):
    run = Run(Recipe.parse(MINIMAL), tmp_path)
    first = next(a for a in map(run.space.sample, range(99)) if len(a.exits) > 2)
    folder = run.folder.chosen("best")
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    # Delivery drops exits at which nobody leaves; that is the same choice.
    for kept in (first.exits, first.exits[:-1]):
        (folder / "architecture.json").write_text(first.with_exits(kept).to_json())
        run._deliver(Candidate(first), "best", 0, True, None)
        assert capsys.readouterr().err == ""
    run._deliver(Candidate(run.space.largest()), "best", 0, True, None)
    assert "found a better network" in capsys.readouterr().err
    assert '"event": "kept"' in run.folder.log_file.read_text()
