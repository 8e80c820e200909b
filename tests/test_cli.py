import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy
import pytest
import tomli_w
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from offramp.architecture import Architecture, Precision
from offramp.claim import claim_data, claim_recipe, rooted
from offramp.cli import app, main
from offramp.cli._devices import _layers
from offramp.cli._print import print_line, print_table
from offramp.cli._run import _folder_of, _print_delivered
from offramp.cost import cost
from offramp.cost.tables import Built
from offramp.data import DataError
from offramp.layers import layers
from offramp.nn import build
from offramp.pipeline import Run
from offramp.policy import Policy
from offramp.recipe import Recipe, RecipeError, shipped
from offramp.spaces import space

TINY = str(Path(__file__).parent / "e2e" / "tiny.toml")
DIVERGES = [part for given in ("supernet.lr=1e12", "supernet.epochs=1", "data.limit=128") for part in ("--set", given)]


def call(*arguments, catch=True):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=catch)


@pytest.fixture
def architecture(tmp_path):
    path = tmp_path / "architecture.json"
    path.write_text(call("sample", "offramp", "--seed", "3", "--input", "1x16x16", "--classes", "4").stdout)
    return path


def test_a_table_in_a_pipe_shows_every_figure(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [[f"network-{i}", *(f"0.0{i}{column}345678" for column in range(12))] for i in range(3)]
    print_table("some", ["network", *(f"column {column}" for column in range(12))], rows)
    said = capsys.readouterr().out
    assert all(cell in said for row in rows for cell in row)


def delivered_as(folder, **metrics):
    found = {
        "kind": "early-exit", "test_accuracy": 0.9, "mean_macs": 24_000.0, "mac_rule": "executed", "seed": 0,
        "utilisation": [0.5, 0.5], "splits": {"test": 100}, "dropped_exits": [],
    } | metrics  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(found))
    return folder


@pytest.mark.parametrize(
    "name, goal, metrics, said",
    [
        ("small", "mean_macs = 3e4", {"mean_macs": 24_000}, "keeps its budget on test: <= 0.025 mean MMACs"),
        ("small-seed1", "mean_macs = 3e4", {"mean_macs": 25_500}, "is 2.00% above its budget on test: <= 0.025 mean "),
        ("best", "mean_macs = 3e4", {"mean_macs": 24_000}, "keeps its budget on test: <= 0.030 mean MMACs"),
        ("best", "et_avg = 0.5", {"et_avg": 0.51}, "is 2.00% above its budget on test: <= et_avg 0.5"),
        ("best", "mean_energy_mj = 0.5", {"energy_mj": 0.25}, "keeps its budget on test: <= mean_energy_mj 0.5"),
        ("best", "accuracy = 0.9", {"test_accuracy": 0.91}, "keeps its accuracy on test: >= 90.00%"),
        ("best", "accuracy = 0.9", {"test_accuracy": 0.89}, "is 1.00% below its accuracy on test: >= 90.00%"),
    ],
)
def test_it_is_told_whether_a_budget_is_kept(name, goal, metrics, said, tmp_path, capsys):
    device = '[hardware]\ndevice = "quad-edge-tpu"\n'
    budgets = '[deliver]\nbudgets = [{ name = "small", mean_macs = 2.5e4 }, { name = "best" }]\n'
    recipe = Recipe.parse(f"{device}{budgets}[policy]\n{goal}")
    folders = [delivered_as(tmp_path / name, **metrics), delivered_as(tmp_path / "static-0.2M")]
    _print_delivered(folders, recipe)
    told = capsys.readouterr().out
    assert f"\n{name} {said}" in told
    assert "\nstatic-0.2M " not in told


@pytest.mark.parametrize(
    "dropped, bound, said",
    [
        ([], ", mean_macs = 9e4", "nothing more accurate within its budget that leaves early"),
        (
            [],
            "",
            'no better trade-off. Larger networks have to leave early to keep a budget: a constraint such as "full',
        ),
        ([3], "", "other exits are dropped"),
    ],
)
def test_a_delivered_network_of_one_exit_comes_with_advice(dropped, bound, said, tmp_path, capsys):
    budgets = f'[deliver]\nbudgets = [{{ name = "a"{bound} }}, {{ name = "b" }}]'
    recipe = Recipe.parse(f"[policy]\nmean_macs = 1e5\n{budgets}")
    static = {"kind": "static", "utilisation": [1.0]}
    folders = [delivered_as(tmp_path / "a", **static, dropped_exits=dropped), delivered_as(tmp_path / "b")]
    _print_delivered([*folders, delivered_as(tmp_path / "static-9k", **static)], recipe)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " has one exit: " in line]
    assert line.startswith("a has one exit: ")
    assert said in line


