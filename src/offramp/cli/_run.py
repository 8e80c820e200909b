"""Commands on runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offramp.cli._options import Folder, Json
from offramp.cli._print import mega, percent, percents, print_json, print_line, print_table, stderr
from offramp.run_folder import RunFolder, damaged, read_json

if TYPE_CHECKING:
    from offramp.recipe import Recipe

_FRONT = ("objectives", "constraints", "mac_rule", "split", "n")
_TESTED = {
    "mean_macs": "mean_macs", "mean_energy_mj": "energy_mj", "mean_latency_ms": "latency_ms", "et_avg": "et_avg",
}  # fmt: skip
"""What a budget may bound -> its name in metrics.json."""
_METRICS = ("kind", "test_accuracy", "mean_macs", "mac_rule", "utilisation", "seed", "splits")


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or the name of one that `offramp recipes` lists.")],
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; default runs/NAME, or that of a run whose recipe.toml it is.")
    ] = None,
    set: Annotated[list[str] | None, typer.Option(help="Override a value: section.key=value. May be repeated.")] = None,
) -> None:
    """Carry out a recipe. Started again on the same folder, it goes on where it stopped."""
    from offramp.recipe import find

    path = find(recipe)  # before torch is loaded: a wrong name is told at once
    folder = out or _folder_of(path)
    _check_no_file(folder)
    with _stoppable("Stopped. The same command goes on from here."):
        from offramp.pipeline import run as carry_out

        made = carry_out(path, folder, set or ())
    _print_delivered(made.folder.delivered(), made.recipe)
    from offramp.report import comparisons

    for sentence in comparisons(made.folder.root):
        print_line(sentence)
    print_line(f"Report: {made.folder.report}")


@contextmanager
def _stoppable(told: str) -> Iterator[None]:
    """Ctrl-C ends what is inside with exit status 130, whatever it has become on its way out.

    It may come while an extension module is loaded, and numpy's C interface then raises an ImportError in its place.
    """
    pressed, before = False, signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    ours = before is signal.default_int_handler and current_thread() is main_thread()  # not ignored, nor another's
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    except BaseException as error:
        if not (_interrupt(error) or (pressed and isinstance(error, ImportError))):
            raise
        stderr.print(told)
        raise typer.Exit(130) from None
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def _interrupt(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C, or came while that was on its way out."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _folder_of(recipe: Path) -> Path:
    """Where a recipe is carried out unless it is said otherwise."""
    beside = RunFolder(recipe.parent)
    return beside.root if recipe.name == beside.recipe.name and beside.log_file.exists() else Path("runs") / recipe.stem


def _check_no_file(out: Path) -> None:
    """Raise a ValueError where `out` is a file, or lies below one."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"the run's folder would be {out}, but {place} is a file; give --out another folder")


def front(folder: Folder, as_json: Json = False) -> None:
    """Show the Pareto front of a run."""
    path = folder / "front.json"
    if not path.exists() and not (folder / "recipe.toml").exists():
        raise FileNotFoundError(f"{folder} is not the folder of a run: it has no recipe.toml")
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: the search has not ended. Start `offramp run` again to go on.")
    stored = read_json(path, (*_FRONT, "evaluator", "trials"))
    try:
        _show_front(stored, as_json)
    except (KeyError, TypeError) as error:
        raise damaged(path, f"a trial is not as it should be: {error!r}") from error


def _show_front(stored: dict[str, Any], as_json: bool) -> None:
    trials = [t for t in stored["trials"] if t["front"] and t["study"] == "search"]
    trials.sort(key=lambda t: [t["metrics"][name] for name in stored["objectives"]][::-1])
    if as_json:
        print_json({**{key: stored[key] for key in _FRONT}, "front": trials})
    else:
        where = f"{stored['evaluator']} on {stored['split']} (n = {stored['n']}), MACs {stored['mac_rule']}"
        _print_front(f"{len(trials)} networks; {where}", trials)


def _print_front(title: str, trials: list[dict[str, Any]]) -> None:
    measured = _on_device([t["metrics"] for t in trials], ("mean_energy_mj", "mean_latency_ms", "et_avg"))
    rows = [
        [t["number"], percent(m["accuracy"]), mega(m["mean_macs"]), mega(m["full_macs"]), f"{m['params']:,.0f}",
         *(f"{m[name]:.4g}" for name in measured), percents(t["utilisation"])]
        for t, m in ((t, t["metrics"]) for t in trials)
    ]  # fmt: skip
    columns = ["trial", "accuracy", "mean MMACs", "full MMACs", "params", *measured.values(), "utilisation"]
    print_table(title, columns, rows)


def _print_delivered(folders: list[Path], recipe: Recipe) -> None:
    found = [read_json(folder / "metrics.json", _METRICS) for folder in folders]
    if not found:
        return
    measured = _on_device(found, ("energy_mj", "latency_ms", "et_avg"))
    rows = [
        [folder.name, m["kind"], percent(m["test_accuracy"]), mega(m["mean_macs"]),
         *(f"{m[name]:.4g}" for name in measured), percents(m["utilisation"]), m["seed"]]
        for folder, m in zip(folders, found)
    ]  # fmt: skip
    where = f" on {found[0]['device']}" if measured else ""
    title = f"test split (n = {found[0]['splits']['test']}), MACs {found[0]['mac_rule']}{where}"
    columns = ["network", "kind", "accuracy", "mean MMACs", *measured.values(), "utilisation", "seed"]
    print_table(title, columns, rows)
    from offramp.report import one_exit

    asked = {budget.name: budget.budget for budget in recipe.deliver.budgets}
    named = {budget.name for budget in recipe.deliver.budgets if budget.architecture}
    for folder, m in zip(folders, found):
        name = folder.name.partition("-seed")[0]
        if name not in asked:
            continue  # trained for comparison
        print_line(f"{folder.name} {_kept(m, asked[name] or recipe.policy.budget, recipe.policy.accuracy)}")
        if folder.name == name and m["kind"] == "static" and (name not in named or m.get("dropped_exits")):
            print_line(f"{name} has one exit: {one_exit(m.get('dropped_exits', ()), asked[name] is not None)}.")


def _kept(metrics: dict[str, Any], budget: tuple[str, float] | None, accuracy: float | None) -> str:
    """Whether a network keeps on test what it was asked for: a mean cost at most, or, without one, least accuracy."""
    if budget is None:
        least = accuracy or 0.0
        missed = least - metrics["test_accuracy"]
        told = "keeps" if missed <= 0 else f"is {percent(missed)} below"
        return f"{told} its accuracy on test: >= {percent(least)}"
    metric, most = budget
    above = metrics[_TESTED[metric]] / most - 1
    told = "keeps" if above <= 0 else f"is {percent(above)} above" if above >= 5e-5 else "is slightly above"
    shown = f"{mega(most)} mean MMACs" if metric == "mean_macs" else f"{metric} {most:g}"
    return f"{told} its budget on test: <= {shown}"


def _on_device(records: list[dict[str, Any]], names: tuple[str, str, str]) -> dict[str, str]:
    """Those of energy, latency and their product that every record has, with the heads of their columns."""
    heads = zip(names, ("mean mJ", "mean ms", "ET_avg, J x cycles"))
    return {name: head for name, head in heads if records and all(name in record for record in records)}
