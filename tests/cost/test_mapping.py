"""Mapping to several cores: against brute force on small networks, the links, and what holds for every network."""

import itertools
import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from offramp import cost as cost_of
from offramp import space
from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Dense, Precision, Stage
from offramp.cli import app
from offramp.cost import DeviceModel, Mapping, MissingLayer, Table, backbone_alone, describe, device, map_network
from offramp.cost.links import Links, Place
from offramp.cost.mapper import ON_CHIP, Mapper, Search, leaving
from offramp.cost.splits import WHOLE, Split, part, splits
from offramp.cost.tables import Entry
from offramp.layers import Layer, Shape, layers

QUAD = describe("quad-edge-tpu")
PAIR, ROWS = Split(2, "channels"), Split(4, "rows")
EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)


def random_model(seed: int, link_bits: int = 64, cores: int = 4, link_pj: float = 10.0) -> DeviceModel:
    """A device whose entries are drawn at random, the same for the same geometry: parts may even be dearer."""

    def compute(hardware, geometry, placement):
        draw = random.Random(seed ^ zlib.crc32(f"{geometry}{placement}".encode()))
        array, dram = draw.randint(10, 3000), draw.randint(0, 500)
        pj = [float(draw.randint(1, 10**6)) for _ in range(7)]
        three = [(pj[i], pj[i + 1], pj[i + 2]) for i in (0, 2, 4)]
        return Entry(10.0, array, array + draw.randint(0, dram), pj[6], (dram, 0, 0), *three)

    mesh = QUAD.mesh.model_copy(update={"link_bits": link_bits, "link_pj": link_pj})
    hardware = QUAD.model_copy(update={"mesh": mesh, "cores": cores})
    return DeviceModel(hardware, Table(hardware, {}, None, compute))


def small(kernels: list[int], exits: list[bool], classes: int = 16) -> Architecture:
    """One convolution per stage; the last stage always has an exit."""
    stages = [
        Stage(blocks=(Conv(out=32, kernel=k),), exit=Branch() if e or i + 1 == len(kernels) else None)
        for i, (k, e) in enumerate(zip(kernels, exits))
    ]
    return Architecture(input=(3, 16, 16), classes=classes, stages=tuple(stages), precision=EIGHT)


def every_mapping(mapper: Mapper, architecture: Architecture, speculate: bool):
    """All mappings, one by one, without any pruning: (pJ, cycles, wasted pJ) per exit."""
    stages, spare = layers(architecture), mapper.spare.cores[0]

    def chain(todo, place, now, pj, free, residual=None, wide=None):
        """Every way to run `todo`, as (place, end, pJ, pJ begun before `free`)."""
        if not todo:
            yield place, now, pj, 0.0
            return
        layer = todo[0]
        if layer.name.endswith((".expand", ".conv")) and "squeeze" not in layer.name:
            residual = place
        wide = place if layer.name.endswith("squeeze.pool") else wide
        if layer.op == "add":
            choices = [mapper._vector(layer, place, (layer.shape_in, residual))]
        elif layer.op == "scale":
            choices = [mapper._vector(layer, wide, (Shape(layer.shape_in.channels, 1, 1), place))]
        else:
            choices = mapper.choices(layer, place)
        for choice in choices:
            starts = {max(now, free)} | ({now} if spare not in choice.at.cores else set())
            for start in starts:
                early = choice.pj if start < free else 0.0
                after = chain(todo[1:], choice.out, start + choice.cycles, pj + choice.pj, free, residual, wide)
                for at, end, total, wasted in after:
                    yield at, end, total, wasted + early

    def go(number, place, now, pj, awaited, costs):
        if number == len(stages):
            yield costs
            return
        backbone, branch = stages[number]
        for at, end, total, wasted in chain(backbone, place, now, pj, awaited or 0.0):
            known = costs
            if awaited is not None:
                known = (*costs[:-1], (costs[-1][0] + wasted, awaited, wasted))
                end = max(end, awaited)
            if not branch:
                yield from go(number + 1, at, end, total, None, known)
                continue
            for _, decided, spent, _ in chain(branch, at, end, total, 0.0):
                yield from go(number + 1, at, decided, spent, None, (*known, (spent, decided, 0.0)))
            if speculate and number + 1 < len(stages):
                took, spent, dram, where = 0.0, 0.0, 0.0, at
                for layer in branch:
                    if layer.op == "linear":
                        choice = mapper.run(layer, WHOLE, where, mapper.spare)
                    else:
                        choice = mapper.choices(layer, where)[0]
                    where, took, spent, dram = choice.out, took + choice.cycles, spent + choice.pj, dram + choice.dram
                dram = min(dram, took)
                yield from go(
                    number + 1, at, end + dram, total + spent, end + took, (*known, (total + spent, end + took, 0.0))
                )

    yield from go(0, mapper.home, 0.0, 0.0, None, ())


