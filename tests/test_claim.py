"""What a run's folder was begun with is kept, and what does not fit to it is refused."""

import json
from dataclasses import replace

import pytest

from offramp import data
from offramp.claim import claim_data, claim_recipe, claim_weights, rooted
from offramp.data import Split
from offramp.pipeline import Run
from offramp.recipe import Recipe, RecipeError
from offramp.run_folder import RunFolder
from offramp.spaces import space

ONE_THRESHOLD = {
    "edanas": ["space.thresholds=[0.1, 1.0]"],
    "aebnas": ["space.thresholds=[0.1, 1.0]"],
    "zniber": ["space.thresholds=[0.7]"],
}
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
    claim_data(data.task("digits", limit=300), folder)
    claim([1])  # nothing was delivered yet
    claim([0])
    delivered(folder, "best", 0)
    claim([0, 1])
    with pytest.raises(RecipeError) as caught:
        claim([1, 0])
    assert "the first must stay 0, with which 'best' was delivered, and is 1" in caught.value.problems[0]


def test_what_no_longer_changes_a_delivered_network_is_told(folder, capsys):
    def told(*overrides):
        claim_recipe(Recipe.parse(MINIMAL, overrides=overrides), folder)
        return capsys.readouterr().err

    told()
    claim_data(data.task("digits", limit=300), folder)
    assert told("deliver.drop_exits=false") == ""  # nothing was delivered yet
    delivered(folder, "best", 0)
    assert told("deliver.drop_exits=false", "deliver.static_macs=[1e5]") == ""
    said = told("export.check_images=10")
    assert said.count("networks that are there stay as they are: move") == 2
    assert "deliver.drop_exits: " in said
    assert "export.check_images: " in said


