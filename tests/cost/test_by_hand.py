"""What layers cost on a device and its cores, worked out by hand."""

import pytest
from mapping_cases import LAYER, QUAD, random_model

from offramp.cost import DeviceModel, Table
from offramp.cost.cores import ON_CHIP, Cores
from offramp.cost.links import Links
from offramp.cost.splits import WHOLE, Split, splits
from offramp.cost.tables import Entry
from offramp.layers import Layer, Shape


def test_traffic_off_chip_costs_what_the_mesh_says_whatever_its_width():
    """1000 pJ for 16 bits through the mesh, where the memory itself says 700 for 64."""
    mesh = QUAD.mesh.model_copy(update={"offchip_bits": 16})
    cores = Cores(DeviceModel(QUAD.model_copy(update={"mesh": mesh}), Table(QUAD, {})))
    pool = Layer("pool", "pool", Shape(64, 256, 256), Shape(64, 128, 128), 2, 2, pool="max", act_bits=8)
    (choice,), plain = cores.choices(pool, cores.home), cores.model.estimate(pool)
    loaded = pool.shape_in.elements * 8
    assert plain.dram_pj == loaded / 64 * 700
    assert choice.pj == pytest.approx(plain.energy_pj - plain.dram_pj + loaded / 16 * 1000)


def test_what_each_part_does_is_paid_for_by_each_and_shared_weights_once():
    def compute(hardware, geometry, placement):
        return Entry(1.0, 100.0, 100.0, 7.0, (8, 0, 0), (1, 0, 0), (2, 0, 0), (640.0, 0, 0))

    cores = Cores(DeviceModel(QUAD, Table(QUAD, {}, None, compute)))
    for split in splits(LAYER, QUAD):
        at = cores.links.place(split)
        loads = split.ways if split.by == "channels" else 1
        found, fed = cores.run(LAYER, split, at, at), cores.links.feed(LAYER, at, at)
        assert found.pj - fed.pj == pytest.approx(split.ways * (7 + 1 + 2) + loads * 640 * 1000 / 700)


def test_every_core_that_has_rows_gets_every_channels_factor():
    cores, shape = Cores(random_model(0, 32)), Shape(64, 16, 16)
    rows = cores.links.place(Split(4, "rows"))
    scale = Layer("blocks.0.squeeze.scale", "scale", shape, shape, act_bits=8)
    found = cores.vector(scale, rows, (Shape(64, 1, 1), cores.home))
    assert found.cycles - cores.model.estimate(scale).cycles == 64 * 8 / 32


def test_rows_that_are_mixed_are_brought_together():
    """Resized, or pooled to one value: each core has some of what it is computed from."""
    cores = Cores(random_model(0, 32))
    rows = cores.links.place(Split(4, "rows"))
    (resized,) = cores.choices(Layer("r", "resize", Shape(32, 16, 16), Shape(32, 8, 8), act_bits=8), rows)
    assert (resized.at, resized.out) == (rows, cores.home)


def test_of_a_mean_over_the_map_every_core_sends_its_part():
    cores = Cores(random_model(0, 32))
    rows = cores.links.place(Split(4, "rows"))
    pool = Layer("p", "pool", Shape(32, 16, 16), Shape(32, 1, 1), pool="avg", act_bits=8)
    (pooled,) = cores.choices(pool, rows)
    # Three cores send 32 values of 8 bits; those of two pass the link 2 to 0.
    assert pooled.cycles - cores.model.estimate(pool).cycles == 2 * 32 * 8 / 32


def test_what_does_not_fit_on_chip_runs_whole():
    cores = Cores(random_model(0))
    large = LAYER._replace(shape_in=Shape(64, 256, 256), shape_out=Shape(64, 256, 256))
    assert cores.model.placement(large) != ON_CHIP
    assert len(splits(large, QUAD)) > 1
    assert [choice.at for choice in cores.choices(large, cores.home)] == [cores.home]


def test_a_stride_of_two_needs_two_rows_for_each():
    """Two rows of each part are made from five, of which the first part's first is padding."""
    links, layer = Links(QUAD, 4), LAYER._replace(stride=2, shape_out=Shape(64, 8, 8))
    one, four = links.place(WHOLE), links.place(Split(4, "rows"))
    assert links.feed(layer, one, four).cycles == 2 * 5 * 64 * 16 * 8 / 32