def test_a_line_may_hold_brackets(capsys):
    print_line("a [search] b")
    assert capsys.readouterr().out == "a [search] b\n"


def test_the_recipe_in_a_run_s_folder_goes_on_with_that_run(tmp_path):
    (tmp_path / "recipe.toml").touch()
    assert _folder_of(tmp_path / "recipe.toml") == Path("runs/recipe")
    (tmp_path / "log.jsonl").touch()
    assert _folder_of(tmp_path / "recipe.toml") == tmp_path
    assert _folder_of(tmp_path / "other.toml") == Path("runs/other")


def test_help_and_light_commands_import_neither_torch_nor_optuna():
    stored = ["--set", "search.storage=sqlite:///a.db"]
    checked = [["validate", "digits", "--show"], ["validate", "digits", "--show", *stored]]
    commands = [["--help"], ["recipes"], *checked, ["sample", "offramp"], ["devices"]]
    script = f"""
import sys
from typer.testing import CliRunner
from offramp.cli import app
for arguments in {commands!r}:
    assert CliRunner().invoke(app, arguments).exit_code == 0, arguments
    assert not {{"torch", "optuna", "sklearn", "pymoo"}} & set(sys.modules), arguments
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_sample_is_an_architecture_of_the_asked_shape(architecture):
    found = Architecture.load(architecture)
    assert found.input == (1, 16, 16)
    assert found.classes == 4


def test_sample_takes_the_options_of_the_space():
    given = ["--set", "width=0.25", "--set", "bits=[[8, 4]]", "--set", 'heads=["single"]']
    found = Architecture.from_json(call("sample", "zniber", "--largest", *given).stdout)
    wanted = space("zniber", (3, 32, 32), 10, width=0.25, bits=[[8, 4]], heads=["single"])
    assert found == wanted.largest()


def test_sample_smallest_is_cheaper_than_largest():
    ends = [Architecture.from_json(call("sample", "offramp", f"--{end}").stdout) for end in ("smallest", "largest")]
    assert cost(ends[0]).total.macs < cost(ends[1]).total.macs


def test_cost_agrees_with_the_library(architecture):
    found = json.loads(call("cost", str(architecture), "--json").stdout)
    expected = cost(Architecture.load(architecture))
    assert found["total"]["macs"] == expected.total.macs
    assert found["macs_by_exit"]["executed"] == list(expected.leaving())
    assert f"{expected.total.macs / 1e6:.3f}" in call("cost", str(architecture)).stdout


def test_init_prints_a_recipe_that_validates(tmp_path):
    text = call("init", "digits").stdout
    assert text == shipped()["digits"].read_text()
    (tmp_path / "my.toml").write_text(text)
    assert call("validate", str(tmp_path / "my.toml")).exit_code == 0


def test_validate_looks_at_the_images(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (20, 20), (20 * i, 99, 0)).save(tmp_path / f"photos/{name}/{i}.png")
    text = call("init", "folder").stdout.replace('"photos"', f"'{tmp_path / 'photos'}'")
    (tmp_path / "my.toml").write_text(text)
    small = ["--set", "supernet.batch=8", "--set", "train.batch=8"]
    found = call("validate", str(tmp_path / "my.toml"), *small)
    assert found.exit_code == 0, found.exception
    assert found.stdout.endswith("no mistakes found\n")
    with pytest.raises(RecipeError, match=r"supernet\.batch is 32; the train split has") as caught:
        call("validate", str(tmp_path / "my.toml"), "--set", "policy.mean_macs=1e4", catch=False)
    assert "policy.mean_macs: no candidate of space 'offramp' found" in str(caught.value)
    (tmp_path / "photos/cats/3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"3\.png"):
        call("validate", str(tmp_path / "my.toml"), catch=False)


def test_validate_tells_what_is_learnt_from_and_how_long_it_takes(monkeypatch):
    monkeypatch.setattr("offramp.forecast._LEAST_SECONDS", 0.0)
    lines = call("validate", TINY, "--time").stdout.splitlines()
    assert lines[0].startswith("1,797 images of 1 x 8 x 8 (0 178, 1 182, ")
    assert lines[0].endswith("): train 988, select 270, calibrate 180, test 359")
    assert [line.partition(":")[0] for line in lines[1:5]] == [
        "supernet", "search", "random search, for comparison", "deliver",
    ]  # fmt: skip
    assert lines[5].startswith("in all about ")
    assert lines[6].endswith("no mistakes found")


def test_validate_says_where_it_could_not_look_at_the_images(monkeypatch):
    monkeypatch.delenv("OFFRAMP_DATA", raising=False)
    found = call("validate", "cifar10-2.4M")
    assert found.exit_code == 0
    assert "the images were not looked at: give data.root, or set OFFRAMP_DATA" in found.stdout


def test_validate_shows_every_default(tmp_path):
    shown = tomllib.loads(call("validate", "digits", "--show").stdout)
    assert shown["train"]["joint_epochs"] == 50
    assert shown["search"]["statistics_images"] == 2000  # not in the recipe
    assert shown["train"]["quantized_epochs"] == 4  # and not in a run's folder
    assert shown["space"]["bits"] == [[32, 32]]
    assert shown["space"]["max_exits"] == 3
    assert shown["deliver"]["budgets"] == [{"name": "25k", "mean_macs": 2.5e4}]
    (tmp_path / "shown.toml").write_text(tomli_w.dumps(shown))
    assert tomllib.loads(call("validate", str(tmp_path / "shown.toml"), "--show").stdout) == shown
    assert call("validate", "folder", "--show").exit_code == 0  # its photos are not there


def test_validate_tells_weights_that_have_seen_what_is_held_out_here(tmp_path, monkeypatch):
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (20, 20), (20 * i, 99, 0)).save(tmp_path / f"photos/{name}/{i}.png")
    monkeypatch.chdir(tmp_path)
    text = '[data]\nname = "folder"\nroot = "photos"\nseed = {}\n[policy]\nmean_macs = 5e6\n[supernet]\nbatch = 8\n'
    old = Run(rooted(Recipe.parse(text.format(0))), "old")
    claim_recipe(old.recipe, old.folder)
    claim_data(old.task, old.folder)
    old.folder.supernet.touch()
    Path("my.toml").write_text(text.format(1) + 'init = "run:old"\n[train]\nbatch = 8\n')
    with pytest.raises(RecipeError, match="trained on another split"):
        call("validate", "my.toml", catch=False)


def test_the_version_is_that_of_the_package():
    assert call("--version").stdout == f"offramp {version('offramp')}\n"


def test_recipes_are_listed_with_what_they_are_about():
    lines = call("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    (digits,) = (line for line in lines if line.startswith("digits "))
    assert digits.endswith("scikit-learn's handwritten digits, 8 x 8 pixels.")
    (folder,) = (line for line in lines if line.startswith("folder "))
    assert folder.endswith("at most 5 M MACs in the mean.")
    (cut_short,) = (line for line in lines if line.startswith("zniber-cifar10 "))
    assert cut_short.endswith("for accuracy against energy x latency.")


def test_a_table_is_built_for_every_layer_of_a_space_once(tmp_path, monkeypatch):
    asked = []

    def build_table(hardware, wanted, workers, on_chip_only, path):
        asked.extend(wanted)
        return Built(path, len(asked), 1234)

    monkeypatch.setattr(sys.modules["offramp.cost"], "build_table", build_table)  # ZigZag would take hours
    out = tmp_path / "table.json"
    done = call("devices", "build", "edge-tpu", "--samples", "5", "--input", "1x16x16", "--out", str(out))
    assert done.stdout == f"{out}: {len(asked):,} entries computed, 1,234 in all\n"
    found = space("offramp", (1, 16, 16), 10)
    networks = [*found.cover(), found.smallest(), found.largest(), *map(found.sample, range(5))]
    needed = {item[1:] for n in networks for stage in layers(n) for item in (*stage.backbone, *stage.branch)}
    assert len({item[1:] for item in asked}) == len(asked) < 2000
    assert {item[1:] for item in asked} >= needed


def test_layers_are_collected_until_nothing_new_comes_and_of_networks_cut_short():
    found = space("nachos", (3, 32, 32), 10)
    collected = _layers(found, 30)
    for seed in range(20):
        network = found.sample(seed)
        for kept in range(1, len(network.exits) + 1):
            part = network.with_exits(network.exits[:kept])
            assert {item[1:] for stage in layers(part) for item in (*stage.backbone, *stage.branch)} <= set(collected)
    rare = space("offramp", (3, 32, 32), 10)
    assert len(_layers(rare, 60)) > len(_layers(rare, 1))


_SMALL_SPACE = [
    "--input", "1x8x8", "--set", "stem_widths=[8]", "--set", "widths=[[8], [12]]", "--set", "strides=[1, 2]",
    "--set", "depths=[[1], [1]]", "--set", 'activations=["relu", "relu"]',
]  # fmt: skip


def test_a_measured_machine_is_a_device_and_what_was_measured_is_kept(tmp_path, monkeypatch, capsys):
    file, network = tmp_path / "here.toml", tmp_path / "network.json"
    told = call("devices", "measure", str(file), *_SMALL_SPACE, "--samples", "1", "--networks", "8").stdout
    first = tomllib.loads(file.read_text())
    assert f"{len(first['layers'])} layers" in told
    assert "Kendall's tau" in told
    network.write_text(call("sample", "offramp", "--largest", *_SMALL_SPACE).stdout)
    found = json.loads(call("cost", str(network), "--device", str(file), "--json").stdout)
    assert found["total"]["latency_ms"] > 0
    again = call("devices", "measure", str(file), *_SMALL_SPACE, "--samples", "30", "--networks", "12")
    second = tomllib.loads(file.read_text())
    assert again.exit_code == 0
    assert first["layers"].items() < second["layers"].items()
    refusal = refused(["devices", "measure", str(file), *_SMALL_SPACE, "--threads", "2"], monkeypatch, capsys)
    assert "threads: 1'; this is" in refusal
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    few = Architecture.load(network).model_copy(update={"precision": eight})
    (tmp_path / "few.json").write_text(few.to_json())
    said = refused(["cost", str(tmp_path / "few.json"), "--device", str(file)], monkeypatch, capsys)
    assert "weights of 8 and activations of 8 bits; here was measured in float" in said
    assert tomllib.loads(file.read_text()) == second
    assert "must end in .toml" in refused(["devices", "measure", str(tmp_path / "here")], monkeypatch, capsys)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["validate", "nothing"], "known are"),
        (["validate", "digits", "--set", "search.proposer=guess"], "search.proposer: 'guess' is unknown"),
        (["validate", "digits", "--set", "supernet.init=ofa:/no/such.pth"], "there is no file '/no/such.pth'"),
        (["validate", "FOLDER"], "a folder; give the file of a recipe"),
        (["run", TINY, "--out", "NEW", *DIVERGES], "lower supernet.lr (now 1e+12)"),
        (["sample", "elsewhere"], "known are offramp"),
        (["sample", "offramp", "--input", "32x32"], "3x32x32"),
        (["sample", "offramp", "--smallest", "--largest"], "exclude each other"),
        (["devices", "build", "edge-tpu", "--set", "classes=5", "--set", "depths"], "'depths': it is not of the form"),
        (["devices", "build", "edge-tpu", "--set", "classes=5", "--set", "depths"], "space.classes: there is no such"),
        (["devices", "build", "edge-tpu", "--set", "name=zniber"], "the space was given as 'offramp'"),
        (["sample", "zniber", "--set", "width=0"], "space.width"),
        (["cost", "ARCHITECTURE", "--device", "abacus"], "known are analytic"),
        (["front", "FOLDER"], "is not the folder of a run: it has no recipe.toml"),
        (["predict", "no.onnx", "no.png"], "no such file"),
        (["export", "FOLDER", "--tflite", "out", "--device", "quad-edge-tpu"], "no NPU"),
    ],
)
def test_errors_end_with_a_message_and_no_traceback(arguments, message, architecture, tmp_path, monkeypatch, capsys):
    places = {"ARCHITECTURE": str(architecture), "FOLDER": str(tmp_path), "NEW": str(tmp_path / "new")}
    assert message in refused([places.get(a, a) for a in arguments], monkeypatch, capsys)


def refused(arguments, monkeypatch, capsys):
    """What the command line says of what it cannot do."""
    monkeypatch.setattr(sys, "argv", ["offramp", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    return capsys.readouterr().err


@pytest.fixture
def delivered(architecture, tmp_path):
    """A run's folder with one network in it."""
    folder = tmp_path / "run" / "chosen" / "small"
    folder.mkdir(parents=True)
    net = build(Architecture.load(architecture), 0)
    save_file(net.state_dict(), folder / "weights.safetensors")
    (folder / "architecture.json").write_text(architecture.read_text())
    exits = len(net.architecture.exits)
    (folder / "policy.json").write_text(Policy("margin", (0.5,) * (exits - 1)).to_json())
    metrics = {"splits": {"test": 2}, "classes": ["a", "b", "c", "d"], "mac_rule": "executed"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder.parents[1] / "recipe.toml").write_text("[policy]\nmean_macs = 1e5\n")
    return folder


