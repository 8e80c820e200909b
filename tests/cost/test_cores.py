"""One layer on several cores: where it runs, and what its parts share."""

import itertools

import pytest
from mapping_cases import LAYER, QUAD, random_model, small

from offramp.cost import DeviceModel, Table, device, map_network
from offramp.cost.cores import ON_CHIP, Cores
from offramp.cost.links import Place
from offramp.cost.mapper import Mapper
from offramp.cost.splits import Split, splits
from offramp.layers import Layer, Shape, layers


@pytest.mark.parametrize("seed", range(3))
def test_other_cores_are_no_better_than_the_first(seed):
    """The cores are alike; the little that is left is where in the mesh the first one stands."""
    architecture, cores = small([1], [True]), Cores(random_model(seed, 64))
    (backbone, branch), home = layers(architecture)[0], cores.home
    (conv,), (pool, classifier) = backbone, branch

    def anywhere(layer):
        for split in splits(layer, QUAD):
            for some in itertools.permutations(range(4), split.ways):
                yield split, Place(some, split.by if split.ways > 1 else "channels")

    fastest = cheapest = float("inf")
    for split, at in anywhere(conv):
        first = cores.run(conv, split, home, at)
        middle = cores.choices(pool, first.out)[0]
        for other, there in anywhere(classifier):
            last = cores.run(classifier, other, middle.out, there)
            fastest = min(fastest, first.cycles + middle.cycles + last.cycles)
            cheapest = min(cheapest, first.pj + middle.pj + last.pj)
    assert map_network(architecture, cores.model, objective="latency").latency_ms[-1] * 5e5 <= fastest * 1.02
    assert map_network(architecture, cores.model, objective="energy").energy_mj[-1] * 1e9 <= cheapest * 1.02


def test_what_changes_no_place_stays_where_it_is():
    """18 rows in four parts are 5, 5, 5 and 3: an addition runs there; pooled to 9, they are brought together."""
    cores, shape = Cores(random_model(0)), Shape(32, 18, 18)
    rows = cores.links.place(Split(4, "rows"))
    add, act = Layer("blocks.0.add", "add", shape, shape), Layer("act", "act", shape, shape, act="relu")
    for choice in (cores.vector(add, rows, (shape, rows)), *cores.choices(act, rows)):
        assert (choice.at, choice.out) == (rows, rows)
    plain = cores.model.estimate(add)
    assert cores.vector(add, rows, (shape, rows))[2:4] == (plain.cycles, plain.energy_pj)
    (pooled,) = cores.choices(Layer("pool", "pool", shape, Shape(32, 9, 9), 2, 2, pool="max"), rows)
    assert (pooled.at, pooled.out) == (rows, cores.home)


def test_the_parts_of_a_layer_take_turns_at_the_dram():
    """By channels each part loads its own weights; by rows they are loaded once for all."""
    cores = Cores(device("quad-edge-tpu").model)
    layer = LAYER._replace(kernel=1, pad=0)
    loads = 64 * 64 * 8 / 64
    for split in splits(layer, QUAD):
        choice = cores.run(layer, split, cores.links.place(split), cores.links.place(split))
        assert choice.dram == pytest.approx(loads)
        assert choice.cycles >= loads
        assert cores.model.placement(layer) == ON_CHIP


@pytest.mark.parametrize("bits", [64, 16])
def test_pooling_from_off_chip_keeps_the_dram_busy(bits):
    """4 MiB do not fit on chip; nothing hides their way, which a narrower link makes longer."""
    mesh = QUAD.mesh.model_copy(update={"offchip_bits": bits})
    cores = Cores(DeviceModel(QUAD.model_copy(update={"mesh": mesh}), Table(QUAD, {})))
    pool = Layer("pool", "pool", Shape(64, 256, 256), Shape(64, 128, 128), 2, 2, pool="max", act_bits=8)
    (choice,) = cores.choices(pool, cores.home)
    loads = pool.shape_in.elements * 8 / bits
    assert choice.dram == loads
    assert choice.cycles == loads + pool.shape_in.elements * 8 / 512
    assert Mapper(cores).aside([pool], cores.home).dram == loads