def value(objective, shares, costs):
    return sum(r * {"energy": e, "latency": t, "et": e * t}[objective] for r, (e, t, _) in zip(shares, costs))


def found_by(model, architecture, mode, objective, shares, cores=None):
    mapping = map_network(architecture, model, mode, objective, shares, cores)
    costs = [(e * 1e9, t * mapping.clock_mhz * 1e3, 0) for e, t in zip(mapping.energy_mj, mapping.latency_ms)]
    return mapping, value(objective, shares, costs)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kernels=st.lists(st.sampled_from([1, 3]), min_size=1, max_size=3),
    exits=st.lists(st.booleans(), min_size=3, max_size=3),
    weights=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    link_bits=st.sampled_from([16, 256, 8192]),
    cores=st.sampled_from([1, 2, 4]),
    speculate=st.booleans(),
)
def test_no_mapping_of_a_small_network_is_better(seed, kernels, exits, weights, link_bits, cores, speculate):
    """Up to six layers with weights."""
    architecture = small(kernels, exits)
    count = len(architecture.exits)
    total = sum(weights[:count])
    shares = [w / total for w in weights[:count]] if total > 1e-3 else [1 / count] * count
    model, speculate = random_model(seed, link_bits, cores), speculate and cores > 1
    everything = list(every_mapping(Mapper(model), architecture, speculate))
    for objective in ("energy", "latency", "et"):
        wanted = min(value(objective, shares, costs) for costs in everything)
        mode = "speculate" if speculate else "wait"
        mapping, got = found_by(model, architecture, mode, objective, shares)
        assert got == pytest.approx(wanted, rel=1e-9)
        # What it says of itself is one of the mappings that there are.
        own = [
            (e * 1e9, t * 5e5, w * 1e9) for e, t, w in zip(mapping.energy_mj, mapping.latency_ms, mapping.overhead_mj)
        ]
        assert any(all(a == pytest.approx(b, rel=1e-9, abs=1e-6) for a, b in zip(own, costs)) for costs in everything)


def test_what_an_early_exit_favours_is_kept():
    """By rows the first exit is sooner and cheaper, but its map must be gathered for what follows: dearer and later."""

    def compute(hardware, geometry, placement):
        cycles, pj = 1e6, 1e9
        if geometry.height == 1:
            cycles, pj = 10.0, 10.0
        elif geometry.channels == 3 and geometry.out == 32 and geometry.height in (4, 16):
            cycles, pj = (10_000.0, 1e7) if geometry.height == 16 else (9_000.0, 0.9e7 / 4)
        elif geometry.channels == geometry.out == 32 and geometry.height == 16:
            cycles, pj = 1_000.0, 1e6
        return Entry(1.0, cycles, cycles, pj, (0, 0, 0), *[(0.0, 0.0, 0.0)] * 3)

    mesh = QUAD.mesh.model_copy(update={"link_bits": 16, "link_pj": 1000.0})
    hardware = QUAD.model_copy(update={"mesh": mesh})
    mapper = Mapper(DeviceModel(hardware, Table(hardware, {}, None, compute)))
    stages = layers(small([1, 1], [True, True], classes=10))
    for share, kept in [(0.99, "rows"), (0.01, "whole")]:
        search = Search(mapper, stages, (share, 1 - share), False)
        label = search.best("et")
        alone = search._product(float("inf"))  # without a good mapping to begin with
        assert leaving(alone) == leaving(label)
        assert label.before.way.step.at.split == kept