def test_a_path_is_kept_in_full(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recipe = rooted(Recipe.parse(MINIMAL, overrides=["data.name=folder", "data.root=photos"]))
    assert recipe.data.root == str(tmp_path / "photos")
    assert rooted(Recipe.parse(MINIMAL)) == Recipe.parse(MINIMAL)
    warm = rooted(Recipe.parse(MINIMAL, overrides=["supernet.init=run:runs/first"]))
    assert warm.supernet.init == f"run:{tmp_path / 'runs/first'}"


def test_weights_that_have_seen_images_held_out_here_are_refused(folder, capsys):
    warm = Recipe.parse(MINIMAL, overrides=[f"supernet.init=run:{folder.root}"])
    task = data.task("digits", limit=300)
    here = space("offramp", task.input, 10)
    claim_weights(warm, task, here)  # a folder without a word on its data
    claim_recipe(Recipe.parse(MINIMAL), folder)
    claim_data(task, folder)
    claim_weights(warm, task, here)
    claim_weights(warm, replace(task, name="other images"), here)
    claim_weights(Recipe.parse(MINIMAL), data.task("digits", limit=300, seed=1), here)
    with pytest.raises(RecipeError, match="trained on another split of digits"):
        claim_weights(warm, data.task("digits", limit=300, seed=1), here)
    elsewhere = warm.model_copy(update={"data": warm.data.model_copy(update={"root": "photos"})})
    claim_weights(elsewhere, data.task("digits", limit=300, seed=1), here)  # two sets of one name, as of two folders
    assert "none of its images may be held out here" in capsys.readouterr().err


@pytest.mark.parametrize(("there", "here"), [("offramp", "offramp"), ("nachos", "aebnas"), ("edanas", "nachos")])
def test_weights_of_another_kind_of_backbone_are_refused(folder, there, here):
    task = data.task("digits", limit=300)
    claim_recipe(Recipe.parse(MINIMAL, overrides=[f"space.name={there}", *ONE_THRESHOLD.get(there, [])]), folder)
    claim_data(task, folder)

    def claim(name):
        own = [f"space.name={name}", *ONE_THRESHOLD.get(name, [])]
        warm = Recipe.parse(MINIMAL, overrides=[f"supernet.init=run:{folder.root}", *own])
        claim_weights(warm, task, space(name, (3, 32, 32), 10))

    claim(here)
    with pytest.raises(RecipeError, match=f"has space '{there}', whose backbone is not that of 'zniber'"):
        claim("zniber")


def test_a_folder_in_which_nothing_was_computed_may_be_claimed_anew(folder):
    claim_recipe(Recipe.parse(MINIMAL), folder)
    claim_recipe(Recipe.parse(MINIMAL, overrides=["seed=3"]), folder)
    claim_data(data.task("digits", limit=300), folder)
    with pytest.raises(RecipeError, match="belongs to another run"):
        claim_recipe(Recipe.parse(MINIMAL), folder)


def test_a_run_refused_before_it_began_leaves_the_folder_to_the_corrected_recipe(folder):
    def open_run(*overrides):
        recipe = Recipe.parse(
            MINIMAL, overrides=["data.name=digits", "data.limit=300", "supernet.batch=64", *overrides]
        )
        return Run.open(recipe, folder.root)

    with pytest.raises(RecipeError, match="this cannot be done with digits"):
        open_run("train.batch=5000").carry_out()
    assert not folder.begun
    assert not list(folder.root.glob("study.journal*"))
    corrected = open_run("train.batch=32", "supernet.epochs=1")
    folder.journal.touch()
    with pytest.raises(RecipeError, match="belongs to another run"):
        open_run("train.batch=5000")
    folder.data.write_text('{"name": "other"}')
    with pytest.raises(RecipeError, match="begun with other images"):  # a folder that something was made in is kept
        corrected.carry_out()
    assert folder.journal.exists()
    assert folder.data.exists()


def test_losses_of_an_earlier_version_are_not_changed_in_silence(folder):
    gated = Recipe.parse(MINIMAL, overrides=["space.name=nachos", "gates.lr=0.1"])
    assert gated.gates.max_macs == 1e5
    claim_recipe(gated, folder)
    claim_data(data.task("digits", limit=300), folder)
    claim_recipe(gated, folder)
    text = folder.recipe.read_text()
    folder.recipe.write_text("\n".join(line for line in text.splitlines() if not line.startswith("max_macs")))
    with pytest.raises(RecipeError, match=r"gates\.max_macs"):
        claim_recipe(gated, folder)


def test_a_folder_with_other_files_is_not_taken_over(folder):
    (folder.root / "thesis.tex").touch()
    (folder.root / ".cache").touch()
    with pytest.raises(RecipeError, match=r"no run's folder, and not empty: it holds thesis\.tex; take another"):
        claim_recipe(Recipe.parse(MINIMAL), folder)
    (folder.root / "thesis.tex").unlink()
    for name in ("supernet.safetensors", "study.journal", "study.journal.lock"):  # as docs/recipes.md has them copied
        (folder.root / name).touch()
    claim_recipe(Recipe.parse(MINIMAL), folder)
    folder.log("start")
    (folder.root / "notes.txt").touch()
    claim_recipe(Recipe.parse(MINIMAL), folder)


def test_neither_is_one_that_happens_to_have_a_recipe(folder):
    for name in ("recipe.toml", "thesis.tex"):
        (folder.root / name).write_text("# mine\n")
    with pytest.raises(RecipeError, match=r"it holds thesis\.tex"):
        claim_recipe(Recipe.parse(MINIMAL), folder)
    assert folder.recipe.read_text() == "# mine\n"


def test_the_output_may_be_sent_to_the_folder_of_the_run(folder):
    for name in ("out.log", "nohup.out"):
        (folder.root / name).touch()
    claim_recipe(Recipe.parse(MINIMAL), folder)
    assert folder.recipe.exists()


def test_a_short_search_may_go_on_as_a_long_one(folder):
    claim_recipe(Recipe.parse(MINIMAL, overrides=["search.evaluations=10"]), folder)
    folder.journal.touch()
    claim_recipe(Recipe.parse(MINIMAL, overrides=["search.evaluations=100"]), folder)
    assert Recipe.load(folder.recipe).search.initial == 32


def test_another_bound_of_the_policy_is_told_once(folder):
    claim_recipe(Recipe.parse(MINIMAL), folder)
    claim_data(data.task("digits", limit=300), folder)
    with pytest.raises(RecipeError) as caught:
        claim_recipe(Recipe.parse(MINIMAL, overrides=["policy.mean_macs=9e9"]), folder)
    assert [line.split(":")[0] for line in caught.value.problems[:-1]] == ["policy.mean_macs"]


@pytest.mark.parametrize(
    "storage, whole",
    [
        ("mine.journal", "{here}/mine.journal"),
        ("sqlite:///all.db", "sqlite:///{here}/all.db"),
        ("sqlite:///{here}/all.db", "sqlite:///{here}/all.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://me:secret@host/all", "postgresql://me:secret@host/all"),
    ],
)
def test_a_storage_is_found_from_anywhere(storage, whole, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recipe = rooted(Recipe.parse(MINIMAL, overrides=[f"search.storage={storage.format(here=tmp_path)}"]))
    assert recipe.search.storage == whole.format(here=tmp_path)
