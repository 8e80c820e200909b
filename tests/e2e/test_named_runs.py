"""Runs without a search: networks that the recipe names, trained and delivered as they are, at several precisions."""

import json
from pathlib import Path

import pytest

from offramp.architecture import Architecture, Precision
from offramp.cost import cost
from offramp.deliver import load
from offramp.nn.quantize import rounds
from offramp.pipeline import Run, check
from offramp.recipe import Recipe, RecipeError
from offramp.spaces import space
from offramp.training._parallel import Workers

TINY = Path(__file__).with_name("tiny.toml")
EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
FOUR = Precision(backbone_weights=4, backbone_activations=4, branch_weights=4, branch_activations=4)
FEW = ["search.evaluations=0", "train.inherit=false", "deliver.static_macs=[]", "train.joint_epochs=2"]
QUANTIZED = 1


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A network for digits in float and at 8 bits, and one that is not of the recipe's space."""
    folder = tmp_path_factory.mktemp("networks")
    options = Recipe.load(TINY).space.options
    made = space("offramp", (1, 8, 8), 10, **options).largest()
    (folder / "float.json").write_text(made.to_json())
    (folder / "eight.json").write_text(made.model_copy(update={"precision": EIGHT}).to_json())
    (folder / "other.json").write_text(space("offramp", (1, 8, 8), 10).smallest().to_json())
    return folder


def recipe(networks, *names, **more):
    budgets = [f'{{ name = "{name}", mean_macs = 1e6, architecture = "{networks / name}.json" }}' for name in names]
    overrides = [*FEW, f"train.quantized_epochs={QUANTIZED}", f"deliver.budgets=[{', '.join(budgets)}]"]
    return Recipe.load(TINY, [*overrides, *(f"{k.replace('__', '.')}={v}" for k, v in more.items())], files=True)


@pytest.fixture(scope="module")
def finished(networks, tmp_path_factory):
    """A finished run of both precisions, and how many steps it trained for."""
    run, steps = Run.open(recipe(networks, "float", "eight"), tmp_path_factory.mktemp("run")), []
    plain = Workers.backward
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Workers, "backward", lambda *given: (steps.append(1), plain(*given))[1])
        run.carry_out()
    return run, len(steps)


def test_the_networks_are_those_that_were_named(finished, networks):
    run, _ = finished
    assert not run.folder.supernet.exists()
    assert json.loads(run.folder.front.read_text())["trials"] == []
    for name, precision in (("float", Precision()), ("eight", EIGHT)):
        net, _ = load(run.folder.chosen(name))
        named = Architecture.load(networks / f"{name}.json")
        assert net.architecture == named.with_exits(net.architecture.exits)
        assert net.architecture.precision == precision
        assert rounds(net) == (name == "eight")
        assert json.loads((run.folder.chosen(name) / "metrics.json").read_text())["test_accuracy"] > 0.5
        assert (run.folder.chosen(name) / "model.onnx").exists()
    assert run.folder.report.exists()


def test_networks_that_differ_in_bits_share_their_training_in_float(finished):
    run, steps = finished
    per_epoch = len(run.task.train) // run.recipe.train.batch
    assert steps == per_epoch * (run.recipe.train.epochs + QUANTIZED)
    assert run.folder.trainings() == []


def test_one_that_was_cut_off_is_trained_from_the_shared_checkpoint(networks, tmp_path, finished):
    """Killed behind the first network: its training in float is there still, and the second one's goes on from it."""
    run, steps = Run.open(recipe(networks, "float", "eight"), tmp_path), []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("offramp.deliver.write_json", _fails_at("eight"))
        with pytest.raises(KeyboardInterrupt):
            run.carry_out()
    assert (run.folder.chosen("float") / "metrics.json").exists()
    assert len(run.folder.trainings()) == 2  # in float, and of few bits
    plain = Workers.backward
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Workers, "backward", lambda *given: (steps.append(1), plain(*given))[1])
        Run.open(recipe(networks, "float", "eight"), tmp_path).carry_out()
    assert steps == []
    for name in ("float", "eight"):
        stored = [json.loads((r.folder.chosen(name) / "metrics.json").read_text()) for r in (run, finished[0])]
        assert stored[0]["test_accuracy"] == stored[1]["test_accuracy"]
    assert run.folder.trainings() == []


def test_the_file_may_go_and_another_network_may_not_take_its_name(networks, finished, tmp_path):
    """The run's folder has its own copy."""
    path = tmp_path / "given"
    path.mkdir()
    (path / "float.json").write_text((networks / "float.json").read_text())
    run = Run.open(recipe(path, "float"), tmp_path / "run")
    (path / "float.json").unlink()
    again = Run.open(tmp_path / "run" / "recipe.toml", tmp_path / "run")
    assert again.choice.named(again.recipe.deliver.budgets[0]) == Architecture.load(networks / "float.json")
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "float.json").write_text((networks / "float.json").read_text())
    Run.open(recipe(moved, "float"), tmp_path / "run")  # the same one from elsewhere
    (moved / "float.json").write_text((networks / "other.json").read_text())
    with pytest.raises(RecipeError, match="is another network than when the run began"):
        Run.open(recipe(moved, "float"), tmp_path / "run")
    assert Architecture.load(run.folder.named("float")) == Architecture.load(networks / "float.json")


