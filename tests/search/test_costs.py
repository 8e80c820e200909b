"""What leaving costs on a device, by exit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import offramp
from offramp.architecture import Architecture, Branch, Conv, Stage
from offramp.cost import LayerCost, NpuModel, cost, describe, map_network
from offramp.search import METRICS, analytic_costs
from offramp.search.costs import Costs
from offramp.spaces import Candidate, space

SPACE = space("zniber", (3, 32, 32), 10, width=0.25)
QUAD = Costs(device="quad-edge-tpu")
FILES = Path(offramp.__file__).parent / "cost" / "device_files"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_by_hand_from_stages_and_branches(seed) -> None:
    architecture = SPACE.sample(seed)
    energy, latency, expected = 0.0, 0.0, []
    for record in cost(architecture, "quad-edge-tpu").exits:  # a branch that did not let a sample go was paid for
        energy += record.stage.energy_mj + record.branch.energy_mj
        latency += record.stage.latency_ms + record.branch.latency_ms
        expected.append((energy, latency, energy * latency * 500))
    found = QUAD.leaving(architecture)
    by_exit = list(zip(found["mean_energy_mj"], found["mean_latency_ms"], found["et_avg"]))
    assert by_exit == [pytest.approx(values) for values in expected]
    assert found["dynamic_efficiency"] == pytest.approx([e / energy for e, _, _ in expected])
    assert found["exit_overhead_mj"] == (0.0,) * len(expected)


def test_in_the_paper_s_unit_a_faster_clock_changes_latency_only(tmp_path) -> None:
    own = tmp_path / "fast.toml"
    text = (FILES / "edge-tpu.toml").read_text()
    own.write_text(text.replace('name = "edge-tpu"', 'name = "fast"').replace("clock_mhz = 500", "clock_mhz = 1000"))
    assert describe(str(own)).clock_mhz == 1000
    slow, fast = (Costs(device=name).leaving(SPACE.sample(1)) for name in ("edge-tpu", str(own)))
    assert fast["mean_energy_mj"] == slow["mean_energy_mj"]
    assert fast["mean_latency_ms"] == pytest.approx([t / 2 for t in slow["mean_latency_ms"]])
    assert fast["et_avg"] == pytest.approx(slow["et_avg"])


@pytest.mark.parametrize("rule", ["executed", "paper"])
def test_macs_keep_their_rule_and_the_device_has_its_own(rule) -> None:
    architecture = SPACE.largest()
    found = Costs(rule, "quad-edge-tpu").leaving(architecture)
    assert found["mean_macs"] == cost(architecture).leaving("macs", rule)
    assert found["mean_energy_mj"] == QUAD.leaving(architecture)["mean_energy_mj"]


def test_known_are_the_analytic_costs_and_what_means_cannot_fall_below() -> None:
    for seed in range(20):
        candidate = Candidate(SPACE.sample(seed))
        plain, known, leaving = analytic_costs(candidate), QUAD.known(candidate), QUAD.leaving(candidate.architecture)
        assert {name: known[name] for name in plain if name != "least_mean_macs"} == {
            name: value for name, value in plain.items() if name != "least_mean_macs"
        }
        for name in ("mean_macs", "mean_energy_mj", "mean_latency_ms", "et_avg"):
            assert known[f"least_{name}"] == min(leaving[name])
        assert set(Costs().known(candidate)) == set(plain)


def test_a_mean_may_fall_below_the_cheapest_exit_where_dear_branches_are_dropped() -> None:
    dear, plain = Branch(blocks=(Conv(out=64, kernel=5),)), Branch()
    stages = (Stage(blocks=(Conv(out=8),), exit=dear), Stage(blocks=(Conv(out=8, stride=2),), exit=plain))
    network = Architecture(input=(3, 16, 16), classes=4, stages=stages)
    alone = cost(network.with_exits((1,))).total.macs
    assert alone < min(Costs().leaving(network)["mean_macs"])
    for rule in ("executed", "paper"):
        assert Costs(rule).known(Candidate(network))["least_mean_macs"] == alone


@pytest.mark.parametrize("mode", ["wait", "speculate"])
def test_mapped_costs_are_the_mapper_s(mode) -> None:
    costs = Costs(device="quad-edge-tpu", mapping=mode)
    for seed in range(4):
        architecture = SPACE.sample(seed)
        found, mapping = costs.leaving(architecture), map_network(architecture, "quad-edge-tpu", mode)
        shares = np.random.default_rng(seed).dirichlet(np.ones(len(architecture.exits)))
        assert np.dot(shares, found["mean_energy_mj"]) == pytest.approx(mapping.mean_energy(shares))
        assert np.dot(shares, found["mean_latency_ms"]) == pytest.approx(mapping.mean_latency(shares))
        assert np.dot(shares, found["et_avg"]) == pytest.approx(mapping.et(shares))
        assert np.dot(shares, found["exit_overhead_mj"]) == pytest.approx(mapping.mean_overhead(shares))
        assert costs.known(Candidate(architecture))["least_et_avg"] == min(found["et_avg"])


def test_every_metric_of_a_device_is_there_with_one_and_none_without() -> None:
    of_device = {name for name, metric in METRICS.items() if metric.device}
    assert set(QUAD.leaving(SPACE.sample(0))) == {"mean_macs", *of_device}
    assert set(Costs().leaving(SPACE.sample(0))) == {"mean_macs"}


class Clockwork(NpuModel):
    """Takes 2 ms for every stage and 1 for a branch."""

    def stages(self, architecture, files=None):
        branches = [LayerCost(latency_ms=1.0) if stage.exit else None for stage in architecture.stages]
        return [(LayerCost(latency_ms=2.0), branch) for branch in branches]


def test_an_npu_tells_latencies_and_is_not_asked_for_what_must_be_quick() -> None:
    costs, architecture = Costs(device="ethos-u55-128"), SPACE.sample(3)
    assert costs.known(Candidate(architecture)) == analytic_costs(Candidate(architecture))  # needs no compiler
    costs._model = Clockwork(costs._model.npu)
    found = costs.leaving(architecture)
    assert set(found) == {"mean_macs", "mean_latency_ms"}
    expected = [2.0 * (stage + 1) + number + 1 for number, stage in enumerate(architecture.exits)]
    assert found["mean_latency_ms"] == pytest.approx(expected)


def test_unknown_device() -> None:
    with pytest.raises(ValueError, match=r"device is 'toaster'; known are .*quad-edge-tpu"):
        Costs(device="toaster")
