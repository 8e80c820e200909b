"""Each piece of the page says what the run's files say."""

import base64
import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_folders import check_metrics

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Separable
from offramp.cost import cost
from offramp.data import Task
from offramp.policy import confidence
from offramp.report import comparisons
from offramp.report._curve import curve_data
from offramp.report._delivered import Group
from offramp.report._drawing import drawing
from offramp.report._files import Files
from offramp.report._front import cost_axes, failures, front_data, front_sentences, start
from offramp.report._headline import budget_kept, headline, own_saving, promise, static_saving, tiles
from offramp.report._labels import block_label, block_labels, branch_labels
from offramp.report._numbers import percent, si
from offramp.report._outline import outline
from offramp.report._samples import one_per_class, picture, samples
from offramp.report._tables import cost_table, exit_table, network_table, split_table
from offramp.report._utilisation import leavers


@pytest.fixture
def metrics(run: Path) -> dict:
    return json.loads((run / "chosen/best/metrics.json").read_text())


def test_the_fixture_is_consistent(run: Path, metrics: dict) -> None:
    check_metrics(metrics, run, "best")


def test_seeds_are_grouped_and_budgets_come_in_the_recipes_order(files: Files) -> None:
    assert [(g.name, g.seeds) for g in files.chosen] == [("best", [0, 1, 2]), ("tiny", [0])]
    assert [g.name for g in files.baselines] == ["static-0.10M", "static-0.25M"]
    assert [m.name for m in files.chosen[0].members] == ["best", "best-seed1", "best-seed2"]


def test_headline_is_the_mean_over_seeds(run: Path, files: Files) -> None:
    found = [json.loads((run / f"chosen/best{s}/metrics.json").read_text()) for s in ("", "-seed1", "-seed2")]
    accuracy, macs = (np.mean([m[key] for m in found]) for key in ("test_accuracy", "mean_macs"))
    made = headline(files)
    assert f"{100 * accuracy:.2f}" in made.title
    assert si(macs).split("\N{NO-BREAK SPACE}")[0] in made.title
    text = " ".join(made.sentences)
    assert "executed rule" in text
    assert "359 images of the test split" in text
    assert "seeds 0, 1 and 2" in text


def test_one_seed_comes_with_an_interval(files: Files) -> None:
    assert "interval" in tiles(files.chosen[1])[0].note


def test_static_comparison_never_claims_more_than_was_measured(files: Files) -> None:
    best = files.chosen[0]
    assert "at least as accurate" in static_saving(best, files.baselines)
    weak = [b for b in files.baselines if b.spread("test_accuracy").mean < best.spread("test_accuracy").mean]
    assert weak
    assert "No static network trained beside it is as accurate" in static_saving(best, weak)
    assert "No static network was trained" in static_saving(best, [])


def test_at_a_static_networks_accuracy_the_curve_tells_what_is_saved(files: Files) -> None:
    best, static = files.chosen[0], min(files.baselines, key=lambda b: b.spread("test_accuracy").mean)
    found = best.as_accurate(static, "mean_macs")
    assert found is not None
    needed = []
    for member in best.members:
        points = [p for p in member.curve or () if p["select"]["accuracy"] >= static.select_accuracy]
        needed.append(min(points, key=lambda p: p["select"]["mean_macs"])["test"])
    assert found[0].mean == pytest.approx(np.mean([test["accuracy"] for test in needed]))
    assert found[1].mean == pytest.approx(np.mean([test["mean_macs"] for test in needed]))
    saved = 1 - found[1].mean / static.spread("mean_macs").mean
    words = f"{abs(100 * saved):.0f}\N{NO-BREAK SPACE}% {'fewer' if saved > 0 else 'more'} MACs"
    told = f"thresholds as accurate as it on select, the early-exit network takes {words}, at {found[0].percent()}."
    assert told in static_saving(best, [static])
    perfect = static.first.metrics | {"select": {"accuracy": 1.01, "mean_macs": 1.0}}
    beyond = replace(static, members=(replace(static.first, metrics=perfect),))
    assert best.as_accurate(beyond, "mean_macs") is None
    assert "thresholds as accurate" not in static_saving(best, [beyond])


def test_each_delivered_network_is_compared_at_the_end_of_a_run(files: Files) -> None:
    said = comparisons(files.root)
    assert said == [f"{group.name}: {static_saving(group, files.baselines)}" for group in files.chosen]


def test_an_unused_last_exit_makes_no_saving_to_praise(files: Files) -> None:
    group = files.chosen[0]
    metrics = group.first.metrics | {"exits": [record | {"share": 0.0} for record in group.first.exits]}
    unused = replace(group, members=(replace(group.first, metrics=metrics),))
    assert "flatters" in own_saving(unused, files)
    assert len(tiles(unused)) == len(tiles(group)) - 1
    assert "flatters" not in own_saving(group, files)


