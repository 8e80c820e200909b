"""Layer tables: lookups against ZigZag itself, what bits and missing layers do, and what is added to ZigZag."""

import tomllib
from pathlib import Path

import pytest

from offramp.cost import (
    DeviceModel,
    Geometry,
    MissingLayer,
    Placement,
    Table,
    build_table,
    cost,
    describe,
    splits,
    zigzag,
)
from offramp.cost.tables import PLACEMENTS, Entry, key, read, wanted, write
from offramp.layers import Layer, Shape, layers
from offramp.spaces import space

needs_zigzag = pytest.mark.skipif(
    not zigzag.available(), reason="zigzag-dse 3.9.1 is not installed (pip install 'offramp[zigzag]')"
)
CHIP, DRAM = PLACEMENTS[0], PLACEMENTS[3]
QUAD = describe("quad-edge-tpu")
MODEL = DeviceModel(QUAD, Table(QUAD, Table.open(QUAD).rows))  # shipped entries alone, nothing is computed

WIDE = Layer("wide", "conv", Shape(32, 32, 32), Shape(192, 32, 32), weight_bits=8, act_bits=8)
DEPTHWISE = Layer("dw", "conv", Shape(960, 8, 8), Shape(960, 8, 8), 7, 1, 3, 960, weight_bits=8, act_bits=8)
HALVING = Layer("half", "conv", Shape(192, 32, 32), Shape(192, 16, 16), 3, 2, 1, 192, weight_bits=8, act_bits=8)
CLASSIFIER = Layer("fc", "linear", Shape(320, 4, 4), Shape(10, 1, 1), weight_bits=8, act_bits=8)
ODD = Layer("odd", "conv", Shape(5, 9, 9), Shape(7, 9, 9), 3, 1, 1, weight_bits=8, act_bits=8)


def every_layer():
    found = {}
    for name, options in [("zniber", {}), ("zniber", {"width": 0.25}), ("offramp", {})]:
        for seed in range(10):
            for stage in layers(space(name, **options).sample(seed)):
                found |= {layer[1:]: layer for layer in (*stage.backbone, *stage.branch)}
    return list(found.values())


@needs_zigzag
@pytest.mark.parametrize("layer", [WIDE, DEPTHWISE, HALVING, CLASSIFIER], ids=lambda layer: layer.name)
@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_a_shipped_entry_is_what_zigzag_says_now(layer, placement):
    shipped, fresh = (
        MODEL.table.entry(Geometry.of(layer), placement),
        zigzag.compute(QUAD, Geometry.of(layer), placement),
    )
    assert shipped is not None
    assert fresh is not None
    assert shipped.row() == fresh.row()


def test_a_depthwise_layer_by_hand():
    """960 channels, 8 at a time; 7 of 8 columns of the kernel, its 7 rows one by one; 16 positions at a time."""
    entry = MODEL.table.entry(Geometry.of(DEPTHWISE), CHIP)
    assert entry is not None
    assert entry.array_cycles == 960 / 8 * 7 * (64 / 16)
    assert entry.mac_pj == pytest.approx(0.04 * 960 * 49 * 64)
    assert entry.dram_cycles == (960 * 49 * 8 / 64, 0, 0)  # every weight once, 64 bits a cycle
    assert MODEL.estimate(DEPTHWISE).utilisation == pytest.approx(960 * 49 * 64 / 1024 / entry.cycles, rel=1e-3)


def test_no_layer_is_faster_or_cheaper_than_the_array_allows():
    for layer in every_layer():
        layer = layer._replace(weight_bits=8, act_bits=8)
        found = MODEL.estimate(layer)
        assert found.cycles >= layer.macs / 1024, layer
        assert found.energy_pj >= layer.macs * 0.04, layer
        assert 0 <= found.utilisation <= 1, layer


def test_fewer_bits_never_cost_more():
    for layer in every_layer():
        for placement in (CHIP, DRAM) if key_known(layer) else (CHIP,):
            before = None
            for w, a in [(32, 32), (16, 16), (8, 16), (8, 8), (8, 4), (4, 4), (2, 4), (2, 2)]:
                now = MODEL.estimate(layer._replace(weight_bits=w, act_bits=a), placement)
                if before is not None:
                    assert now.cycles <= before.cycles, layer
                    assert now.energy_pj <= before.energy_pj, layer
                before = now


