"""What one section needs of another; devices have a file of their own."""

import pytest
from recipe_mistakes import MINIMAL, problems

from offramp.recipe import DeliverSection, PolicySection, Recipe, SearchSection
from offramp.spaces import SPACES, space
from own_backbone import needed


def test_a_way_to_set_thresholds_is_checked():
    assert Recipe.parse(MINIMAL).policy.thresholds == "tuned"
    assert problems(MINIMAL + 'thresholds = "guessed"')[0].endswith("allowed are tuned, genes, repair, grid")
    assert "space 'offramp' has no thresholds among its genes" in problems(MINIMAL + 'thresholds = "genes"')[0]
    assert Recipe.parse(MINIMAL + 'thresholds = "genes"\n[space]\nname = "edanas"').policy.thresholds == "genes"


def test_the_papers_grid_needs_margins_and_a_target_of_mean_macs():
    (found,) = problems(MINIMAL + 'thresholds = "grid"')
    assert found.startswith("policy.thresholds: 'grid' scores margins against a target of mean MACs")
    assert found.endswith("(given: goal mean_macs and measures max_probability)")
    (found,) = problems('[policy]\naccuracy = 0.7\nmeasures = ["margin"]\nthresholds = "grid"')
    assert found.endswith("(given: goal accuracy and measures margin)")
    assert Recipe.parse(MINIMAL + 'measures = ["margin"]\nthresholds = "grid"').policy.thresholds == "grid"


GATED = [name for name in SPACES if space(name, (3, 32, 32), 10, **needed(name)).largest().gated]


def gates_of(name: str) -> str:
    return f'[space]\nname = "{name}"\n[policy]\nmeasures = ["gate", "gate_sum"]\nmean_macs = 1e6\n'


def test_a_space_without_gates_is_told_before_anything_runs():
    (problem,) = problems(gates_of("offramp"))
    assert problem.startswith(
        "policy.measures: gate, gate_sum reads the exits' gates, and the exits of space 'offramp'"
    )
    (problem,) = problems(MINIMAL + "[gates]\nmax_macs = 1e6\n")
    assert problem == "gates: the exits of space 'offramp' have no gates; drop the section"


@pytest.mark.parametrize("name", GATED)
def test_a_space_with_gates_may_ask_for_them(name):
    assert Recipe.parse(gates_of(name)).policy.measures == ("gate", "gate_sum")


NACHOS = '[space]\nname = "nachos"\n[policy]\nmac_rule = "paper"\nmean_macs = 1e6\n[gates]\n'


def test_search_and_delivery_have_the_bound_of_the_policy_unless_they_say_otherwise():
    recipe = Recipe.parse("[policy]\nmean_macs = 2345678")
    assert recipe.search.constraints == ("mean_macs <= 2345678.0",)
    assert [(b.name, b.budget) for b in recipe.deliver.budgets] == [("best", ("mean_macs", 2345678.0))]
    assert Recipe.parse(recipe.to_toml()) == recipe
    changed = Recipe.parse(MINIMAL, overrides=["policy.mean_macs=2e6"])
    assert (changed.bounds[0], changed.deliver.budgets[0].mean_macs) == (2e6, 2e6)
    of_latency = Recipe.parse('[hardware]\ndevice = "edge-tpu"\n[policy]\nmean_latency_ms = 0.5')
    assert of_latency.search.constraints == ("mean_latency_ms <= 0.5",)
    assert of_latency.search.objectives == ("error", "mean_latency_ms")
    assert of_latency.deliver.budgets[0].budget == ("mean_latency_ms", 0.5)
    said = Recipe.parse(MINIMAL + "[search]\nconstraints = []\n[deliver]\nbudgets = [{ name = 'knee' }]")
    assert (said.search.constraints, said.deliver.budgets[0].budget) == ((), None)
    by_energy = Recipe.parse('[hardware]\ndevice = "edge-tpu"\n[policy]\naccuracy = 0.9\ncost = "mean_energy_mj"')
    assert by_energy.search.objectives == ("error", "mean_energy_mj")
    asked = Recipe.parse(MINIMAL + "[search]\nobjectives = ['error', 'params']")
    assert asked.search.objectives == ("error", "params")
    # One-shot accuracies are lower than those of trained networks: none is asked of the search.
    by_accuracy = Recipe.parse("[policy]\naccuracy = 0.9")
    assert (by_accuracy.search.constraints, by_accuracy.deliver.budgets[0].budget) == ((), None)


def test_sections_that_two_recipes_share_do_not_pass_on_a_bound():
    search, deliver = SearchSection(), DeliverSection()
    for bound in (1e6, 2e6):
        recipe = Recipe(policy=PolicySection(mean_macs=bound), search=search, deliver=deliver)
        assert (recipe.bounds[0], recipe.deliver.budgets[0].mean_macs) == (bound, bound)
    assert (search.constraints, deliver.budgets[0].mean_macs) == ((), None)


def test_what_follows_the_policy_follows_it_when_it_is_overridden():
    recipe = Recipe.parse(NACHOS).overridden(["policy.mean_macs=2e6", 'policy.mac_rule="executed"', "seed=3"])
    assert (recipe.bounds[0], recipe.deliver.budgets[0].mean_macs, recipe.gates.max_macs) == (2e6, 2e6, 2e6)
    assert (recipe.gates.mac_rule, recipe.seed) == ("executed", 3)
    said = "[search]\nconstraints = ['mean_macs <= 5e5']\n[deliver]\nbudgets = [{ name = 'a', mean_macs = 4e5 }]"
    kept = Recipe.parse(MINIMAL + said).overridden(["policy.mean_macs=3e5"])
    assert (kept.search.constraints, kept.deliver.budgets[0].mean_macs) == (("mean_macs <= 500000",), 4e5)


