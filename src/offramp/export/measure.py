"""Latencies under ONNX Runtime on this machine: of single layers, and of whole networks to compare them with."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import onnxruntime

from offramp.architecture import Architecture, Precision
from offramp.cost import Measured, MeasuredModel, cost, words_of
from offramp.export._one_layer import model_of
from offramp.export._session import as_input, forced, open_session
from offramp.layers import Layer, layers
from offramp.progress import Silent, Tracker, track

COPIES = 9
"""Of a layer in one model: the first one's time holds what every call takes."""
REPEATS, WARM_UP = 40, 3
NETWORK_REPEATS = 200
_QUIET = 0.25  # of the repeats: the median of those that were disturbed least


class Exit(NamedTuple):
    """What leaving at an exit of a network took, and of what it is made up."""

    ms: float
    layers_ms: float
    """The layers that ran, each alone."""
    decisions: int
    """Exits met but the last."""
    macs: int


class Agreement(NamedTuple):
    """How measured layers tell the latency of whole networks."""

    exits: int
    error: float
    """Mean of |told - measured| / measured."""
    tau: float
    """Kendall's, between both."""
    tau_macs: float
    """Between MACs and what was measured."""


def measure_device(
    file: Path, wanted: Iterable[Layer], networks: Sequence[Architecture], *, threads: int = 1
) -> tuple[Measured, Agreement]:
    """This machine as a device, in `file`: the layers `wanted`, and `networks`, layer by layer and whole, all in float.

    Every second network is for the agreement alone. A file that is there already, of this machine, gets the layers that
    it lacks; its other numbers stay, so that what runs have computed with them still holds.

    Raises:
        ValueError: the file is another machine's, runtime's or number of threads', or cannot be written.
        DeviceError: it holds no device.
    """
    about = f"{machine()}, ONNX Runtime {onnxruntime.__version__}, threads: {threads}"
    stored = Measured.load(file) if file.exists() else None
    if stored is not None and stored.about != about:
        raise ValueError(f"{file} was measured on {stored.about!r}; this is {about!r}: take another file")
    if not os.access(file.parent, os.W_OK):
        raise ValueError(f"{file}: {file.parent} is no folder that can be written to")
    networks = [in_float(network) for network in networks]
    theirs = (layer for network in networks for stage in layers(network) for layer in (*stage.backbone, *stage.branch))
    plain = (layer._replace(weight_bits=32, act_bits=32) for layer in (*wanted, *theirs))
    different = {words_of(layer): layer for layer in plain}
    with track("layers", len(different), unit="layers") as bar:
        times = measure_layers(different.values(), stored.layers if stored else None, threads, bar)
    fresh = Measured(name=file.stem, about=about, layers=times)
    device = fresh if stored is None else stored.model_copy(update={"layers": times})
    _write(file, device)  # in a minute or two, something may come between
    with track("whole networks", len(networks), unit="networks") as bar:
        exits = []
        for network in networks:
            exits.append(measure_exits(network, device, threads))
            bar.advance(1)
    if (device.scale, device.start_ms, device.exit_ms) == (1.0, 0.0, 0.0):  # new, or stopped before it was fitted
        device = fitted(device, [e for one in exits[::2] for e in one])
        _write(file, device)
    return device, agreement(device, [e for one in exits[1::2] for e in one])


def in_float(architecture: Architecture) -> Architecture:
    """The same network without few bits."""
    return architecture.model_copy(update={"precision": Precision()})


def _write(file: Path, device: Measured) -> None:
    import tomli_w

    temporary = file.with_name(f"{file.name}.part")
    temporary.write_text(tomli_w.dumps(device.model_dump()), encoding="utf-8")
    os.replace(temporary, file)


def machine() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def measure_layers(
    found: Iterable[Layer], known: dict[str, float] | None = None, threads: int = 1, bar: Tracker | None = None
) -> dict[str, float]:
    """Milliseconds of every layer alone, by `words_of`; those that are `known` are not measured again.

    The difference between a model of `COPIES` of the layer and a model of one, for each further copy, both in turns.
    """
    times, bar = dict(known or {}), bar or Silent()
    for layer in found:
        words = words_of(layer)
        if words not in times:
            times[words] = _alone(layer, threads)
        bar.advance(1, words)
    return times