def test_branches_beside_the_next_stage_where_most_leave_early():
    architecture, shares = small([3, 1], [True, True]), (0.9, 0.1)
    for seed in range(6):
        model = random_model(seed, 1024)
        wanted = min(value("et", shares, costs) for costs in every_mapping(Mapper(model), architecture, True))
        assert found_by(model, architecture, "speculate", "et", shares)[1] == pytest.approx(wanted, rel=1e-9), seed


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), squeeze=st.booleans(), link_bits=st.sampled_from([64, 8192]))
def test_residuals_and_squeeze_excite_are_brought_where_they_are_needed(seed, squeeze, link_bits):
    block = Bottleneck(out=16, hidden=32, squeeze=16 if squeeze else 0)
    stages = (Stage(blocks=(Conv(out=16, kernel=1), block), exit=Branch()),)
    architecture = Architecture(input=(3, 8, 8), classes=8, stages=stages, precision=EIGHT)
    model = random_model(seed, link_bits)
    everything = list(every_mapping(Mapper(model), architecture, False))
    for objective in ("energy", "latency", "et"):
        wanted = min(value(objective, (1.0,), costs) for costs in everything)
        assert found_by(model, architecture, "wait", objective, (1.0,))[1] == pytest.approx(wanted, rel=1e-9)


def test_the_product_is_not_searched_by_its_factors():
    """There are networks whose best ET has neither the least energy nor the least latency."""
    shares, apart = (0.5, 0.5), 0
    for seed in range(20):
        architecture, model = small([3, 1], [True, True]), random_model(seed, 256)
        best = {o: map_network(architecture, model, "wait", o, shares).et(shares) for o in ("energy", "latency", "et")}
        assert best["et"] <= min(best.values()) * (1 + 1e-12)
        apart += best["et"] < min(best["energy"], best["latency"]) * (1 - 1e-9)
    assert apart


@pytest.mark.parametrize("seed", range(3))
def test_other_cores_are_no_better_than_the_first(seed):
    """The cores are alike; the little that is left is where in the mesh the first one stands."""
    architecture, mapper = small([1], [True]), Mapper(random_model(seed, 64))
    (backbone, branch), home = layers(architecture)[0], mapper.home
    (conv,), (pool, classifier) = backbone, branch

    def anywhere(layer):
        for split in splits(layer, QUAD):
            for cores in itertools.permutations(range(4), split.ways):
                yield split, Place(cores, split.by if split.ways > 1 else "channels")

    fastest = cheapest = float("inf")
    for split, at in anywhere(conv):
        first = mapper.run(conv, split, home, at)
        middle = mapper.choices(pool, first.out)[0]
        for other, there in anywhere(classifier):
            last = mapper.run(classifier, other, middle.out, there)
            fastest = min(fastest, first.cycles + middle.cycles + last.cycles)
            cheapest = min(cheapest, first.pj + middle.pj + last.pj)
    assert map_network(architecture, mapper.model, objective="latency").latency_ms[-1] * 5e5 <= fastest * 1.02
    assert map_network(architecture, mapper.model, objective="energy").energy_mj[-1] * 1e9 <= cheapest * 1.02


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
    mapper = Mapper(model)
    shares = (0.1, 0.9)
    wait, ahead = (map_network(architecture, model, mode, "latency", shares) for mode in ("wait", "speculate"))
    assert wait.overhead_mj == (0, 0)
    (started,) = (run for run in ahead.runs if run.stage == 1 and run.layer == "blocks.0.conv")
    (head,) = (run for run in ahead.runs if run.stage == 0 and run.layer == "classifier")
    assert started.start < head.end
    assert head.cores == mapper.spare.cores
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


LAYER = Layer("x", "conv", Shape(64, 16, 16), Shape(64, 16, 16), 3, 1, 1, weight_bits=8, act_bits=8)


def test_parts_together_are_the_layer():
    for layer in (LAYER, LAYER._replace(groups=64), LAYER._replace(stride=2, shape_out=Shape(64, 8, 8))):
        for split in splits(layer, QUAD):
            cut = part(layer, split)
            assert cut.macs * split.ways == layer.macs
            assert cut.weights * (split.ways if split.by == "channels" else 1) == layer.weights
    assert part(LAYER, Split(4, "rows")).shape_in == (64, 4, 16)
    assert [str(s) for s in splits(LAYER, QUAD)] == [
        "whole",
        "2 by channels",
        "2 by rows",
        "4 by channels",
        "4 by rows",
    ]
    assert splits(LAYER._replace(shape_out=Shape(15, 7, 7)), QUAD) == [WHOLE]
    assert splits(LAYER._replace(groups=4), QUAD, 2) == [WHOLE, Split(2, "rows")]


