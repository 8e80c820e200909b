"""What [search] says of the proposer reaches it."""

from offramp import pipeline
from offramp.pipeline import Run
from offramp.recipe import Recipe

RECIPE = """
[data]
name = "digits"
[policy]
mean_macs = 1e5
[search]
surrogate = "rbf"
domination = "penalty"
predict = "shares"
constraints = ["mean_macs <= 1e5"]
population = 40
generations = 20
crossover = "two-point"
"""


def test_the_surrogate_proposer_is_given_what_the_recipe_says(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(pipeline, "proposer", lambda name, problem, **options: given.update(options, name=name))
    run = Run(Recipe.parse(RECIPE), tmp_path)
    run._proposer("surrogate", run.study)
    assert callable(given.pop("report"))
    assert given == {
        "name": "surrogate", "model": "rbf", "domination": "penalty", "predict": "shares",
        "population": 40, "generations": 20, "crossover": "two-point",
    }  # fmt: skip