def test_other_budgets_may_follow_a_kill(networks, tmp_path):
    """Checkpoints bear the name of what they are of: those of budgets that are no longer there are in nobody's way."""
    run = Run.open(recipe(networks, "float", "eight"), tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("offramp.deliver.write_json", _fails_at("eight"))
        with pytest.raises(KeyboardInterrupt):
            run.carry_out()
    kept = run.folder.trainings()
    assert len(kept) == 2
    four = Architecture.load(networks / "float.json").model_copy(update={"precision": FOUR})
    (tmp_path / "four.json").write_text(four.to_json())
    for name in ("float", "other"):
        (tmp_path / f"{name}.json").write_text((networks / f"{name}.json").read_text())
    Run.open(recipe(tmp_path, "other", "four", "float"), tmp_path).carry_out()
    assert {folder.name for folder in run.folder.delivered()} == {"float", "other", "four"}
    assert run.folder.trainings() == []


def test_what_the_space_cannot_do_is_no_matter(networks, tmp_path):
    """Nothing is searched in it; `offramp validate` says what `offramp run` does."""
    made = recipe(networks, "float", search__constraints='["mean_macs <= 10"]')
    check(made)
    Run.open(made, tmp_path).check()


def test_a_network_beyond_its_own_budget_is_refused_before_it_is_trained(networks):
    made = recipe(networks, "float")
    (budget,) = made.deliver.budgets
    network = Architecture.load(networks / "float.json")
    least = min(cost(network.with_exits((position,))).total.macs for position in network.exits)
    for bound, fits in ((least, True), (least - 1, False)):
        budgets = (budget.model_copy(update={"mean_macs": float(bound)}),)
        asked = made.model_copy(update={"deliver": made.deliver.model_copy(update={"budgets": budgets})})
        if fits:
            check(asked)
        else:
            with pytest.raises(RecipeError, match=f"its network has at least {least:g}"):
                check(asked)


def test_beside_a_search_a_named_network_need_not_be_one_that_the_search_could_find(networks):
    network = Architecture.load(networks / "float.json")
    bound = cost(network).leaving("macs")[-1]
    assert bound < min(cost(space("offramp", (1, 8, 8), 10, stem_widths=[64]).smallest()).leaving("macs"))
    mine = f'{{ name = "mine", mean_macs = {bound}, architecture = "{networks / "float"}.json" }}'
    overrides = [
        "train.inherit=false", "deliver.static_macs=[]", "space.stem_widths=[64]", "search.constraints=[]",
        "policy.mean_macs=1e9", f'deliver.budgets=[{{ name = "best" }}, {mine}]',
    ]  # fmt: skip
    check(Recipe.load(TINY, overrides, files=True))


def _fails_at(name):
    from offramp.run_folder import write_json

    def write(path, value):
        if path.parent.name == name:
            raise KeyboardInterrupt
        write_json(path, value)

    return write


def test_a_network_of_other_images_is_refused_before_anything_is_trained(networks, tmp_path):
    other = space("offramp", (3, 32, 32), 10).sample(0)
    (tmp_path / "wide.json").write_text(other.to_json())
    run = Run.open(recipe(tmp_path, "wide"), tmp_path / "run")
    with pytest.raises(RecipeError, match="'wide'") as caught:
        run.carry_out()
    assert "(3, 32, 32)" in str(caught.value)
    assert "(1, 8, 8)" in str(caught.value)
    assert not run.folder.begun


def test_weights_are_inherited_by_networks_of_the_space_alone(networks, tmp_path):
    run = Run.open(recipe(networks, "other", train__inherit="true"), tmp_path)
    with pytest.raises(RecipeError, match=r"(?s)not of space 'offramp'.*train\.inherit = false") as caught:
        run.check()
    assert "other.json" in str(caught.value)


def test_without_a_search_every_budget_names_its_network(networks):
    with pytest.raises(RecipeError, match=r"small of deliver\.budgets would be chosen by a search"):
        Recipe.load(TINY, [*FEW, 'deliver.budgets=[{ name = "small" }]'])
    with pytest.raises(RecipeError, match=r"deliver\.static_macs"):
        recipe(networks, "float", deliver__static_macs="[1e5]")


def test_a_file_that_holds_no_network_is_named(networks, tmp_path):
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"deliver\.budgets\.0\.architecture: .*bad\.json is no architecture"):
        recipe(tmp_path, "bad")
    with pytest.raises(RecipeError, match=r"deliver\.budgets\.0\.architecture: .*none\.json"):
        recipe(tmp_path, "none")
