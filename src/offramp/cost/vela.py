"""Stages of an 8-bit network compiled for an Ethos-U by Arm's Vela (`pip install offramp[ethos]`), in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from offramp.architecture import Architecture
from offramp.cost.analytic import LayerCost, analytic
from offramp.cost.flatbuffer import whole
from offramp.cost.npu import Npu
from offramp.layers import Layer, layers
from offramp.tflite import Quant, StageValues, Values, check_bits, stage_graph, write

VELA = "5.2.0"
"""The version of ethos-u-vela that costs come from."""

_MAGIC = b"TFL3"  # what the compiler is told; at anything else it crashes
_SEED = 0
_ON_CPU = "Passthrough"  # what Vela calls an operator that it leaves as it is


class Compiled(NamedTuple):
    """What Vela says of a file. `cycles` by operator, in order, as (name of the tensor that it gives, cycles).

    `memory`: the most bytes in use, by memory; `read_only`: those of them that hold weights, biases and commands.
    """

    cycles: tuple[tuple[str, int], ...]
    memory: dict[str, int]
    read_only: int

    @property
    def working(self) -> int:
        """The most bytes of activations and buffers."""
        return sum(self.memory.values()) - self.read_only


class NpuModel:
    """Costs on an NPU: whole stages, not layers, since a compiler runs several at once and keeps what fits on chip."""

    def __init__(self, npu: Npu) -> None:
        self.npu = npu

    def stages(
        self, architecture: Architecture, files: Sequence[bytes] | None = None
    ) -> list[tuple[LayerCost, LayerCost | None]]:
        """Cost of every stage and its exit branch; energy is 0, for Vela knows none.

        `weight_bytes` is Vela's, of a stage's file, shared out between backbone part and branch as their uncompressed
        weights are; `activation_bytes` the file's for both.

        Args:
            files: the stages as `export_tflite` writes them. None: with weights drawn from a normal distribution, the
                same ones every time. Cycles depend on how well weights can be compressed.

        Raises:
            ValueError: bits other than 8, a layer that TFLite has no operator for, or one that the NPU cannot compute;
                not one file for each stage.
            RuntimeError: Vela is not installed, or in another version.
        """
        files = _drawn(architecture) if files is None else files
        if len(files) != len(architecture.stages):
            raise ValueError(f"files has {len(files)} entries; the network has {len(architecture.stages)} stages")
        found = []
        for number, (described, file) in enumerate(zip(layers(architecture), files)):
            compiled = self.compile(file, f"stage {number}")
            backbone = sum(map(analytic, described.backbone), LayerCost())
            branch = sum(map(analytic, described.branch), LayerCost())
            share = compiled.read_only / max(1.0, backbone.weight_bytes + branch.weight_bytes)
            costs = [
                part._replace(
                    weight_bytes=part.weight_bytes * share,
                    activation_bytes=compiled.working,
                    latency_ms=sum(cycles for _, cycles in operators) / self.clock_hz * 1e3,
                )
                for part, operators in [
                    (backbone, [o for o in compiled.cycles if not o[0].startswith("branch.")]),
                    (branch, [o for o in compiled.cycles if o[0].startswith("branch.")]),
                ]
            ]
            found.append((costs[0], costs[1] if described.branch else None))
        return found

    def compile(self, file: bytes, name: str = "the file") -> Compiled:
        """Cycles and memory of the network in a .tflite file, run once.

        Raises:
            ValueError: this is no .tflite file, or one that is cut short or damaged; Vela refuses it, or an operator
                would be left to the CPU. Damage that `whole` does not see ends this process: Vela does not check it.
            RuntimeError: Vela is not installed, or in another version.
        """
        if file[4:8] != _MAGIC:
            raise ValueError(f"{name} is no .tflite file")
        system, options = self._system, self._options
        if not whole(file):
            raise ValueError(f"{name} is damaged or cut short: it cannot be read to its end")
        from ethosu import regor

        family = "".join(part.capitalize() for part in self.npu.accelerator.split("-")[:-1])
        try:
            made = regor.compile(family, file, "TFLITE", system, options=options, verbose=False)
        except RuntimeError as error:
            raise ValueError(f"{name}: Vela cannot compile it for {self.npu.name}: {error}") from error
        table = made.opt_database.tables["perf"]
        column = {title: i for i, title in enumerate(table.header)}
        rows = [[row[column[title]] for title in ("operator", "name", "op_cycles")] for row in table.data]
        if made.perf_report.cpuOps:
            left = ", ".join(row[1] for row in rows if row[0] == _ON_CPU)
            raise ValueError(f"{name}: {self.npu.name} cannot compute {left}; Vela leaves it to a CPU")
        memory = {str(m): perf.peakUsage for m, perf in made.perf_report.memories.items() if perf.peakUsage}
        cycles = tuple((row[1], int(row[2])) for row in rows)
        return Compiled(cycles, memory, made.perf_report.readOnlyPeakUsage)

    @property
    def clock_hz(self) -> float:
        """Cycles per second."""
        return float(self._features.core_clock)

    @cached_property
    def _features(self) -> Any:
        """Vela's own reading of its configuration."""
        _installed()
        from ethosu.vela.architecture_features import CONFIG_FILES_PATH, Accelerator, ArchitectureFeatures
        from ethosu.vela.errors import VelaError

        # Vela fails at an accelerator that it does not know, and passes over a file that is not there.
        name, known = self.npu.accelerator, Accelerator.member_list()
        if name not in known:
            raise ValueError(f"device {self.npu.name}: accelerator is {name!r}; Vela knows {', '.join(known)}")
        config = self.npu.config or Path(CONFIG_FILES_PATH) / "Arm" / "vela.ini"
        if not config.is_file():
            raise ValueError(f"device {self.npu.name}: config is {config}, which is no file")
        try:
            return ArchitectureFeatures(
                vela_config_files=[str(config)], accelerator_config=name,
                system_config=self.npu.system, memory_mode=self.npu.memory,
                max_blockdep=ArchitectureFeatures.MAX_BLOCKDEP, verbose_config=False, arena_cache_size=None,
            )  # fmt: skip
        except VelaError as error:
            raise ValueError(f"device {self.npu.name}: {error.data}") from None

    @property
    def _system(self) -> str:
        found = self._features
        config = "".join(Path(file).read_text(encoding="utf-8") for file in found.vela_config_files)
        return (
            f"[architecture]\nmacs={found.num_macs_per_cycle}\ncores={found.ncores}\n"
            f"[vela]\nsystem_config_name={found.system_config}\nmemory_mode_name={found.memory_mode}\n{config}"
        )

    @property
    def _options(self) -> str:
        size = self._features.arena_cache_size
        return f"[compiler]\nenable_db=true\n[scheduler]\noptimize=Performance\narena_size_limit={size}\n"


