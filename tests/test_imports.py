"""Imports point one way (docs/design.md), and what need not be loaded is not."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "offramp"

BASE = {"architecture", "layers", "progress"}
MODEL = BASE | {"tflite", "cost", "spaces"}
LEARN = MODEL | {"nn", "policy", "data"}
TRAINED = LEARN | {"training"}
# What each part may import of the package, itself aside.
MAY = {
    "architecture": set(),
    "layers": {"architecture"},
    "progress": set(),
    "tflite": {"architecture", "layers"},
    "cost": {"architecture", "layers", "progress", "tflite"},
    "spaces": {"architecture", "layers", "cost"},
    "policy": set(),
    "data": {"progress"},
    "nn": MODEL | {"policy"},
    "training": LEARN,
    "search": MODEL | {"policy"},
    "search/scoring": TRAINED | {"search"},
    "search/oneshot": TRAINED | {"search"},
    "search/finetune": TRAINED | {"search"},
    "export": TRAINED | {"search"},
    "report": TRAINED | {"search", "export", "run_folder"},
    "run_folder": set(),
    # The top: these may import anything below, and each other as long as there is no circle (see the last test).
    "recipe": TRAINED | {"search", "export"},
    "metrics": LEARN | {"search"},
    "deliver": TRAINED | {"search", "export", "report", "recipe", "run_folder", "metrics"},
    "claim": TRAINED | {"recipe", "run_folder"},
    "preflight": TRAINED | {"search", "recipe"},
    "front": MODEL | {"data", "search", "recipe"},
    "choice": MODEL | {"data", "search", "recipe", "run_folder"},
    "pipeline": TRAINED
    | {"search", "export", "report", "recipe", "run_folder", "deliver", "claim", "preflight", "choice", "front"},
    "evaluate": TRAINED,
    "few_bits": TRAINED | {"search", "run_folder", "deliver", "pipeline"},
    "forecast": TRAINED | {"search", "deliver", "pipeline"},
    "operating_point": {"policy", "run_folder"},
    "cli": TRAINED
    | {
        "search",
        "export",
        "report",
        "recipe",
        "run_folder",
        "deliver",
        "pipeline",
        "evaluate",
        "few_bits",
        "forecast",
        "operating_point",
    }
    | {"tflite"},
    "__main__": {"cli"},
}


def part_of(path: Path) -> str:
    """`search/oneshot` where the file has a rule of its own, else its folder or module."""
    relative = path.relative_to(SOURCE).with_suffix("")
    return str(relative) if str(relative) in MAY else relative.parts[0]


def imported(path: Path, top_level_only: bool = False) -> Iterator[tuple[str, int]]:
    """Every name imported in a file, with its line; `from offramp import b` counts as `offramp.b`."""
    tree = ast.parse(path.read_text())
    for node in ast.iter_child_nodes(tree) if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            modules = [f"{module}.{alias.name}" for alias in node.names if module == "offramp"]
            yield from ((name, node.lineno) for name in modules or [module])


def files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    part = part_of(path)
    assert part in MAY, f"{part} is new: say in MAY what it may import"
    wrong = []
    for name, line in imported(path):
        if name.split(".")[0] != "offramp":
            continue
        target = name.split(".")[1]
        if target != part.split("/")[0] and target not in MAY[part]:
            wrong.append(f"{path}:{line}: {part} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_folder_s_private_files_are_its_own(path):
    """What another part needs has a public name."""
    own = path.relative_to(SOURCE).parts[0]
    for name, line in imported(path):
        parts = name.split(".")
        private = parts[0] == "offramp" and parts[1:2] != [own] and any(part.startswith("_") for part in parts[1:])
        assert not private, f"{path}:{line}: {name}"


def test_the_rules_have_no_circle():
    done: set[str] = set()
    while left := {part for part in MAY if part not in done and "/" not in part}:
        free = {part for part in left if MAY[part] <= done}
        assert free, f"a circle among {sorted(left)}"
        done |= free


def test_policies_costs_and_spaces_need_neither_torch_nor_optuna():
    heavy = {"torch", "optuna", "sklearn"}
    light = {"architecture", "layers", "progress", "tflite", "cost", "spaces", "policy", "recipe", "run_folder", "cli"}
    for path in files():
        if part_of(path) in light:
            found = {name.split(".")[0] for name, _ in imported(path, top_level_only=True)}
            assert not found & heavy, f"{path} imports {found & heavy} when it is loaded"


HELP = "import sys; sys.argv = ['offramp', {}]\nfrom offramp.cli import main\ntry: main()\nexcept SystemExit: pass"
LIGHT = [
    "import offramp",
    "import offramp.spaces, offramp.cost, offramp.policy, offramp.recipe, offramp.cli",
    "import offramp; offramp.cost(offramp.space('offramp', input=(1, 8, 8), classes=3).sample(0))",
    HELP.format("'--help'"),
    HELP.format("'run', '--help'"),
]


@pytest.mark.parametrize("code", LIGHT, ids=["package", "parts", "sample and cost", "--help", "run --help"])
def test_loads_neither_torch_nor_optuna(code):
    show = "\nimport sys; print('LOADED', sorted({'torch', 'optuna', 'sklearn', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_every_public_name_is_there():
    import offramp

    for name in offramp.__all__:
        assert getattr(offramp, name) is not None
    with pytest.raises(AttributeError, match="'offramp' has no attribute 'nothing'"):
        _ = offramp.nothing