def test_front_data_has_every_trial_that_succeeded(run: Path, files: Files) -> None:
    stored = json.loads((run / "front.json").read_text())["trials"]
    data = front_data(files)
    assert data is not None
    assert [t["metrics"] for t in data["trials"]] == [t["metrics"] for t in stored if t["metrics"]]
    assert len(data["delivered"]) == 6
    assert data["linked"]
    assert data["axes"][0]["name"] == "mean_macs"
    assert data["constraints"][0] == {"metric": "mean_macs", "bound": 1.6e5, "at_least": False}
    assert data["trials"][start(data)]["chosen"] == "best"
    for trial, source in zip(data["trials"], (t for t in stored if t["metrics"])):
        drawn = data["outlines"][trial["outline"]]
        assert drawn == outline(Architecture.model_validate(source["architecture"]))


def test_drawings_of_the_front_are_the_last_to_be_left_out(files: Files) -> None:
    data = front_data(files, limit=4000)
    assert data is not None
    drawn = [t for t in data["trials"] if t["outline"] is not None]
    assert 0 < len(drawn) < len(data["trials"])
    assert any(t["front"] for t in drawn)
    assert len(json.dumps(data["outlines"])) < 4200


def test_front_sentences_count(files: Files) -> None:
    text = " ".join(front_sentences(files))
    assert "40 networks" in text
    assert "24 networks" in text
    assert "1 failed" in text
    assert [f["failure"] for f in failures(files)] == ["RuntimeError: loss is NaN"] * 2


def test_networks_that_random_search_shares_with_the_search_are_told(files: Files) -> None:
    text = next(s for s in front_sentences(files) if s.startswith("Random search"))
    assert "8 of its 24 networks are the search's own first ones" in text
    assert files.front is not None
    # An equal network that the search chose later is no common beginning.
    trials = [t | {"proposer": "surrogate"} if t["study"] == "search" else t for t in files.front["trials"]]
    apart = replace(files, front=files.front | {"trials": trials})
    assert "first ones" not in " ".join(front_sentences(apart))


def budgeted(files: Files, folder: Path, group: Group, recipe: str, **metrics: float) -> tuple[Group, Files]:
    """The group as if measured so, in a folder with that recipe."""
    (folder / "recipe.toml").write_text(recipe)
    members = tuple(replace(member, metrics=member.metrics | metrics) for member in group.members)
    return replace(group, members=members), replace(files, root=folder)


OVER = {"mean_macs": 25_510.0, "select": {"accuracy": 0.95, "mean_macs": 24_854.0}}


@pytest.mark.parametrize(
    "recipe",
    [
        '[deliver]\nbudgets = [{ name = "best", mean_macs = 25000.0 }]\n[policy]\nmean_macs = 9e9',
        '[deliver]\nbudgets = [{ name = "best" }]\n[policy]\nmean_macs = 25000.0',
    ],
    ids=["of its own", "of the policy"],
)
def test_a_test_mean_above_the_budget_is_told(files: Files, tmp_path: Path, recipe: str) -> None:
    group, made = budgeted(files, tmp_path, files.chosen[0], recipe, **OVER)
    sentence = budget_kept(group, made).replace("\N{NO-BREAK SPACE}", " ")
    above = "On test, the mean MACs came to 25.5 k, 2.0 % above the budget of 25.0 k"
    assert sentence == f"{above}, which was met on select."
    within, _ = budgeted(files, tmp_path, group, recipe, mean_macs=25_000.0)
    kept = budget_kept(within, made).replace("\N{NO-BREAK SPACE}", " ")
    assert kept == "On test, the mean MACs of 25.0 k keep the budget of 25.0 k."
    neither, _ = budgeted(files, tmp_path, group, recipe, select={"accuracy": 0.95, "mean_macs": 25_001.0})
    assert "which was not met either on select" in budget_kept(neither, made)
    barely, _ = budgeted(files, tmp_path, group, recipe, mean_macs=25_001.0)
    assert "slightly above" in budget_kept(barely, made)
    assert sentence in " ".join(headline(replace(made, chosen=(group,))).sentences).replace("\N{NO-BREAK SPACE}", " ")


def test_the_budget_that_thresholds_were_set_for_is_told_of_a_network_no_budget_names(
    files: Files, tmp_path: Path
) -> None:
    group, made = budgeted(files, tmp_path, files.chosen[0], "[policy]\nmean_macs = 9e9", **OVER)
    own = replace(
        group, members=[replace(m, metrics=m.metrics | {"budget": ["mean_macs", 2.4e4]}) for m in group.members]
    )
    assert "6.3 % above the budget of 24.0 k" in budget_kept(own, made).replace("\N{NO-BREAK SPACE}", " ")
    none = replace(group, members=[replace(m, metrics=m.metrics | {"budget": None}) for m in group.members])
    assert budget_kept(none, made) == ""


