"""The section [data], and that it refuses what `data.task` would refuse hours later."""

import pytest
from recipe_mistakes import MINIMAL, problems

from offramp import data
from offramp.recipe import Recipe
from offramp.recipe._data import SETS


def told(text, *overrides):
    return problems(MINIMAL + "[data]\n" + text, *overrides)


def task_says(name, **options):
    with pytest.raises(data.DataError) as caught:
        data.task(name, **options)
    return str(caught.value)


def test_the_names_that_are_repeated_here_are_those_of_the_data_sets():
    assert data.names() == SETS
    assert told('name = "digitz"') == (f"data.name: 'digitz' is unknown; allowed are {', '.join(data.names())}",)


@pytest.mark.parametrize("name", [name for name in SETS if name != "digits"])
def test_a_place_is_asked_for_where_the_environment_cannot_give_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFRAMP_DATA", str(tmp_path))
    if "set root (data.root in the recipe)" in task_says(name):
        assert told(f'name = "{name}"') == (f"data: name is '{name}'; give root, the {name} to read",)
    else:
        Recipe.parse(f'{MINIMAL}[data]\nname = "{name}"')
    Recipe.parse(f'{MINIMAL}[data]\nname = "{name}"\nroot = "mine"')


@pytest.mark.parametrize("name", SETS)
def test_a_size_is_for_what_takes_one(name, tmp_path):
    text = f'name = "{name}"\nroot = "mine"\nsize = [8, 8]'
    if "not an option of" in task_says(name, root=tmp_path, size=(8, 8)):
        assert told(text) == (f"data: size goes with name = 'folder' and is of no use with '{name}'; leave it out",)
    else:
        Recipe.parse(f"{MINIMAL}[data]\n{text}")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_official_test_images_stay(name):
    assert told(f'name = "{name}"\ntest = 0.1') == (f"data: '{name}' has test images of its own; leave test out",)


@pytest.mark.parametrize("count", ["0", "-3", "1.5", "inf", "nan", "true", '"a tenth"', "[0.1]"])
def test_what_is_neither_a_count_nor_a_share_is_told_in_one_line(count):
    (found,) = told(f"select = {count}")
    assert found.startswith("data.select: ")
    assert found.endswith("is neither a count, a whole number from 1, nor a share between 0 and 1")


@pytest.mark.parametrize("count, value", [("1", 1), ("0.25", 0.25), ("5e2", 500)])
def test_counts_and_shares(count, value):
    recipe = Recipe.parse(f"{MINIMAL}[data]\nselect = {count}")
    assert recipe.data.select == value
    assert type(recipe.data.select) is type(value)
    assert Recipe.parse(recipe.to_toml()) == recipe


def test_shares_leave_images_to_train_on():
    assert "leave some to train on" in told("select = 0.6\ncalibrate = 0.4")[0]
    assert "Leave some to train on" in task_says("digits", select=0.6, calibrate=0.4)
    Recipe.parse(MINIMAL + "[data]\nselect = 0.6\ncalibrate = 700")


@pytest.mark.parametrize("override", ["seed=-5", "data.seed=-1", "deliver.seeds=[-1]", f"seed={2**63}"])
def test_a_seed_is_one_that_torch_and_numpy_take(override):
    (found,) = problems(MINIMAL, override)
    assert found.startswith(override.split("=")[0])
    assert "or equal to 0" in found or "less than" in found


@pytest.mark.parametrize("option, owner", [("coarse", "cifar100"), ("extra", "svhn")])
def test_options_of_one_set_are_refused_with_others(option, owner):
    found = Recipe.parse(f"[policy]\nmean_macs = 1e5\n[data]\nname = {owner!r}\n{option} = true\nverify = false\n")
    assert getattr(found.data, option)
    assert not found.data.verify
    wrong = f"data: {option} goes with name = {owner!r} and is of no use with 'digits'; leave it out"
    assert told(f"{option} = true") == (wrong,)