def test_a_delivered_network_is_evaluated(delivered, tmp_path):
    numpy.savez(tmp_path / "mine.npz", images=numpy.zeros((6, 16, 16), numpy.uint8), labels=numpy.arange(6) % 4)
    done = call("evaluate", str(delivered), "--data", str(tmp_path / "mine.npz"), "--json")
    assert json.loads(done.stdout)["n"] == 6


TRAINED_ANEW = "and run again, and the network is trained anew"
WRITTEN_ANEW = "remove it and run again, and it is written anew"


@pytest.mark.parametrize(
    "name, content, advice",
    [
        ("architecture.json", "", TRAINED_ANEW),
        ("architecture.json", "{}", TRAINED_ANEW),
        ("policy.json", "{", TRAINED_ANEW),
        ("policy.json", "{}", TRAINED_ANEW),
        ("weights.safetensors", None, TRAINED_ANEW),
        ("weights.safetensors", "", TRAINED_ANEW),
        ("metrics.json", "{", TRAINED_ANEW),
        ("metrics.json", "{}", TRAINED_ANEW),
        ("../../recipe.toml", "[policy", "not valid TOML"),
        ("../../recipe.toml", "[policy]\nmean_macs = -1", "policy.mean_macs"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(name, content, advice, delivered, monkeypatch, capsys):
    path = (delivered / name).resolve()
    if content is None:
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_text(content)
    said = refused(["evaluate", str(delivered)], monkeypatch, capsys)
    assert path.name in said
    assert str(path.parent) in said
    assert advice in said
    assert "pydantic.dev" not in said


def test_weights_of_another_network_are_named(delivered, monkeypatch, capsys):
    other = build(space("offramp", (1, 16, 16), 4).largest(), 0)
    save_file(other.state_dict(), delivered / "weights.safetensors")
    said = refused(["evaluate", str(delivered)], monkeypatch, capsys)
    assert f"{delivered / 'weights.safetensors'} does not hold the weights of this network" in said
    assert len(said) < 600


def trial(**fields):
    return {"front": True, "study": "search", "number": 0, "utilisation": [1.0], **fields}


@pytest.mark.parametrize(
    "content, complaint",
    [
        ("", "Expecting value"),
        ("{}", "no objectives, constraints, mac_rule, split, n, evaluator, trials in it"),
        ("[]", "no objectives"),
        ({"trials": [{}]}, "a trial is not as it should be: KeyError('front')"),
        ({"trials": 3}, "a trial is not as it should be"),
        ({"trials": [trial(metrics={})]}, "a trial is not as it should be: KeyError('error')"),
        ({"trials": [trial(metrics={"error": 0.1})]}, "a trial is not as it should be: KeyError("),
    ],
)
def test_a_damaged_front_is_named(content, complaint, tmp_path, monkeypatch, capsys):
    whole = dict.fromkeys(("constraints", "mac_rule", "split", "n", "evaluator"), "") | {"objectives": ["error"]}
    text = content if isinstance(content, str) else json.dumps(whole | content)
    (tmp_path / "front.json").write_text(text)
    said = refused(["front", str(tmp_path)], monkeypatch, capsys)
    assert f"{tmp_path / 'front.json'} is damaged ({complaint}" in said
    assert WRITTEN_ANEW in said


def test_a_run_that_is_still_searching_has_no_front(tmp_path, monkeypatch, capsys):
    (tmp_path / "recipe.toml").touch()
    assert "the search has not ended" in refused(["front", str(tmp_path)], monkeypatch, capsys)


def test_a_damaged_architecture_is_named(architecture, monkeypatch, capsys):
    architecture.write_text(architecture.read_text().replace('"classes": 4', '"classes": 1'))
    said = refused(["cost", str(architecture)], monkeypatch, capsys)
    assert said == f"error: {architecture} is no architecture: classes: Input should be greater than or equal to 2\n"


def test_a_network_in_place_of_an_architecture_is_named(architecture, monkeypatch, capsys):
    architecture.write_bytes(b"\x08\x07\xaa\xff")
    said = refused(["cost", str(architecture)], monkeypatch, capsys)
    assert said == f"error: {architecture} is no architecture: it is no text (offset 2)\n"