def test_a_budget_on_the_device_is_told_without_select(files: Files, tmp_path: Path) -> None:
    recipe = '[deliver]\nbudgets = [{ name = "best", mean_energy_mj = 2.0 }]\n[policy]\nmean_macs = 1.0'
    group, made = budgeted(files, tmp_path, files.chosen[0], recipe, energy_mj=2.502)
    found = budget_kept(group, made).replace("\N{NO-BREAK SPACE}", " ")
    assert found == "On test, the mean energy came to 2.5 mJ, 25.1 % above the budget of 2 mJ."


@pytest.mark.parametrize(
    "recipe", ["", "no toml", "deliver = 3", '[deliver]\nbudgets = [{ name = "best" }]\n[policy]\naccuracy = 0.9']
)
def test_without_a_budget_there_is_none_to_exceed(files: Files, tmp_path: Path, recipe: str) -> None:
    group, made = budgeted(files, tmp_path, files.chosen[0], recipe, **OVER)
    assert budget_kept(group, made) == ""


@pytest.mark.parametrize(
    "ahead, told", [(0.025, " and is 2.5\N{NO-BREAK SPACE}points more accurate: "), (0.004, "MACs: ")]
)
def test_a_static_network_that_is_clearly_better_is_not_called_equal(files: Files, ahead: float, told: str) -> None:
    best, static = files.chosen[0], files.baselines[0]
    accuracy = best.spread("test_accuracy").mean + ahead
    better = replace(static.first, metrics=static.first.metrics | {"test_accuracy": accuracy})
    found = static_saving(best, [replace(static, members=(better,))])
    assert "at least as accurate" in found
    assert told in found
    assert ("more accurate" in found) == (ahead > 0.005)


def test_a_delivered_network_of_one_exit_is_no_early_exit_network(files: Files) -> None:
    static = max(files.baselines, key=lambda b: b.spread("test_accuracy").mean)
    found = static_saving(static, [static])
    assert "early-exit" not in found
    assert found.endswith("the delivered network takes as many MACs.")
    assert "full_macs >= NUMBER" in own_saving(static, files)


def test_other_objectives_choose_the_axis(files: Files) -> None:
    assert files.front is not None
    front = files.front | {"objectives": ["error", "params", "mean_macs"]}
    assert cost_axes(front)[:2] == ["params", "mean_macs"]
    data = front_data(replace(files, front=front))
    assert data is not None
    assert not data["linked"]


def test_labels() -> None:
    blocks = (Conv(out=8, stride=2), Separable(out=16, kernel=5), Bottleneck(out=16, hidden=48, squeeze=12, stride=2))
    assert [block_label(b) for b in blocks] == ["conv 3×3 →8 ↓2", "sep 5×5 →16", "IB 3×3 48→16 ↓2 SE"]
    assert block_labels([Conv(out=8), Conv(out=8), Conv(out=4)]) == ["2× conv 3×3 →8", "conv 3×3 →4"]
    assert branch_labels(Branch(pool="max", grid=2), 10) == ["max pool 2×2", "linear →10"]


def test_outline_has_the_costs_of_every_stage(files: Files) -> None:
    network = files.chosen[0].first
    costs = cost(network.architecture)
    made = outline(network.architecture)
    assert [stage["macs"] for stage in made] == [stage.macs for stage in costs.stages]
    assert [s["exit"] and s["exit"]["macs"] for s in made] == [b and b.macs for b in costs.branches]


def test_drawing_shows_the_figures_of_metrics_json(files: Files, metrics: dict) -> None:
    made = drawing(files.chosen[0].first)
    assert len(made.exits) == len(metrics["exits"])
    for box, record in zip(made.exits, metrics["exits"]):
        texts = [line.text for line in box.lines]
        assert percent(record["share"]) in texts
        assert f"{percent(record['accuracy'])} on all images" in texts
        assert f"up to here {si(record['macs'])} MACs" in texts
    ramps = [band for band in made.bands if band.exit is not None]
    assert [band.empty for band in ramps] == [share == 0 for share in metrics["utilisation"]]


def test_boxes_do_not_overlap_and_stay_inside(files: Files) -> None:
    for group in (*files.chosen, *files.baselines):
        made = drawing(group.first)
        for row in (made.stages, made.exits):
            for left, right in pairwise(row):
                assert left.x + left.width < right.x
            assert all(box.x + box.width <= made.width for box in row)
            assert all(box.y + box.height <= made.height for box in row)
        assert max(b.y + b.height for b in made.stages) < min(b.y for b in made.exits)
        assert all(box.y < line.y < box.y + box.height for box in (*made.stages, *made.exits) for line in box.lines)


