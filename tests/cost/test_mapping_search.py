"""The best mapping against brute force on small networks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_cases import EIGHT, QUAD, found_by, random_model, small, value

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Stage
from offramp.cost import DeviceModel, Table, map_network
from offramp.cost.cores import Cores
from offramp.cost.labels import leaving
from offramp.cost.mapper import Aside, Mapper
from offramp.cost.mapping_search import Search
from offramp.cost.splits import WHOLE
from offramp.cost.tables import Entry
from offramp.layers import Shape, layers


def every_mapping(cores: Cores, architecture: Architecture, speculate: bool):
    """All mappings, one by one, without any pruning: (pJ, cycles, wasted pJ) per exit."""
    stages, spare = layers(architecture), cores.spare.cores[0]

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
            choices = [cores.vector(layer, place, (layer.shape_in, residual))]
        elif layer.op == "scale":
            choices = [cores.vector(layer, wide, (Shape(layer.shape_in.channels, 1, 1), place))]
        else:
            choices = cores.choices(layer, place)
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
                        choice = cores.run(layer, WHOLE, where, cores.spare)
                    else:
                        choice = cores.choices(layer, where)[0]
                    where, took, spent, dram = choice.out, took + choice.cycles, spent + choice.pj, dram + choice.dram
                dram = min(dram, took)
                yield from go(
                    number + 1, at, end + dram, total + spent, end + took, (*known, (total + spent, end + took, 0.0))
                )

    yield from go(0, cores.home, 0.0, 0.0, None, ())


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
    everything = list(every_mapping(Cores(model), architecture, speculate))
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
    mapper = Mapper(Cores(DeviceModel(hardware, Table(hardware, {}, None, compute))))
    stages = layers(small([1, 1], [True, True], classes=10))
    for share, kept in [(0.99, "rows"), (0.01, "whole")]:
        search = Search(mapper, stages, (share, 1 - share), False)
        label = search.best("et")
        alone = search._product(float("inf"))  # without a good mapping to begin with
        assert leaving(alone) == leaving(label)
        assert label.before.way.step.at.split == kept


@pytest.mark.parametrize("speculate", [False, True])
def test_bounds_never_drop_the_best(speculate):
    """A limit just above the best leaves only it: every bound on the way there must be one."""
    stages, beside = layers(small([3, 1], [True, True])), 0
    for seed in range(8):
        search = Search(Mapper(Cores(random_model(seed, 1024))), stages, (0.5, 0.5), speculate)
        label = search.best("et")
        best = value("et", search.shares, leaving(label))
        again = search._product(best * (1 + 1e-9))
        assert again is not None
        assert value("et", search.shares, leaving(again)) == pytest.approx(best, rel=1e-12)
        beside += isinstance(label.before.branch, Aside)
    assert bool(beside) == speculate  # where they are allowed, some branches do run beside the next stage


def test_branches_beside_the_next_stage_where_most_leave_early():
    architecture, shares = small([3, 1], [True, True]), (0.9, 0.1)
    for seed in range(6):
        model = random_model(seed, 1024)
        wanted = min(value("et", shares, costs) for costs in every_mapping(Cores(model), architecture, True))
        assert found_by(model, architecture, "speculate", "et", shares)[1] == pytest.approx(wanted, rel=1e-9), seed


def test_some_layers_beside_a_branch_begin_at_once_and_others_wait():
    """Where two layers run beside a branch, one that is slower and no cheaper may be the best: less is begun early."""
    beside = Stage(blocks=(Conv(out=32, kernel=1), Conv(out=32)), exit=Branch())
    stages, shares, mixed = (small([1], [True]).stages[0], beside), (0.5, 0.5), 0
    architecture = Architecture(input=(3, 16, 16), classes=16, stages=stages, precision=EIGHT)
    for seed in range(12):
        model = random_model(seed, 1024)
        wanted = min(value("et", shares, costs) for costs in every_mapping(Cores(model), architecture, True))
        mapping, got = found_by(model, architecture, "speculate", "et", shares)
        assert got == pytest.approx(wanted, rel=1e-9), seed
        decided = mapping.latency_ms[0] * mapping.clock_mhz * 1e3
        first, second = (run.start for run in mapping.runs if (run.stage, run.exit) == (1, None))
        mixed += first < decided * (1 - 1e-9) < second
    assert mixed


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), squeeze=st.booleans(), link_bits=st.sampled_from([64, 8192]))
def test_residuals_and_squeeze_excite_are_brought_where_they_are_needed(seed, squeeze, link_bits):
    block = Bottleneck(out=16, hidden=32, squeeze=16 if squeeze else 0)
    stages = (Stage(blocks=(Conv(out=16, kernel=1), block), exit=Branch()),)
    architecture = Architecture(input=(3, 8, 8), classes=8, stages=stages, precision=EIGHT)
    model = random_model(seed, link_bits)
    everything = list(every_mapping(Cores(model), architecture, False))
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