def test_a_wrong_bound_of_the_policy_makes_up_no_other_mistake():
    (problem,) = problems("[policy]\nmean_macs = 'x'\n[search]\ndomination = 'penalty'")
    assert problem.startswith("policy.mean_macs")
    energy = "[policy]\nmean_energy_mj = 1\n[hardware]\ndevice = 'edge-tpu'\n[search]\ndomination = 'penalty'"
    assert Recipe.parse(energy).search.objectives == ("error", "mean_energy_mj")
    (problem,) = problems(MINIMAL + "[search]\ndomination = 'penalty'\nobjectives = ['error', 'params']")
    assert "needs a bound on an objective" in problem


def test_a_static_network_within_a_budget_needs_a_bound_and_a_search():
    text = "[policy]\naccuracy = 0.7\n[deliver]\nstatic_budget = true\nbudgets = "
    bounded, free = '[{ name = "a", mean_macs = 1e6 }', '{ name = "b" }]'
    (found,) = problems(f"{text}{bounded}, {free}")
    assert found == (
        "deliver.static_budget: b of deliver.budgets bounds no mean cost; give it one, or leave static_budget out"
    )
    assert Recipe.parse(f"{text}{bounded}]").deliver.static_budget
    assert Recipe.parse(f"{MINIMAL}[deliver]\nstatic_budget = true\nbudgets = [{free}").deliver.static_budget
    found = problems(f"{MINIMAL}[search]\nevaluations = 0\n[deliver]\nstatic_budget = true\nstatic_macs = [1e6]")
    assert [line.split(":")[0] for line in found] == [
        "search.evaluations", "deliver.static_macs", "deliver.static_budget"
    ]  # fmt: skip


def test_what_the_policy_bounds_is_asked_for_once():
    (problem,) = problems("[policy]\nmean_energy_mj = 1")
    assert problem.startswith("policy: mean_energy_mj needs a device")


def test_gates_are_trained_for_the_goal_of_the_policy_unless_they_say_otherwise():
    gates = Recipe.parse(NACHOS).gates
    assert (gates.mac_rule, gates.max_macs) == ("paper", 1e6)
    assert Recipe.parse(NACHOS, overrides=["policy.mean_macs=2e6"]).gates.max_macs == 2e6
    explicit = Recipe.parse(NACHOS + 'mac_rule = "paper"\nmax_macs = 3e6')
    assert explicit.gates.max_macs == 3e6
    # The run's folder keeps it as it was, and one recipe is the other.
    assert Recipe.parse(explicit.to_toml()) == explicit
    assert explicit.to_toml() == Recipe.parse(NACHOS + "max_macs = 3e6").to_toml()
    by_accuracy = NACHOS.replace("mean_macs = 1e6", "accuracy = 0.6")
    assert Recipe.parse(by_accuracy).gates.max_macs is None


def test_two_mac_rules_are_refused():
    (found,) = problems(NACHOS + 'mac_rule = "executed"')
    assert found.startswith("gates.mac_rule: 'executed' is another rule than policy.mac_rule, 'paper'")
    # Nor is the default another rule where something else is wrong.
    assert [line.split(":")[0] for line in problems(NACHOS + "lr = -1")] == ["gates.lr"]
    assert [line.split(":")[0] for line in problems(NACHOS, "train.lr=-1")] == ["train.lr"]
    assert [line.split(":")[0] for line in problems(NACHOS, "policy.mac_rule=1")] == ["policy.mac_rule"]


def test_thresholds_that_nobody_reads_are_no_genes():
    """Candidates that differ in them alone would be one network, evaluated twice."""
    for name in ("edanas", "aebnas"):
        text = MINIMAL + f'measures = ["margin"]\n[space]\nname = "{name}"\n'
        (found,) = problems(text)
        assert found == (
            "space.thresholds: 0.1, 0.2 give the same network under policy.thresholds = 'tuned', which sets its own; "
            'give one of them and 1.0, or policy.thresholds = "genes"'
        )
        assert len(problems(text, "policy.thresholds=repair")) == 1
        for allowed in ("policy.thresholds=genes", "space.thresholds=[0.2, 1.0]", "space.thresholds=[0.2]"):
            Recipe.parse(text, overrides=[allowed])


def test_a_target_is_asked_for_where_a_metric_measures_the_distance_to_it():
    text = '[search]\nobjectives = ["error", "maep"]\nconstraints = ["maep <= 0.1"]\n[policy]\n'
    assert problems(text + "accuracy = 0.7") == (
        "search.objectives.1: maep needs the target policy.mean_macs",
        "search.constraints.0: maep needs the target policy.mean_macs",
    )
    assert Recipe.parse(text + "mean_macs = 1e5").search.objectives == ("error", "maep")


def test_all_that_is_missing_is_told_in_order():
    text = """
    [policy]
    measures = ["gate"]
    et_avg = 3.0
    thresholds = "genes"
    [search]
    objectives = ["error", "maep"]
    """
    paths = [problem.partition(":")[0] for problem in problems(text)]
    assert paths == ["policy.measures", "policy", "search.objectives.1", "policy.thresholds"]
