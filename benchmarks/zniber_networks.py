"""Networks that Zniber et al. publish (arXiv 2512.04705), costed by our model: `python benchmarks/zniber_networks.py`.

Writes benchmarks/results/zniber-networks.json and prints our ratios to the static network beside the authors'.

* Exits after blocks 3, 5, 8, 11: shares, ET_avg and the backbone alone are published, so savings are compared.
* The six networks of their Fig. 8: how many samples leave at which exit is not known, nor which heads they have. What
  is compared without shares is the static reference that their factors are over: ET_avg x factor, which orders the
  networks by what their branches add. (Their factors, 1.54 to 1.91, are savings of 35 to 48 %, which is what they give
  for cumulative energy x the backbone's latency; so that is our side of it.) In the one with a single early exit the
  factor gives the share, and with it ET_avg / (mean energy x mean latency), which must meet the authors' value.
* With --run RUN, a run of the space `zniber` on CIFAR-10, samples leave as they do slices of its supernet, of its
  width and at 8 bits, on its select split, and ET_avg of the six, at full width's costs, is ranked too: for each of the
  paper's thresholds, the same for all six, and with each network at that threshold whose loss of accuracy below the
  final exit is nearest to the authors' (below the best of their 83 networks), as theirs had thresholds of their own. A
  stand-in for networks trained one by one at full width.

Every head is a single linear layer; 8 bits; CIFAR-10 at 3x32x32. Ratios are what to read: absolute figures differ by
factors between cost models.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import kendalltau, spearmanr

from offramp.architecture import Architecture
from offramp.cost import Mapping, Reference, backbone_alone, map_network
from offramp.cost.mapping import Mode
from offramp.pipeline import Run
from offramp.policy import Policy, operate
from offramp.run_folder import write_json
from offramp.search.oneshot import OneShot
from offramp.spaces import Candidate, space
from offramp.spaces.zniber import ZniberOptions
from record import RESULTS, record

DEVICE = "quad-edge-tpu"
SETTINGS: tuple[tuple[str, int, Mode], ...] = (
    ("1 core", 1, "wait"), ("4 cores, wait", 4, "wait"), ("4 cores, speculate", 4, "speculate"),
)  # fmt: skip
RANKS = "rank correlation of the six: "


class Published(NamedTuple):
    """The authors' values: ET_avg in J x cycles, means in cycles and uJ, ET of their static reference over ET_avg."""

    exits: tuple[int, ...]
    accuracy: float
    et_avg: float
    mean_cycles: float
    mean_uj: float
    factor: float


SIX = (
    Published((6, 11), 0.8728, 374, 493_035, 610, 1.90),
    Published((2, 8, 11), 0.8735, 375, 468_141, 555, 1.91),
    Published((0, 4, 5, 7, 11), 0.8804, 389, 483_589, 540, 1.87),
    Published((2, 3, 4, 5, 9, 11), 0.8840, 476, 551_671, 624, 1.54),
    Published((0, 1, 5, 8, 9, 11), 0.8851, 484, 571_342, 638, 1.59),
    Published((2, 3, 4, 5, 6, 9, 11), 0.8854, 492, 553_602, 625, 1.55),
)
KNOWN, KNOWN_SHARES = (3, 5, 8, 11), (0.255, 0.153, 0.311, 0.281)
BEST_ACCURACY = 0.889  # of the 83 networks that they searched
KNOWN_ET, KNOWN_BACKBONE_ET, KNOWN_FULL_ET = 563.5, 1137.7, 1.32e-3 * 1_161_431


def network(exits: tuple[int, ...]) -> Architecture:
    """Single heads after blocks `exits`, of which 11 is the last."""
    largest = space("zniber", bits=[(8, 8)], heads=["single"]).largest()
    return largest.with_exits(exits)


def name_of(exits: tuple[int, ...]) -> str:
    return ",".join(map(str, exits))


def with_shares(mapping: Mapping, backbone: Reference, shares: tuple[float, ...]) -> dict[str, Any]:
    """Both definitions against both references, and the one that the authors' factors are over."""
    et, of_means = mapping.et(shares), mapping.et_of_means(shares)
    mixed = mapping.full_depth.energy_mj * backbone.latency_ms * mapping.clock_mhz
    return {
        "shares": list(shares), "et_avg": et, "et_of_means": of_means,
        "latency_ms": mapping.mean_latency(shares), "energy_mj": mapping.mean_energy(shares),
        "exit_overhead_mj": mapping.mean_overhead(shares),
        "saving_over_backbone_alone": 1 - et / backbone.et,
        "saving_over_full_depth": 1 - et / mapping.full_depth.et,
        "saving_over_full_energy_x_backbone_latency": 1 - et / mixed,
        "saving_of_means_over_backbone_alone": 1 - of_means / backbone.et,
        "saving_of_means_over_full_depth": 1 - of_means / mapping.full_depth.et,
    }  # fmt: skip


