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


class Abstract(SearchSpace):
    name = "abstract"


class Dict(Plain):
    Options = dict


class Two(Plain):
    def __init__(self, input, classes):
        pass


class Bare(Plain):
    def __init__(self, input, classes, options):
        pass


class Grey(Plain):
    def __init__(self, input, classes, options):
        if input[0] != 1:
            raise ValueError("for grey images only")
        super().__init__(input, classes, options)
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
        (
            "plain.py:Fancy",
            "plain.py has no class 'Fancy' made from offramp.SearchSpace; it has Plain, Name",
        ),
        ("plain.py:Abstract", "class 'Abstract' of plain.py lacks cover, decode, encode, largest"),
        ("plain.py:Dict", "`Options` of 'Dict' must be made from offramp.spaces.SpaceOptions"),
        ("leaves.py:Plain", "leaves.py cannot be imported: SystemExit"),
        ("plain.py:Nameless", "class 'Nameless' of plain.py has no `name`"),
        ("plain.py:Nothing", "no class 'Nothing' made from"),
        ("broken.py:Plain", "broken.py cannot be imported: ZeroDivisionError"),
        ("fancy", "known are offramp, nachos, .*, fixed, or FILE.py:CLASS for one of your own"),
    ],
)
def test_what_is_no_space_is_told(here, name, message):
    (here / "broken.py").write_text("1 / 0")
    (here / "leaves.py").write_text("import sys; sys.exit(0)")
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


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("Two", {}, r"space 'plain.py:Two' cannot be made: TypeError: .* takes 3 positional arguments"),
        ("Bare", {}, "space 'plain.py:Bare' has not set input, classes, genes"),
        ("Plain", {"widths": []}, "space 'plain.py:Plain' has genes without choices: width"),
        (
            "Plain",
            {"bits": [[8, 8], [32, 32]]},
            r"bits is \[\[8, 8\], \[32, 32\]\], among which a gene named bits would",
        ),
        ("Grey", {}, r"space 'plain.py:Grey', for images of shape \(3, 32, 32\) and 10 classes: for grey images only"),
    ],
)
def test_what_makes_no_space_is_told(here, name, options, message):
    with pytest.raises(ValueError, match=message):
        space(f"plain.py:{name}", **options)


def test_a_space_for_grey_images_alone_may_have_them(here):
    recipe = Recipe.parse(RECIPE, overrides=["space.name='plain.py:Grey'"])
    Run(recipe, here / "run").check()


def test_at_few_bits_its_networks_have_them(here):
    found = space("plain.py:Plain", (1, 8, 8), 3, bits=((8, 8),))
    assert found.sample(0).precision.backbone_weights == 8


def test_a_network_of_another_space_is_refused_as_a_slice(here):
    (here / "other.json").write_text(space("edanas", (1, 8, 8), 10).smallest().to_json())
    budgets = 'deliver.budgets=[{ name = "x", mean_macs = 1e9, architecture = "other.json" }]'
    with pytest.raises(RecipeError, match=r"other\.json is not of space 'plain'"):
        Run(Recipe.parse(RECIPE, overrides=[budgets]), here / "run").check()


def test_a_run_whose_class_has_changed_is_refused(here):
    """Neither its smallest nor its largest network shows it."""
    recipe = Recipe.parse(RECIPE, overrides=["space.widths=[4, 5, 6]", "search.evaluations=6"])
    Run.open(recipe, here / "run").carry_out()
    kernel = "Conv(out=2 * width, stride=2, kernel=5 if width == 5 else 3)"
    (here / "changed.py").write_text(FILE.replace("Conv(out=2 * width, stride=2)", kernel))
    text = (here / "run/recipe.toml").read_text().replace("plain.py", "changed.py")
    (here / "run/recipe.toml").write_text(text)
    with pytest.raises(ValueError, match="the space has changed since"):
        Run.stored(here / "run").carry_out()


def test_a_supernet_of_the_same_class_may_be_begun_with(here):
    Run.open(Recipe.parse(RECIPE), here / "run").carry_out()
    other = Recipe.parse(RECIPE, overrides=["supernet.init='run:run'", "seed=5"])
    Run.open(other, here / "other").carry_out()