def key_known(layer):
    return layer.op not in ("conv", "linear") or key(Geometry.of(layer), DRAM) in MODEL.table.rows


def test_at_8_bits_the_scaling_changes_nothing():
    for entry in MODEL.table.rows.values():
        if entry is not None:
            found = entry.at(8, 8)
            assert found.cycles == pytest.approx(entry.cycles)
            memory = sum(map(sum, (entry.register_pj, entry.sram_pj, entry.dram_pj)))
            assert found.energy_pj == pytest.approx(entry.mac_pj + memory)


def test_bits_by_hand():
    entry = Entry(50, 100, 130, 64.0, (80, 10, 10), (8, 0, 8), (8, 8, 8), (80, 0, 0))
    found = entry.at(4, 8)  # 70 cycles of traffic were hidden; 60 remain, and hide wholly
    assert (found.cycles, found.compute_pj, found.register_pj, found.sram_pj, found.dram_pj) == (100, 32, 12, 20, 40)
    assert (found.dram_cycles, entry.at(16, 8).dram_cycles) == (60, 180)
    assert entry.at(16, 8).cycles == 100 + (160 + 20 - 70)
    assert entry.at(4, 8, "fixed").compute_pj == 64
    assert (found.utilisation, entry.at(8, 8).cycles) == (0.5, 130)


def test_activations_go_off_chip_only_where_they_must():
    assert MODEL.placement(WIDE) == CHIP
    big = WIDE._replace(held=2 * 1024**2)
    assert MODEL.placement(big) == Placement(False, True)
    assert MODEL(big).energy_mj > MODEL(WIDE).energy_mj
    assert MODEL(big).latency_ms > MODEL(WIDE).latency_ms


def test_what_zigzag_leaves_out_is_added():
    add = Layer("add", "add", Shape(16, 8, 8), Shape(16, 8, 8), weight_bits=8, act_bits=8)
    found = MODEL.estimate(add)  # 1024 additions by 64 lanes; two inputs read and one written, 512 bits at a time
    assert (found.cycles, found.vector_pj, found.compute_pj) == (32, pytest.approx(1024 * 0.1), 0)
    assert found.sram_pj == 32 * 60 + 16 * 75
    pool = Layer("pool", "pool", Shape(16, 8, 8), Shape(16, 4, 4), pool="max", weight_bits=8, act_bits=8)
    assert MODEL.estimate(pool).cycles == 16
    assert MODEL.estimate(pool, DRAM).dram_pj == (1024 * 700 + 256 * 750) / 8
    assert MODEL.estimate(add, DRAM).dram_pj == (2 * 1024 * 700 + 1024 * 750) / 8  # both of what is added
    plain, activated = MODEL.estimate(WIDE), MODEL.estimate(WIDE._replace(act="relu6"))
    assert activated.energy_pj - plain.energy_pj == pytest.approx(192 * 1024 * 0.1)
    assert activated.cycles == plain.cycles


def test_a_network_costs_the_sum_of_its_layers():
    architecture = space("zniber").sample(3)
    found = cost(architecture, MODEL)
    for stage, backbone, branch in zip(layers(architecture), found.stages, found.branches, strict=True):
        for part, total in [(stage.backbone, backbone), (stage.branch, branch)]:
            estimates = [MODEL.estimate(layer) for layer in part]
            if total is not None:
                assert total.energy_mj == pytest.approx(sum(e.energy_pj for e in estimates) * 1e-9)
                assert total.latency_ms == pytest.approx(sum(e.cycles for e in estimates) / 500e3)
                assert total.macs == sum(layer.macs for layer in part)
    assert found.leaving("energy_mj")[-1] == pytest.approx(found.total.energy_mj)