def static(mapping: Mapping, backbone: Reference) -> dict[str, Any]:
    """What needs no shares."""
    full = mapping.full_depth
    return {
        "full_depth_energy_mj": full.energy_mj, "full_depth_latency_ms": full.latency_ms, "full_depth_et": full.et,
        "backbone_alone_et": backbone.et,
        "full_energy_x_backbone_latency": full.energy_mj * backbone.latency_ms * mapping.clock_mhz,
    }  # fmt: skip


def implied_share(mapping: Mapping, backbone: Reference, published: Published) -> dict[str, float]:
    """Of a network with one early exit: the share at which the factor is the authors', and what follows from it."""
    first, full = (e * t * mapping.clock_mhz for e, t in zip(mapping.energy_mj, mapping.latency_ms))
    wanted = static(mapping, backbone)["full_energy_x_backbone_latency"] / published.factor
    share = (full - wanted) / (full - first)
    shares = (share, 1 - share)
    theirs = published.et_avg / (published.mean_uj * 1e-6 * published.mean_cycles)
    return {
        "implied_share": share, "et_avg_over_product_of_means": mapping.et(shares) / mapping.et_of_means(shares),
        "their_et_avg_over_product_of_means": theirs,
    }  # fmt: skip


def ranks(ours: list[float], theirs: list[float]) -> dict[str, float]:
    spearman, kendall = spearmanr(ours, theirs), kendalltau(ours, theirs)
    return {
        "spearman": float(spearman.statistic), "spearman_p": float(spearman.pvalue),
        "kendall": float(kendall.statistic), "kendall_p": float(kendall.pvalue), "n": len(ours),
    }  # fmt: skip


class Left(NamedTuple):
    """How the samples of a split leave a network at a threshold."""

    threshold: float
    shares: tuple[float, ...]
    accuracy: float
    final_accuracy: float


def shares_of(run: Run) -> dict[str, dict[str, Left]]:
    """By way of setting thresholds, and by network: slices of the run's supernet at 8 bits, on its select split."""
    evaluate = run.evaluator()
    assert isinstance(evaluate, OneShot)
    options = {"width": run.recipe.space.options.get("width", 1.0), "bits": [(8, 8)], "heads": ["single"]}
    largest = space("zniber", run.space.input, run.space.classes, **options).largest()
    found: dict[str, dict[str, Left]] = {}
    for published in SIX:
        name, network = name_of(published.exits), largest.with_exits(published.exits)
        try:
            run.space.encode(Candidate(network, (0.7,) * (len(published.exits) - 1)))
        except ValueError as error:
            raise SystemExit(f"{run.folder.root}: its supernet does not hold the network {name}: {error}") from error
        table = evaluate.table(network)
        every = []
        for threshold in ZniberOptions().thresholds:
            at = operate(Policy("max_probability", (threshold,) * (table.exits - 1)), table, (0.0,) * table.exits)
            every.append(Left(threshold, tuple(at.utilisation), at.accuracy, float(table.exit_accuracy[-1])))
            found.setdefault(f"threshold {threshold} for all", {})[name] = every[-1]
        lost = BEST_ACCURACY - published.accuracy
        nearest = min(every, key=lambda left: abs(left.final_accuracy - left.accuracy - lost))
        found.setdefault("each at the authors' loss of accuracy", {})[name] = nearest
    return found


def measure(label: str, cores: int, mode: Mode, measured: dict[str, dict[str, Left]]) -> list[dict[str, Any]]:
    """Every row of one setting."""
    common = {"setting": label, "cores": cores, "mode": mode, "device": DEVICE, "bits": "8/8"}
    backbone = backbone_alone(network((11,)), DEVICE, cores=cores)
    mapping = map_network(network(KNOWN), DEVICE, mode, "et", KNOWN_SHARES, cores)
    rows: list[dict[str, Any]] = [
        {"name": name_of(KNOWN), **common, **static(mapping, backbone), **with_shares(mapping, backbone, KNOWN_SHARES),
         "their_saving_over_backbone_alone": 1 - KNOWN_ET / KNOWN_BACKBONE_ET,
         "their_saving_over_full_depth": 1 - KNOWN_ET / KNOWN_FULL_ET}
    ]  # fmt: skip
    found = []
    for published in SIX:
        count = len(published.exits)
        mapping = map_network(network(published.exits), DEVICE, mode, "et", (*[0.0] * (count - 1), 1.0), cores)
        row = {"name": name_of(published.exits), **common, **static(mapping, backbone),
               "their_static_et": published.et_avg * published.factor, "their_et_avg": published.et_avg,
               "their_factor": published.factor}  # fmt: skip
        if count == 2:
            row |= implied_share(mapping, backbone, published)
        found.append(row)
    first = found[0]
    for row in found:
        row["static_over_first"] = row["full_energy_x_backbone_latency"] / first["full_energy_x_backbone_latency"]
        row["their_static_over_first"] = row["their_static_et"] / first["their_static_et"]
    rank = ranks([row["static_over_first"] for row in found], [row["their_static_over_first"] for row in found])
    rows.append({"name": f"{RANKS}static reference", **common, **rank})
    for way, by_name in measured.items():
        about = {**common, "thresholds": way}
        here = [with_left(published, by_name[name_of(published.exits)], about, backbone) for published in SIX]
        rank = ranks([row["et_avg"] for row in here], [row["their_et_avg"] for row in here])
        rows += [*here, {"name": f"{RANKS}ET_avg, {way}", **about, **rank}]
    return rows + found


