"""Networks mapped to several cores: what holds for every one, and what the mapping says of itself."""

import itertools
import json

import pytest
from mapping_cases import EIGHT, QUAD, found_by, random_model, small
from typer.testing import CliRunner

from offramp import cost as cost_of
from offramp import space
from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Dense, Stage
from offramp.cli import app
from offramp.cost import DeviceModel, Mapping, MissingLayer, Table, backbone_alone, map_network
from offramp.cost.cores import Cores
from offramp.cost.mapping import cores_mapped_to
from offramp.cost.tables import Entry
from offramp.layers import layers


def zniber(seed: int) -> Architecture:
    return space("zniber", bits=[(8, 8)]).sample(seed)


@pytest.mark.parametrize("seed", range(6))
def test_on_one_core_it_is_the_sum_over_layers(seed):
    """Without a mesh there is nothing to add."""
    plain, mapping = cost_of(zniber(seed), "edge-tpu"), map_network(zniber(seed), "edge-tpu")
    assert mapping.energy_mj == pytest.approx(plain.leaving("energy_mj"))
    assert mapping.latency_ms == pytest.approx(plain.leaving("latency_ms"))
    assert mapping.full_depth.energy_mj == pytest.approx(plain.total.energy_mj)


def test_the_mesh_says_what_traffic_off_chip_costs():
    """1000 pJ for 64 bits where the core's own description says 700: the difference is the weights'."""
    architecture = zniber(0)
    plain, mapping = cost_of(architecture, "quad-edge-tpu"), map_network(architecture, "quad-edge-tpu", cores=1)
    weights = sum(x.weights for stage in layers(architecture) for x in (*stage.backbone, *stage.branch))
    more = (mapping.energy_mj[-1] - plain.total.energy_mj) * 1e9
    assert more == pytest.approx(weights * 8 / 64 * (1000 - 700), rel=1e-6)
    assert mapping.latency_ms == pytest.approx(plain.leaving("latency_ms"))


@pytest.mark.parametrize("objective", ["energy", "latency", "et"])
def test_more_cores_and_more_freedom_never_cost_more(objective):
    for seed in range(4):
        architecture = zniber(seed)
        shares = [1 / len(architecture.exits)] * len(architecture.exits)
        values = [
            found_by("quad-edge-tpu", architecture, mode, objective, shares, cores)[1]
            for cores, mode in [(1, "wait"), (2, "wait"), (4, "wait"), (4, "speculate")]
        ]
        assert values == sorted(values, reverse=True) or values == pytest.approx(sorted(values, reverse=True))


