"""A device in a recipe, and what needs one."""

from importlib import metadata, resources
from pathlib import Path

import pytest
from recipe_mistakes import MINIMAL, problems

import offramp
from offramp.cost import DeviceModel, Table, cost, describe, map_network, zigzag
from offramp.pipeline import Run
from offramp.recipe import Recipe, RecipeError, find, shipped
from offramp.spaces import space

DEVICE = '[hardware]\ndevice = "quad-edge-tpu"\n'
EDGE = Path(offramp.__file__).parent / "cost" / "device_files" / "edge-tpu.toml"


def test_an_unknown_device_lists_the_known_ones():
    (problem,) = problems(MINIMAL + '[hardware]\ndevice = "toaster"\n')
    assert problem.startswith("hardware.device: device is 'toaster'; known are")
    assert "quad-edge-tpu" in problem


def test_a_device_without_hardware_a_file_that_is_not_there_and_one_with_mistakes_are_told(tmp_path):
    assert "'analytic' counts no energy" in problems(MINIMAL + '[hardware]\ndevice = "analytic"\n')[0]
    assert "no.toml cannot be read: No such file" in problems(MINIMAL + '[hardware]\ndevice = "no.toml"\n')[0]
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(EDGE.read_text().replace("clock_mhz = 500", 'clock_mhz = "fast"\nvolume = 3'))
    (problem,) = problems(MINIMAL + f'[hardware]\ndevice = "{wrong}"\n')
    assert "clock_mhz" in problem
    assert "volume" in problem


def test_a_file_of_one_s_own_is_kept_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(EDGE.read_text())
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.parse(MINIMAL + '[hardware]\ndevice = "mine.toml"\n')
    monkeypatch.chdir("/")
    assert Recipe.parse(recipe.to_toml()) == recipe
    assert recipe.hardware.device == str(tmp_path / "mine.toml")


def test_every_metric_that_needs_a_device_says_so_at_once():
    text = """
    [policy]
    et_avg = 3.0
    [search]
    objectives = ["error", "mean_energy_mj"]
    constraints = ["params <= 1e5", "mean_latency_ms <= 3"]
    [deliver]
    budgets = [{ name = "a" }, { name = "b", mean_latency_ms = 1.0 }]
    """
    found = problems(text)
    paths = [problem.split(" needs a device; name one in [hardware]")[0] for problem in found]
    assert paths == [
        "policy: et_avg", "search.objectives.1: mean_energy_mj", "search.constraints.1: mean_latency_ms",
        "deliver.budgets.1: mean_latency_ms",
    ]  # fmt: skip
    recipe = Recipe.parse(DEVICE + text)
    assert Recipe.parse(recipe.to_toml()) == recipe


def test_an_npu_tells_latency_and_no_energy():
    text = """
    [space]
    bits = [[8, 8]]
    [hardware]
    device = "ethos-u55-128"
    [policy]
    mean_latency_ms = 3.0
    [search]
    objectives = ["error", "mean_latency_ms"]
    """
    Recipe.parse(text)
    (problem,) = problems(text.replace('["error", "mean', '["error", "et_avg", "mean'))
    assert (
        problem
        == "search.objectives.1: et_avg needs energies, which ethos-u55-128 does not tell; it has mean_latency_ms"
    )


NPU = """
[hardware]
device = "ethos-u55-128"
[policy]
mean_latency_ms = 3.0
[search]
objectives = ["error", "mean_latency_ms"]
[space]
"""


@pytest.mark.parametrize(
    "options, offered",
    [
        ("", "[[32, 32]] of space 'offramp'"),
        ('name = "zniber"', "[[4, 4], [4, 8], [8, 4], [8, 8], [32, 32]] of space 'zniber'"),
        ("bits = [[4, 8], [8, 8]]", "[[4, 8], [8, 8]] of space 'offramp'"),
        ('name = "nachos"\nbits = [[8, 4]]', "[[8, 4]] of space 'nachos'"),
    ],
)
def test_an_npu_computes_at_8_bits_only(options, offered):
    only = "ethos-u55-128 computes at 8 bits only: allowed is [[8, 8]]"
    assert f"space.bits: {offered}; {only}" in problems(NPU + options)
    assert Recipe.parse(NPU + "bits = [[8, 8]]").space.options == {"bits": [[8, 8]]}
    # Another device has no such limit, and what is wrong otherwise is not told twice.
    free = NPU.replace("ethos-u55-128", "quad-edge-tpu") + "bits = [[4, 8], [8, 8]]"
    assert Recipe.parse(free).hardware.device == "quad-edge-tpu"
    assert [line.split(":")[0] for line in problems(NPU + "bits = [[9, 8]]")] == ["space.bits"]


