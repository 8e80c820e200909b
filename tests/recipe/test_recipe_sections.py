"""What each section refuses by itself; [hardware] has a file of its own."""

import pytest
from recipe_mistakes import MINIMAL, problems

from offramp.recipe import Recipe, _search
from offramp.search import PROPOSERS
from offramp.search.evolution import CROSSOVERS
from offramp.search.proposers.surrogate import PREDICT
from offramp.search.surrogates import SURROGATES


def test_two_goals_and_none_are_refused():
    assert "either mean_macs" in problems("[policy]\n")[0]
    assert "either mean_macs" in problems("[policy]\nmean_macs = 1.0\naccuracy = 0.5")[0]


def test_names_that_are_repeated_here_are_those_of_the_search():
    assert _search.PROPOSERS == PROPOSERS
    assert _search.SURROGATES == SURROGATES
    assert _search.PREDICT == PREDICT
    assert tuple(CROSSOVERS) == _search.CROSSOVERS


def test_evaluator_surrogate_and_domination_are_checked():
    found = "\n".join(problems(MINIMAL + '[search]\nevaluator = "guess"\nsurrogate = "luck"\ndomination = "none"\n'))
    assert "search.evaluator: 'guess' is unknown; allowed are one-shot, fine-tune" in found
    assert "search.surrogate: 'luck' is unknown; allowed are gp, rbf, trees, mlp, auto" in found
    assert "search.domination: 'none' is unknown; allowed are feasibility, penalty" in found
    found = "\n".join(problems(MINIMAL + '[search]\npopulation = 1\ngenerations = 0\ncrossover = "one-point"\n'))
    assert "search.population: Input should be greater than or equal to 4" in found
    assert "search.generations: Input should be greater than 0" in found
    assert "search.crossover: 'one-point' is unknown; allowed are uniform, two-point" in found


def test_initial_beyond_evaluations_is_refused():
    assert "initial is 9" in problems(MINIMAL + "[search]\ninitial = 9\nevaluations = 5\n")[0]


@pytest.mark.parametrize("constraints", [[], ["params <= 2e5"], ["mean_macs >= 1e3", "accuracy >= 0.65"]])
def test_a_penalty_needs_a_bound_on_an_objective(constraints):
    text = MINIMAL + f'[search]\ndomination = "penalty"\nconstraints = {constraints}\n'
    assert "needs a bound on an objective" in problems(text)[0]
    Recipe.parse(text.replace("constraints = [", 'constraints = ["mean_macs <= 2.7e6", '))


def test_nothing_is_infinite_or_wanted_twice():
    assert problems("[policy]\nmean_macs = inf") == ("policy.mean_macs: Input should be a finite number (given: inf)",)
    (found,) = problems(MINIMAL + '[search]\nobjectives = ["error", "params", "error"]')
    assert found == "search.objectives: every objective may be given once; more often are error"
    (found,) = problems(MINIMAL + "[search]\nconstraints = [3]")
    assert found.startswith("search.constraints.0: Input should be a valid string")
    (found,) = problems(MINIMAL + "[deliver]\nseeds = [2, 1, 2]")
    assert found == "deliver.seeds: every seed may be given once; more often are 2"
    # Both would be trained in the folder static-2.44M.
    (found,) = problems(MINIMAL + "[deliver]\nstatic_macs = [2.44e6, 2.4401e6]")
    assert found.endswith("more often are 2.44e+06")


@pytest.mark.parametrize(
    "constraint, range", [("accuracy >= 65", "in 0..1"), ("error <= -1", "in 0..1"), ("params <= -3", "never negative")]
)
def test_a_bound_is_one_that_its_metric_can_have(constraint, range):
    (found,) = problems(MINIMAL + f'[search]\nconstraints = ["{constraint}"]')
    assert found.startswith(f"search.constraints.0: constraint '{constraint}' has the bound")
    assert found.endswith(range)
    Recipe.parse(MINIMAL + '[search]\nconstraints = ["accuracy >= 1", "error <= 0", "maep <= 65"]')


@pytest.mark.parametrize(
    "url, complaint",
    [
        ("nodb://x:secret@host", "'nodb://...' is no database's URL (Can't load plugin"),
        ("redis://host", "'redis://...' is no database's URL"),
        ("postgresql+nodriver://host/a", "'postgresql+nodriver://...' is no database's URL"),
        ("mysql://host:port/a", "invalid literal"),
        ("://", "is no database's URL"),
    ],
)
def test_a_storage_is_one_that_can_be_opened(url, complaint):
    (found,) = problems(MINIMAL + f'[search]\nstorage = "{url}"')
    assert found.startswith("search.storage: ")
    assert complaint in found
    assert "secret" not in found


@pytest.mark.parametrize(
    "url", ["sqlite:///a.db", "postgresql://me:word@host:5432/a", "mysql+pymysql://host/a", "a.journal"]
)
def test_storages(url):
    assert Recipe.parse(MINIMAL + f'[search]\nstorage = "{url}"').search.storage == url


def test_budget_names_must_differ_and_be_folder_names():
    twice = MINIMAL + '[deliver]\nbudgets = [{name = "a"}, {name = "a", mean_macs = 2.0}]\n'
    assert "every budget's name may be given once; more often are a" in problems(twice)[0]
    assert "deliver.budgets.0.name" in problems(MINIMAL + '[deliver]\nbudgets = [{name = "../a"}]\n')[0]


@pytest.mark.parametrize("name", ["static-1M", "small-seed1"])
def test_a_budget_may_not_take_another_networks_folder(name):
    assert f"'{name}' may not begin with" in problems(MINIMAL + f'[deliver]\nbudgets = [{{ name = "{name}" }}]')[0]
