"""Names and sentences that several parts of the page share."""

from __future__ import annotations

from collections.abc import Sequence

MAC_RULES = {
    "executed": "executed rule: every exit branch that ran is charged",
    "paper": "paper rule: the branches of earlier exits are free",
}
METRICS = {
    "accuracy": "accuracy",
    "error": "error",
    "mean_macs": "mean MACs",
    "full_macs": "MACs of everything",
    "params": "parameters",
    "weight_bytes": "weight bytes",
    "activation_bytes": "peak activation bytes",
    "mean_energy_mj": "mean energy, mJ",
    "mean_latency_ms": "mean latency, ms",
    "et_avg": "mean energy x latency, J x cycles",
    "dynamic_efficiency": "share of the full energy",
    "exit_overhead_mj": "exit overhead, mJ",
    "maep": "deviation from the target of mean MACs, %",
}
MEAN_COSTS = {
    "mean_macs": ("mean_macs", "mean MACs", ""),
    "mean_energy_mj": ("energy_mj", "mean energy", "mJ"),
    "mean_latency_ms": ("latency_ms", "mean latency", "ms"),
    "et_avg": ("et_avg", "mean energy x latency", "J x cycles"),
}
"""What a budget may bound and a curve be tuned for: its name there -> (its name in metrics.json, in words, unit)."""
MAPPINGS = {
    "none": "one core, one layer after another",
    "wait": "all cores, branches after their stage",
    "speculate": "all cores, branches beside the next stage where that is better",
}
EVALUATORS = {
    "one-shot": "slices of the supernet, not trained further",
    "fine-tune": "each trained by the recipe's [finetune] schedule",
}
MEASURES = {"max_probability": "max probability", "entropy": "negated entropy", "margin": "margin"}
SPLITS = {
    "train": "fits the weights",
    "select": "chooses networks and thresholds",
    "calibrate": "kept for guarantees",
    "test": "read once, after everything was chosen",
}


TERMS = {
    "exit": "a branch at which the network may answer and stop; the final one answers whatever is left",
    "threshold": "how sure an exit must be of its answer for an image to leave there",
    "utilisation": "the share of images that leave at each exit",
    "MACs": "multiplications with addition, the work of a network; mean MACs are over images, each up to where it left",
    "front": "the networks that no other one found beats in one objective without losing in another (Pareto front)",
    "static network": "one exit, the same work for every image",
    "one-shot": "measured with weights cut out of one shared supernet, before any training of its own",
    "ET": "energy x latency, in joules x cycles; ET_avg is its mean over images",
    "calibration error": "how far the confidence of answers is from the share of them that is right",
}
"""What a reader may want to look up."""


def one_exit(dropped: Sequence[int], bounded: bool) -> str:
    """Why a delivered network has one exit, and what to ask for.

    `dropped`: positions of the exits it had besides. `bounded`: it was chosen within a budget, not as a trade-off.
    """
    if dropped:
        return (
            "its other exits are dropped, as on select thresholds are better without them, or no image left there. "
            "A smaller budget, or harder images, need more of them"
        )
    found = "nothing more accurate within its budget that leaves early" if bounded else "no better trade-off"
    return (
        f"the search found {found}. Larger networks have to leave early to keep a budget: a constraint such as "
        '"full_macs >= NUMBER" in [search] asks for them'
    )


def mac_rule(rule: str) -> str:
    """The rule's name and what it means."""
    return MAC_RULES.get(rule, f"{rule} rule")


def measure(name: str) -> str:
    """A confidence measure in words."""
    return MEASURES.get(name, name.replace("_", " "))


def metric(name: str) -> str:
    """A metric in words."""
    return METRICS.get(name, name.replace("_", " "))


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