def test_a_compiler_that_is_not_there_is_told_before_a_run_begins(monkeypatch, tmp_path):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    mine = tmp_path / "mine.toml"  # one that no other test has used: what Vela tells of a device is kept
    mine.write_text((resources.files("offramp.cost") / "device_files" / "ethos-u55-128.toml").read_text())
    text = NPU.replace("ethos-u55-128", str(mine)) + "bits = [[8, 8]]"
    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(RecipeError, match=r"hardware.device: .*ethos-u-vela .*: pip install 'offramp\[ethos\]'"):
        Recipe.parse(text, files=True)
    Recipe.parse(text)  # a run that is there can be shown without it


@pytest.mark.parametrize(
    "device, mapping, complaint",
    [
        ("quad-edge-tpu", "guess", "hardware.mapping: Input should be 'none', 'wait' or 'speculate'"),
        ("ethos-u55-128", "wait", "ethos-u55-128 has no cores to map to"),
        ("edge-tpu", "speculate", "needs a free core, and edge-tpu has one core"),
    ],
)
def test_a_mapping_needs_cores(device, mapping, complaint):
    text = f'[hardware]\ndevice = "{device}"\nmapping = "{mapping}"\n'
    assert complaint in problems(MINIMAL + text)[0]
    assert Recipe.parse(MINIMAL + DEVICE + 'mapping = "speculate"\n').hardware.mapping == "speculate"


ON_DEVICES = [name for name, path in shipped().items() if "[hardware]" in path.read_text()]


@pytest.mark.parametrize("name", ON_DEVICES)
def test_a_shipped_recipe_s_layers_are_in_the_shipped_table(name, monkeypatch, tmp_path):
    """A user without ZigZag runs it; images as CIFAR's."""
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path))
    recipe = Recipe.load(find(name))
    hardware = describe(recipe.hardware.device)
    model = DeviceModel(hardware, Table(hardware, Table.open(hardware).rows))  # computes nothing
    chosen = space(recipe.space.name, (3, 32, 32), 10, **recipe.space.options)
    for architecture in (*chosen.cover(), chosen.smallest(), chosen.largest(), *map(chosen.sample, range(20))):
        assert cost(architecture, model).total.energy_mj > 0
        if recipe.hardware.mapping != "none":
            assert map_network(architecture, model, recipe.hardware.mapping).energy_mj[-1] > 0


def test_a_layer_that_no_table_has_ends_a_run_before_it_has_begun(monkeypatch, tmp_path):
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path))
    monkeypatch.setattr(zigzag, "available", lambda: False)
    mine = tmp_path / "mine.toml"  # read anew, with a table of its own
    mine.write_text(EDGE.read_text())
    text = f'[data]\nname = "digits"\n[hardware]\ndevice = "{mine}"\n[policy]\nmean_macs = 1e5\n'
    run = Run.open(Recipe.parse(text), tmp_path / "run")
    with pytest.raises(LookupError, match=r"layer .* is not in the table of .* ZigZag is not installed"):
        run.carry_out()
    assert not run.folder.supernet.exists()


@pytest.mark.parametrize(
    "goal, metric, budget",
    [
        ("mean_macs = 2e5", "mean_macs", ("mean_macs", 2e5)),
        ("mean_energy_mj = 0.1", "mean_energy_mj", ("mean_energy_mj", 0.1)),
        ("mean_latency_ms = 0.1", "mean_latency_ms", ("mean_latency_ms", 0.1)),
        ("et_avg = 4", "et_avg", ("et_avg", 4.0)),
        ("accuracy = 0.7", "mean_macs", None),
        ('accuracy = 0.7\ncost = "et_avg"', "et_avg", None),
    ],
)
def test_goals(goal, metric, budget):
    recipe = Recipe.parse(f"{DEVICE}[policy]\n{goal}\n")
    assert (recipe.policy.metric, recipe.policy.budget) == (metric, budget)
    assert Recipe.parse(recipe.to_toml()) == recipe


@pytest.mark.parametrize(
    "goal, complaint",
    [
        ("mean_macs = 2e5\net_avg = 3", "give either mean_macs, mean_energy_mj"),
        ("accuracy = 0.5\net_avg = 3", "give either mean_macs, mean_energy_mj"),
        ('et_avg = 3\ncost = "et_avg"', "cost goes with accuracy"),
        ('accuracy = 0.5\ncost = "time"', "'time' is unknown; allowed are mean_macs"),
        ("et_avg = 0", "greater than 0"),
    ],
)
def test_goals_that_contradict(goal, complaint):
    assert complaint in problems(f"{DEVICE}[policy]\n{goal}\n")[0]


def test_a_network_has_one_budget():
    text = MINIMAL + DEVICE + '[deliver]\nbudgets = [{ name = "a", mean_macs = 1e5, et_avg = 1.0 }]\n'
    assert "deliver.budgets.0: a budget bounds one mean cost, not mean_macs and et_avg" in problems(text)[0]
