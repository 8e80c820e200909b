"""What a run's folder was begun with, and what a continued run may ask of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from offramp.architecture import Architecture
from offramp.cost import MeasuredModel
from offramp.cost import device as find_device
from offramp.data import Task
from offramp.nn.warm_start import read_network
from offramp.progress import tell
from offramp.recipe import Budget, Recipe, RecipeError, differences
from offramp.run_folder import RunFolder, read_json, write_json, write_text
from offramp.spaces import SearchSpace, options_of, space_class, with_full_path

_MAY_CHANGE = (
    "deliver.", "export.", "search.evaluations", "search.initial", "search.stop_after", "search.retrain",
    "search.baseline", "data.root",
)  # fmt: skip
"""What a continued run may ask for anew: what is computed already stays as it is."""
_FOR_NEW_ONES = ("deliver.drop_exits", "export.")
"""Of these, what makes a delivered network another one."""
_NAMED = 5


def claim_recipe(recipe: Recipe, folder: RunFolder) -> None:
    """Keep the recipe in the folder; refuse to go on with one that asks for something else.

    Raises:
        RecipeError: it does, and how it differs; or the folder holds other files and no run.
    """
    if strangers := folder.strangers():
        held = ", ".join(strangers[:_NAMED]) + (f" and {len(strangers) - _NAMED} more" if strangers[_NAMED:] else "")
        raise RecipeError(str(folder.root), [f"no run's folder, and not empty: it holds {held}; take another --out"])
    path, text = folder.recipe, recipe.to_toml()
    if path.exists() and folder.begun:
        stored = _stored(path)
        changed = differences(stored, tomllib.loads(text))
        refused = [line for line in changed if not line.startswith(_MAY_CHANGE)]
        if "constraints" not in recipe.search.model_fields_set and any(line.startswith("policy.") for line in refused):
            refused = [line for line in refused if not line.startswith("search.constraints:")]  # told of the policy
        refused += [*_other_seed(recipe, stored, folder), *_other_budgets(recipe, stored, folder)]
        if refused:
            hint = "take another --out for the changed recipe, or the recipe that the folder was made with"
            raise RecipeError(f"{path} belongs to another run", [*refused, hint])
        there = [
            name for budget in recipe.deliver.budgets if (name := folder.chosen(budget.name)) in folder.delivered()
        ]
        for line in [line for line in changed if line.startswith(_FOR_NEW_ONES)] if there else ():
            tell(f"{line}; networks that are there stay as they are: move {there[0]} away to have it made anew")
    write_text(path, text)


def lasting(recipe: Recipe) -> dict[str, Any]:
    """What a continued run may not change, by its path in the recipe, but for where trials are stored."""
    found = {
        f"{name}.{key}": value
        for name, section in recipe.model_dump(mode="json").items()
        if isinstance(section, dict)  # all but the seed
        for key, value in section.items()
    }
    return {k: v for k, v in found.items() if not k.startswith((*_MAY_CHANGE, "search.storage"))} | {
        "seed": recipe.seed
    }


def claim_data(task: Task, folder: RunFolder) -> None:
    """Keep in the folder which images these are; refuse to go on with others, whose figures would be mixed with theirs.

    Raises:
        RecipeError: they are others, and what differs.
    """
    splits = {name: len(split) for name, split in task.splits.items()}
    now = {"name": task.name, "splits": splits, "fingerprint": task.fingerprint()}
    then = read_json(folder.data) if folder.data.exists() else now
    if then != now:
        changed = [f"data.{line}" for line in differences(then, now)]
        hint = "take another --out, or the images that the run began with"
        raise RecipeError(f"{folder.root} was begun with other images", [*changed, hint])
    write_json(folder.data, now)


def claim_networks(recipe: Recipe, folder: RunFolder) -> None:
    """Keep in the folder the networks that budgets name, whose files may go; refuse another one under the same name.

    Raises:
        RecipeError: one is another than when the run began, or its file is not there or holds no network.
    """
    problems = []
    for i, budget in enumerate(recipe.deliver.budgets):
        if budget.architecture is None:
            continue
        copy, source = folder.named(budget.name), Path(budget.architecture).expanduser()
        try:
            if copy.exists() and not source.exists():
                continue
            found = Architecture.load(source)
            if copy.exists() and Architecture.load(copy) != found:
                raise ValueError(f"{source} is another network than when the run began; give it another name")
            write_text(copy, found.to_json(indent=1) + "\n")
        except (OSError, ValueError) as error:
            problems.append(f"deliver.budgets.{i}.architecture: {error}")
    if problems:
        raise RecipeError(str(folder.recipe), problems)


def claim_device(recipe: Recipe, folder: RunFolder) -> None:
    """Keep in the folder what a measured device tells; refuse to go on with other times, which would be mixed with its.

    Layers may have come in since.

    Raises:
        RecipeError: times have changed, and which.
    """
    model = find_device(recipe.hardware.device).model if recipe.hardware is not None else None
    if not isinstance(model, MeasuredModel):
        return
    now = model.measured.model_dump(exclude={"name", "about"})
    if folder.device.exists() and folder.begun:
        then = read_json(folder.device, list(now))
        kept = {words: now["layers"].get(words) for words in then["layers"]}
        changed = [f"hardware.device: {line}" for line in differences(then, now | {"layers": kept})]
        if changed:
            more = [f"and {len(changed) - _NAMED} more"] if changed[_NAMED:] else []
            hint = "take another --out, or the times that the run began with"
            raise RecipeError(
                f"{folder.root} was begun with other times of {model.measured.name}", [*changed[:_NAMED], *more, hint]
            )
    write_json(folder.device, now)


def claim_weights(recipe: Recipe, task: Task, space: SearchSpace) -> None:
    """Refuse a supernet of another kind of backbone than `space` has, or one that learned from images held out here.

    Raises:
        RecipeError: the run that `supernet.init` names, or whose network it names, has such a one.
    """
    kind, _, path = (recipe.supernet.init or "").partition(":")
    if kind == "network":
        try:
            read_network(path)
        except ValueError as error:
            raise RecipeError("supernet.init", [str(error)]) from error
    there = RunFolder(path if kind == "run" else Path(path).resolve().parent.parent)  # a run's chosen/NAME
    if kind not in ("run", "network") or not there.recipe.exists() or not there.data.exists():
        return
    other, then = Recipe.load(there.recipe, stored=True), read_json(there.data, ["name", "fingerprint"])
    problems = []
    alike = other.space.name == recipe.space.name or (space.once_for_all and space_class(other.space.name).once_for_all)
    if kind == "run" and not alike:
        problems.append(
            f"{path} has space {other.space.name!r}, whose backbone is not that of {recipe.space.name!r}; "
            "take a run of the same space (nachos, edanas and aebnas have one backbone)"
        )
    if then["name"] == task.name and then["fingerprint"] != task.fingerprint():
        if other.data.root != recipe.data.root:  # two folders of photos are both called "folder"
            tell(f"supernet.init: {path} was trained on {other.data.root}; none of its images may be held out here")
        else:
            hint = "give [data] as in its recipe.toml, so that no image of select, calibrate or test was trained on"
            problems.append(f"{path} was trained on another split of {task.name}; {hint}")
    if problems:
        raise RecipeError("supernet.init", problems)


def rooted(recipe: Recipe) -> Recipe:
    """With every path that it names in full, so that the run's folder can be used from anywhere, and the network that
    [space] names in place of its file."""
    changes: dict[str, Any] = {}
    settled = options_of(recipe.space.name, recipe.space.options).settled()
    changes["space"] = recipe.space.model_copy(update={"name": with_full_path(recipe.space.name), **settled})
    if (root := recipe.data.root) is not None:
        changes["data"] = recipe.data.model_copy(update={"root": _full(root)})
    if (init := recipe.supernet.init) is not None:
        kind, _, path = init.partition(":")
        changes["supernet"] = recipe.supernet.model_copy(update={"init": f"{kind}:{_full(path)}"})
    if (storage := recipe.search.storage) is not None:
        changes["search"] = recipe.search.model_copy(update={"storage": _full_storage(storage)})
    if any(budget.architecture is not None for budget in recipe.deliver.budgets):
        budgets = tuple(
            budget if budget.architecture is None
            else budget.model_copy(update={"architecture": _full(budget.architecture)})
            for budget in recipe.deliver.budgets
        )  # fmt: skip
        changes["deliver"] = recipe.deliver.model_copy(update={"budgets": budgets})
    return recipe.model_copy(update=changes)


def _full_storage(storage: str) -> str:
    """A journal's path, or a URL; that of an SQLite file has a path, too."""
    if "://" not in storage:
        return _full(storage)
    from sqlalchemy.engine import make_url

    url = make_url(storage)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return storage
    return url.set(database=_full(str(url.database))).render_as_string(hide_password=False)