def test_activations_of_few_bits_by_hand():
    entry = Entry(50, 100, 130, 64.0, (80, 10, 10), (8, 4, 8), (8, 8, 8), (80, 16, 16))
    found = entry.at(8, 4)
    assert (found.dram_cycles, found.cycles) == (80 + 5 + 5, 100 + (90 - 70))
    assert (found.compute_pj, found.register_pj, found.sram_pj, found.dram_pj) == (32, 18, 16, 96)


def test_beside_the_array_energy_falls_with_the_bits():
    def compute(hardware, geometry, placement):
        return Entry(1.0, 100.0, 100.0, 7.0, (8, 0, 0), (1, 0, 0), (2, 0, 0), (640.0, 0, 0))

    model = DeviceModel(QUAD, Table(QUAD, {}, None, compute))
    add = Layer("add", "add", Shape(16, 8, 8), Shape(16, 8, 8), act_bits=4)
    assert model.estimate(add).vector_pj == pytest.approx(1024 * 0.1 / 2)


def test_a_fused_activations_energy_falls_with_the_bits():
    def compute(hardware, geometry, placement):
        return Entry(1.0, 100.0, 100.0, 7.0, (8, 0, 0), (1, 0, 0), (2, 0, 0), (640.0, 0, 0))

    model = DeviceModel(QUAD, Table(QUAD, {}, None, compute))
    assert model.estimate(LAYER._replace(act="relu", act_bits=4)).vector_pj == pytest.approx(64 * 256 * 0.1 / 2)


def test_a_resize_reads_sixteen_neighbours():
    model = DeviceModel(QUAD, Table(QUAD, {}))
    resize = model.estimate(Layer("r", "resize", Shape(16, 8, 8), Shape(16, 16, 16), act_bits=8))
    assert (resize.cycles, resize.vector_pj) == (16 * 4096 / 64, pytest.approx(16 * 4096 * 0.1))


def test_a_scale_reads_the_factors_too():
    model = DeviceModel(QUAD, Table(QUAD, {}))
    scale = model.estimate(Layer("s", "scale", Shape(16, 8, 8), Shape(16, 8, 8), act_bits=8))
    assert scale.sram_pj == pytest.approx((1024 + 16) * 8 / 512 * 60 + 16 * 75)


def test_the_static_network_is_mapped_to_as_many_cores_and_for_the_same_objective():
    from mapping_cases import small

    from offramp.cost import backbone_alone, map_network

    architecture, model = small([3, 1], [True, True]), random_model(1, 256)
    last, found = architecture.with_exits((1,)), set()
    for cores in (1, 4):
        for objective in ("energy", "latency", "et"):
            wanted = map_network(last, model, "wait", objective, cores=cores).full_depth
            assert backbone_alone(architecture, model, objective, cores) == wanted
            found.add(wanted)
    assert len(found) >= 2


def test_entries_computed_one_after_another_are_all_kept(tmp_path):
    from offramp.cost import Geometry
    from offramp.cost.tables import read

    def compute(hardware, geometry, placement):
        return Entry(1, 2, 3, 4, (1, 0, 0), (1, 1, 1), (1, 1, 1), (1, 0, 0))

    path, asked = tmp_path / "cache.json", [Geometry(channels, 7, 9, 9, 9, 9, 3, 1, 1) for channels in (5, 6)]
    for geometry in asked:  # each in a process of its own
        Table(QUAD, {}, path, compute).entry(geometry, ON_CHIP)
    assert len(read(path, QUAD)) == 2


def test_a_table_of_another_zigzag_is_passed_over(tmp_path, monkeypatch):
    from offramp.cost import tables

    tables.write(tmp_path / "t.json", QUAD, {"a": None})
    assert tables.read(tmp_path / "t.json", QUAD) == {"a": None}
    monkeypatch.setattr(tables, "ZIGZAG", "4.0.0")
    assert tables.read(tmp_path / "t.json", QUAD) == {}


@pytest.mark.parametrize("height", [9, 17, 33])
def test_rows_that_do_not_divide_evenly_are_brought_together(height):
    """A pooled row is made of two rows that lie on two cores."""
    cores = Cores(random_model(0, 32))
    rows, home = cores.links.place(Split(4, "rows")), cores.home
    shapes = Shape(32, height, 16), Shape(32, height // 2, 8)
    (uneven,) = cores.choices(Layer("p", "pool", *shapes, 2, 2, pool="max", act_bits=8), rows)
    even = Shape(32, 16, 16), Shape(32, 8, 8)
    (divided,) = cores.choices(Layer("p", "pool", *even, 2, 2, pool="max", act_bits=8), rows)
    assert (uneven.out, divided.out) == (home, rows)
