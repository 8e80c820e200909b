"""What a run's folder was begun with is kept, and what does not fit to it is refused."""

import json
from dataclasses import replace

import pytest

from offramp import data
from offramp.claim import claim_data, claim_recipe, claim_weights, rooted
from offramp.data import Split
from offramp.recipe import Recipe, RecipeError
from offramp.run_folder import RunFolder

MINIMAL = "[policy]\nmean_macs = 1e5\n"


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def delivered(folder, name, seed):
    path = folder.chosen(name) / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"seed": seed}))


def test_the_same_images_go_on_and_others_are_refused(folder):
    task = data.task("digits", limit=300)
    claim_data(task, folder)
    claim_data(data.task("digits", limit=300), folder)
    with pytest.raises(RecipeError, match="begun with other images") as caught:
        claim_data(data.task("digits", limit=200), folder)
    assert any(line.startswith("data.splits.train: ") for line in caught.value.problems)
    images = task.train.images.clone()
    images[0, 0, 0, 0] += 1
    with pytest.raises(RecipeError) as caught:
        claim_data(replace(task, train=Split(images, task.train.labels)), folder)
    assert [line.split(":")[0] for line in caught.value.problems[:-1]] == ["data.fingerprint"]


def test_another_first_seed_is_not_taken_for_the_one_delivered(folder):
    def claim(seeds):
        claim_recipe(Recipe.parse(MINIMAL, overrides=[f"deliver.seeds={seeds}"]), folder)

    claim([0])
    claim([1])  # nothing was delivered yet
    claim([0])
    delivered(folder, "best", 0)
    claim([0, 1])
    with pytest.raises(RecipeError) as caught:
        claim([1, 0])
    assert "the first must stay 0, with which 'best' was delivered, and is 1" in caught.value.problems[0]


def test_a_path_is_kept_in_full(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recipe = rooted(Recipe.parse(MINIMAL, overrides=["data.name=folder", "data.root=photos"]))
    assert recipe.data.root == str(tmp_path / "photos")
    assert rooted(Recipe.parse(MINIMAL)) == Recipe.parse(MINIMAL)
    warm = rooted(Recipe.parse(MINIMAL, overrides=["supernet.init=run:runs/first"]))
    assert warm.supernet.init == f"run:{tmp_path / 'runs/first'}"


def test_weights_that_have_seen_images_held_out_here_are_refused(folder):
    warm = Recipe.parse(MINIMAL, overrides=[f"supernet.init=run:{folder.root}"])
    task = data.task("digits", limit=300)
    claim_weights(warm, task)  # a folder without a word on its data
    claim_data(task, folder)
    claim_weights(warm, task)
    claim_weights(warm, replace(task, name="other images"))
    claim_weights(Recipe.parse(MINIMAL), data.task("digits", limit=300, seed=1))
    with pytest.raises(RecipeError, match="trained on another split of digits"):
        claim_weights(warm, data.task("digits", limit=300, seed=1))


def test_a_folders_damaged_recipe_is_named(folder):
    folder.recipe.write_text("[policy")
    with pytest.raises(RecipeError, match=r"recipe\.toml"):
        claim_recipe(Recipe.parse(MINIMAL), folder)