def _installed() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("ethos-u-vela")
    except PackageNotFoundError:
        found = "none"
    if found != VELA:
        raise RuntimeError(
            f"costs on an Ethos-U need ethos-u-vela {VELA}; installed is {found}: pip install 'offramp[ethos]'"
        )


def _drawn(architecture: Architecture) -> list[bytes]:
    """The stages with random weights; the scales, which have no influence on cycles, are about what they would be."""
    check_bits(architecture)
    _installed()
    generator, source = np.random.default_rng(_SEED), Quant(1 / 32, 0)
    described, files = layers(architecture), []
    for number, stage in enumerate(described):
        backbone, branch = ([_values(layer, generator) for layer in part] for part in stage)
        graph = stage_graph(number, stage, StageValues(backbone, branch), source, number + 1 == len(described))
        files.append(write(graph))
        source = graph.output_quant("features") if "features" in graph.outputs else source
    return files


def _values(layer: Layer, generator: np.random.Generator) -> Values:
    rectified = layer.act in ("relu", "relu6", "hardsigmoid")
    output = Quant(1 / 32, -128 if rectified else 0)
    if not layer.weights:
        return Values(None if layer.pool == "max" else output)
    out = layer.shape_out.channels
    weight = generator.standard_normal((out, layer.weights // out))
    steps = np.abs(weight).max(1, keepdims=True) / 127
    integers = np.rint(weight / steps).astype(np.int8)
    if layer.op == "conv":
        integers = integers.reshape(out, -1, layer.kernel, layer.kernel)
    return Values(output, integers, np.full(out, 1 / 1024), generator.integers(-1000, 1000, out))
