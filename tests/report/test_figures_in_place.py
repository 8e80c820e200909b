"""Every figure of the report stands where it is named, with its sign."""

from dataclasses import replace

import pytest

from offramp.policy import confidence
from offramp.report._curve import curve_data, device_curve_data
from offramp.report._delivered import groups
from offramp.report._drawing import drawing
from offramp.report._files import Files
from offramp.report._front import front_sentences
from offramp.report._headline import budget_kept, own_saving, tiles
from offramp.report._numbers import percent, si
from offramp.report._samples import samples
from offramp.report._tables import exit_table, network_table


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def saving(files):
    """One training: 40 MACs of 100, at 90 % where the last exit has 92 %."""
    group = files.chosen[0]
    figures = {"mean_macs": 40.0, "static_macs": 100.0, "test_accuracy": 0.9, "static_accuracy": 0.92}
    return replace(group, members=(replace(group.first, metrics=group.first.metrics | figures),))


def test_the_tile_against_the_last_exit_tells_what_is_saved_and_lost(saving):
    (tile,) = [tile for tile in tiles(saving) if tile.label == "Against its last exit alone"]
    assert (plain(tile.value), plain(tile.note)) == ("−60 % MACs", "accuracy −2.00 points")


def test_the_sentence_tells_what_stopping_early_saves_and_costs(saving, files):
    told = plain(own_saving(saving, files))
    assert "right in 92.00 % at 100 MACs: stopping early takes 60 % fewer MACs and costs 2.00 points" in told


def test_figures_of_exits_stand_under_their_headings(files):
    network = files.chosen[0].first
    table = exit_table(network)
    for row, record in zip(table.rows, network.exits, strict=True):
        found = dict(zip(table.header, row))
        assert found["share"] == percent(record["share"])
        assert found["right of these"] == percent(record["accuracy_of_leavers"])
        assert found["right of all images"] == percent(record["accuracy"], 2)
        assert found["branch MACs"] == si(record["branch_macs"])
        assert found["MACs up to here"] == si(record["macs"])


def test_figures_of_networks_stand_under_their_headings(files):
    table = network_table(files)
    found, metrics = dict(zip(table.header, table.rows[0])), files.chosen[0].first.metrics
    assert found["test accuracy"] == percent(metrics["test_accuracy"], 2)
    assert found["mean MACs"] == si(metrics["mean_macs"])
    assert found["last exit alone"] == percent(metrics["static_accuracy"], 2)
    assert found["its MACs"] == si(metrics["static_macs"])
    assert found["parameters"] == si(metrics["params"])


def test_the_slider_starts_at_what_the_policy_costs_on_select(files):
    network = files.chosen[0].first
    data, metrics = curve_data(network), network.metrics
    assert metrics["select"]["mean_macs"] != metrics["mean_macs"]
    assert data["start"] == metrics["select"]["mean_macs"]
    assert data["delivered"] == {"accuracy": metrics["test_accuracy"], "mean_macs": metrics["mean_macs"]}
    assert data["last"] == {"accuracy": metrics["static_accuracy"], "mean_macs": metrics["static_macs"]}


def test_the_backbone_alone_is_drawn_where_its_accuracy_is_known(device_run):
    network = Files.read(device_run).chosen[0].first
    metrics = network.metrics
    assert device_curve_data(network)["last"] == {
        "accuracy": metrics["static_accuracy"], "et_avg": metrics["static_et"]
    }  # fmt: skip
    dropped = replace(network, metrics=metrics | {"static_exit": metrics["static_exit"] + 1})
    assert device_curve_data(dropped)["last"] is None


def test_the_surest_images_are_shown(files, digits):
    network = files.chosen[0].first
    table = network.scores
    exits, sure = network.policy.decide(table), confidence("max_probability", table.logits)
    for one in samples(network, digits):
        here = [(sure[i, one.exit], table.correct[i, one.exit]) for i in range(table.samples) if exits[i] == one.exit]
        for shown, right in ((one.right, True), (one.wrong, False)):
            best = sorted((float(s) for s, r in here if r == right), reverse=True)
            if right:
                assert [s.confidence for s in shown][:1] == best[:1]
            else:
                assert [s.confidence for s in shown] == best[: len(shown)]


def test_the_road_tells_how_many_images_are_still_on_it(files):
    network = files.chosen[0].first
    staying, told = 1.0, []
    for stage in range(len(network.architecture.stages)):
        told.append(f"{percent(staying)} of images")
        if stage in network.architecture.exits:
            staying -= network.metrics["utilisation"][network.architecture.exits.index(stage)]
    assert len(set(told)) > 1
    assert [line.text for line in drawing(network).notes if "images" in line.text] == told


def test_a_budget_that_one_training_exceeds_on_select_was_not_met(files, tmp_path):
    (tmp_path / "recipe.toml").write_text('[deliver]\nbudgets = [{ name = "best", mean_macs = 25000.0 }]\n')
    group = files.chosen[0]
    spent = [24_000.0, 25_001.0, 24_000.0]
    members = tuple(
        replace(m, metrics=m.metrics | {"mean_macs": 25_510.0, "select": {"accuracy": 0.9, "mean_macs": macs}})
        for m, macs in zip(group.members, spent)
    )
    assert "which was not met either on select" in budget_kept(
        replace(group, members=members), replace(files, root=tmp_path)
    )


def test_the_exported_network_is_the_one_drawn_whatever_its_seed(files):
    first, *others = files.chosen[0].members
    late = replace(first, metrics=first.metrics | {"seed": 7})
    (group,) = groups([*others, late])
    assert group.first.name == "best"
    assert group.seeds == [7, 1, 2]


def test_the_most_accurate_kept_all_constraints(files):
    trials = [dict(t) for t in files.front["trials"]]
    loose = next(t for t in trials if t["study"] == "search" and t["metrics"] and not t["feasible"])
    loose["metrics"] = loose["metrics"] | {"accuracy": 0.9999}
    best = max(t["metrics"]["accuracy"] for t in trials if t["study"] == "search" and t["feasible"])
    text = " ".join(front_sentences(replace(files, front=files.front | {"trials": trials})))
    assert f"The most accurate of these reached {percent(best)} on select." in text


def test_a_budget_is_kept_by_what_differs_from_it_by_rounding(files, tmp_path):
    (tmp_path / "recipe.toml").write_text('[deliver]\nbudgets = [{ name = "best", mean_macs = 0.1 }]\n')
    group = files.chosen[0]
    for spent, kept in ((3 * 0.1 / 3, True), (0.1000001, False)):
        members = tuple(replace(m, metrics=m.metrics | {"mean_macs": spent}) for m in group.members)
        told = budget_kept(replace(group, members=members), replace(files, root=tmp_path))
        assert ("keep the budget" in told) == kept