def test_work_done_for_nothing_is_counted():
    """Two exits; the head is long and needs little DRAM, so that the next convolution starts beside it."""

    def compute(hardware, geometry, placement):
        head = geometry.height == 1
        cycles = 1000.0 if head else 600.0 if geometry.channels > 3 else 300.0
        return Entry(1.0, cycles, cycles, 0.0, (10, 0, 0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (4e4, 0.0, 0.0))

    model = DeviceModel(QUAD, Table(QUAD, {}, None, compute))
    architecture = small([1, 1], [True, True], classes=10)
    shares = (0.1, 0.9)
    wait, ahead = (map_network(architecture, model, mode, "latency", shares) for mode in ("wait", "speculate"))
    assert wait.overhead_mj == (0, 0)
    (started,) = (run for run in ahead.runs if run.stage == 1 and run.layer == "blocks.0.conv")
    (head,) = (run for run in ahead.runs if run.stage == 0 and run.layer == "classifier")
    assert started.start < head.end
    assert head.cores == Cores(model).spare.cores
    assert not set(started.cores) & set(head.cores)
    assert ahead.overhead_mj == (pytest.approx(started.energy_mj), 0)
    assert ahead.energy_mj[0] == pytest.approx(sum(r.energy_mj for r in ahead.runs if r.stage == 0) + started.energy_mj)
    assert ahead.stage_energy_mj[0] == pytest.approx(sum(run.energy_mj for run in ahead.runs if run.stage == 0))
    assert ahead.latency_ms[1] < wait.latency_ms[1]
    assert ahead.mean_overhead(shares) == pytest.approx(0.1 * started.energy_mj)


@pytest.mark.parametrize("mode", ["wait", "speculate"])
@pytest.mark.parametrize("seed", [0, 3, 4])
def test_runs_tell_the_whole_story(mode, seed):
    architecture = zniber(seed)
    mapping = map_network(architecture, mode=mode)
    wanted = [(i, x.name) for i, s in enumerate(layers(architecture)) for x in (*s.backbone, *s.branch)]
    assert [(run.stage, run.layer) for run in mapping.runs] == wanted
    assert sum(run.energy_mj for run in mapping.runs) == pytest.approx(mapping.energy_mj[-1])
    assert max(run.end for run in mapping.runs) == pytest.approx(mapping.latency_ms[-1] * 5e5)
    for k, latency in enumerate(mapping.latency_ms):
        assert max(run.end for run in mapping.runs if run.exit == k) == pytest.approx(latency * 5e5)
    for a, b in itertools.combinations(mapping.runs, 2):
        if set(a.cores) & set(b.cores):
            assert a.end <= b.start + 1e-6 or b.end <= a.start + 1e-6, (a, b)
    assert sum(mapping.stage_latency_ms) == pytest.approx(mapping.latency_ms[-1])
    assert sum(mapping.stage_energy_mj) == pytest.approx(mapping.energy_mj[-1])


def test_a_device_says_how_many_cores_are_mapped_to():
    assert [cores_mapped_to(name) for name in ("quad-edge-tpu", "edge-tpu")] == [4, 1]
    with pytest.raises(ValueError, match="'analytic', which describes no hardware"):
        cores_mapped_to("analytic")


def test_both_definitions_of_the_average():
    """0.5 x (2 x 100) + 0.5 x (4 x 300) against 3 x 200."""
    one = Mapping("d", 1, 2.0, "wait", "et", (2.0, 4.0), (100.0, 300.0), (0.0, 0.0), ())
    assert (one.et((0.5, 0.5)), one.et_of_means((0.5, 0.5))) == (2 * 700, 2 * 600)  # mJ ms at 2 MHz: J x cycles
    assert one.full_depth == (4.0, 300.0, 2 * 1200)
    with pytest.raises(ValueError, match="shares has 1 entries; the network has 2 exits"):
        one.et((1.0,))


def test_the_static_network_has_no_early_branches():
    architecture = zniber(2)
    alone = backbone_alone(architecture)
    assert alone.energy_mj < map_network(architecture).full_depth.energy_mj
    assert alone == map_network(architecture.with_exits((11,))).full_depth


def test_squeeze_excite_and_residuals_keep_their_maps():
    """Every kind of layer, on every kind of place."""
    block = Bottleneck(out=32, hidden=64, squeeze=16)
    branch = Branch(blocks=(block,), hidden=(Dense(out=32),), pool="max", grid=4)
    stages = (Stage(blocks=(Conv(out=32), block, block), exit=branch), Stage(blocks=(block,), exit=Branch()))
    architecture = Architecture(input=(3, 32, 32), classes=10, stages=stages, precision=EIGHT)
    for seed in range(3):
        model = random_model(seed, 4096)
        for mode in ("wait", "speculate"):
            mapping = map_network(architecture, model, mode, "et", (0.2, 0.8))
            names = [x.name for s in layers(architecture) for x in (*s.backbone, *s.branch)]
            assert [run.layer for run in mapping.runs] == names
            assert {run.split for run in mapping.runs} > {"whole"}


@pytest.mark.parametrize("name, options", [("zniber", {}), ("zniber", {"width": 0.25}), ("offramp", {})])
def test_what_is_shipped_has_all_parts(name, options):
    model = DeviceModel(QUAD, Table(QUAD, Table.open(QUAD).rows))  # nothing is computed
    for seed in range(4):
        assert map_network(space(name, **options).sample(seed), model).energy_mj[-1] > 0


def test_the_command_line_shows_the_mapping(tmp_path):
    architecture, path = zniber(3), tmp_path / "a.json"
    path.write_text(architecture.to_json())
    shares = [0.4, *[0.6 / (len(architecture.exits) - 1)] * (len(architecture.exits) - 1)]
    mapping = map_network(architecture, mode="speculate", objective="latency", shares=shares)
    arguments = ["cost", str(path), "--device", "quad-edge-tpu", "--map", "speculate", "--objective", "latency",
                 "--shares", ",".join(map(str, shares))]  # fmt: skip
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert tuple(told["energy_mj"]) == mapping.energy_mj
    assert (told["et_avg"], told["et_of_means"]) == (mapping.et(shares), mapping.et_of_means(shares))
    assert told["static"]["backbone alone"]["et"] == backbone_alone(architecture, objective="latency").et
    assert len(told["runs"]) == len(mapping.runs)
    table = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    for expected in ("static: backbone", f"{mapping.et(shares):.2f}", f"{mapping.latency_ms[0]:.4f}", "0 1 3 2"):
        assert expected in table
    for option, text in [("--shares", "0.5,0.5"), ("--objective", "energy")]:
        with pytest.raises(ValueError, match=f"{option} is '{text}', but there is no --map"):
            CliRunner().invoke(app, ["cost", str(path), option, text], catch_exceptions=False)


def test_errors_name_what_is_wrong():
    architecture = zniber(1)
    with pytest.raises(ValueError, match=r"mode is 'now'; allowed are wait, speculate"):
        map_network(architecture, mode="now")
    with pytest.raises(ValueError, match=r"objective is 'edp'; allowed are energy, latency, et"):
        map_network(architecture, objective="edp")
    with pytest.raises(ValueError, match=r"shares is \[0.5\]"):
        map_network(architecture, shares=[0.5])
    with pytest.raises(ValueError, match=r"shares is \[nan, "):
        map_network(architecture, objective="energy", shares=[float("nan"), *[0.0] * (len(architecture.exits) - 1)])
    with pytest.raises(ValueError, match="needs a free core; edge-tpu is used with 1"):
        map_network(architecture, "edge-tpu", "speculate")
    for cores in (0, 5):
        with pytest.raises(ValueError, match=f"cores is {cores}; device quad-edge-tpu has 4"):
            map_network(architecture, cores=cores)
    with pytest.raises(ValueError, match="'analytic', which describes no hardware"):
        map_network(architecture, "analytic")
    bare = QUAD.model_copy(update={"mesh": None})
    with pytest.raises(ValueError, match=r"has 4 cores and no \[mesh\]"):
        map_network(architecture, DeviceModel(bare, Table.open(bare)))
    with pytest.raises(ValueError, match=r"has 4 cores and no \[mesh\]"):
        cores_mapped_to(DeviceModel(bare))
    with pytest.raises(MissingLayer, match="devices build"):
        map_network(small([3], [True]), DeviceModel(QUAD, Table(QUAD, {})))