def test_links_by_hand():
    """64 x 16 x 16 values of 8 bits are 131072 bits; a link carries 32 a cycle."""
    links, bits = Links(QUAD, 4), 64 * 16 * 16 * 8
    assert links.order == (0, 1, 3, 2)
    one, two, four = links.place(WHOLE), links.place(PAIR), links.place(ROWS)
    # To one neighbour: all of it over one link; depthwise by channels: half of it.
    assert links.feed(LAYER, one, two).cycles == bits / 32
    assert links.feed(LAYER._replace(groups=64), one, two).cycles == bits / 2 / 32
    # Whole to four parts of rows: those of cores 1 and 3, six rows each with their neighbours', pass the link 0 to 1.
    row = 64 * 16 * 8
    assert links.feed(LAYER, one, four).cycles == 2 * 6 * row / 32
    # Rows to rows: a row from each neighbour; core 1 gets one from 0 and one from 3, over different links.
    halo = links.feed(LAYER, four, four)
    assert halo.cycles == row / 32
    read, write = 416.16 / 2048, 378.4 / 2048
    assert halo.pj == pytest.approx(6 * row * (read + 3.2 / 32 + write))
    assert links.feed(LAYER._replace(kernel=1, pad=0), four, four) == (0, 0)
    # Copied to all: read once, over three links, written three times.
    everywhere = links.copy(LAYER.shape_in, 8, one, (0, 1, 3, 2))
    assert everywhere == (bits / 32, pytest.approx(bits * (read + 3 * 3.2 / 32 + 3 * write)))


def test_what_changes_no_place_stays_where_it_is():
    """18 rows in four parts are 5, 5, 5 and 3: an addition runs there; pooled to 9, they are brought together."""
    mapper, shape = Mapper(random_model(0)), Shape(32, 18, 18)
    rows = mapper.links.place(ROWS)
    add, act = Layer("blocks.0.add", "add", shape, shape), Layer("act", "act", shape, shape, act="relu")
    for choice in (mapper._vector(add, rows, (shape, rows)), *mapper.choices(act, rows)):
        assert (choice.at, choice.out) == (rows, rows)
    plain = mapper.model.estimate(add)
    assert mapper._vector(add, rows, (shape, rows))[2:4] == (plain.cycles, plain.energy_pj)
    (pooled,) = mapper.choices(Layer("pool", "pool", shape, Shape(32, 9, 9), 2, 2, pool="max"), rows)
    assert (pooled.at, pooled.out) == (rows, mapper.home)


def test_the_parts_of_a_layer_take_turns_at_the_dram():
    """By channels each part loads its own weights; by rows they are loaded once for all."""
    mapper = Mapper(device("quad-edge-tpu").model)
    layer = LAYER._replace(kernel=1, pad=0)
    loads = 64 * 64 * 8 / 64
    for split in splits(layer, QUAD):
        choice = mapper.run(layer, split, mapper.links.place(split), mapper.links.place(split))
        assert choice.dram == pytest.approx(loads)
        assert choice.cycles >= loads
        assert mapper.model.placement(layer) == ON_CHIP


@pytest.mark.parametrize("name, options", [("zniber", {}), ("zniber", {"width": 0.25}), ("offramp", {})])
def test_what_is_shipped_has_all_parts(name, options):
    model = DeviceModel(QUAD, Table(QUAD, Table.open(QUAD).rows))  # nothing is computed
    for seed in range(4):
        assert map_network(space(name, **options).sample(seed), model).energy_mj[-1] > 0


@pytest.mark.parametrize("bits", [64, 16])
def test_pooling_from_off_chip_keeps_the_dram_busy(bits):
    """4 MiB do not fit on chip; nothing hides their way, which a narrower link makes longer."""
    mesh = QUAD.mesh.model_copy(update={"offchip_bits": bits})
    mapper = Mapper(DeviceModel(QUAD.model_copy(update={"mesh": mesh}), Table(QUAD, {})))
    pool = Layer("pool", "pool", Shape(64, 256, 256), Shape(64, 128, 128), 2, 2, pool="max", act_bits=8)
    (choice,) = mapper.choices(pool, mapper.home)
    loads = pool.shape_in.elements * 8 / bits
    assert choice.dram == loads
    assert choice.cycles == loads + pool.shape_in.elements * 8 / 512
    assert mapper.aside([pool], mapper.home).dram == loads


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
    with pytest.raises(MissingLayer, match="devices build"):
        map_network(small([3], [True]), DeviceModel(QUAD, Table(QUAD, {})))
