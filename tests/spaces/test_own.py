"""Spaces that users bring, as a class in a file or a module of theirs: that of the documentation works."""

import json
import re
from pathlib import Path

import pytest

from offramp.pipeline import Run
from offramp.recipe import Recipe, RecipeError
from offramp.spaces import own_space, space, with_full_path

PAGE = Path(__file__).parents[2] / "docs/space.md"
FILE = (
    re.search(r"# A space of your own\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    + """

class Nothing:
    pass


class Nameless(SearchSpace):
    pass
"""
)
RECIPE = """
[data]
name = "digits"
limit = 200
[space]
name = "plain.py:Plain"
widths = [4, 6]
[supernet]
epochs = 1
batch = 32
[policy]
mean_macs = 1e6
[search]
evaluations = 4
initial = 4
proposer = "random"
statistics_images = 50
[train]
batch = 32
backbone_epochs = 0
joint_epochs = 1
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the file, in which one is."""
    (tmp_path / "plain.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_class_of_a_file_is_a_space(here):
    found = space("plain.py:Plain", (1, 8, 8), 3, widths=[4, 6, 8])
    assert found.size() == len({found.decode((i, j)) for i in range(3) for j in range(2)}) == 6
    assert found.sample(0).classes == 3
    assert own_space("plain.py:Plain") is own_space(str(here / "plain.py") + ":Plain")


def test_a_class_of_a_module_is_a_space():
    name = "offramp.spaces.edanas:EdanasSpace"
    assert space(name, (3, 32, 32), 10, width=0.5).genes == space("edanas", (3, 32, 32), 10, width=0.5).genes


@pytest.mark.parametrize(
    "name, message",
    [
        ("gone.py:Plain", "gone.py cannot be imported: FileNotFoundError"),
        ("gone.module:Plain", "gone.module cannot be imported: ModuleNotFoundError: No module named 'gone'"),
        ("plain.py:Fancy", "plain.py has no class 'Fancy' made from offramp.SearchSpace; it has Plain, Nameless"),
        ("plain.py:Nameless", "class 'Nameless' of plain.py has no `name`"),
        ("plain.py:Nothing", "no class 'Nothing' made from"),
        ("broken.py:Plain", "broken.py cannot be imported: ZeroDivisionError"),
        ("fancy", "known are offramp, nachos, .*, fixed, or FILE.py:CLASS for one of your own"),
    ],
)
def test_what_is_no_space_is_told(here, name, message):
    (here / "broken.py").write_text("1 / 0")
    with pytest.raises(ValueError, match=message):
        space(name)
    with pytest.raises(RecipeError, match="space.name: .*" + message.replace("known", "allowed")):
        Recipe.parse(RECIPE, overrides=[f"space.name='{name}'"])


def test_options_of_its_own_are_checked(here):
    with pytest.raises(
        RecipeError, match=r"space\.bits\.0\.0: .*\n.*\n  space\.widht: there is no such key; did you mean widths"
    ):
        Recipe.parse(RECIPE, overrides=["space.widht=[3]", "space.bits=[[1, 1]]"])


def test_a_run_of_it(here, monkeypatch):
    Run.open(Recipe.parse(RECIPE), here / "run").carry_out()
    assert json.loads((here / "run/chosen/best/metrics.json").read_text())["mean_macs"] > 0
    monkeypatch.chdir("/")
    run = Run.stored(here / "run")
    assert run.recipe.space.name == with_full_path(f"{here}/plain.py:Plain")
    run.carry_out()
    assert run.space.name == "plain"