def _full(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError as error:  # no such user
        raise ValueError(f"{path}: {error} Give a whole path") from error


def _stored(path: Path) -> dict[str, Any]:
    """The recipe in a run's folder, with the defaults of keys that came into being after it was written."""
    try:
        found = tomllib.loads(Recipe.load(path, stored=True).to_toml())
        if "max_macs" not in tomllib.loads(path.read_text(encoding="utf-8")).get("gates", {"max_macs": None}):
            del found["gates"]["max_macs"]  # of an earlier version: there was no L_cost then
        return found
    except RecipeError as error:  # it has keys that are no more: the differences name them
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # no TOML at all
            raise error from None


def _other_seed(recipe: Recipe, stored: Mapping[str, Any], folder: RunFolder) -> Iterator[str]:
    """The first seed's networks bear the budgets' own names, so another first seed would be taken for it."""
    then, now, delivered = stored.get("deliver", {}).get("seeds", [0])[0], recipe.deliver.seeds[0], folder.delivered()
    if then != now and delivered:
        name = delivered[0].name
        yield f"deliver.seeds: the first must stay {then}, with which {name!r} was delivered, and is {now}"


def _other_budgets(recipe: Recipe, stored: Mapping[str, Any], folder: RunFolder) -> Iterator[str]:
    """Budgets under whose name a network was delivered for another one, by the stored recipe or its own metrics."""
    before = {budget["name"]: budget for budget in stored.get("deliver", {}).get("budgets", [])}
    for budget in recipe.deliver.budgets:
        metrics = folder.chosen(budget.name) / "metrics.json"
        if not metrics.exists():
            continue
        if budget.name in before:
            then = Budget(**before[budget.name])
            alike = (then.budget, then.architecture is None) == (budget.budget, budget.architecture is None)
        else:  # it was in the recipe once, and was taken out
            asked = budget.budget or recipe.policy.budget
            alike = read_json(metrics).get("budget", asked and [*asked]) == (asked and [*asked])
        if not alike:
            yield f"deliver.budgets: {budget.name!r} was delivered for another budget; give the new one another name"