def with_left(published: Published, left: Left, about: dict[str, Any], backbone: Reference) -> dict[str, Any]:
    """One of the six with the shares that leave at a threshold."""
    mapping = map_network(network(published.exits), DEVICE, about["mode"], "et", left.shares, about["cores"])
    found = with_shares(mapping, backbone, left.shares)
    return {
        "name": name_of(published.exits), **about, "threshold": left.threshold, "accuracy": left.accuracy,
        "final_accuracy": left.final_accuracy, **found,
        "factor": 1 / (1 - found["saving_over_full_energy_x_backbone_latency"]),
        "their_et_avg": published.et_avg, "their_factor": published.factor, "their_accuracy": published.accuracy,
    }  # fmt: skip


def show(rows: list[dict[str, Any]]) -> None:
    for label, _, _ in SETTINGS:
        here = [row for row in rows if row["setting"] == label]
        known, ranked = here[0], [row for row in here if "spearman" in row]
        print(f"\n{label}\n  exits after {known['name']}, with the published shares")
        for what in ("over_backbone_alone", "over_full_depth"):
            ours, theirs = known[f"saving_{what}"], known[f"their_saving_{what}"]
            print(f"    ET_avg saves {ours:.1%} {what.replace('_', ' ')} (authors {theirs:.1%}); "
                  f"product of means {known[f'saving_of_means_{what}']:.1%}")  # fmt: skip
        print(f"    exit overhead {known['exit_overhead_mj'] * 1e3:.3f} uJ")
        print(f"  {'six networks':>20} {'full mJ':>8} {'full ms':>8} {'static/first':>13} {'authors':>8}")
        for row in here:
            if "static_over_first" in row:
                print(f"  {row['name']:>20} {row['full_depth_energy_mj']:8.4f} {row['full_depth_latency_ms']:8.4f} "
                      f"{row['static_over_first']:13.4f} {row['their_static_over_first']:8.4f}")  # fmt: skip
            if "implied_share" in row:
                print(f"    share of the early exit that gives the authors' factor: {row['implied_share']:.3f}; with "
                      f"it ET_avg / (mean E x mean T) {row['et_avg_over_product_of_means']:.3f}, "
                      f"authors {row['their_et_avg_over_product_of_means']:.3f}")  # fmt: skip
        for row in (row for row in here if "factor" in row and row["thresholds"].startswith("each")):
            shares = " ".join(f"{share:.2f}" for share in row["shares"])
            print(f"  {row['name']:>20} at {row['threshold']}: {row['accuracy']:.1%}, final exit "
                  f"{row['final_accuracy']:.1%}, shares {shares}, factor {row['factor']:.2f} "
                  f"(authors {row['their_factor']})")  # fmt: skip
        for row in ranked:
            print(f"  {row['name']}: Spearman {row['spearman']:.3f} (p = {row['spearman_p']:.3f}), "
                  f"Kendall {row['kendall']:.3f} (p = {row['kendall_p']:.3f}), n = {row['n']}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run of the space zniber: shares from slices of its supernet")
    options = parser.parse_args()
    run = Run.stored(options.run) if options.run else None
    measured = shares_of(run) if run else {}
    rows = [row for setting in SETTINGS for row in measure(*setting, measured)]
    show(rows)
    what = (
        "published networks of Zniber et al. costed by our model: one core, four cores, branches that wait or run "
        "ahead; every mapping is for least ET, by the published shares, by those of slices of a supernet (rows with "
        "`thresholds`), or for full depth; single heads; costs are deterministic"
    )
    about = {} if run is None else {"shares_of": {
        "space": run.recipe.space.model_dump(mode="json"), "split": "select",
        "n": min(run.recipe.search.images or len(run.task.select), len(run.task.select)),
        "supernet_epochs": run.recipe.supernet.epochs,
    }}  # fmt: skip
    write_json(RESULTS / "zniber-networks.json", record(what, "executed", rows, **about))


if __name__ == "__main__":
    main()