def test_each_layer_is_looked_up_once_and_nothing_is_computed():
    """What keeps a network's cost cheap; `benchmarks/architecture_cost.py` says how long it takes."""

    class Counting(Table):
        asked = ()

        def entry(self, geometry, placement):
            self.asked += (key(geometry, placement),)
            return super().entry(geometry, placement)

    def compute(hardware, geometry, placement):
        raise AssertionError(f"{geometry} is computed")

    architecture = space("zniber").sample(3)
    every = [layer for stage in layers(architecture) for layer in (*stage.backbone, *stage.branch)]
    unique = {layer[1:] for layer in every if layer.op in ("conv", "linear")}
    assert len(unique) < sum(layer.op in ("conv", "linear") for layer in every)
    table = Counting(QUAD, MODEL.table.rows, None, compute)
    model = DeviceModel(QUAD, table)
    assert cost(architecture, model) == cost(architecture, MODEL)
    assert len(table.asked) == 2 * len(unique)  # where its activations are placed, and what it costs there
    assert cost(architecture, model) == cost(architecture, MODEL)
    assert len(table.asked) == 2 * len(unique)


def test_the_shipped_table_holds_both_widths_of_the_paper_s_space():
    for width in (1.0, 0.25):
        of = space("zniber", width=width)
        networks = [*of.cover(), of.smallest(), of.largest(), *(of.sample(seed) for seed in range(50))]
        for item in {i for n in networks for s in layers(n) for i in wanted((*s.backbone, *s.branch))}:
            assert key(*item) in MODEL.table.rows


def test_the_shipped_table_holds_the_shipped_recipe_s_space():
    """Every layer of CIFAR-10's networks on chip, and its parts on two and four cores."""
    options = tomllib.loads((Path(__file__).parents[2] / "recipes" / "cifar10-2.4M.toml").read_text())["space"]
    of = space(**options)
    networks = [*of.cover(), of.smallest(), of.largest(), *(of.sample(seed) for seed in range(500))]
    different = {layer[1:]: layer for n in networks for s in layers(n) for layer in (*s.backbone, *s.branch)}
    parts = [splits.part(layer, split) for layer in different.values() for split in splits.splits(layer, QUAD)]
    assert len(parts) > len(different) > 300
    assert [key(*item) for item in wanted(parts, (CHIP,)) if key(*item) not in MODEL.table.rows] == []


def test_an_unknown_layer_says_which_and_what_to_do():
    with pytest.raises(MissingLayer) as caught:
        MODEL(ODD)
    for part in ["5x9x9>7x9x9 k3 s1 p1 g1", "quad-edge-tpu", "offramp[zigzag]", "offramp devices build quad-edge-tpu"]:
        assert part in str(caught.value)


def test_a_computed_entry_is_kept(tmp_path):
    asked = []

    def compute(device, geometry, placement):
        asked.append(key(geometry, placement))
        return Entry(1, 2, 3, 4.5, (1, 0, 0), (1, 1, 1), (1, 1, 1), (1, 0, 0))

    path = tmp_path / "cache.json"
    first = DeviceModel(QUAD, Table(QUAD, {}, path, compute))
    assert first(ODD) == first(ODD)
    assert asked == [key(Geometry.of(ODD), CHIP)]
    assert DeviceModel(QUAD, Table(QUAD, read(path, QUAD)))(ODD) == first(ODD)


def test_files_of_other_devices_are_passed_over_and_broken_ones_named(tmp_path):
    path, entry = tmp_path / "t.json", Entry(1, 2, 3, 4, (1, 0, 0), (1, 1, 1), (1, 1, 1), (1, 0, 0))
    write(path, QUAD, {"a": entry, "b": None})
    assert read(path, QUAD) == {"a": entry, "b": None}
    assert read(path, describe("edge-tpu")) == {"a": entry, "b": None}
    assert read(path, describe("tpu-like")) == {}
    path.write_text(path.read_text()[:-8])
    with pytest.raises(ValueError, match=r"t\.json is no layer table"):
        read(path, QUAD)


@needs_zigzag
def test_build_computes_what_is_missing_and_goes_on(tmp_path):
    path = tmp_path / "t.json"
    first = build_table(QUAD, [ODD, CLASSIFIER], workers=1, on_chip_only=True, path=path)
    assert (first.computed, first.entries) == (3, 3)  # two layers, and half the rows of one
    again = build_table(QUAD, [ODD, CLASSIFIER, WIDE], workers=2, on_chip_only=True, path=path)
    assert (again.computed, again.entries) == (5, 8)  # a half and a quarter of it by channels and by rows
    assert read(path, QUAD)[key(Geometry.of(WIDE), CHIP)] == MODEL.table.entry(Geometry.of(WIDE), CHIP)