def measure_exits(
    architecture: Architecture, device: Measured, threads: int = 1, repeats: int = NETWORK_REPEATS
) -> list[Exit]:
    """What leaving at each exit takes in the file that an untrained network of this architecture is exported to."""
    # Here, since the rest of this file needs no torch.
    import torch

    from offramp.export._export import export_onnx
    from offramp.nn import build
    from offramp.policy import Policy

    exits = len(architecture.exits)
    images = torch.randint(0, 256, (4, *architecture.input), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path, policy = Path(folder) / "model.onnx", Policy("max_probability", (0.0,) * (exits - 1))
        names = [str(i) for i in range(architecture.classes)]
        export_onnx(build(architecture, 0).eval(), policy, path, classes=names, images=images)
        session = open_session(path, threads)
    image = {"image": images[:1].numpy().astype(np.float32)}

    def leaving(exit: int) -> Callable[[], object]:
        feeds = image | ({"thresholds": as_input(forced(exit, exits))} if exits > 1 else {})
        return lambda: session.run(None, feeds)

    alone = device.model_copy(update={"start_ms": 0.0, "exit_ms": 0.0, "scale": 1.0})
    told = cost(architecture, MeasuredModel(alone, Path(alone.name)))
    taken = _milliseconds([leaving(e) for e in range(exits)], repeats)
    return [
        Exit(ms, layers_ms, min(e + 1, exits - 1), int(macs))
        for e, (ms, layers_ms, macs) in enumerate(zip(taken, told.leaving("latency_ms"), told.leaving("macs")))
    ]


def fitted(device: Measured, exits: Sequence[Exit]) -> Measured:
    """`device` with the scale, start and exit that tell `exits` best: least relative errors squared, none negative."""
    from scipy.optimize import nnls

    measured = np.array([e.ms for e in exits])
    parts = np.array([[e.layers_ms, e.decisions, 1.0] for e in exits])
    found, _ = nnls(parts / measured[:, None], np.ones(len(exits)))
    scale, exit_ms, start_ms = map(float, found)
    if not scale:  # a restless machine, or a few networks much alike: by the layers alone
        scale, exit_ms, start_ms = float(np.median(measured / parts[:, 0])), 0.0, 0.0
    return device.model_copy(update={"scale": scale, "exit_ms": exit_ms, "start_ms": start_ms})


def agreement(device: Measured, exits: Sequence[Exit]) -> Agreement:
    """How `device` tells what leaving at these exits took."""
    from scipy.stats import kendalltau

    measured = np.array([e.ms for e in exits])
    told = np.array([e.layers_ms * device.scale + e.decisions * device.exit_ms + device.start_ms for e in exits])
    tau, tau_macs = (float(kendalltau(measured, other).statistic) for other in (told, [e.macs for e in exits]))
    return Agreement(len(exits), float(np.mean(np.abs(told - measured) / measured)), tau, tau_macs)


def _alone(layer: Layer, threads: int) -> float:
    calls = []
    for copies in (1, COPIES):
        model, feeds = model_of(layer, copies)
        session = open_session(model, threads)
        calls.append(lambda session=session, feeds=feeds: session.run(None, feeds))
    one, many = _milliseconds(calls, REPEATS)
    return max(0.0, (many - one) / (COPIES - 1))


def _milliseconds(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """What each call takes, all in turns, so that a busy moment hits them alike."""
    taken = np.empty((repeats, len(calls)))
    for repeat in range(-WARM_UP, repeats):
        for i, call in enumerate(calls):
            begin = perf_counter()
            call()
            if repeat >= 0:
                taken[repeat, i] = perf_counter() - begin
    return (1000 * np.quantile(taken, _QUIET, axis=0)).tolist()