def test_curve_holds_the_delivered_policy(files: Files, metrics: dict) -> None:
    data = curve_data(files.chosen[0].first, files.baselines)
    assert data is not None
    costs = [p["select"]["mean_macs"] for p in data["points"]]
    assert costs == sorted(costs)
    own = next(p for p in data["points"] if p["select"] == metrics["select"] and p["measure"] == metrics["measure"])
    assert own["test"] == {"accuracy": metrics["test_accuracy"], "mean_macs": metrics["mean_macs"]}
    assert [s["name"] for s in data["statics"]] == ["static-0.10M", "static-0.25M"]


def test_leavers_are_the_tables(files: Files, metrics: dict) -> None:
    made = leavers(files.chosen[0].first)
    assert [one.share for one in made] == metrics["utilisation"]
    assert sum(one.images for one in made) == 359
    assert sum(one.right_share for one in made) == pytest.approx(metrics["test_accuracy"])


def test_samples_left_where_they_are_shown(files: Files, digits: Task) -> None:
    network = files.chosen[0].first
    table = network.scores
    assert table is not None
    exits, sure = network.policy.decide(table), confidence("max_probability", table.logits)
    made = samples(network, digits)
    assert [one.left for one in made] == np.bincount(exits, minlength=table.exits).tolist()
    for one in made:
        for sample in (*one.right, *one.wrong):
            assert exits[sample.number] == one.exit
            assert sample.confidence == pytest.approx(float(sure[sample.number, one.exit]))
            assert sample.truth == digits.classes[int(digits.test.labels[sample.number])]
        assert all(sample.truth == sample.predicted for sample in one.right)
        assert all(sample.truth != sample.predicted for sample in one.wrong)


def test_a_picture_is_the_image(digits: Task) -> None:
    image = digits.test.images[3].numpy()
    uri = picture(image)
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(data))) == image[0]).all()
    colour = np.random.default_rng(0).integers(0, 255, (3, 5, 7), dtype=np.uint8)
    data = base64.b64decode(picture(colour).removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1) == colour).all()
    four = np.concatenate([colour, colour[:1]])
    data = base64.b64decode(picture(four).removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(data))) == four[0]).all()


def test_large_images_are_made_smaller() -> None:
    data = base64.b64decode(picture(np.zeros((3, 300, 200), np.uint8)).removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(data)).size == (64, 96)


def test_one_per_class_takes_turns() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    assert one_per_class(np.array([0, 1, 3, 2, 4]), labels).tolist() == [0, 3, 4, 1, 2]
    assert one_per_class(np.array([], int), labels).tolist() == []


def test_tables_name_split_and_rule_and_have_the_files_figures(files: Files, metrics: dict) -> None:
    network = files.chosen[0].first
    exits, delivered = exit_table(network), network_table(files)
    for table in (exits, delivered):
        assert "Test split, n = 359" in table.caption
        assert "executed rule" in table.caption
    for row, record in zip(exits.rows, metrics["exits"], strict=True):
        assert percent(record["accuracy"], 2) in row
        assert si(record["macs"]) in row
        assert percent(record["calibration_error"]) in row
    for macs in metrics["mean_macs_by_rule"].values():
        assert si(macs) in exits.caption
    assert "dropped" not in exits.caption
    assert (
        "Dropped behind stage 0 and 2: on"
        in exit_table(replace(network, metrics=metrics | {"dropped_exits": [0, 2]})).caption
    )
    assert [row[0] for row in delivered.rows][:3] == ["best", "best-seed1", "best-seed2"]
    assert percent(metrics["test_accuracy"], 2) in delivered.rows[0]
    assert cost_table(network).rows[-1][2] == si(metrics["full_macs"])
    assert [row[1] for row in split_table(files).rows] == ["988", "270", "180", "359"]
    for table in (exits, delivered, cost_table(network), split_table(files)):
        assert all(len(row) == len(table.header) for row in table.rows)


def test_what_is_promised_is_told_where_it_was_measured(files: Files) -> None:
    group = files.chosen[0]
    held = {"n": 2000, "confidence": 0.95, "error_at_most": 0.1234, "lost_at_most": 0.0456}
    member = group.first
    made = replace(member, metrics=member.metrics | {"guarantee": held})
    sentence = promise(Group(group.name, (made,))).replace("\N{NO-BREAK SPACE}", " ")
    assert sentence.startswith("With 95.0 % confidence each")
    assert "(n = 2,000)" in sentence
    assert "12.3 % are answered wrongly" in sentence
    assert "4.6 % wrongly where the last exit" in sentence
    without = {k: v for k, v in member.metrics.items() if k != "guarantee"}
    assert promise(Group(group.name, (replace(member, metrics=without),))) == ""
    one = member.metrics | {"guarantee": held, "exits": member.metrics["exits"][:1]}
    assert "last exit" not in promise(Group(group.name, (replace(member, metrics=one),)))
